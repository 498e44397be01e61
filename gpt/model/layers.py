"""The parts of a block around attention, as GPT-2 defines them (Radford et al., 2019)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gpt.model.attention import MultiHeadSelfAttention
from gpt.model.cache import LayerCache


class GPT2LayerNorm(nn.LayerNorm):
    """Layer normalisation: (x - mean) / sqrt(variance + eps) x weight + bias, over the last dimension.

    The variance divides by n, not n - 1 (Ba et al., https://arxiv.org/abs/1607.06450).
    """

    def __init__(self, embed_size: int, eps: float = 1e-5) -> None:
        super().__init__(embed_size, eps=eps)


class PositionWiseFeedForward(nn.Module):
    """Two linear layers with a GELU between them, in the tanh form that GPT-2 uses, applied to each position alone.

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
        return self.project(F.gelu(self.expand(x), approximate="tanh"))


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
