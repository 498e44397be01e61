"""The numbers of heads: against loops over queries and keys, and for heads made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from gpt import attention_maps
from gpt.interpret import MEASURES, repeated_tokens, score_heads

# What a weight from query i on key j counts, by the definitions; entropy is no weighted sum.
COUNTS = {
    "distance": lambda ids, i, j: abs(i - j),
    "previous": lambda ids, i, j: int(j == i - 1),
    "first": lambda ids, i, j: int(j == 0 < i),
    "same": lambda ids, i, j: int(j < i and ids[j] == ids[i]),
    "prefix": lambda ids, i, j: int(0 < j < i and ids[j - 1] == ids[i]),
}


def numbers_by_hand(name, weights, allowed, ids):
    """One measure of one head, from (T, T) lists: mean, standard error, number of queries."""
    scores = []
    for i, row in enumerate(weights):
        keys = [j for j in range(len(ids)) if allowed[i][j]]
        if name == "entropy":
            scores.append(sum(-row[j] * math.log2(row[j]) for j in keys if row[j] > 0))
        else:
            counts = [COUNTS[name](ids, i, j) for j in keys]
            if name == "distance" or any(counts):
                scores.append(sum(row[j] * count for j, count in zip(keys, counts, strict=True)))
    count = len(scores)
    mean = sum(scores) / count if count else math.nan
    variance = sum((score - mean) ** 2 for score in scores) / (count - 1) if count > 1 else math.nan
    return mean, math.sqrt(variance) / math.sqrt(count) if count else math.nan, count


def mask_of(length, window_size=None, causal=True):
    return torch.tensor(
        [
            [(j <= i or not causal) and (window_size is None or abs(i - j) < window_size) for j in range(length)]
            for i in range(length)
        ]
    )


def check_against_loops(weights, allowed, ids):
    found = score_heads(weights, allowed, ids)
    assert list(found) == list(MEASURES) == ["distance", "entropy", "previous", "first", "same", "prefix"]
    keys = allowed.tolist()
    even = [[cell / sum(row) for cell in row] for row in keys]
    for name, numbers in found.items():
        assert numbers.means.shape == numbers.errors.shape == weights.shape[:2]
        for layer, heads in enumerate(weights.tolist()):
            for head, rows in enumerate(heads):
                mean, error, count = numbers_by_hand(name, rows, keys, ids.tolist())
                assert numbers.queries == count
                assert numbers.means[layer, head].item() == pytest.approx(mean, abs=1e-5, nan_ok=True)
                assert numbers.errors[layer, head].item() == pytest.approx(error, abs=1e-5, nan_ok=True)
        expected = numbers_by_hand(name, even, keys, ids.tolist())[0]
        assert numbers.even == pytest.approx(expected, rel=1e-5, abs=1e-7, nan_ok=True)
    return found


def one_head(choices):
    """The weights (1, 1, T, T) of a head whose query i reads key choices[i] alone."""
    return torch.nn.functional.one_hot(torch.tensor(choices), len(choices)).float()[None, None]


# --- By the definitions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window_size", [None, 1, 2, 3, 5, 12, 40])
@pytest.mark.parametrize("vocab_size", [1, 3, 8])
def test_random_weights_and_ids_with_repeats(vocab_size, window_size, causal):
    allowed, ids = mask_of(12, window_size, causal), torch.randint(vocab_size, (12,))
    scores = 3 * torch.randn(2, 3, 12, 12)
    check_against_loops(scores.masked_fill(~allowed, -math.inf).softmax(dim=-1), allowed, ids)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_texts(length, causal):
    allowed, ids = mask_of(length, causal=causal), torch.zeros(length, dtype=torch.long)
    scores = torch.randn(2, 3, length, length)
    check_against_loops(scores.masked_fill(~allowed, -math.inf).softmax(dim=-1), allowed, ids)


@pytest.mark.parametrize("causal", [True, False])
def test_maps_of_models(kind, small_model, ids, causal):
    model, text = small_model(kind, causal=causal), ids(1, 17)
    allowed = mask_of(17, model.config.window_size, causal)
    check_against_loops(attention_maps(model, text)[:, 0], allowed, text[0])


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window_size", [None, 1, 4])
def test_even_is_what_an_evenly_spread_head_scores(window_size, causal):
    allowed, ids = mask_of(12, window_size, causal), torch.randint(4, (12,))
    spread = allowed.float() / allowed.sum(dim=-1, keepdim=True)
    for numbers in score_heads(spread[None, None], allowed, ids).values():
        assert numbers.means.item() == pytest.approx(numbers.even, nan_ok=True)


def test_even_in_closed_form():
    """Query i reads i + 1 keys: half of i away on average, log2(i + 1) bits, 1 / (i + 1) on each."""
    ids, allowed = torch.zeros(10, dtype=torch.long), mask_of(10)
    even = {name: numbers.even for name, numbers in score_heads(torch.eye(10)[None, None], allowed, ids).items()}
    assert even["distance"] == pytest.approx(sum(i / 2 for i in range(10)) / 10)
    assert even["entropy"] == pytest.approx(sum(math.log2(i + 1) for i in range(10)) / 10)
    assert even["previous"] == even["first"] == pytest.approx(sum(1 / (i + 1) for i in range(1, 10)) / 9)
    assert even["same"] == pytest.approx(sum(i / (i + 1) for i in range(1, 10)) / 9)
    assert even["prefix"] == pytest.approx(sum((i - 1) / (i + 1) for i in range(2, 10)) / 8)


# --- Where no query counts ------------------------------------------------------------------------------------------


def test_without_repeats_there_is_nothing_to_match():
    found = check_against_loops(torch.eye(6)[None, None], mask_of(6), torch.arange(6))
    for name in ("same", "prefix"):
        assert found[name].queries == 0
        assert math.isnan(found[name].means.item())
        assert math.isnan(found[name].errors.item())
        assert math.isnan(found[name].even)


def test_a_window_of_one_hides_all_but_the_query():
    found = check_against_loops(torch.eye(6)[None, None], mask_of(6, 1), torch.zeros(6, dtype=torch.long))
    for name in ("previous", "first", "same", "prefix"):
        assert found[name].queries == 0
        assert math.isnan(found[name].means.item())
    assert found["distance"].means.item() == found["entropy"].means.item() == 0


def test_a_single_query_has_a_mean_without_error():
    found = check_against_loops(torch.eye(2)[None, None], mask_of(2), torch.tensor([4, 5]))
    assert found["previous"].queries == 1
    assert found["previous"].means.item() == 0
    assert math.isnan(found["previous"].errors.item())


def test_the_first_token_counts_only_while_the_window_holds_it():
    found = score_heads(one_head([0, 0, 0, 3, 4, 5]), mask_of(6, 3), torch.arange(6))
    assert found["first"].queries == 2
    assert found["first"].means.item() == 1


# --- Heads made by hand ---------------------------------------------------------------------------------------------


def test_a_previous_token_head():
    """All queries but the first, which can only read itself, read at distance 1."""
    found = score_heads(one_head([0, *range(19)]), mask_of(20), torch.randint(5, (20,)))
    assert found["previous"].means.item() == 1
    assert found["previous"].errors.item() == 0
    assert found["previous"].queries == 19
    assert found["distance"].means.item() == pytest.approx(19 / 20)
    assert found["entropy"].means.item() == 0


def test_a_first_token_head():
    found = score_heads(one_head([0] * 20), mask_of(20), torch.randint(5, (20,)))
    assert found["first"].means.item() == 1
    assert found["first"].errors.item() == 0
    assert found["first"].queries == 19
    assert found["previous"].means.item() == pytest.approx(1 / 19)  # the second token's previous is the first
    assert found["distance"].means.item() == pytest.approx(sum(range(20)) / 20)
    assert found["entropy"].means.item() == 0


def test_an_induction_head_on_a_sequence_said_twice():
    """In the second round, read what came after this token in the first."""
    sequence = torch.randperm(10)
    choices = [*range(10), *range(1, 11)]
    found = score_heads(one_head(choices), mask_of(20), torch.cat((sequence, sequence)))
    assert found["prefix"].means.item() == 1
    assert found["prefix"].errors.item() == 0
    assert found["prefix"].queries == 10
    assert found["same"].means.item() == 0


def test_an_induction_head_on_a_sequence_with_repeats_of_its_own():
    """Any place that followed the query's token will do, also in the first round."""
    sequence = torch.randint(6, (15,)).tolist()
    ids = sequence + sequence
    matches = [[j for j in range(1, i) if ids[j - 1] == ids[i]] for i in range(30)]
    choices = [places[int(torch.randint(len(places), ()))] if places else i for i, places in enumerate(matches)]
    found = score_heads(one_head(choices), mask_of(30), torch.tensor(ids))
    assert found["prefix"].means.item() == 1
    assert found["prefix"].queries == sum(bool(places) for places in matches) >= 15


