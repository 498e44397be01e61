"""Attention maps are what the model uses."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

from gpt import attention_maps, attention_mask, evaluate
from gpt.probes import read_text


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


def test_rows_sum_to_one_and_forbidden_cells_are_exactly_zero(kind, small_model, ids):
    model = small_model(kind)
    maps = attention_maps(model, ids(2, 21))
    assert_close(maps.sum(dim=-1), torch.ones(2, 2, 4, 21))
    allowed = attention_mask(torch.arange(21), torch.arange(21), model.config.window_size)
    assert (maps[..., ~allowed] == 0).all()


def test_without_the_causal_mask_the_future_has_weight(small_model, ids):
    maps = attention_maps(small_model("gpt2", causal=False), ids(1, 9))
    assert (maps > 0).all()


def test_the_model_is_left_as_it_was_found(small_model, ids):
    model = small_model("modern", dropout=0.5).train()
    assert torch.equal(attention_maps(model, ids(1, 4) * 0), attention_maps(model, ids(1, 4) * 0))
    assert model.training
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


# --- Reading a text -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 5, 16, 17, 33, 40])
def test_mean_surprise_is_the_loss_that_evaluate_gives(kind, trainable, corpus, length):
    model = trainable(kind).eval()
    text = dataclasses.replace(corpus, validation_ids=corpus.train_ids[:length])
    reading = read_text(model, text.validation_ids)
    assert len(reading.bits) == length - 1
    assert reading.bits.mean().item() * math.log(2) == pytest.approx(evaluate(model, text), rel=1e-5)


def test_alternatives_are_the_likeliest_tokens_in_their_order(trainable, corpus):
    model = trainable("gpt2").eval()
    ids = corpus.train_ids[:10]
    reading = read_text(model, ids, alternatives=3)
    with torch.no_grad():
        probabilities = model(ids[None, :-1])[0].softmax(dim=-1)
    best = probabilities.topk(3)
    assert torch.equal(reading.alternatives, best.indices)
    torch.testing.assert_close(reading.probabilities, best.values)
    for place, (bits, target) in enumerate(zip(reading.bits, ids[1:], strict=True)):
        assert bits.item() == pytest.approx(-math.log2(probabilities[place, target]), rel=1e-4)


def test_a_text_of_one_token_cannot_surprise(trainable):
    with pytest.raises(ValueError, match="needs at least 2"):
        read_text(trainable("gpt2"), torch.tensor([1]))
