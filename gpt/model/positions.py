"""How a model knows where a token stands: rotary and ALiBi.

Learned positions are an embedding table of the model, and "none" is nothing at all: the causal mask alone leaks some
position (Haviv et al., https://arxiv.org/abs/2203.16634).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class RotaryPositionalEncoding(nn.Module):
    """Turn each pair of numbers in a query or key by an angle that grows with its position.

    Pair i turns by position x base^(-2i / head_dim). The product of a turned query and a turned key then depends on
    their distance only (RoFormer, https://arxiv.org/abs/2104.09864). Numbers are paired across the two halves of the
    head, (0, d/2), (1, d/2 + 1), ..., as in Hugging Face's Llama; the paper pairs neighbours, which is the same up to a
    fixed reordering of the weights.

    Args:
        head_dim: width of one head; even.
        base: the slowest pair turns about once in 2 pi x base positions.

    Raises:
        ValueError: head_dim is odd.
    """

    def __init__(self, head_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim ({head_dim}) must be even: rotary positions turn pairs of numbers")
        self.head_dim = head_dim
        self.base = base

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Turn x (..., T, head_dim) by positions (T,), by default 0..T-1; same shape back."""
        if positions is None:
            positions = torch.arange(x.shape[-2], device=x.device)
        cosine, sine = self.angles(positions)  # (T, head_dim / 2) each
        turned: Tensor = _Turn.apply(x, cosine, sine)
        return turned

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of every pair's angle at positions (T,): two (T, head_dim / 2) tensors in float32."""
        angle = self.radians(positions)
        return angle.cos(), angle.sin()

    def radians(self, positions: Tensor) -> Tensor:
        """Every pair's angle at positions (T,): (T, head_dim / 2) in float32."""
        pair = torch.arange(0, self.head_dim, 2, device=positions.device, dtype=torch.float32)
        return positions.float()[:, None] * (1.0 / self.base ** (pair / self.head_dim))


class _Turn(torch.autograd.Function):
    """Each pair of numbers turned by its angle, in float32.

    The gradient of a turn is the turn back, so nothing of the forward pass needs to be kept: about half the time of
    differentiating its products one by one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        swapped = x.float().roll(x.shape[-1] // 2, dims=-1)  # (second, first)
        turned = torch.addcmul(x * torch.cat((cosine, cosine), dim=-1), swapped, torch.cat((-sine, sine), dim=-1))
        return turned.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _Turn.apply(gradient, cosine, -sine), None, None


def alibi_slopes(num_heads: int) -> Tensor:
    """How fast each head's score falls with distance: (num_heads,), from ALiBi (https://arxiv.org/abs/2108.12409).

    For a power of two H the slopes are 2^(-8/H), 2^(-16/H), ...; for other numbers those of the power of two below,
    then every other slope of the power of two above, as the paper's authors do.
    """
    below = 2 ** (num_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (head + 1) / below) for head in range(below)]
    between = [2 ** (-4 * (head + 1) / below) for head in range(0, 2 * below, 2)]
    return torch.tensor((slopes + between)[:num_heads])


def alibi_bias(query_positions: Tensor, key_positions: Tensor, num_heads: int) -> Tensor:
    """What ALiBi adds to the scores: -slope x distance, (num_heads, Q, K) for positions (Q,) and (K,)."""
    distance = (query_positions[:, None] - key_positions[None, :]).abs().float()
    return -alibi_slopes(num_heads).to(distance.device)[:, None, None] * distance
