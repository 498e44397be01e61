"""How the benchmarks measure: ours and its peers in turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch


def in_turns(
    works: Mapping[str, Callable[[], object]], repeats: int, what: str, most_seconds: float = math.inf
) -> dict[str, list[float]]:
    """Seconds that each work takes, `repeats` times each: a, b, a, b, ...

    Each is done once before, which is not counted, because caches and kernels warm up.

    Args:
        works: by name.
        repeats: how often each is timed.
        what: named on standard error while it lasts.
        most_seconds: after which no further repeat is begun; there is always one.
    """
    break_off = time.monotonic() + most_seconds
    progress(f"{what}: warming up")
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats):
        if repeat and time.monotonic() > break_off:
            progress(f"{what}: no further repeat, as it takes too long")
            break
        progress(f"{what}: {repeat + 1} of {repeats}")
        for name, work in works.items():
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    return seconds


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
