"""Attention: every variant and every combination in one class, and its two special cases by their own names."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt.model.banded import banded_attention, banded_wins, explicit_mask
from gpt.model.cache import LayerCache
from gpt.model.config import check_attention
from gpt.model.masks import attention_mask
from gpt.model.positions import RotaryPositionalEncoding, alibi_bias


class MultiHeadSelfAttention(nn.Module):
    """Scaled dot-product self-attention, softmax(q k^T / sqrt(head_dim)) v, over several heads.

    The options are independent of each other. Fewer key/value heads is grouped-query attention (Ainslie et al.,
    https://arxiv.org/abs/2305.13245), one of them multi-query attention; a window is that of Mistral 7B
    (https://arxiv.org/abs/2310.06825). Without options it is the attention of GPT-2.

    Args:
        embed_size: width of the input and the output.
        num_heads: query heads; must divide `embed_size`.
        num_kv_heads: key/value heads; must divide `num_heads`; None is one for each query head.
        window_size: keys a query may see, itself included; None is all.
        rotary: turns queries and keys by their position; None for none.
        alibi: whether scores fall linearly with distance (https://arxiv.org/abs/2108.12409).
        causal: whether the future is hidden.
        dropout: probability of dropping an attention weight in training.

    Raises:
        ValueError: the sizes do not fit each other; the message says which.
    """

    def __init__(
        self,
        embed_size: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        window_size: int | None = None,
        rotary: RotaryPositionalEncoding | None = None,
        alibi: bool = False,
        causal: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_attention(embed_size, num_heads, num_kv_heads, window_size, rotary=rotary is not None)
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.head_dim = embed_size // num_heads
        self.window_size = window_size
        self.rotary = rotary
        self.alibi = alibi
        self.causal = causal
        self.dropout = dropout
        self.query = nn.Linear(embed_size, num_heads * self.head_dim)
        self.key = nn.Linear(embed_size, self.num_kv_heads * self.head_dim)
        self.value = nn.Linear(embed_size, self.num_kv_heads * self.head_dim)
        self.output = nn.Linear(embed_size, embed_size)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Mix x (B, T, embed_size) along T; same shape back.

        With a cache, x holds the T tokens that follow those the cache has read, and the cache takes them in.
        """
        return self.output(self.head_outputs(x, cache).flatten(-2))

    def head_outputs(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """What each head has read, before `output` mixes the heads: (B, T, num_heads, head_dim)."""
        start = 0 if cache is None else cache.length
        positions = torch.arange(start, start + x.shape[1], device=x.device)
        queries, keys, values = self._project(x, positions)
        key_positions = positions
        if cache is not None:
            keys, values, key_positions = cache.extend(keys, values)
        # On CPUs the backward pass of attention is several times slower in bfloat16 than in float32.
        with torch.autocast("cpu", enabled=False):
            mixed = self._mix(queries, keys, values, positions, key_positions, start=start)  # (B, H, T, head_dim)
        return mixed.transpose(1, 2)

    def attention_weights(self, x: Tensor) -> Tensor:
        """The weights that `forward` gives to each key, by the formula: (B, num_heads, T queries, T keys).

        Slower than `forward`, which never forms them; a test holds the two equal.
        """
        positions = torch.arange(x.shape[1], device=x.device)
        queries, keys, _ = self._project(x, positions)
        scores = queries @ self.share(keys).transpose(-2, -1) / math.sqrt(self.head_dim)  # (B, H, T, T)
        if self.alibi:
            scores = scores + alibi_bias(positions, positions, self.num_heads)
        allowed = attention_mask(positions, positions, self.window_size, self.causal)
        return scores.masked_fill(~allowed, -math.inf).softmax(dim=-1)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, head_dim), keys and values (B, num_kv_heads, T, head_dim), before any is turned."""
        projected = [self.query(x), self.key(x), self.value(x)]
        if x.device.type == "cpu":  # under autocast, see `head_outputs`
            projected = [part.to(x.dtype) for part in projected]
        queries, keys, values = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in projected)
        return queries, keys, values

    def _project(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `project`, turned if rotary."""
        queries, keys, values = self.project(x)
        if self.rotary is not None:
            queries, keys = self.rotary(queries, positions), self.rotary(keys, positions)
        return queries, keys, values

    def share(self, heads: Tensor) -> Tensor:
        """Give each query head its key/value head: [K0, K1] -> [K0, K0, K1, K1] for four query heads."""
        repeats = self.num_heads // self.num_kv_heads
        return heads if repeats == 1 else heads.repeat_interleave(repeats, dim=1)

    def _mix(
        self, queries: Tensor, keys: Tensor, values: Tensor, positions: Tensor, key_positions: Tensor, *, start: int
    ) -> Tensor:
        """The values that each query reads, (B, H, T, head_dim), computed in the quickest way.

        A text read from its start is read in blocks where that wins; every cache gives the first tokens their own keys
        in their order, so a first chunk counts as well.
        """
        dropout_p = self.dropout if self.training else 0.0
        window_size = self.window_size
        if start == 0 and self.causal and window_size is not None and banded_wins(len(positions), window_size):
            return banded_attention(queries, keys, values, window_size, alibi=self.alibi, dropout_p=dropout_p)
        mask, is_causal = self._mask(positions, key_positions, queries.dtype, from_start=start == 0)
        keys, values = self.share(keys), self.share(values)
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout_p, is_causal=is_causal
        )

    def _mask(
        self, positions: Tensor, key_positions: Tensor, dtype: torch.dtype, *, from_start: bool
    ) -> tuple[Tensor | None, bool]:
        """What `scaled_dot_product_attention` needs as (attn_mask, is_causal) to obey `attention_mask`.

        Two common cases need no mask tensor: a whole text without an effective window is the plain triangle, and a
        single new token may see all that its cache holds.
        """
        length = len(positions)
        if not self.alibi and self.causal:
            if length == 1 and len(key_positions) <= (self.window_size or len(key_positions)):
                return None, False
            if from_start and (self.window_size is None or self.window_size >= length):
                return None, True
        mask = explicit_mask(
            positions,
            key_positions,
            self.window_size,
            causal=self.causal,
            alibi_heads=self.num_heads if self.alibi else None,
            dtype=dtype,
        )
        return mask, False


class SlidingWindowAttention(MultiHeadSelfAttention):
    """`MultiHeadSelfAttention` in which a query sees the last `window_size` keys, itself included."""

    def __init__(self, embed_size: int, num_heads: int, window_size: int, **options: Any) -> None:
        super().__init__(embed_size, num_heads, window_size=window_size, **options)


class GroupQueryAttention(MultiHeadSelfAttention):
    """`MultiHeadSelfAttention` in which `num_groups` key/value heads are each shared by a group of query heads."""

    def __init__(self, embed_size: int, num_heads: int, num_groups: int, **options: Any) -> None:
        super().__init__(embed_size, num_heads, num_kv_heads=num_groups, **options)
