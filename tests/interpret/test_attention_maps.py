"""Attention maps are what the model uses."""

from __future__ import annotations

import math

import pytest
import torch
from references import alibi_paper_slopes
from torch.testing import assert_close

from gpt.interpret import attention_maps


@torch.no_grad()
def test_maps_are_those_of_the_fast_path(kind, small_model, ids):
    """From the maps and the values of each layer, the output of its attention is made again."""
    model, input_ids, seen = small_model(kind), ids(2, 21), []
    handles = [
        block.attention.register_forward_hook(lambda layer, inputs, output: seen.append((layer, inputs[0], output)))
        for block in model.blocks
    ]
    model(input_ids)
    for handle in handles:
        handle.remove()
    maps = attention_maps(model, input_ids)
    assert maps.shape == (2, 2, 4, 21, 21)
    for weights, (layer, x, output) in zip(maps, seen, strict=True):
        values = layer.value(x).view(2, 21, layer.num_kv_heads, 8).transpose(1, 2)
        values = values.repeat_interleave(4 // layer.num_kv_heads, dim=1)
        assert_close(layer.output((weights @ values).transpose(1, 2).reshape(2, 21, 32)), output, atol=1e-4, rtol=1e-4)


def test_without_the_causal_mask_the_future_has_weight(small_model, ids):
    maps = attention_maps(small_model("gpt2", causal=False), ids(1, 9))
    assert (maps > 0).all()


def test_the_model_is_left_as_it_was_found(small_model, ids):
    model = small_model("modern", dropout=0.5).train()
    assert torch.equal(attention_maps(model, ids(1, 4) * 0), attention_maps(model, ids(1, 4) * 0))
    assert model.training
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


# --- The maps by the formula ----------------------------------------------------------------------------------------


def maps_by_hand(attention, x, allowed):
    """softmax(q k^T / sqrt(d) - slope |i - j|), row by row in float64, of x (T, C): (num_heads, T, T)."""
    x, length, width = x.double(), len(x), attention.head_dim
    shared_by = attention.num_heads // attention.num_kv_heads
    slopes = alibi_paper_slopes(attention.num_heads)
    weights = torch.zeros(attention.num_heads, length, length, dtype=torch.double)
    for head in range(attention.num_heads):
        parts = []
        for layer, at in ((attention.query, head), (attention.key, head // shared_by)):
            rows = slice(at * width, (at + 1) * width)
            part = torch.einsum("dc,tc->td", layer.weight[rows].double(), x) + layer.bias[rows].double()
            parts.append(part if attention.rotary is None else turned(part, attention.rotary.base))
        queries, keys = parts
        for i in range(length):
            seen = [j for j in range(length) if allowed(i, j)]
            scores = (keys[seen] * queries[i]).sum(dim=-1) / math.sqrt(width)
            if attention.alibi:
                scores -= slopes[head] * torch.tensor([abs(i - j) for j in seen])
            shares = (scores - scores.max()).exp()
            weights[head, i, seen] = shares / shares.sum()
    return weights


def turned(x, base):
    """RoPE as multiplication of complex numbers: (T, d) -> (T, d)."""
    first, second = x.chunk(2, dim=-1)
    speeds = base ** (-torch.arange(0, x.shape[-1], 2).double() / x.shape[-1])
    angles = torch.arange(len(x)).double()[:, None] * speeds
    product = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((product.real, product.imag), dim=-1)


CHANGES = {
    "as it is": {},
    "window of 1": {"window_size": 1},
    "window of T": {"window_size": 9},
    "window beyond T": {"window_size": 50},
    "no window": {"window_size": None},
    "one KV head": {"num_kv_heads": 1},
    "a KV head each": {"num_kv_heads": 4},
    "six heads, three KV heads": {"embed_size": 36, "num_heads": 6, "num_kv_heads": 3},
}


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_maps_equal_the_formula(kind, small_model, ids, change, causal):
    """In float64, so that rounding hides no mistake; rotary positions turn in float32 all the same."""
    model, input_ids, seen = small_model(kind, causal=causal, **CHANGES[change]).double(), ids(2, 9), []
    window = model.config.window_size
    handles = [
        block.attention.register_forward_hook(lambda layer, inputs, output: seen.append((layer, inputs[0])))
        for block in model.blocks
    ]
    model(input_ids)
    for handle in handles:
        handle.remove()

    def allowed(i, j):
        return (j <= i or not causal) and (window is None or abs(i - j) < window)

    maps = attention_maps(model, input_ids)
    expected = torch.stack([torch.stack([maps_by_hand(layer, row, allowed) for row in x]) for layer, x in seen])
    assert_close(maps, expected, atol=1e-6, rtol=0)
    mask = torch.tensor([[allowed(i, j) for j in range(9)] for i in range(9)])
    assert (maps[..., ~mask] == 0).all()
    assert_close(maps.sum(dim=-1), torch.ones(2, 2, model.config.num_heads, 9).double())


@pytest.mark.parametrize("causal", [True, False])
def test_a_single_token_reads_itself(kind, small_model, ids, causal):
    maps = attention_maps(small_model(kind, causal=causal), ids(3, 1))
    assert torch.equal(maps, torch.ones(2, 3, 4, 1, 1))


def test_a_window_of_one_reads_itself(kind, small_model, ids):
    maps = attention_maps(small_model(kind, window_size=1), ids(2, 9))
    assert torch.equal(maps, torch.eye(9).expand(2, 2, 4, 9, 9))


@pytest.mark.parametrize("window_size", [9, 10, 48])
def test_a_window_as_long_as_the_text_gives_the_maps_without_one(kind, small_model, ids, window_size):
    input_ids = ids(2, 9)
    without = attention_maps(small_model(kind, window_size=None), input_ids)
    assert_close(attention_maps(small_model(kind, window_size=window_size), input_ids), without)
