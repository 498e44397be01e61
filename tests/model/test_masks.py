"""Which key may a query see."""

from __future__ import annotations

import pytest
import torch

from gpt import attention_mask


def rule(i: int, j: int, window_size: int | None, causal: bool) -> bool:
    """The definition, in scalars."""
    return (j <= i or not causal) and (window_size is None or abs(i - j) < window_size)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window_size", [None, 1, 2, 5, 9, 50])
def test_equals_the_rule_at_any_positions(window_size, causal):
    queries, keys = torch.tensor([3, 0, 20, 21]), torch.tensor([21, 4, 0, 3, 17, 20, 2])
    expected = [[rule(i, j, window_size, causal) for j in keys.tolist()] for i in queries.tolist()]
    mask = attention_mask(queries, keys, window_size, causal)
    assert mask.dtype == torch.bool
    assert mask.tolist() == expected


def test_a_window_of_three_is_three_keys_the_token_itself_included():
    positions = torch.arange(5)
    assert attention_mask(positions, positions, window_size=3).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


def test_a_window_of_one_is_the_token_itself():
    positions = torch.arange(7)
    for causal in (True, False):
        assert torch.equal(attention_mask(positions, positions, 1, causal), torch.eye(7, dtype=torch.bool))


def test_a_window_as_long_as_the_text_is_full():
    positions = torch.arange(7)
    for causal in (True, False):
        full = attention_mask(positions, positions, None, causal)
        assert torch.equal(attention_mask(positions, positions, 7, causal), full)
        assert torch.equal(attention_mask(positions, positions, 8, causal), full)
    assert attention_mask(positions, positions, causal=False).all()


def test_only_differences_of_positions_matter():
    positions = torch.arange(9)
    here = attention_mask(positions, positions, 4)
    assert torch.equal(attention_mask(positions + 1000, positions + 1000, 4), here)
