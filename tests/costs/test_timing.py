"""Timing: how often work is done, and the statistics; no time is asserted."""

from __future__ import annotations

import math

import pytest

from gpt.costs.timing import attention_seconds, fitted_exponent, seconds_of, spread


def test_the_first_time_is_not_counted():
    done = []
    seconds = seconds_of(lambda: done.append(1), repeats=3)
    assert len(done) == 4
    assert len(seconds) == 3
    assert min(seconds) >= 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5.0, 5.0, 5.0], 0.0),
        ([9.0, 10.0, 11.0], 0.05),  # quartiles 9.5 and 10.5
        ([1.0, 2.0, 3.0, 4.0, 100.0], 1 / 3),  # one outlier changes nothing: quartiles 2 and 4
    ],
)
def test_spread_is_half_the_distance_of_the_quartiles(values, expected):
    assert spread(values) == pytest.approx(expected)
    assert spread([10 * value for value in values]) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_value_has_no_spread(values):
    assert math.isnan(spread(values))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(power):
    lengths = [64, 128, 256, 512]
    exponent, error = fitted_exponent(lengths, [3.5 * length**power for length in lengths])
    assert exponent == pytest.approx(power)
    assert error == pytest.approx(0, abs=1e-6)


def test_the_error_of_the_exponent_comes_from_the_distance_to_the_line():
    """Of y = 0, 1, 1 over x = 0, 1, 2 the slope is 1/2, and its standard error sqrt(1/6 / 2)."""
    exponent, error = fitted_exponent([1, math.e, math.e**2], [1, math.e, math.e])
    assert exponent == pytest.approx(0.5)
    assert error == pytest.approx(math.sqrt(1 / 12))
    assert math.isnan(fitted_exponent([1, 2], [1, 2])[1])


@pytest.mark.parametrize(("lengths", "values"), [([4], [1.0]), ([4, 4], [1.0, 2.0]), ([4, 8], [1.0, 0.0])])
def test_no_exponent_without_two_lengths_and_values_above_zero(lengths, values):
    with pytest.raises(ValueError, match="an exponent needs values above 0 at two different lengths or more"):
        fitted_exponent(lengths, values)


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("window_size", [None, 4])
def test_attention_is_timed(window_size, backward):
    sizes = {"embed_size": 8, "num_heads": 2, "num_kv_heads": 1}
    seconds = attention_seconds(16, window_size, **sizes, backward=backward, repeats=2)
    assert len(seconds) == 2
    assert min(seconds) > 0
