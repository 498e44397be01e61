"""Windowed attention in blocks: against the formula under the dense mask, in values, gradients and memory."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from gpt import GPT2, KVCache, MultiHeadSelfAttention, RotaryPositionalEncoding
from gpt.model.banded import banded_attention, banded_wins, block_sizes
from gpt.model.cache import GrowingCache, RollingCache
from gpt.model.masks import attention_mask
from gpt.model.positions import alibi_bias

SIZE, _ = block_sizes(1)  # queries in a block of all small windows

WINDOWS = [1, 2, 3, 8, 65, 257]  # blocks of 64 with one, two and of 72 with four blocks of past

# Around the window, where the plain formula is all there is; then with blocks, with and without a remainder.
LENGTHS = {
    "1": lambda window: 1,
    "W - 1": lambda window: max(1, window - 1),
    "W": lambda window: window,
    "W + 1": lambda window: window + 1,
    "2W": lambda window: 2 * window,
    "3W + 1": lambda window: 3 * window + 1,
    "whole blocks": lambda window: 7 * block_sizes(window)[0],
    "one more": lambda window: 7 * block_sizes(window)[0] + 1,
    "one less": lambda window: 7 * block_sizes(window)[0] - 1,
    "W + 3 blocks": lambda window: window + 3 * block_sizes(window)[0],
}

OPTIONS = {
    "plain": {},
    "grouped": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "rotary": {"rotary": RotaryPositionalEncoding(8)},
    "alibi": {"alibi": True},
    "rotary grouped": {"num_kv_heads": 2, "rotary": RotaryPositionalEncoding(8)},
    "alibi grouped": {"num_kv_heads": 2, "alibi": True},
}


def plain_attention(queries, keys, values, window_size, alibi=False):
    """The formula, softmax(q k^T / sqrt(d) + bias) v, with all T x T scores."""
    num_heads, length, head_dim = queries.shape[1:]
    positions = torch.arange(length)
    keys, values = (heads.repeat_interleave(num_heads // heads.shape[1], dim=1) for heads in (keys, values))
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(head_dim)  # (B, H, T, T)
    if alibi:
        scores = scores + alibi_bias(positions, positions, num_heads).to(scores.dtype)
    return scores.masked_fill(~attention_mask(positions, positions, window_size), -math.inf).softmax(dim=-1) @ values


def heads(batch, length, num_heads=4, num_kv_heads=4, head_dim=8, dtype=torch.float32):
    """Queries, keys and values (B, heads, T, d) that need gradients, laid out as the model's own projections are."""
    return [
        (1.5 * torch.randn(batch, length, count, head_dim)).to(dtype).transpose(1, 2).requires_grad_()
        for count in (num_heads, num_kv_heads, num_kv_heads)
    ]


def assert_same(ours, reference, inputs, **tolerances):
    """Equal values, and equal gradients with respect to each input."""
    weights = torch.randn_like(reference)
    assert_close(ours, reference, **tolerances)
    expected = torch.autograd.grad(reference, inputs, weights)
    for gradient, other in zip(torch.autograd.grad(ours, inputs, weights), expected, strict=True):
        assert_close(gradient, other, **tolerances)


