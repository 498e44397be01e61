"""How the benchmarks measure: ours and its peers in turns, within the seconds that a benchmark may take.

What else the machine does falls on all that take turns. How fast the machine is, nobody knows before: so a benchmark
first measures a little of its work, and chooses from that how much more of it fits.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

FEWEST_REPEATS = 2  # with one there is no spread


class Budget:
    """The seconds that a benchmark may take, from now on."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; 0 when they are spent."""
        return max(0.0, self._end - time.monotonic())

    def part(self, share: float) -> Budget:
        """A share of what is left, as a budget of its own."""
        return Budget(share * self.left)


@dataclass(frozen=True)
class Sizes:
    """How much of some work is tried, to see how fast this machine is, and within what it is then measured.

    Attributes:
        tried: the size of the trial.
        least, most: those between which the size is chosen, a multiple of `step`.
        power: p, where the time grows as size^p.
    """

    tried: int
    least: int
    most: int
    step: int = 1
    power: int = 1

    def fitting(self, seconds: float, room: float) -> int:
        """The largest size that takes no more than `room` seconds, where the trial took `seconds`."""
        if seconds * (self.most / self.tried) ** self.power <= room:
            return self.most
        fits = int(self.tried * (room / seconds) ** (1 / self.power)) // self.step * self.step
        return min(self.most, max(self.least, fits))


def seconds_of_once(work: Callable[[], object]) -> float:
    """How long some work takes, done once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turns(
    works: Mapping[str, Callable[[], object]], repeats: int, what: str, budget: Budget | None = None
) -> dict[str, list[float]]:
    """Seconds that each work takes, `repeats` times each: a, b, a, b, ...

    Each is done once before, which is not counted, because caches and kernels warm up.

    Args:
        works: by name.
        repeats: how often each is timed at most.
        what: named on standard error while it lasts.
        budget: no repeat is begun that would not end within it; but there are always two.
    """
    budget = budget or Budget()
    progress(f"{what}: warming up")
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats):
        last_round = sum(times[-1] for times in seconds.values()) if repeat else 0.0
        if repeat >= FEWEST_REPEATS and last_round > budget.left:
            break
        progress(f"{what}: {repeat + 1} of {repeats}")
        for name, work in works.items():
            seconds[name].append(seconds_of_once(work))
    return seconds


def in_fitting_turns(
    works_of: Callable[[int], Mapping[str, Callable[[], object]]],
    sizes: Sizes,
    repeats: int,
    what: str,
    budget: Budget,
) -> tuple[int, dict[str, list[float]]]:
    """`in_turns` for works whose time grows with their size, which is chosen so that all repeats fit.

    Returns:
        the size chosen, and seconds by name.
    """
    progress(f"{what}: a first measurement")
    trials = works_of(sizes.tried).values()
    for work in trials:
        work()  # caches and kernels warm up
    tried = sum(seconds_of_once(work) for work in trials)
    size = sizes.fitting(tried, budget.left / (1 + repeats))  # one to warm up
    return size, in_turns(works_of(size), repeats, what, budget)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let PyTorch compute with so many threads, and leave it as it was found."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def progress(message: str) -> None:
    """Say on standard error what is being done."""
    print(f"bench: {message}", file=sys.stderr, flush=True)
