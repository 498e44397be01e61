"""Which optimizer moves which weights, and Muon with equal matrices in one stack."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gpt.training.group import Group
from gpt.training.recipes import TrainConfig


def build_optimizers(
    model: nn.Module, config: TrainConfig, precision: torch.dtype = torch.float32, processes: Group | None = None
) -> list[torch.optim.Optimizer]:
    """The optimizers of a run, one or two, each of whose groups holds its full rate as `initial_lr`.

    The matrices inside the blocks go to Muon where `matrix_learning_rate` is set, which computes in `precision`; those
    of the feed-forward layers have a multiple of that rate. Everything else (embeddings, biases, norms) goes to AdamW,
    with weight decay on matrices only.
    """
    inside, outside = _split_matrices(model, muon=config.matrix_learning_rate is not None)
    position_rate = config.learning_rate if config.position_learning_rate is None else config.position_learning_rate
    positions = [p for name, p in outside if name == "position_embedding.weight"]
    matrices = [p for name, p in outside if p.ndim >= 2 and name != "position_embedding.weight"]
    vectors = [p for _, p in outside if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": positions, "weight_decay": config.weight_decay, "lr": position_rate},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=next(model.parameters()).device.type in ("cpu", "cuda"),
        )
    ]
    if inside:
        assert config.matrix_learning_rate is not None  # else nothing was split off
        multiples = {p: config.feed_forward_rate_multiple for name, p in inside if ".feed_forward." in name}
        optimizers.append(
            StackedMuon(
                [p for _, p in inside],
                config.matrix_learning_rate,
                config.weight_decay,
                config.momentum,
                precision,
                processes,
                multiples,
            )
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _split_matrices(
    model: nn.Module, *, muon: bool
) -> tuple[list[tuple[str, nn.Parameter]], list[tuple[str, nn.Parameter]]]:
    """The weights of linear layers inside the blocks, and all others, with their names."""
    inside: list[tuple[str, nn.Parameter]] = []
    outside: list[tuple[str, nn.Parameter]] = []
    for name, parameter in model.named_parameters():
        is_inside = muon and name.startswith("blocks.") and parameter.ndim == 2
        (inside if is_inside else outside).append((name, parameter))
    return inside, outside


class StackedMuon(torch.optim.Optimizer):
    """Muon (Jordan, 2024, https://kellerjordan.github.io/posts/muon/), with matrices of equal shape in one stack.

    Muon replaces the momentum M = U S V^T of a matrix by about U V^T, so that every direction is moved by about the
    same amount. `torch.optim.Muon` does this for one matrix after another; small models have many matrices of few
    shapes, which go through the same iteration together. A test holds the two equal in float32.

    Args:
        matrices: two-dimensional parameters.
        lr: learning rate, multiplied by sqrt(max(1, rows / columns)).
        weight_decay: share of a weight, times lr, that each step takes away.
        momentum: of the running sum of gradients, with Nesterov's look ahead.
        precision: of the iteration; `torch.optim.Muon` uses bfloat16, which has to be fast on the device to pay.
        processes: those that may each hold a part of every matrix; None for a process alone. The iteration needs
            whole matrices, so directions are gathered for it, and each process makes it; momentum stays in parts.
        rate_multiples: of lr, for matrices that have another rate; they stay in the stacks, and in the order in which
            states are saved, that they would have without.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        precision: torch.dtype = torch.float32,
        processes: Group | None = None,
        rate_multiples: Mapping[nn.Parameter, float] | None = None,
    ) -> None:
        self.precision = precision
        self.processes = processes or Group()
        self.rate_multiples = rate_multiples or {}
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    rows, columns = matrix.shape
                    direction = self.processes.whole(self._nesterov(matrix, group["momentum"]))
                    # Wide and tall matrices of the same sides share a stack: the iteration commutes with transposing.
                    is_tall = rows > columns
                    by_shape[min(rows, columns), max(rows, columns)].append(
                        (matrix, direction.T if is_tall else direction)
                    )
            for members in by_shape.values():
                stack = torch.stack([direction for _, direction in members])
                directions = orthogonalized(stack.to(self.precision)).to(stack.dtype)
                for (matrix, _), direction in zip(members, directions, strict=True):
                    rows, columns = matrix.shape
                    rate = group["lr"] * self.rate_multiples.get(matrix, 1.0)
                    matrix.mul_(1 - rate * group["weight_decay"])
                    scale = rate * math.sqrt(max(1.0, rows / columns))
                    matrix.add_(self.processes.part(direction.T if rows > columns else direction), alpha=-scale)

    def _nesterov(self, matrix: nn.Parameter, momentum: float) -> Tensor:
        assert matrix.grad is not None
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad)
        average = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(average, momentum)


def orthogonalized(stack: Tensor, steps: int = 5) -> Tensor:
    """About U V^T of each M = U S V^T in a stack (N, rows, columns) with rows <= columns.

    Newton-Schulz: X <- p(A) X with A = X X^T and p(A) = a + b A + c A^2, whose coefficients drive every singular value
    to between about 0.7 and 1.2 in five steps. All that happens to X is a product of such p from the left, and A itself
    goes on as A <- p(A) A p(A): so for wide matrices the steps are made on the small squares alone. Not in bfloat16,
    where an eigenvalue of 0 may be rounded below it, and each step would make that twelve times larger.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = stack / stack.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    if stack.shape[-1] < 2 * stack.shape[-2] or stack.dtype != torch.float32:
        for _ in range(steps):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x
    gram = x @ x.mT  # (N, rows, rows)
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    product = identity.expand_as(gram)
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + a * identity
        product = factor @ product if step else factor
        if step < steps - 1:
            gram = factor @ gram @ factor
    return product @ x