def test_a_same_token_head():
    sequence = torch.randperm(10)
    found = score_heads(one_head([*range(10), *range(10)]), mask_of(20), torch.cat((sequence, sequence)))
    assert found["same"].means.item() == 1
    assert found["same"].queries == 10
    assert found["prefix"].means.item() == 0


def test_a_head_that_halves_its_weight_has_one_bit():
    weights = torch.eye(8).roll(-1, dims=1) / 2 + torch.eye(8) / 2  # itself and the next; the last reads the first
    found = score_heads(weights[None, None], mask_of(8, causal=False), torch.arange(8))
    assert found["entropy"].means.item() == 1
    assert found["entropy"].errors.item() == 0
    assert found["distance"].means.item() == pytest.approx((7 * 0.5 + 3.5) / 8)


def test_heads_do_not_mix():
    allowed, ids = mask_of(12), torch.randint(4, (12,))
    weights = torch.randn(3, 2, 12, 12).masked_fill(~allowed, -math.inf).softmax(dim=-1)
    together = score_heads(weights, allowed, ids)
    for layer in range(3):
        for head in range(2):
            alone = score_heads(weights[layer : layer + 1, head : head + 1], allowed, ids)
            for name in MEASURES:
                assert_close(together[name].means[layer, head], alone[name].means[0, 0])
                assert_close(together[name].errors[layer, head], alone[name].errors[0, 0])


