"""How one head's attention comes about for one query: every number from the projections to what the head gives on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt.model.config import check_whole_number
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.layers import GPT2Block
from gpt.model.masks import attention_mask
from gpt.model.positions import alibi_bias


@dataclass(frozen=True, eq=False)
class HeadInNumbers:
    """One query of one head, in the order in which its attention is computed, over a text of T tokens.

    Attributes:
        kv_head: the key/value head that the head reads.
        speeds: (head_dim / 2,) radians by which rotary positions turn each pair of numbers from one token to the next;
            None without them. Pair i is numbers i and i + head_dim / 2.
        angles: (head_dim / 2,) radians by which they turn the query's pairs; None without them.
        query_before: (head_dim,) the query as it is projected.
        query: (head_dim,) the query as it is compared: turned if rotary, else the same.
        keys_before: (T, head_dim) the keys as they are projected.
        keys: (T, head_dim) the keys as they are compared, and as a cache holds them.
        products: (T,) query times key, summed.
        scaled: (T,) products / sqrt(head_dim).
        bias: (T,) what ALiBi adds; None without it.
        allowed: (T,) bool, the keys that the query may see.
        scores: (T,) what enters the softmax: scaled plus bias, -inf for the keys that the query may not see.
        weights: (T,) after the softmax; they sum to 1.
        values: (T, head_dim) what is read of each key.
        output: (head_dim,) weights times values, summed: the head's part of what the output projection mixes.
    """

    kv_head: int
    speeds: Tensor | None
    angles: Tensor | None
    query_before: Tensor
    query: Tensor
    keys_before: Tensor
    keys: Tensor
    products: Tensor
    scaled: Tensor
    bias: Tensor | None
    allowed: Tensor
    scores: Tensor
    weights: Tensor
    values: Tensor
    output: Tensor


def head_in_numbers(model: GPT2, ids: Tensor, layer: int, head: int, query: int) -> HeadInNumbers:
    """Follow one query of one head from the projections to the head's output, with the model's own weights and modules.

    Args:
        model: the model to look into.
        ids: (T,) the text.
        layer: from 0.
        head: a query head, from 0.
        query: position of the token that reads, from 0.

    Raises:
        ValueError, TypeError: the model has no such layer or head, or the text no such position.
    """
    _check_place("layer", layer, model.config.num_layers, "this model")
    _check_place("head", head, model.config.num_heads, "a layer of this model")
    _check_place("query", query, len(ids), "this text")
    positions = torch.arange(len(ids), device=model.device)
    at = positions[query : query + 1]
    with evaluation_mode(model):
        x = model.embed(ids[None].to(model.device))
        for earlier in model.blocks[:layer]:
            x = earlier(x)
        block = model.blocks[layer]
        assert isinstance(block, GPT2Block)  # tells the type checker what a ModuleList holds
        attention = block.attention
        queries, keys, values = attention.project(block.attention_norm(x))
        query_before = queries[0, head, query]
        keys_before, values = attention.share(keys)[0, head], attention.share(values)[0, head]  # (T, head_dim)
        turned_query, turned_keys = query_before, keys_before
        if attention.rotary is not None:
            turned_query = attention.rotary(query_before[None], at)[0]
            turned_keys = attention.rotary(keys_before, positions)
        products = turned_keys @ turned_query  # (T,)
        scaled = products / math.sqrt(attention.head_dim)
        bias = alibi_bias(at, positions, attention.num_heads)[head, 0] if attention.alibi else None
        allowed = attention_mask(at, positions, attention.window_size, attention.causal)[0]
        scores = (scaled if bias is None else scaled + bias).masked_fill(~allowed, -math.inf)
        weights = scores.softmax(dim=-1)
        return HeadInNumbers(
            kv_head=head // (attention.num_heads // attention.num_kv_heads),
            speeds=None if attention.rotary is None else attention.rotary.radians(torch.ones_like(at))[0],
            angles=None if attention.rotary is None else attention.rotary.radians(at)[0],
            query_before=query_before,
            query=turned_query,
            keys_before=keys_before,
            keys=turned_keys,
            products=products,
            scaled=scaled,
            bias=bias,
            allowed=allowed,
            scores=scores,
            weights=weights,
            values=values,
            output=weights @ values,
        )


def _check_place(name: str, value: int, count: int, whose: str) -> None:
    check_whole_number(f"the {name}", value, minimum=0)
    if value >= count:
        raise ValueError(f"the {name} is {value}; {whose} has {count}, so give 0 to {count - 1}")
