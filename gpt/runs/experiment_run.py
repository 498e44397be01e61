"""An experiment in the line: asked for by name and setup, done once for all who ask for the same."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gpt.runs.job import Job
from gpt.runs.limits import Limits
from gpt.runs.states import RunState

_BYTES = 600_000_000  # that an experiment's process takes at most, PyTorch included
_USUAL_SECONDS = 60.0  # of one, before anything is known
_UNWATCHED_SECONDS = 20.0  # that it goes on while no page shows it: a page that is loaded again finds it


@dataclass(frozen=True)
class ExperimentRequest:
    """All that decides the outcome of an experiment.

    Attributes:
        name: of the experiment.
        setup: by field, as `gpt.experiments.make_setup` made it.
    """

    name: str
    setup: Mapping[str, Any] = field(hash=False)

    @property
    def key(self) -> str:
        """A short name: equal requests have equal keys."""
        asked = json.dumps([self.name, dict(self.setup)], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()[:12]


class ExperimentRun(Job):
    """One experiment, from when it is asked for until it is forgotten.

    Attributes:
        request: what it is.
        share: of its work that is done, 0 to 1.
        doing: what it does now, in a few words.
        result: what came of it, as `gpt.experiments.Result.to_json` writes it; None before.
    """

    def __init__(self, request: ExperimentRequest, owner: str, *, address: str = "") -> None:
        super().__init__(request.key, owner, address)
        self.request = request
        self.share = 0.0
        self.doing = ""
        self.result: Mapping[str, Any] | None = None
        self.started = 0.0  # by time.monotonic, when its turn began

    @property
    def seconds(self) -> float:
        """How long its turn has lasted; 0 before."""
        return time.monotonic() - self.started if self.started else 0.0

    @property
    def has_models(self) -> bool:
        """Its models are never here, only in its process."""
        return False

    @property
    def brought_bytes(self) -> int:
        """It learns from no text of a visitor's own."""
        return 0

    @property
    def held_bytes(self) -> int:
        """Its result alone is kept, which is small."""
        return 0

    @property
    def working_bytes(self) -> int:
        """Memory that its process takes, at most."""
        return _BYTES

    def lay_out(self, cores: int) -> None:
        """One process, with all threads there are for it."""
        self.layout = (1, cores)
        self.started = time.monotonic()
        self.share, self.doing = 0.0, "starting"

    def end_of_turn(self, limits: Limits, *, is_closing: bool) -> tuple[RunState, str] | None:
        """It ends with its result; unwatched, or too long, it stops, and nothing of it remains."""
        if self.result is not None:
            return RunState.DONE, ""
        if is_closing:
            return RunState.STOPPED, "The lab is restarting; run this experiment again in a moment."
        if self.lease.watchers == 0 and time.monotonic() - self.lease.last_sign > _UNWATCHED_SECONDS:
            return RunState.STOPPED, "Stopped, because nobody was watching; run it again."
        if self.seconds > limits.most_experiment_seconds:
            most = f"{limits.most_experiment_seconds:,.0f} s"
            return RunState.STOPPED, f"Stopped after {most}, the most allowed; change it to something smaller."
        return None

    def seconds_left(self, flops_per_second: float | None) -> float | None:
        """By how long its share took so far; before that, what is usual."""
        if not self.started or self.share < 0.02:
            return _USUAL_SECONDS
        return self.seconds * (1 - self.share) / self.share

    def in_the_log(self) -> str:
        """Its name, and how far it is."""
        return f"experiment={self.request.name} done={self.share:.0%}"
