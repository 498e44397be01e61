"""How much memory runs take, by the formulas of `RunRequest`, and which are forgotten where another needs it.

A run in line takes no more than what it brings, its text and the weights to begin from: models are made when its turn
comes, and room for them is made then. So a line of runs never fills the memory, however many are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gpt.runs.job import Job
from gpt.runs.limits import Limits
from gpt.runs.states import RunState


def bytes_of(runs: Iterable[Job], *, trained: Job | None = None) -> int:
    """Memory that these runs take, and would if `trained` were trained, too."""
    held = 0
    for run in runs:
        held += run.brought_bytes
        if run is trained or run.has_models:
            held += run.held_bytes
        if run is trained or run.state is RunState.RUNNING:
            held += run.working_bytes
    return held


def runs_to_forget(runs: Collection[Job], limits: Limits, *, trained: Job | None = None) -> tuple[list[Job], bool]:
    """Which of these runs have to go, so that there is room for the rest.

    First those go that nobody has looked at lately, and of these, those that are over, the oldest first.

    Args:
        runs: the oldest first; the last one is there already or about to come, and stays.
        limits: how much room there is.
        trained: one of them, which is to be trained now, and stays.

    Returns:
        Those that have to go, and whether there is room for the rest then.
    """
    *others, newest = runs
    candidates = [run for run in others if run is not trained and (run.is_over or run.state is RunState.PAUSED)]
    candidates.sort(key=lambda run: (not run.lease.has_run_out(limits), not run.is_over))  # equal ones stay in order
    kept = [*others, newest]
    forgotten: list[Job] = []
    while bytes_of(kept, trained=trained) > limits.most_bytes or len(kept) > limits.most_kept:
        if not candidates:
            break
        kept.remove(candidates[0])
        forgotten.append(candidates.pop(0))
    return forgotten, bytes_of(kept, trained=trained) <= limits.most_bytes  # many in line are no reason to refuse
