"""How much of the machine there is for this process, containers and their limits included."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores that this process may keep busy: those it may run on, or as many as its container's share of time is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _time_share()
    return cores if share is None else max(1, min(cores, int(share)))


def _time_share() -> float | None:
    """How many cores' time a container may use (cgroup version 2, then 1); None where it is not limited."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((_CGROUP / file).read_text(encoding="ascii") for file in files).split()
            return int(quota) / int(period) if int(quota) > 0 else None
        except (OSError, ValueError):  # none of this kind, or "max"
            continue
    return None


def spread(models: int, cores: int, threads: int | None = None) -> tuple[int, int]:
    """In how many processes, of how many threads each, this many models are trained side by side in the least time.

    A training that has begun stays with its number of `threads`, as another rounds differently.

    A second thread makes a step of a small model about 1.7 times as fast, a second process two steps as fast as one. So
    two models on two cores get a process each, and three take turns in one process of two threads.
    """
    if threads:
        return max(1, min(models, cores // threads)), threads
    most_threads = 8  # more gain nothing at the sizes trained here
    layouts = [(processes, min(cores // processes, most_threads)) for processes in range(1, min(models, cores) + 1)]
    return min(layouts, key=lambda layout: (-(-models // layout[0]) / layout[1] ** 0.75, -layout[0]))
