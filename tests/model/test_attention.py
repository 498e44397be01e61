"""Attention: against Mistral's, against its own explicit formula, and its options against each other."""

from __future__ import annotations

import pytest
import torch
from references import mistral_attention_output
from torch.testing import assert_close

from gpt import GroupQueryAttention, MultiHeadSelfAttention, RotaryPositionalEncoding, SlidingWindowAttention
from gpt.model.attention import attention_mask as mask_in_use

OPTIONS = {
    "plain": {},
    "grouped": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "window": {"window_size": 5},
    "rotary": {"rotary": RotaryPositionalEncoding(8)},
    "alibi": {"alibi": True},
    "all": {"num_kv_heads": 2, "window_size": 5, "rotary": RotaryPositionalEncoding(8)},
    "alibi grouped window": {"num_kv_heads": 2, "window_size": 5, "alibi": True},
}


def lively(attention: MultiHeadSelfAttention) -> MultiHeadSelfAttention:
    """With weights and biases that make the attention far from uniform."""
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_(0.0, 0.3)
    return attention.eval()


def same_weights(attention: MultiHeadSelfAttention, other: MultiHeadSelfAttention) -> MultiHeadSelfAttention:
    other.load_state_dict(attention.state_dict())
    return other.eval()


@pytest.fixture(params=OPTIONS)
def options(request):
    return OPTIONS[request.param]


