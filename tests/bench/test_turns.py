"""Taking turns, within the seconds there are."""

from __future__ import annotations

import pytest
import torch

from gpt.bench import turns
from gpt.bench.turns import Budget, Sizes, in_fitting_turns, in_turns, threads


class Clock:
    """A machine on which everything takes as long as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(turns, "time", clock)
    return clock


def working(clock, seconds):
    """Work that takes so long, by the clock."""

    def work():
        clock.now += seconds

    return work


def test_turns_are_taken_one_after_the_other():
    done = []
    works = {name: lambda name=name: done.append(name) for name in ("ours", "peer")}
    seconds = in_turns(works, 3, "a test")
    assert done == ["ours", "peer"] * 4  # the first is to warm up
    assert {name: len(times) for name, times in seconds.items()} == {"ours": 3, "peer": 3}


@pytest.mark.parametrize(("budget", "repeats"), [(1000, 9), (40, 3), (35, 2), (0, 2)])
def test_no_repeat_is_begun_that_would_end_too_late_but_two_there_are(clock, budget, repeats):
    """A round takes 10 seconds, and so does warming up."""
    works = {"ours": working(clock, 4), "peer": working(clock, 6)}
    assert in_turns(works, 9, "a test", Budget(budget)) == {"ours": [4] * repeats, "peer": [6] * repeats}


@pytest.mark.parametrize(
    ("seconds", "room", "size"),
    [
        (1.0, 1000, 200),  # all of it fits
        (1.0, 8.5, 80),  # in steps of 20
        (1.0, 0.1, 40),  # the least is always measured
    ],
)
def test_the_largest_size_that_fits(seconds, room, size):
    assert Sizes(tried=10, least=40, most=200, step=20).fitting(seconds, room) == size


def test_the_cost_of_a_size_may_grow_with_its_square():
    assert Sizes(tried=10, least=10, most=1000, power=2).fitting(1.0, 100.0) == 100
    assert Sizes(tried=10, least=10, most=90, power=2).fitting(1.0, 100.0) == 90


@pytest.mark.parametrize(("seconds", "size"), [(0.01, 50), (0.1, 25), (10.0, 5)])
def test_the_size_follows_from_a_first_measurement(clock, seconds, size):
    """All repeats fit into the budget of 10 s, if the least size does: so a slow machine measures less, not nothing."""
    chosen, times = in_fitting_turns(
        lambda size: {"ours": working(clock, seconds * size)},
        Sizes(tried=1, least=5, most=50),
        3,
        "a test",
        Budget(10.25),
    )
    assert chosen == size
    assert len(times["ours"]) == (2 if seconds == 10.0 else 3)


def test_a_part_of_a_budget(clock):
    budget = Budget(8)
    clock.now = 4
    assert (budget.left, budget.part(0.5).left) == (4, 2)
    clock.now = 9
    assert budget.left == 0
    assert Budget().left == float("inf")


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
