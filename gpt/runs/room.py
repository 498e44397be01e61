"""How much memory runs take, by the formulas of `RunRequest`, and which are forgotten for a new one."""

from __future__ import annotations

from collections.abc import Collection

from gpt.runs.limits import Limits
from gpt.runs.request import RunRefused, RunRequest
from gpt.runs.run import Run
from gpt.runs.states import RunState


def bytes_of(runs: Collection[Run], limits: Limits, *more: RunRequest) -> int:
    """Memory that these runs take, and would with those asked for."""
    held = sum(request.held_bytes for request in (*(run.request for run in runs), *more))
    unfinished = (*(run.request for run in runs if not run.is_over), *more)
    working = sorted((request.working_bytes for request in unfinished), reverse=True)
    return held + sum(working[: limits.workers])


def runs_to_forget(runs: Collection[Run], request: RunRequest, limits: Limits) -> list[Run]:
    """Which of these runs have to go, so that there is room for another: those that are over, then paused ones.

    Args:
        runs: the oldest first.
        request: the other.
        limits: how much room there is.

    Raises:
        RunRefused: there would not be room with all of them gone.
    """
    over = [run for run in runs if run.is_over]
    candidates = [*over, *(run for run in runs if run.state is RunState.PAUSED)]
    kept, forgotten = list(runs), []
    for run in candidates:
        if bytes_of(kept, limits, request) <= limits.most_bytes and len(kept) < limits.most_kept:
            break
        kept.remove(run)
        forgotten.append(run)
    if bytes_of(kept, limits, request) > limits.most_bytes:
        raise RunRefused("the lab's memory is full of runs under way; try again when some have finished")
    return forgotten
