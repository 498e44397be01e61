"""Rotary positions against Hugging Face's, ALiBi against its authors' rule."""

from __future__ import annotations

import math

import pytest
import torch
from references import alibi_paper_slopes
from torch.testing import assert_close
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from gpt import RotaryPositionalEncoding
from gpt.model.positions import alibi_bias, alibi_slopes


@pytest.mark.parametrize(("start", "tolerance"), [(0, 1e-5), (1000, 5e-4)])  # float32 angles round with position
@pytest.mark.parametrize("base", [10000.0, 100.0, 500000.0])
@pytest.mark.parametrize("head_dim", [2, 8, 64])
def test_rotary_equals_llama(head_dim, base, start, tolerance):
    config = LlamaConfig(
        hidden_size=2 * head_dim,
        num_attention_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    queries, keys = torch.randn(2, 2, 40, head_dim), torch.randn(2, 2, 40, head_dim)
    positions = torch.arange(start, start + 40)
    cosine, sine = LlamaRotaryEmbedding(config)(queries, positions[None])
    expected = apply_rotary_pos_emb(queries, keys, cosine, sine)
    rotary = RotaryPositionalEncoding(head_dim, base)
    assert_close(rotary(queries, positions), expected[0], atol=tolerance, rtol=0)
    assert_close(rotary(keys, positions), expected[1], atol=tolerance, rtol=0)


def test_rotary_turns_pairs_by_the_published_angle():
    """Pair i of the halves (0, d/2), (1, d/2 + 1), ... is a complex number turned by position x base^(-2i/d)."""
    head_dim, base = 6, 50.0
    x, positions = torch.randn(4, head_dim, dtype=torch.float64), torch.tensor([0, 1, 7, 30])
    for row, position in zip(x, positions.tolist(), strict=True):
        turned = RotaryPositionalEncoding(head_dim, base)(row[None], torch.tensor([position]))[0]
        for i in range(3):
            angle = position * base ** (-2 * i / head_dim)
            expected = complex(row[i], row[i + 3]) * complex(math.cos(angle), math.sin(angle))
            assert complex(turned[i], turned[i + 3]) == pytest.approx(expected, abs=1e-5)


def test_the_gradient_of_a_turn_equals_its_differences():
    rotary = RotaryPositionalEncoding(6, base=20.0)
    x = torch.randn(2, 5, 6, dtype=torch.float64).transpose(0, 1).requires_grad_()
    cosine, sine = rotary.angles(torch.arange(2))
    outgoing = torch.randn(5, 2, 6, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(rotary(x), x, outgoing)
    first, second = x.detach().chunk(2, dim=-1)
    by_products = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    assert_close(rotary(x), by_products, atol=1e-6, rtol=0)
    first, second = outgoing.chunk(2, dim=-1)  # the transposed matrix: the same angles the other way round
    back = torch.cat((first * cosine + second * sine, second * cosine - first * sine), dim=-1)
    assert_close(gradient, back, atol=1e-6, rtol=0)


def test_rotary_scores_depend_on_distance_only():
    rotary = RotaryPositionalEncoding(16)
    query, key = torch.randn(16), torch.randn(16)

    def score(i: int, j: int) -> float:
        return float(rotary(query[None], torch.tensor([i]))[0] @ rotary(key[None], torch.tensor([j]))[0])

    for i, j in ((5, 2), (9, 9), (3, 8)):
        for shift in (1, 10, 500):
            assert score(i + shift, j + shift) == pytest.approx(score(i, j), abs=1e-3)
    assert abs(score(5, 2) - score(5, 4)) > 1e-2  # and distance does matter


def test_rotary_keeps_lengths_and_leaves_position_zero_alone():
    x = torch.randn(3, 20, 8)
    turned = RotaryPositionalEncoding(8)(x)
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert_close(turned[:, 0], x[:, 0])
    assert_close(turned, RotaryPositionalEncoding(8)(x, torch.arange(20)), atol=0, rtol=0)


def test_rotary_computes_angles_in_float32_and_keeps_the_dtype():
    """At position 1000 bfloat16 could not tell neighbours apart."""
    x, positions = torch.randn(2, 8), torch.tensor([1000, 1001])
    turned = RotaryPositionalEncoding(8)(x.bfloat16(), positions)
    assert turned.dtype == torch.bfloat16
    assert_close(turned.float(), RotaryPositionalEncoding(8)(x, positions), atol=0.05, rtol=0.02)


def test_rotary_has_no_weights_and_no_state():
    assert RotaryPositionalEncoding(8).state_dict() == {}


def test_an_odd_head_is_refused():
    with pytest.raises(ValueError, match=r"head_dim \(5\) must be even"):
        RotaryPositionalEncoding(5)


def test_alibi_slopes_of_eight_heads_are_the_published_ones():
    assert alibi_slopes(8).tolist() == [2.0**-k for k in range(1, 9)]


@pytest.mark.parametrize("num_heads", [*range(1, 17), 20, 25, 32])
def test_alibi_slopes_equal_the_authors_for_any_number_of_heads(num_heads):
    slopes = alibi_slopes(num_heads)
    assert slopes.shape == (num_heads,)
    assert_close(slopes, torch.tensor(alibi_paper_slopes(num_heads)))


def test_alibi_bias_is_minus_slope_times_distance():
    queries, keys = torch.tensor([5, 6]), torch.tensor([2, 5, 6])
    bias = alibi_bias(queries, keys, 4)
    assert bias.shape == (4, 2, 3)
    for head, slope in enumerate(alibi_slopes(4).tolist()):
        assert bias[head].tolist() == [[-3 * slope, 0, -slope], [-4 * slope, -slope, 0]]
