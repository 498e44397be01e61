"""What a run can be doing, and from what to what it can pass; nothing else changes a run's state."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class RunState(str, Enum):
    """What a run is doing; each is also the string of its name, as the page and the log write it."""

    WAITING = "waiting"  # in the queue
    RUNNING = "running"  # a worker trains it
    PAUSED = "paused"  # until somebody asks for more
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value

    @property
    def is_over(self) -> bool:
        """Whether this is the end: no transition leads on."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.PAUSED: frozenset({RunState.WAITING, RunState.STOPPED}),
    RunState.WAITING: frozenset({RunState.RUNNING, RunState.PAUSED, RunState.STOPPED}),
    RunState.RUNNING: frozenset({RunState.PAUSED, RunState.DONE, RunState.STOPPED, RunState.FAILED}),
    RunState.DONE: frozenset(),
    RunState.STOPPED: frozenset(),
    RunState.FAILED: frozenset(),
}


class HasState(Protocol):
    """What `transition` changes of a run."""

    state: RunState
    message: str
    version: int


def transition(run: HasState, to: RunState, message: str = "") -> None:
    """Let a run pass into another state; the caller holds the scheduler's lock.

    Args:
        run: what passes.
        to: where.
        message: a sentence on why, for those who watch.

    Raises:
        RuntimeError: no such transition is allowed.
    """
    allowed = TRANSITIONS[run.state]
    if to not in allowed:
        ways = ", ".join(sorted(allowed)) or "nothing"
        raise RuntimeError(f"a run that is {run.state} cannot become {to}; it can become {ways}")
    run.state, run.message = to, message
    run.version += 1
