"""Attention over a window in blocks: time and memory grow with the length T of a text, not with its square.

A query that sees W keys needs only the band of scores along the diagonal, but a mask alone saves nothing: the masked
scores are computed too. So the text is cut into blocks of queries, and each block is given the few keys that any of its
queries may see (Longformer, https://arxiv.org/abs/2004.05150, section 3.2; the window is that of Mistral 7B,
https://arxiv.org/abs/2310.06825).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt.model.masks import attention_mask
from gpt.model.positions import alibi_bias

# Queries in a block, S, for each of which a block scores S + W keys. Few waste less on keys outside the window, many
# make fewer copies of the keys (1 + W / S of each) and larger products. Forward and backward at T = 8192, one core, for
# S = W/4, W/2, W: 169, 122, 135 ms with W = 128, and 326, 356, 446 ms with W = 512; for windows below 64, S = 32 and
# S = 64 are alike.
SMALLEST_BLOCK = 64
BLOCKS_IN_A_WINDOW = 4

# From how many blocks after the window on it is done in blocks. Time of the plain path over that of the blocks, forward
# and backward, W = 8 to 512, 4 heads of 32 and 6 of 64, about 2,000 tokens in all, one core: below one block 1.0 (it is
# the same), at two 1.05 to 1.25, at three 1.15 to 1.45, at eight 1.9 to 3.4, at fourteen 4. Forward only is alike.
BLOCKS_TO_WIN = 3

# The last axes of what is multiplied are kept at multiples of this many numbers: S = W = 128 ran 10 % faster with 256
# keys in a block than with the 255 that it needs.
ALIGNMENT = 8


def block_sizes(window_size: int) -> tuple[int, int]:
    """The queries S of a block, and the keys before its first query that it is given: at least W - 1."""
    quarter = _aligned(math.ceil(window_size / BLOCKS_IN_A_WINDOW))
    return max(SMALLEST_BLOCK, quarter), _aligned(window_size)


def banded_wins(length: int, window_size: int) -> bool:
    """Whether blocks are faster than the plain path for a text of this length, as measured: T >= W + 3 S."""
    size, past = block_sizes(window_size)
    return length >= past + BLOCKS_TO_WIN * size


def banded_attention(
    queries: Tensor, keys: Tensor, values: Tensor, window_size: int, *, alibi: bool = False, dropout_p: float = 0.0
) -> Tensor:
    """Causal attention in which a query sees the last W keys, itself included: exact for every T and W.

    With S = 64 and W = 100, a text of 500 tokens opens with 180: the two blocks that hold the past of the next one, and
    the 52 tokens by which the text exceeds a whole number of blocks, so that nothing is padded. This opening attends by
    itself under a plain mask. The five blocks after it are rows of one batch with one mask, since all of them look
    alike: 64 queries, of which the first is at place 104 among their 168 keys.

    There is no such path for windows that are open to the future.

    Args:
        queries: (B, H, T, d).
        keys: (B, G, T, d), each of the G heads shared by H / G query heads.
        values: as `keys`.
        window_size: W, at least 1.
        alibi: whether scores fall linearly with distance; the block's bias is the same for all blocks.
        dropout_p: probability of dropping an attention weight.

    Returns:
        (B, H, T, d).
    """
    batch, num_heads, length, _ = queries.shape
    size, past = block_sizes(window_size)
    num_past = math.ceil(past / size)  # blocks that hold the past of the next one
    num_blocks = length // size - num_past
    positions = torch.arange(min(length, (num_past + 1) * size), device=queries.device)

    def attend(queries: Tensor, keys: Tensor, values: Tensor, first: int) -> Tensor:
        """Attend within rows (R, heads, Q or K, d) whose first query stands at the place `first` among their keys."""
        seen = positions[: keys.shape[2]]
        mask = explicit_mask(
            seen[first : first + queries.shape[2]],
            seen,
            window_size,
            alibi_heads=num_heads if alibi else None,
            dtype=queries.dtype,
        )
        return _grouped_attention(queries, keys, values, mask, dropout_p)

    if num_blocks < 1:
        return attend(queries, keys, values, 0)
    remainder = length % size
    opening = num_past * size + remainder
    first_queries, later_queries = queries.split((opening, length - opening), dim=2)
    first_mixed = attend(first_queries, keys[:, :, :opening], values[:, :, :opening], 0)  # (B, H, opening, d)
    mixed = attend(
        _blocks(later_queries, size).flatten(0, 1).transpose(1, 2),  # (B * n, H, S, d)
        _with_past(_blocks(keys[:, :, remainder:], size), past),  # (B * n, G, past + S, d)
        _with_past(_blocks(values[:, :, remainder:], size), past),
        past,
    )  # (B * n, H, S, d)
    mixed = mixed.transpose(1, 2).unflatten(0, (batch, num_blocks)).flatten(1, 2)  # (B, n * S, H, d)
    return torch.cat((first_mixed.transpose(1, 2), mixed), dim=1).transpose(1, 2)  # (B, H, T, d)


def explicit_mask(
    query_positions: Tensor,
    key_positions: Tensor,
    window_size: int | None,
    *,
    causal: bool = True,
    alibi_heads: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """`attention_mask` in the form that `scaled_dot_product_attention` takes, joined with ALiBi's bias if there is one.

    Returns:
        (Q, K) bool, or with ALiBi (alibi_heads, Q, K) of this dtype to add to the scores.
    """
    allowed = attention_mask(query_positions, key_positions, window_size, causal)  # (Q, K)
    if alibi_heads is None:
        return allowed
    bias = alibi_bias(query_positions, key_positions, alibi_heads).to(dtype)  # (H, Q, K)
    return bias.masked_fill(~allowed, -math.inf)


def _aligned(number: int) -> int:
    return ALIGNMENT * math.ceil(number / ALIGNMENT)


def _blocks(heads: Tensor, size: int) -> Tensor:
    """Cut (B, heads, n * S, d) along the text: (B, n, S, heads, d), a view.

    The heads of a token stay together, as the projections make them and the CPU's kernel gives them back, so that
    every copy is of long stretches of memory.
    """
    return heads.transpose(1, 2).unflatten(1, (-1, size))


def _with_past(blocks: Tensor, past: int) -> Tensor:
    """Put before each block what precedes it: [0, 1, 2, 3] -> [0 1, 1 2, 2 3], cut to the last `past` tokens.

    (B, N, S, heads, d) -> (B * n, heads, past + S, d), where the first N - n blocks are past only.
    """
    size = blocks.shape[2]
    num_past = math.ceil(past / size)
    num_blocks = blocks.shape[1] - num_past
    shifted = [blocks[:, i : i + num_blocks] for i in range(num_past + 1)]  # (B, n, S, heads, d) each
    shifted[0] = shifted[0][:, :, num_past * size - past :]
    return torch.cat(shifted, dim=2).flatten(0, 1).transpose(1, 2)  # (B * n, heads, past + S, d)


def _grouped_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, dropout_p: float) -> Tensor:
    """`scaled_dot_product_attention`, where key/value heads may be fewer than query heads.

    The CPU's kernel reads shared heads where they are, in 0.6 of the time; those of CUDA that take a mask do not.
    """
    repeats = queries.shape[1] // keys.shape[1]
    is_native = queries.device.type == "cpu"
    if repeats > 1 and not is_native:
        keys, values = keys.repeat_interleave(repeats, dim=1), values.repeat_interleave(repeats, dim=1)
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, dropout_p=dropout_p, enable_gqa=repeats > 1 and is_native
    )
