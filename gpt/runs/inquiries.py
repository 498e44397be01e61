"""The experiments that visitors have asked for, in the same line as their runs; each is done once for all who ask."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gpt.runs.experiment_run import ExperimentRequest, ExperimentRun
from gpt.runs.job import Job
from gpt.runs.request import RunRefused
from gpt.runs.states import RunState
from gpt.runs.turns import Turns


class Inquiries:
    """All experiments that a server remembers.

    Args:
        turns: the line, whose lock guards everything here.
        make_place: makes a place in the line for a job, given the jobs that end because of it, or raises RunRefused.
    """

    def __init__(self, turns: Turns, make_place: Callable[[Job, Collection[Job]], None]) -> None:
        self._turns = turns
        self._make_place = make_place
        self._lock = turns.lock
        self._runs: dict[str, ExperimentRun] = {}  # by key, the oldest first

    def ask(self, request: ExperimentRequest, visitor: str, *, address: str = "") -> ExperimentRun:
        """Start an experiment, or join the one that is under way or done.

        A visitor has one under way at a time: an earlier one of theirs that nobody else watches is stopped.

        Raises:
            RunRefused: the line is full, or the lab is closing. Nothing has changed then.
        """
        with self._lock:
            known = self._runs.get(request.key)
            if known is not None and known.state not in (RunState.STOPPED, RunState.FAILED):
                self._turns.watched(known)
                return known
            if self._turns.is_closing:
                raise RunRefused("the lab is closing; it takes no new experiments")
            ending = [run for run in self.under_way() if run.owner == visitor and run.lease.watchers <= 1]
            run = ExperimentRun(request, visitor, address=address)
            self._make_place(run, ending)
            for other in ending:
                self._turns.move(
                    other, RunState.STOPPED, "Stopped, because the person who started it has started another."
                )
            self._runs.pop(run.key, None)
            self._runs[run.key] = run
            self._turns.enqueue(run)
            self._forget_the_oldest()
            return run

    def _forget_the_oldest(self) -> None:
        over = [run for run in self._runs.values() if run.is_over and not run.lease.watchers]
        for run in over[: max(0, len(self._runs) - self._turns.limits.most_experiments)]:
            del self._runs[run.key]

    def find(self, key: str) -> ExperimentRun | None:
        """The experiment of that key, if the server still remembers it."""
        with self._lock:
            return self._runs.get(key)

    def under_way(self) -> list[ExperimentRun]:
        """Those that are neither over nor left by everyone."""
        with self._lock:
            return [run for run in self._runs.values() if run.state in (RunState.WAITING, RunState.RUNNING)]

    def stop(self, run: ExperimentRun, visitor: str) -> bool:
        """Stop an experiment of the visitor's own; where others watch it too, or own it, it goes on for them.

        Returns:
            Whether it was stopped.
        """
        with self._lock:
            if run.is_over or run.owner != visitor or run.lease.watchers > 1:
                return False
            self._turns.move(run, RunState.STOPPED, "Stopped.")
            return True
