"""One head in numbers is what the model's own attention computes, step by step."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from gpt.interpret import attention_maps, head_in_numbers

LENGTH = 21
CHANGES = {
    "as it is": {},
    "window of 1": {"window_size": 1},
    "window to both sides": {"window_size": 4, "causal": False},
    "no causal mask": {"causal": False},
    "six heads, three KV heads": {"embed_size": 36, "num_heads": 6, "num_kv_heads": 3},
}


def attention_calls(model, input_ids):
    """(module, input, output) of each layer's attention on the way through the model."""
    seen = []
    handles = [
        block.attention.register_forward_hook(lambda layer, inputs, output: seen.append((layer, inputs[0], output)))
        for block in model.blocks
    ]
    model(input_ids)
    for handle in handles:
        handle.remove()
    return seen


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES)
def test_the_numbers_are_those_of_the_module(kind, small_model, ids, change):
    """In float64, so that rounding hides no mistake; rotary positions turn in float32 all the same."""
    model, input_ids = small_model(kind, **CHANGES[change]).double(), ids(1, LENGTH)
    maps, heads = attention_maps(model, input_ids)[:, 0], range(model.config.num_heads)
    for layer, (attention, x, output) in enumerate(attention_calls(model, input_ids)):
        for query in (0, 9, LENGTH - 1):
            found = [head_in_numbers(model, input_ids[0], layer, head, query) for head in heads]
            assert_close(torch.stack([one.weights for one in found]), maps[layer, :, query], atol=1e-6, rtol=0)
            mixed = torch.stack([one.output for one in found])  # (num_heads, head_dim)
            assert_close(mixed, attention.head_outputs(x)[0, query], atol=1e-6, rtol=0)
            assert_close(attention.output(mixed.flatten()), output[0, query], atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES)
def test_each_step_follows_from_the_one_before(kind, small_model, ids, change):
    model, input_ids = small_model(kind, **CHANGES[change]).double(), ids(1, LENGTH)
    config, query, head = model.config, 12, 3
    attention, x, _ = attention_calls(model, input_ids)[1]
    one = head_in_numbers(model, input_ids[0], 1, head, query)
    width, kv_head = config.head_dim, head * config.kv_heads // config.num_heads
    assert one.kv_head == kv_head
    assert_close(one.query_before, attention.query(x)[0, query, head * width : (head + 1) * width])
    part = slice(kv_head * width, (kv_head + 1) * width)
    assert_close(one.keys_before, attention.key(x)[0, :, part])
    assert_close(one.values, attention.value(x)[0, :, part])
    assert_close(one.products, (one.query * one.keys).sum(dim=-1))
    assert_close(one.scaled, one.products / width**0.5)
    distance = (torch.arange(LENGTH) - query).double()
    allowed = distance <= 0 if config.causal else distance > -math.inf
    if config.window_size is not None:
        allowed &= distance.abs() < config.window_size
    assert torch.equal(one.allowed, allowed)
    assert (one.bias is not None) == (config.positions == "alibi")
    added = one.scaled if one.bias is None else one.scaled + one.bias
    if one.bias is not None:
        slope = -one.bias[query - 1]
        assert slope > 0
        assert_close(one.bias.double(), -slope * distance.abs())
    assert torch.equal(one.scores, added.masked_fill(~allowed, -math.inf))
    assert (one.weights[~allowed] == 0).all()
    assert_close(one.output, (one.weights[:, None] * one.values).sum(dim=0))


@torch.no_grad()
@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi", "none"])
@pytest.mark.parametrize("window_size", [None, 6])
def test_the_keys_are_those_of_the_cache(small_model, ids, positions, window_size):
    """What a cache holds is asked for by giving it one token more."""
    model, input_ids = small_model("grouped-query", positions=positions, window_size=window_size), ids(1, LENGTH)
    cache = model.new_cache()
    model(input_ids, cache=cache)
    for layer, held in enumerate(cache.layers):
        nothing = torch.zeros(1, model.config.kv_heads, 1, model.config.head_dim)
        keys, values, places = held.extend(nothing, nothing)
        kept = places < LENGTH
        assert kept.any()
        for head in range(model.config.num_heads):
            one = head_in_numbers(model, input_ids[0], layer, head, LENGTH - 1)
            assert_close(keys[0, one.kv_head, kept], one.keys[places[kept]])
            assert_close(values[0, one.kv_head, kept], one.values[places[kept]])


def test_rotary_turns_each_pair_by_position_times_its_speed(small_model, ids):
    model = small_model("rotary")
    one = head_in_numbers(model, ids(1, LENGTH)[0], 1, 2, 7)
    assert_close(one.angles, 7 * one.speeds)
    assert_close(one.speeds, torch.tensor([10000.0 ** (-2 * pair / 8) for pair in range(4)]))
    before, after = (torch.complex(*numbers.chunk(2)) for numbers in (one.query_before, one.query))
    assert_close(after, before * torch.polar(torch.ones(4), one.angles))


@pytest.mark.parametrize("kind", ["gpt2", "alibi", "none"])
def test_without_rotary_positions_nothing_turns(small_model, ids, kind):
    one = head_in_numbers(small_model(kind), ids(1, LENGTH)[0], 1, 2, 7)
    assert one.angles is one.speeds is None
    assert torch.equal(one.query, one.query_before)
    assert torch.equal(one.keys, one.keys_before)


def test_the_model_is_left_as_it_was_found(small_model, ids):
    model, text = small_model("modern", dropout=0.5).train(), ids(1, 4)[0]
    assert torch.equal(*(head_in_numbers(model, text, 1, 0, 3).output for _ in range(2)))
    assert model.training


@pytest.mark.parametrize(
    ("place", "error", "match"),
    [
        ((2, 0, 0), ValueError, "the layer is 2; this model has 2, so give 0 to 1"),
        ((-1, 0, 0), ValueError, "the layer is -1; give 0 or more"),
        ((0, 4, 0), ValueError, "the head is 4; a layer of this model has 4, so give 0 to 3"),
        ((0, 0, 21), ValueError, "the query is 21; this text has 21, so give 0 to 20"),
        ((0, 0, True), TypeError, "the query is True; give a whole number"),
        ((0, 1.5, 0), TypeError, r"the head is 1\.5; give a whole number"),
        ((None, 0, 0), TypeError, "the layer is None; give a whole number"),
    ],
)
def test_what_is_not_there_is_named(small_model, ids, place, error, match):
    with pytest.raises(error, match=match):
        head_in_numbers(small_model("gpt2"), ids(1, LENGTH)[0], *place)
