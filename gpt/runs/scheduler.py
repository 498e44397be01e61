"""Runs shared by all viewers: one line, a few workers, and a hand on each run.

A run belongs to the server, not to a browser tab. It is keyed by its configuration, so thirty students who ask for the
same run watch one; whoever started it controls it, and a run that nobody watches pauses by itself. Within a run every
model sees the same batches, one step each in turn.

A run is trained up to its `goal`, a number of steps. Playing, pausing and stepping only move the goal, and a worker
takes up the next run in the line that is short of it; so a paused run holds no worker, and goes on as if it had never
been paused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.costs.formulas import flops_per_token
from gpt.runs.limits import Limits
from gpt.runs.run import (
    NotYourRun,
    Run,
    RunRefused,
    RunRequest,
    check_fit,
    make_trainers,
    new_trainer,
    recorded_events,
)
from gpt.training.recipes import TrainConfig

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus
    from gpt.training.state import TrainingState

_log = logging.getLogger(__name__)
_SECONDS_TO_COME_BACK = 0.3  # a page that presses a button lets go of its run, and takes it up again
_RESTARTING = "The lab is restarting; this run is kept, and goes on when you open its page again in a moment."


class Runs:
    """All runs of one server.

    Args:
        limits: what visitors may ask for.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._runs: dict[str, Run] = {}  # the oldest first
        self._line: list[Run] = []
        self._changed = threading.Condition()
        self._closing = False
        self._measured_flops_per_second: float | None = None
        self._workers: list[threading.Thread] = []

    # --- Asking for a run -------------------------------------------------------------------------------------------

    def submit(self, request: RunRequest, corpus: Corpus, visitor: str, *, restart: bool = False) -> Run:
        """Start a run, or join the one that is already there.

        Args:
            request: what to train.
            corpus: the text of `request.corpus_sha256`.
            visitor: who asks; becomes the owner if the run is new.
            restart: begin anew even if the run is there.

        Raises:
            RunRefused: the request is outside the limits, or the line is full.
            NotYourRun: another visitor's run is to be restarted.
            ValueError: the models do not fit the corpus.
        """
        try:
            request.check(self.limits)
        except RunRefused as refused:
            _log.info("run=%s refused: %s", request.key, refused)
            raise
        if request.corpus_sha256 != corpus.sha256:
            raise ValueError(f"the request is for another text than {corpus.name!r}; make it with this one's checksum")
        for _, config in request.models:
            check_fit(config, corpus, request.training)
        with self._changed:
            known = self._runs.get(request.key)
            if known is None or known.status in ("stopped", "failed"):
                return self._start(Run(request, corpus, visitor))
            if restart:
                self._check_owner(known, visitor)
                self._end(known, "stopped", "Stopped, because whoever started it has started it again.")
                return self._start(Run(request, corpus, visitor))
            if known.status == "paused":
                return self._take_up(known, visitor)
            known.last_watched = time.monotonic()
            return known

    def _take_up(self, run: Run, visitor: str) -> Run:
        """Whoever asks for a paused run wants to see it train: it goes on for them, and waits on for its owner.

        A run whose owner has left becomes theirs; the caller holds the lock.
        """
        if run.owner != visitor and time.monotonic() - run.last_watched <= self.limits.lease_seconds:
            return self.copy(run, visitor)
        run.owner = visitor
        self._aim(run, run.request.training.max_steps)
        return run

    def copy(self, run: Run, visitor: str, *, training: TrainConfig | None = None, play: bool = True) -> Run:
        """A run of the visitor's own that goes on from where `run` is now.

        Args:
            run: whose present state to start from; it goes on by itself.
            visitor: who owns the copy.
            training: how to go on, by default as `run` does. The kind of optimizer has to stay.
            play: whether the copy trains on at once, or is paused.

        Raises:
            RunRefused: the run has no state to go on from, or cannot go on in this way.
        """
        states = self._states(run)
        with self._changed:
            before = run.request.training
            training = replace(training or before, seed=before.seed)
            if (training.matrix_learning_rate is None) != (before.matrix_learning_rate is None):
                raise RunRefused("a run cannot change its recipe on the way; keep the recipe, or train from the start")
            if training.max_steps <= states[0].step:
                raise RunRefused(f"this run has made all its {states[0].step:,} steps; ask for more steps")
            request = replace(run.request, training=training, copy_of=f"{run.key} {states[0].step} {visitor}")
            request.check(self.limits)
            copied = Run(request, run.corpus, visitor)
            if copied.key in self._runs:
                return self._runs[copied.key]
            for member, original, state in zip(copied.members, run.members, states, strict=True):
                member.events = [event for event in original.events if event.step <= state.step]
                member.snapshots = dict(original.snapshots)
                member.shared_digest = original.shared_digest
                member.trainer = new_trainer(member, copied)
                member.trainer.load_state(state)
            if not play:
                copied.goal = states[0].step
            return self._start(copied)

    def _states(self, run: Run) -> list[TrainingState]:
        """Where each model of a run is now, between two steps."""
        with self._changed:
            run.copiers += 1
        try:
            with run.learning:
                trainers = [member.trainer for member in run.members if member.trainer is not None]
                if len(trainers) < len(run.members):
                    raise RunRefused("this run has not begun to train yet, so there is nothing to go on from")
                return [trainer.state() for trainer in trainers]
        finally:
            with self._changed:
                run.copiers -= 1
                self._changed.notify_all()

    def under_way(self, visitor: str) -> Run | None:
        """The visitor's own run that waits, trains or is paused, the latest if there are several."""
        own = [run for run in self.all_runs() if run.owner == visitor and not run.is_over]
        return own[-1] if own else None

    def find(self, key: str) -> Run | None:
        """The run of that key, if the server still remembers it."""
        return self._runs.get(key)

    def all_runs(self) -> list[Run]:
        """All runs that the server remembers, the oldest first."""
        return list(self._runs.values())

    def place_in_line(self, run: Run) -> tuple[int, float | None]:
        """How many runs are served before this one is, and in about how many seconds its turn comes, if known."""
        with self._changed:
            if run not in self._line:
                return 0, 0.0
            before = self._line[: self._line.index(run)]
            running = [other for other in self._runs.values() if other.status == "running"]
            place = len(before) + max(0, len(running) - self.limits.workers + 1)
            if self._measured_flops_per_second is None:
                return place, None
            work = sum(other.flops_left() for other in [*running, *before])
            return place, work / self._measured_flops_per_second / self.limits.workers

    def _start(self, run: Run) -> Run:
        """Put a new run in the line; the caller holds the lock."""
        if self._closing:
            raise RunRefused("the lab is closing; it takes no new runs")
        if len(self._line) >= self.limits.most_waiting:
            raise RunRefused(f"{len(self._line)} runs are waiting already; try again when some have finished")
        self._make_room(run.request)
        for other in self._runs.values():
            if other.owner == run.owner and not other.is_over:
                self._end(other, "stopped", "Stopped, because whoever started it has started another.")
        self._runs.pop(run.key, None)
        self._runs[run.key] = run
        if run.goal > run.step or not run.members[0].events:
            self._enqueue(run)
        else:
            self._set_status(run, "paused", "")
        return run

    def bytes_with(self, *requests: RunRequest) -> int:
        """Memory that all runs take, and would with those asked for, by the formulas of `RunRequest`."""
        held = sum(request.held_bytes for request in (*(run.request for run in self.all_runs()), *requests))
        unfinished = (*(run.request for run in self.all_runs() if not run.is_over), *requests)
        working = sorted((request.working_bytes for request in unfinished), reverse=True)
        return held + sum(working[: self.limits.workers])

    def _make_room(self, request: RunRequest) -> None:
        """Forget runs that are over, then paused ones, oldest first, until there is memory for another."""
        over = [run for run in self._runs.values() if run.is_over]
        paused = [run for run in self._runs.values() if run.status == "paused"]
        for run in [*over, *paused]:
            if self.bytes_with(request) <= self.limits.most_bytes and len(self._runs) < self.limits.most_kept:
                return
            self._end(run, "stopped", "Forgotten, because newer runs needed its memory.")
            del self._runs[run.key]
        if self.bytes_with(request) > self.limits.most_bytes:
            raise RunRefused("the lab's memory is full of runs under way; try again when some have finished")

    # --- A hand on it -----------------------------------------------------------------------------------------------

    def play(self, run: Run, visitor: str) -> None:
        """Train on to the end."""
        with self._owned(run, visitor):
            self._aim(run, run.request.training.max_steps)

    def step_once(self, run: Run, visitor: str) -> None:
        """Train one step and pause; asked for again meanwhile, one more."""
        with self._owned(run, visitor):
            most = run.request.training.max_steps
            is_playing = run.goal == most
            self._aim(run, min((run.step if is_playing else max(run.goal, run.step)) + 1, most))

    def pause(self, run: Run, visitor: str) -> None:
        """Hold after the present step; nothing is lost."""
        with self._owned(run, visitor):
            run.goal = run.step
            run.is_left = False
            if run in self._line:
                self._line.remove(run)
                self._set_status(run, "paused", "")

    def stop(self, run: Run, visitor: str) -> None:
        """End the run; its models so far stay."""
        with self._owned(run, visitor):
            if not run.is_over:
                self._end(run, "stopped", "Stopped.")

    def watched(self, run: Run) -> None:
        """Somebody is watching: the run may go on for another `lease_seconds`, and does if it was left alone."""
        with self._changed:
            run.last_watched = time.monotonic()
            if run.is_left and run.status == "paused":
                self._enqueue(run)

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        """A page shows the run as long as this block lasts. When the last such page is gone, the run pauses soon."""
        self.watched(run)
        with self._changed:
            run.watchers += 1
        try:
            yield
        finally:
            with self._changed:
                run.watchers -= 1
                if run.watchers == 0:
                    leave = time.monotonic() - self.limits.lease_seconds + _SECONDS_TO_COME_BACK
                    run.last_watched = min(run.last_watched, leave)

    def _owned(self, run: Run, visitor: str) -> threading.Condition:
        self._check_owner(run, visitor)
        return self._changed

    def _check_owner(self, run: Run, visitor: str) -> None:
        if not run.owner or run.owner != visitor:
            raise NotYourRun("another visitor started this run; watch it, or make a copy of your own")

    def _aim(self, run: Run, goal: int) -> None:
        if not run.is_over:
            run.goal = goal
            run.last_watched = time.monotonic()
            if run.status == "paused":
                self._enqueue(run)

    def _enqueue(self, run: Run) -> None:
        run.is_left = False
        self._line.append(run)
        self._set_status(run, "waiting", "")
        while len(self._workers) < self.limits.workers:
            worker = threading.Thread(target=self._work, name=f"trainer-{len(self._workers)}", daemon=True)
            self._workers.append(worker)
            worker.start()
        self._changed.notify_all()

    def _end(self, run: Run, status: str, message: str) -> None:
        run.goal = 0
        if run in self._line:
            self._line.remove(run)
        self._set_status(run, status, message)

    def _set_status(self, run: Run, status: str, message: str) -> None:
        if status != run.status or status == "waiting":
            steps = run.request.training.max_steps
            _log.info("run=%s %s models=%d step=%d of=%d", run.key, status, len(run.members), run.step, steps)
        run.status, run.message = status, message
        run.version += 1

    def warm_up(self, archive: Path | None = None) -> None:
        """Train a model of almost no size, in the background, so that the first visitor need not wait for imports.

        Then the runs that the last server put away in the folder `archive` go on.
        """
        from gpt.data.corpus import Corpus
        from gpt.model.gpt2 import GPT2
        from gpt.training.trainer import Trainer

        def train_one_step() -> None:
            import torch

            torch.set_num_threads(1)
            corpus = Corpus.from_text("warm-up", "to be or not to be, " * 4)
            model = GPT2(corpus.tokenizer.vocab_size, 8, 1, 8, 1, context_length=8)
            training = TrainConfig(max_steps=1, batch_size=1, sample_length=1, device="cpu")
            for _ in Trainer(model, corpus, training).events():
                pass
            if archive is not None:
                self.take_up(archive)

        threading.Thread(target=train_one_step, name="warm-up", daemon=True).start()

    def close(self, archive: Path | None = None) -> None:
        """Pause everything and let the workers go home; with a folder, what is not over is put away there."""
        from gpt.runs.archive import put_away

        with self._changed:
            self._closing = True
            for run in self._line:
                self._set_status(run, "paused", _RESTARTING)
            self._line.clear()
            for run in self._runs.values():
                run.is_cut_short = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(timeout=3)
        if archive is not None and self._runs:
            put_away(self.all_runs(), archive, most_seconds=3)

    def take_up(self, archive: Path) -> None:
        """Go on with what the last server put away in a folder, in the order of the line."""
        from gpt.runs.archive import taken_up

        for run in taken_up(archive):
            with self._changed:
                if run.key in self._runs or self._closing:
                    continue
                self._runs[run.key] = run
                if run.goal > run.step or not run.members[0].events:
                    self._enqueue(run)
                else:
                    self._set_status(run, "paused", "Paused.")

    # --- The work ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        import torch

        from gpt.training.trainer import TrainingDiverged, TrainingInterrupted

        torch.set_num_threads(1)  # trainers with more threads than cores slow each other many times over
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._line)
                if self._closing:
                    return
                run = self._line.pop(0)
                if run.watchers:
                    run.last_watched = time.monotonic()  # the time in the line is nobody's fault
                self._set_status(run, "running", "")
            try:
                self._train(run)
            except TrainingInterrupted:
                self._finish(run, "paused", _RESTARTING)  # or somebody has stopped it, and it stays stopped
            except TrainingDiverged as error:
                self._finish(run, "failed", f"Stopped: {error}.")
            except Exception as error:  # a fault of ours must not take the worker with it
                _log.exception("run %s broke", run.key)
                self._finish(run, "failed", f"This run broke ({type(error).__name__}); please train it again.")

    def _train(self, run: Run) -> None:
        """Train a run up to its goal, each model one step in turn, and leave it with its new status."""
        if self._paused_because_left(run):  # while it was in line
            return
        if any(member.trainer is None for member in run.members):
            make_trainers(run)
        streams = [recorded_events(member) for member in run.members]
        while run.status == "running" and not self._closing:
            if run.step >= run.goal and all(member.events for member in run.members):
                break
            if self._paused_because_left(run):
                return
            if run.seconds > self.limits.most_seconds:
                self._finish(run, "stopped", f"Stopped after {self.limits.most_seconds:,.0f} s, the most allowed.")
                return
            if run.copiers:  # a lock alone would let the worker take it back at once, again and again
                with self._changed:
                    self._changed.wait_for(lambda: not run.copiers, timeout=5)
            with run.learning:
                for stream in streams:
                    next(stream, None)  # one that was ahead of the others, after a stop between them, may have ended
                    run.version += 1
                    if run.status != "running":
                        break
            self._measure(run)
        if run.status == "running":
            is_done = run.step >= run.request.training.max_steps
            self._finish(run, "done" if is_done else "paused", _RESTARTING if self._closing and not is_done else "")

    def _paused_because_left(self, run: Run) -> bool:
        """Pause a run that nobody has watched for the time of the lease; its goal stays, for when somebody does."""
        with self._changed:
            if run.status != "running" or time.monotonic() - run.last_watched <= self.limits.lease_seconds:
                return False
            run.is_left = True
            self._set_status(run, "paused", "Paused, because nobody was watching.")
            return True

    def _finish(self, run: Run, status: str, message: str) -> None:
        with self._changed:
            if run.status != "running":  # somebody has ended it meanwhile
                return
            if status == "paused" and run.goal > run.step and not self._closing:  # or asked for more
                self._enqueue(run)
            else:
                self._set_status(run, status, message)

    def _measure(self, run: Run) -> None:
        """How fast this machine trains, for the time that others have to wait."""
        last = [member.events[-1] for member in run.members]
        if all(event.tokens_per_second for event in last):
            rates = [
                3 * flops_per_token(member.config) * event.tokens_per_second
                for member, event in zip(run.members, last, strict=True)
            ]
            self._measured_flops_per_second = sum(rates) / len(rates)
