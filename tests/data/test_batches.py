"""Batches and windows: which tokens they hold, and in which order."""

from __future__ import annotations

import itertools

import pytest
import torch

from gpt.data.batches import BatchStream, validation_windows


def test_targets_are_the_inputs_one_token_further():
    text = torch.arange(100)
    inputs, targets = BatchStream(text, batch_size=5, context_length=8, seed=1)[0]
    assert inputs.shape == targets.shape == (5, 8)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(inputs, inputs[:, :1] + torch.arange(8))


def test_a_batch_depends_on_the_seed_and_its_number_alone():
    text = torch.randint(7, (500,))
    stream = BatchStream(text, 4, 8, seed=1)
    in_order = [stream[number] for number in range(6)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = BatchStream(text, 4, 8, seed=1)
    for number in (5, 0, 3, 3):
        assert torch.equal(again[number][0], in_order[number][0])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(in_order[0][0], in_order[1][0])
    assert not torch.equal(BatchStream(text, 4, 8, seed=2)[0][0], in_order[0][0])


def test_random_windows_may_start_anywhere_but_beyond_the_end():
    stream = BatchStream(torch.arange(12), batch_size=50, context_length=8, seed=1, order="random")
    starts = {int(start) for number in range(5) for start in stream[number][0][:, 0]}
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize("length", [9, 12, 16, 17, 500])
@pytest.mark.parametrize("batch_size", [1, 4, 150])
def test_a_pass_reads_every_window_once_and_passes_differ(length, batch_size):
    context = 8
    stream = BatchStream(torch.arange(length), batch_size, context, seed=1)
    per_pass = max(1, (length - context) // context)
    batches = -(-3 * per_pass // batch_size)
    starts = torch.cat([stream[number][0][:, 0] for number in range(batches)]).tolist()
    passes = [starts[i * per_pass : (i + 1) * per_pass] for i in range(3)]
    for one in passes:
        in_order = sorted(one)
        assert in_order == list(range(in_order[0], in_order[0] + per_pass * context, context))
        assert in_order[0] < context
        assert in_order[-1] + context < length
    if length == 500:
        assert len({tuple(one) for one in passes}) == 3
        assert passes[0] != sorted(passes[0])
        assert len({min(one) for one in passes}) > 1


def test_a_text_shorter_than_a_row_is_refused():
    BatchStream(torch.arange(9), 4, 8, seed=1)[0]
    with pytest.raises(ValueError, match="has 8 tokens, but a context of 8 needs at least 9; give a longer text"):
        BatchStream(torch.arange(8), 4, 8, seed=1)


@pytest.mark.parametrize(("length", "context"), [(100, 7), (65, 8), (64, 8), (2, 8), (9, 8), (1000, 3)])
def test_windows_cover_the_text_and_do_not_overlap(length, context):
    """Every token but the first is predicted exactly once."""
    windows = list(validation_windows(torch.arange(length), context))
    predicted = torch.cat([targets.flatten() for _, targets in windows]).tolist()
    read = torch.cat([inputs.flatten() for inputs, _ in windows]).tolist()
    assert predicted == list(range(1, length))
    assert read == list(range(length - 1))
    assert all(inputs.numel() <= 4096 for inputs, _ in windows)


@pytest.mark.parametrize("most", [1, 3, 8, 9, 100])
def test_fewer_windows_are_evenly_spaced_ones_of_the_same(most):
    text = torch.arange(8 * 9 + 1)
    every = torch.cat([inputs for inputs, _ in validation_windows(text, 8)])
    some = torch.cat([inputs for inputs, _ in validation_windows(text, 8, most)])
    assert len(every) == 9
    assert len(some) == min(most, 9)
    starts = (some[:, 0] // 8).tolist()
    assert len(set(starts)) == len(starts)
    gaps = {after - before for before, after in itertools.pairwise(starts)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert torch.equal(some, every[torch.tensor(starts)])


@pytest.mark.parametrize("length", [0, 1])
def test_nothing_to_predict_is_refused(length):
    with pytest.raises(ValueError, match=f"the text to evaluate on has {length} tokens; it needs at least 2"):
        list(validation_windows(torch.arange(length), 8))
