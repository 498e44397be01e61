"""The parts of a block, against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

import gpt
from gpt import GPT2Block, GPT2LayerNorm, GPT2OutputLayer, PositionWiseFeedForward, SlidingWindowAttention


def test_layer_norm_divides_the_variance_by_n():
    norm = GPT2LayerNorm(32)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = 3 + 5 * torch.randn(2, 7, 32)
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).sum(dim=-1, keepdim=True) / 32
    assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias, atol=1e-5, rtol=1e-5)
    assert norm.eps == 1e-5


def test_feed_forward_uses_the_tanh_form_of_gelu():
    feed_forward = PositionWiseFeedForward(8, 20)
    x = torch.randn(2, 7, 8)
    inner = feed_forward.expand(x)
    assert inner.shape == (2, 7, 20)
    gelu = 0.5 * inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
    assert_close(feed_forward(x), feed_forward.project(gelu))


def test_a_block_normalises_before_each_branch_and_adds():
    block = GPT2Block(32, 4, 128)
    x = torch.randn(2, 7, 32)
    middle = x + block.attention(block.attention_norm(x))
    assert_close(block(x), middle + block.feed_forward(block.feed_forward_norm(middle)))


def test_each_layer_stands_alone_as_the_design_lists_them():
    x = torch.randn(2, 5, 32)
    for layer in (
        gpt.SlidingWindowAttention(32, 4, 3),
        gpt.GroupQueryAttention(32, 4, 2),
        gpt.GPT2Block(32, 4, 128),
        gpt.TransformerBlock(32, 4, 128),
        gpt.GPT2LayerNorm(32),
        gpt.PositionWiseFeedForward(32, 64),
    ):
        assert layer(x).shape == x.shape
        layer(x).sum().backward()
    assert gpt.TransformerBlock is gpt.GPT2Block


def test_a_block_takes_any_attention():
    block = GPT2Block(32, 4, 128, attention=SlidingWindowAttention(32, 4, 2))
    x = torch.randn(1, 9, 32)
    changed = x.clone()
    changed[:, 0] += torch.randn(32)
    assert torch.equal(block(changed)[:, 2:], block(x)[:, 2:])
    assert not torch.allclose(block(changed)[:, 1], block(x)[:, 1])


def test_dropout_reaches_both_branches_in_training_only():
    block = GPT2Block(32, 4, 128, dropout=0.5)
    assert block.attention.dropout == 0.5
    x = torch.randn(2, 5, 32)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_the_output_layer_has_no_bias():
    layer = GPT2OutputLayer(32, 11)
    x = torch.randn(2, 5, 32)
    assert_close(layer(x), x @ layer.weight.T)
    assert layer(x).shape == (2, 5, 11)
    assert layer.bias is None


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"embed_size \(30\) must be divisible by num_heads \(4\)"):
        GPT2Block(30, 4, 128)
