"""Training steps of the peers, nanoGPT and Hugging Face's GPT-2, with the optimizers that are best for them here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt.bench.turns import seconds_of_once
from gpt.data.batches import BatchStream
from gpt.data.corpus import Corpus
from gpt.training.devices import is_fast_in_bfloat16
from gpt.training.optimizers import build_optimizers
from gpt.training.recipes import TrainConfig, rate_factor


class PeerTraining:
    """The training of a peer, in plain float32: batch, forward, backward, clipping, optimizers, as ours makes them.

    Args:
        model: the peer.
        logits_of: its logits (B, T, vocab_size) for input ids (B, T).
        optimizers: of its weights, whose groups hold their full rates as `initial_lr`.
        corpus: the text to learn from.
        context_length: T.
        config: the recipe, whose batches are ours.

    Attributes:
        step, seconds: how far it has come, and how long that took.
    """

    def __init__(
        self,
        model: nn.Module,
        logits_of: Callable[[Tensor], Tensor],
        optimizers: list[torch.optim.Optimizer],
        corpus: Corpus,
        context_length: int,
        config: TrainConfig,
    ) -> None:
        self.model, self.config = model.train(), config
        self.step, self.seconds = 0, 0.0
        self._logits_of, self._optimizers = logits_of, optimizers
        self._batches = BatchStream(
            corpus.train_ids, config.batch_size, context_length, config.seed, config.batch_order
        )

    def go_on(self, until: int) -> None:
        """Train up to a step."""
        started = time.perf_counter()
        while self.step < until:
            inputs, targets = self._batches[self.step]
            loss = F.cross_entropy(self._logits_of(inputs).flatten(0, 1), targets.flatten())
            loss.backward()
            loss.item()  # whoever trains looks at it
            if self.config.gradient_clip:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
            factor = rate_factor(self.step, self.config)
            for optimizer in self._optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * factor
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            self.step += 1
        self.seconds += time.perf_counter() - started


class NamedAsOurs(nn.Module):
    """Hugging Face's GPT-2 with its blocks under the name by which `build_optimizers` knows what is inside them."""

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        self.blocks = theirs.transformer.h
        self.others = nn.ModuleList((theirs.transformer.wte, theirs.transformer.wpe, theirs.transformer.ln_f))


def pytorchs_muon(
    matrices: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float, *_: object
) -> torch.optim.Muon:
    """PyTorch's Muon, called as our `StackedMuon` is; it computes in bfloat16, in one process."""
    return torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=True)


def _pytorchs(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    with patch("gpt.training.optimizers.StackedMuon", pytorchs_muon):
        return build_optimizers(model, config)


# The Muons there are for a peer, by what a row calls them.
MUONS: dict[str, Callable[[nn.Module, TrainConfig], list[torch.optim.Optimizer]]] = {
    "our Muon in float32": build_optimizers,
    "our Muon in bfloat16": lambda model, config: build_optimizers(model, config, torch.bfloat16),
    "torch.optim.Muon": _pytorchs,
}


def quickest_muon(make: Callable[[], nn.Module], config: TrainConfig, tries: int = 3) -> str:
    """The name in `MUONS` of that whose step takes least on this machine, for the matrices of a model that is made.

    Those in bfloat16 are tried only where the processor multiplies in it: elsewhere they take several times as long.
    """
    fast = is_fast_in_bfloat16(torch.device("cpu"))
    seconds = {}
    for name in MUONS if fast else ["our Muon in float32"]:
        model = make()
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        muon = MUONS[name](model, config)[-1]
        muon.step()  # kernels and memory are made ready
        seconds[name] = min((seconds_of_once(muon.step) for _ in range(tries)), default=math.inf)
    return min(seconds, key=lambda name: seconds[name])