# --- On repeated tokens ---------------------------------------------------------------------------------------------


def test_some_measures_are_those_of_all():
    weights, ids = torch.randn(2, 3, 9, 9).masked_fill(~mask_of(9), -torch.inf).softmax(-1), torch.randint(4, (9,))
    some = score_heads(weights, mask_of(9), ids, ["prefix", "entropy"])
    assert list(some) == ["prefix", "entropy"]
    for key, scores in some.items():
        assert_close(scores.means, score_heads(weights, mask_of(9), ids)[key].means, equal_nan=True)


@pytest.mark.parametrize(("vocab_size", "period", "length"), [(65, 8, 20), (8, 8, 8), (3, 7, 20), (5, 20, 12)])
def test_repeated_tokens_come_again(vocab_size, period, length):
    ids = repeated_tokens(vocab_size, period, length)
    assert ids.shape == (length,)
    assert torch.equal(ids[period:], ids[: max(0, length - period)])
    assert len(set(ids.tolist())) == min(vocab_size, period, length)
    assert torch.equal(ids, repeated_tokens(vocab_size, period, length))
    assert vocab_size < 10 or not torch.equal(ids, repeated_tokens(vocab_size, period, length, seed=1))


def test_an_induction_head_matches_every_prefix_of_repeated_tokens():
    """A head that reads what followed its token a period before, as soon as there was one."""
    ids = repeated_tokens(30, 6, 18)
    weights = one_head([max(0, query - 5) if query >= 6 else 0 for query in range(18)])
    scores = score_heads(weights, mask_of(18), ids, ["prefix"])["prefix"]
    assert (scores.means.item(), scores.queries) == (1, 12)