@torch.no_grad()
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize(
    ("batch", "length", "head_dim", "window_size", "base"),
    [(1, 17, 8, 4, 1e4), (2, 33, 16, 16, 1e4), (3, 64, 32, 7, 1e6), (2, 9, 4, 1, 100.0), (1, 12, 8, 64, 1e4)],
)
def test_equals_mistral(num_kv_heads, batch, length, head_dim, window_size, base):
    """Rotary, grouped-query and sliding window together; Mistral has no biases, so ours are zero."""
    attention = lively(
        MultiHeadSelfAttention(
            4 * head_dim,
            4,
            num_kv_heads=num_kv_heads,
            window_size=window_size,
            rotary=RotaryPositionalEncoding(head_dim, base),
        )
    )
    for parameter in attention.parameters():
        if parameter.ndim == 1:
            parameter.zero_()
        else:
            parameter.normal_(0.0, parameter.shape[1] ** -0.5)  # outputs of order 1, as the tolerance supposes
    x = torch.randn(batch, length, 4 * head_dim)
    assert_close(attention(x), mistral_attention_output(attention, x), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_fast_path_equals_the_explicit_softmax(options, causal):
    attention = lively(MultiHeadSelfAttention(32, 4, causal=causal, **options))
    x = torch.randn(2, 13, 32)
    weights = attention.attention_weights(x)  # (B, H, T, T)
    assert_close(weights.sum(dim=-1), torch.ones(2, 4, 13))
    values = attention.value(x).view(2, 13, attention.num_kv_heads, 8).transpose(1, 2)
    values = values.repeat_interleave(4 // attention.num_kv_heads, dim=1)  # (B, H, T, head_dim)
    mixed = (weights @ values).transpose(1, 2).reshape(2, 13, 32)
    assert_close(attention(x), attention.output(mixed), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_forbidden_weights_are_exactly_zero_and_allowed_ones_are_not(options, causal):
    attention = lively(MultiHeadSelfAttention(32, 4, causal=causal, **options))
    positions = torch.arange(13)
    allowed = mask_in_use(positions, positions, attention.window_size, causal)
    weights = attention.attention_weights(torch.randn(1, 13, 32))[0]
    assert (weights[:, ~allowed] == 0).all()
    assert (weights[:, allowed] > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("window_size", [None, 13, 50])
def test_the_fast_triangle_equals_the_explicit_mask(window_size, monkeypatch):
    attention = lively(MultiHeadSelfAttention(32, 4, window_size=window_size))
    x = torch.randn(2, 13, 32)
    assert attention._mask(torch.arange(13), torch.arange(13), x.dtype, from_start=True) == (None, True)
    fast = attention(x)
    positions = torch.arange(13)
    explicit = mask_in_use(positions, positions, window_size)
    monkeypatch.setattr(attention, "_mask", lambda *_, **__: (explicit, False))
    assert_close(attention(x), fast, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_the_future_cannot_change_the_past(options):
    attention = lively(MultiHeadSelfAttention(32, 4, **options))
    x = torch.randn(2, 13, 32)
    changed = x.clone()
    changed[:, 7:] = torch.randn(2, 6, 32)
    assert_close(attention(changed)[:, :7], attention(x)[:, :7], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(attention(changed)[:, 7:], attention(x)[:, 7:], atol=1e-3)


@torch.no_grad()
def test_without_the_causal_mask_it_sees_the_future(options):
    attention = lively(MultiHeadSelfAttention(32, 4, causal=False, **options))
    x = torch.randn(2, 13, 32)
    changed = x.clone()
    changed[:, 8] = torch.randn(2, 32)
    assert not torch.allclose(attention(changed)[:, 7], attention(x)[:, 7], atol=1e-3)


@torch.no_grad()
def test_a_window_hides_what_is_further_back():
    attention = lively(SlidingWindowAttention(32, 4, 5))
    x = torch.randn(1, 13, 32)
    changed = x.clone()
    changed[:, 3] = torch.randn(32)
    unlike = (attention(changed) - attention(x)).abs().amax(dim=(0, 2)) > 1e-6
    assert unlike.tolist() == [3 <= i < 3 + 5 for i in range(13)]


@torch.no_grad()
def test_as_many_groups_as_heads_is_multi_head_attention(options):
    full = lively(MultiHeadSelfAttention(32, 4, **(options | {"num_kv_heads": None})))
    grouped = same_weights(full, MultiHeadSelfAttention(32, 4, **(options | {"num_kv_heads": 4})))
    x = torch.randn(2, 13, 32)
    assert torch.equal(grouped(x), full(x))


@torch.no_grad()
def test_grouped_query_is_multi_head_attention_with_each_key_and_value_head_repeated(options):
    """[K0, K1] -> [K0, K0, K1, K1]: repeated, never tiled."""
    grouped = lively(MultiHeadSelfAttention(32, 4, **(options | {"num_kv_heads": 2})))
    full = MultiHeadSelfAttention(32, 4, **(options | {"num_kv_heads": None})).eval()
    weights = grouped.state_dict()
    for name in ("key.weight", "key.bias", "value.weight", "value.bias"):
        first, second = weights[name].chunk(2)
        weights[name] = torch.cat((first, first, second, second))
    full.load_state_dict(weights)
    x = torch.randn(2, 13, 32)
    assert_close(grouped(x), full(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("window_size", [13, 14, 1000])
@pytest.mark.parametrize("causal", [True, False])
def test_a_window_as_long_as_the_text_is_full_attention(options, window_size, causal):
    full = lively(MultiHeadSelfAttention(32, 4, causal=causal, **(options | {"window_size": None})))
    wide = MultiHeadSelfAttention(32, 4, causal=causal, **(options | {"window_size": window_size}))
    x = torch.randn(2, 13, 32)
    assert_close(same_weights(full, wide)(x), full(x), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_window_of_one_reads_the_token_itself_only():
    attention = lively(SlidingWindowAttention(32, 4, 1))
    x = torch.randn(2, 13, 32)
    assert_close(attention(x), attention.output(attention.value(x)), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_rotary_scores_depend_on_distance_only():
    """A text of one repeated vector gives scores of distance alone: equal along every diagonal."""
    attention = lively(MultiHeadSelfAttention(32, 4, rotary=RotaryPositionalEncoding(8)))
    weights = attention.attention_weights(torch.randn(32).expand(1, 20, 32))[0].log()  # (H, T, T)
    for distance in (1, 5, 12):
        ratios = (weights.diagonal(-distance, 1, 2) - weights.diagonal(0, 1, 2)[:, distance:])[..., 0:]
        assert_close(ratios, ratios[:, :1].expand_as(ratios), atol=1e-4, rtol=1e-4)
    assert (weights.diagonal(-5, 1, 2)[:, 0] - weights.diagonal(0, 1, 2)[:, 5]).abs().max() > 1e-2


def test_the_named_classes_are_the_one_class_and_stand_alone():
    window, grouped = SlidingWindowAttention(32, 4, 3), GroupQueryAttention(32, 4, 2)
    assert (window.window_size, window.num_kv_heads) == (3, 4)
    assert (grouped.window_size, grouped.num_kv_heads) == (None, 2)
    x = torch.randn(2, 5, 32)
    for attention in (window, grouped):
        assert isinstance(attention, MultiHeadSelfAttention)
        assert attention(x).shape == x.shape
        same = MultiHeadSelfAttention(32, 4, window_size=attention.window_size, num_kv_heads=attention.num_kv_heads)
        assert torch.equal(same_weights(attention, same)(x), attention(x))
    assert SlidingWindowAttention(32, 4, 3, num_kv_heads=1).key.weight.shape == (8, 32)


def test_key_and_value_weights_are_of_their_heads_only():
    attention = GroupQueryAttention(32, 4, 2)
    assert {name: tuple(weight.shape) for name, weight in attention.named_parameters()} == {
        **{"query.weight": (32, 32), "query.bias": (32,), "key.weight": (16, 32), "key.bias": (16,)},
        **{"value.weight": (16, 32), "value.bias": (16,), "output.weight": (32, 32), "output.bias": (32,)},
    }


def test_masks_are_not_part_of_the_state():
    options = {"window_size": 3, "rotary": RotaryPositionalEncoding(8)}
    assert set(MultiHeadSelfAttention(32, 4, **options).state_dict()) == {
        f"{name}.{kind}" for name in ("query", "key", "value", "output") for kind in ("weight", "bias")
    }


def test_dropout_works_in_training_only():
    attention = lively(MultiHeadSelfAttention(32, 4, dropout=0.5))
    x = torch.randn(2, 13, 32)
    assert torch.equal(attention(x), attention(x))
    attention.train()
    assert not torch.equal(attention(x), attention(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 5}, r"embed_size \(32\) must be divisible by num_heads \(5\)"),
        ({"num_kv_heads": 3}, r"num_heads \(4\) must be divisible by num_kv_heads \(3\)"),
        ({"window_size": 0}, "window_size is 0; give 1 or more"),
        ({"num_heads": 32, "rotary": RotaryPositionalEncoding(2)}, "must be even; 32 / 32 = 1"),
    ],
)
def test_errors_say_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadSelfAttention(**{"embed_size": 32, "num_heads": 4, **arguments})
