"""The parts of a block around attention, as GPT-2 defines them (Radford et al., 2019)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gpt.attention import MultiHeadSelfAttention
from gpt.cache import LayerCache


class GPT2LayerNorm(nn.LayerNorm):
    """Layer normalisation: (x - mean) / sqrt(variance + eps) x weight + bias, over the last dimension.

    The variance divides by n, not n - 1 (Ba et al., https://arxiv.org/abs/1607.06450).
    """

    def __init__(self, embed_size: int, eps: float = 1e-5) -> None:
        super().__init__(embed_size, eps=eps)


def gelu(x: Tensor) -> Tensor:
    """GELU in the tanh form that GPT-2 uses: 0.5 x (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3).

    Computed as x sigmoid(2u), which is the same: on CPUs PyTorch's exponential is about five times faster than its
    hyperbolic tangent, which `torch.nn.functional.gelu` uses. A test holds the two equal, with their gradients.
    """
    if x.device.type != "cpu":
        return F.gelu(x, approximate="tanh")
    gated: Tensor = _GELU.apply(x)
    return gated


class _GELU(torch.autograd.Function):
    # 2u = x (_A + _B x^2)
    _A = 2 * math.sqrt(2 / math.pi)
    _B = 0.044715 * _A

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate = torch.addcmul(x.new_tensor(_GELU._A), x, x, value=_GELU._B).mul_(x).sigmoid_()
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """d/dx x s(2u) = s + x (2u)' s (1 - s), with (2u)' = _A + 3 _B x^2."""
        x, gate = ctx.saved_tensors
        slope = torch.addcmul(x.new_tensor(_GELU._A), x, x, value=3 * _GELU._B).mul_(x)
        return torch.ops.aten.sigmoid_backward(slope, gate).add_(gate).mul_(gradient)


class PositionWiseFeedForward(nn.Module):
    """Two linear layers with a GELU between them, applied to each position alone.

    Args:
        embed_size: width of the input and the output.
        hidden_size: width between the two layers.
    """

    def __init__(self, embed_size: int, hidden_size: int) -> None:
        super().__init__()
        self.expand = nn.Linear(embed_size, hidden_size)
        self.project = nn.Linear(hidden_size, embed_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., embed_size) -> (..., embed_size)."""
        return self.project(gelu(self.expand(x)))


class GPT2Block(nn.Module):
    """One layer of GPT-2: attention, then feed-forward, each after a normalisation and added to its input.

    Args:
        embed_size: width of the residual stream.
        num_heads: query heads.
        hidden_size: inner width of the feed-forward layer.
        attention: the attention to use; by default `MultiHeadSelfAttention(embed_size, num_heads)`.
        dropout: probability of dropping an activation of either branch in training.
    """

    def __init__(
        self,
        embed_size: int,
        num_heads: int,
        hidden_size: int,
        *,
        attention: MultiHeadSelfAttention | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm = GPT2LayerNorm(embed_size)
        self.attention = attention or MultiHeadSelfAttention(embed_size, num_heads, dropout=dropout)
        self.feed_forward_norm = GPT2LayerNorm(embed_size)
        self.feed_forward = PositionWiseFeedForward(embed_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """(B, T, embed_size) -> (B, T, embed_size); `cache` as in `MultiHeadSelfAttention`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


TransformerBlock = GPT2Block


class GPT2OutputLayer(nn.Linear):
    """From the residual stream to one logit per token, without bias: (..., embed_size) -> (..., vocab_size).

    In `GPT2` its weight is the token embedding's own.
    """

    def __init__(self, embed_size: int, vocab_size: int) -> None:
        super().__init__(embed_size, vocab_size, bias=False)