@pytest.mark.parametrize("window_size", WINDOWS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_the_formula_in_values_and_gradients(window_size, length, batch):
    inputs = heads(batch, LENGTHS[length](window_size), num_heads=2, num_kv_heads=2)
    ours, reference = banded_attention(*inputs, window_size), plain_attention(*inputs, window_size)
    assert_same(ours, reference, inputs, atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("alibi", [False, True])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize(("window_size", "length"), [(3, 300), (40, 333), (130, 500)])
def test_equals_the_formula_with_alibi_and_shared_heads(alibi, num_kv_heads, window_size, length):
    inputs = heads(2, length, num_kv_heads=num_kv_heads)
    ours = banded_attention(*inputs, window_size, alibi=alibi)
    assert_same(ours, plain_attention(*inputs, window_size, alibi), inputs, atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("window_size", [257, 300, 10**9])
def test_a_window_as_long_as_the_text_is_full_attention(window_size):
    inputs = heads(2, 257)
    full = F.scaled_dot_product_attention(*inputs, is_causal=True)
    assert_same(banded_attention(*inputs, window_size), full, inputs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("alibi", [False, True])
def test_equals_the_formula_in_bfloat16(alibi):
    inputs = heads(2, 301, num_kv_heads=2, dtype=torch.bfloat16)
    ours = banded_attention(*inputs, 20, alibi=alibi)
    assert ours.dtype == torch.bfloat16
    exact = [tensor.detach().float().requires_grad_() for tensor in inputs]
    reference = plain_attention(*exact, 20, alibi)
    weights = torch.randn_like(reference)
    assert_close(ours.float(), reference, atol=0.05, rtol=0.05)
    expected = torch.autograd.grad(reference, exact, weights)
    for gradient, other in zip(torch.autograd.grad(ours, inputs, weights.bfloat16()), expected, strict=True):
        assert_close(gradient.float(), other, atol=0.15, rtol=0.05)


def test_gradients_equal_finite_differences():
    inputs = heads(1, 4 * SIZE + 3, num_heads=2, num_kv_heads=1, head_dim=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *given: banded_attention(*given, 5, alibi=True), inputs, fast_mode=True)


@torch.no_grad()
@pytest.mark.parametrize("window_size", [1, 7, 64, 130])
def test_what_is_outside_the_window_cannot_change_the_output(window_size):
    """Keys and values of one token become huge: only the queries from it to W - 1 later may notice, and they do."""
    length, place = 9 * SIZE + 17, 4 * SIZE - 2  # its window crosses the edge of a block
    queries, keys, values = heads(2, length)
    before = banded_attention(queries, keys, values, window_size)
    for tensor in (keys, values):
        tensor[:, :, place] = 1e30
    after = banded_attention(queries, keys, values, window_size)
    unlike = (after != before).flatten(2).view(2, 4, length, -1).any(dim=-1)  # (B, H, T)
    sees = torch.zeros(length, dtype=torch.bool)
    sees[place : place + window_size] = True
    assert not unlike[..., ~sees].any()
    assert unlike[..., place].any()


def test_dropout_drops_weights_and_keeps_their_mean():
    queries, keys, values = (tensor.detach() for tensor in heads(1, 300, num_kv_heads=2))
    many = [tensor.expand(400, -1, -1, -1) for tensor in (queries, keys, values)]
    dropped = banded_attention(*many, 9, dropout_p=0.25)
    assert not torch.equal(dropped[0], dropped[1])
    undropped = banded_attention(queries, keys, values, 9)
    error = (dropped.mean(dim=0) - undropped[0]).abs() / (dropped.std(dim=0) / 400**0.5 + 1e-6)
    assert error.mean() < 1.2  # of a standard error; 0.8 is expected
    assert banded_attention(queries, keys, torch.ones_like(values), 1, dropout_p=0.25).unique().tolist() == [
        0.0,
        pytest.approx(1 / 0.75),
    ]


def test_it_wins_in_long_texts_only():
    assert not banded_wins(64, 8)
    assert banded_wins(256, 32)
    assert banded_wins(8192, 128)
    for window_size in (1, 8, 100, 1000):
        size, past = block_sizes(window_size)
        assert past >= window_size - 1
        first = next(length for length in range(10**4) if banded_wins(length, window_size))
        assert window_size + 3 * size <= first < window_size + 3 * size + 8


class Sizes(TorchDispatchMode):
    """Notes the numbers in the largest tensor that any operation makes, forward or backward."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize("options", [{}, {"alibi": True}, {"dropout_p": 0.1}])
def test_no_tensor_grows_with_the_square_of_the_length(options):
    largest = {}
    for length in (1024, 2048, 4096):
        inputs = heads(1, length, num_heads=2, num_kv_heads=1)
        with Sizes() as sizes:
            banded_attention(*inputs, 32, **options).sum().backward()
        largest[length] = sizes.largest
    assert largest[4096] < 4096**2 / 8
    assert largest[4096] <= 2.1 * largest[2048] <= 2.1**2 * largest[1024]


def lively(attention):
    """With weights and biases that make the attention far from uniform."""
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_(0.0, 0.3)
    return attention.eval()


@pytest.fixture
def used(monkeypatch):
    """The lengths of the texts that were read in blocks, and `used.forbid()` to have none read so."""

    class Used(list):
        def forbid(self):
            monkeypatch.setattr("gpt.model.attention.banded_wins", lambda *_: False)

    lengths = Used()

    def noting(queries, *arguments, **options):
        lengths.append(queries.shape[2])
        return banded_attention(queries, *arguments, **options)

    monkeypatch.setattr("gpt.model.attention.banded_attention", noting)
    return lengths


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("window_size", "length"), [(5, 4 * SIZE), (5, 5 * SIZE - 9), (70, 6 * SIZE + 1)])
def test_the_layer_is_the_same_by_either_way(options, window_size, length, used):
    attention = lively(MultiHeadSelfAttention(32, 4, window_size=window_size, **OPTIONS[options]))
    x = torch.randn(2, length, 32, requires_grad=True)
    inputs = [x, *attention.parameters()]
    fast = attention(x)
    assert used == [length]
    used.forbid()
    assert_same(fast, attention(x), inputs, atol=2e-4, rtol=1e-4)  # gradients of weights are sums over all tokens
    assert used == [length]


@torch.no_grad()
def test_the_layer_gives_what_its_attention_weights_say(used):
    attention = lively(MultiHeadSelfAttention(32, 4, window_size=9, num_kv_heads=2, alibi=True))
    x = torch.randn(2, 300, 32)
    values = attention.value(x).view(2, 300, 2, 8).transpose(1, 2).repeat_interleave(2, dim=1)  # (B, H, T, head_dim)
    mixed = attention.attention_weights(x) @ values
    assert_close(attention.head_outputs(x), mixed.transpose(1, 2), atol=1e-5, rtol=1e-5)
    assert used == [300]


@torch.no_grad()
@pytest.mark.parametrize("cache", [lambda: RollingCache(9), GrowingCache], ids=["rolling", "growing"])
def test_a_first_chunk_is_read_in_blocks_and_later_ones_are_not(cache, used):
    attention = lively(MultiHeadSelfAttention(32, 4, window_size=9, rotary=RotaryPositionalEncoding(8)))
    x = torch.randn(2, 620, 32)
    held = cache()
    pieces = [attention(x[:, start:end], held) for start, end in ((0, 300), (300, 619), (619, 620))]
    assert used == [300]
    used.forbid()
    assert_close(torch.cat(pieces, dim=1), attention(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("options", [{"causal": False, "window_size": 9}, {}, {"window_size": 280}])
def test_other_texts_are_read_by_the_plain_way(options, used):
    lively(MultiHeadSelfAttention(32, 4, **options))(torch.randn(1, 300, 32))
    assert used == []


@pytest.mark.parametrize("variant", ["sliding-window", "modern", "alibi-window-multi-query", "none-window"])
def test_a_model_is_the_same_by_either_way(variant, used, small_config):
    torch.manual_seed(0)
    model = GPT2.from_config(small_config(variant, context_length=400, window_size=7)).eval()
    ids = torch.randint(model.config.vocab_size, (2, 400))
    with torch.no_grad():
        fast, cached = model(ids), model(ids, cache=KVCache(model.config.num_layers, 7))
        assert used == [400] * 2 * model.config.num_layers
        used.forbid()
        assert_close(fast, model(ids), atol=1e-5, rtol=1e-5)
        assert_close(cached, fast, atol=1e-5, rtol=1e-5)
