"""Runs shared by all viewers: one queue, a few workers, and a hand on each run.

A run belongs to the server, not to a browser tab. It is keyed by its configuration, so thirty students who ask for the
same run watch one; whoever started it controls it, and a run that nobody watches pauses by itself.

A run is trained up to its `goal`, a number of steps. Playing, pausing and stepping only move the goal, and a worker
takes the next run in the queue; so a paused run holds no worker, and goes on as if it had never been paused.

Whatever is decided here is decided under one lock, that of `gpt.runs.turns`, which hands the runs to workers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.runs.copies import copy_of, request_of_copy
from gpt.runs.inquiries import Inquiries
from gpt.runs.job import Job
from gpt.runs.limits import Limits
from gpt.runs.request import NotYourRun, NotYourText, RunRefused, RunRequest, check_fit
from gpt.runs.room import bytes_of, runs_to_forget
from gpt.runs.run import InitialWeights, Run
from gpt.runs.states import RunState
from gpt.runs.turns import Turns
from gpt.training.recipes import TrainConfig

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus
    from gpt.runs.trainers import Trainers

_log = logging.getLogger(__name__)


class Runs:
    """All runs of one server.

    Args:
        limits: what visitors may ask for.
        trainers: the processes that train, which stay when the server closes; by default some of its own.

    Attributes:
        limits: what visitors may ask for.
        inquiries: the experiments, which stand in the same line.
    """

    def __init__(self, limits: Limits | None = None, trainers: Trainers | None = None) -> None:
        self.limits = limits or Limits()
        self._turns = Turns(self.limits, self._make_room, trainers)
        self._lock = self._turns.lock
        self._runs: dict[str, Run] = {}  # the oldest first; the lock guards it
        self._warming: threading.Thread | None = None
        self.inquiries = Inquiries(self._turns, self._make_place)

    # --- Asking for a run -------------------------------------------------------------------------------------------

    def submit(
        self,
        request: RunRequest,
        corpus: Corpus,
        visitor: str,
        *,
        restart: bool = False,
        address: str = "",
        initial_weights: InitialWeights | None = None,
    ) -> Run:
        """Start a run, or join the one that is already there.

        Whoever asks for a paused run wants to see it train. It goes on for its owner, or for anyone once its owner has
        left; another visitor gets a copy that does.

        Args:
            request: what to train.
            corpus: the text of `request.corpus_sha256`.
            visitor: who asks; becomes the owner if the run is new.
            restart: begin again even if the run is there.
            address: where they ask from; several visitors may share one.
            initial_weights: those of `request.begins_from`, where it names some.

        Raises:
            RunRefused: the request is outside the limits, or the line is full. Nothing has changed then.
            NotYourRun: another visitor's run is to be restarted.
            ValueError: the models do not fit the corpus.
        """
        self._check(request)
        if (request.corpus_sha256, request.tokenizer_sha256) != (corpus.sha256, corpus.tokenizer_sha256):
            raise ValueError(f"the request is for another text than {corpus.name!r}; make it with this one's checksum")
        for _, config in request.models:
            check_fit(config, corpus, request.training)
        if bool(request.begins_from) != (initial_weights is not None):
            raise ValueError("the request names no weights to begin from, or they are missing; give both, or neither")
        new = partial(Run, corpus=corpus, owner=visitor, address=address, initial_weights=initial_weights)
        with self._lock:
            known = self._runs.get(request.key)
            if known is None or known.state in (RunState.STOPPED, RunState.FAILED):
                return self._start(new(request))
            if restart:
                self._check_owner(known, visitor)
                return self._start(new(request), instead_of=known)
            known.readers.add(visitor)  # they had the text to hand in
            if known.state is not RunState.PAUSED:
                known.lease.renew()
                return known
            if known.owner == visitor or known.lease.has_run_out(self.limits):
                known.owner = visitor
                self._end_others(known)
                self._aim(known, request.training.max_steps)
                return known
            if not known.has_begun:  # there is nothing to copy, so theirs begins at the start
                same = request_of_copy(known, 0, visitor, request.training)
                return self._join(new(same), play=True)
        return self.copy(known, visitor, address=address)

    def again(self, run: Run, visitor: str, *, address: str = "") -> Run:
        """Train a run again from its start, with the same seed; raises as `submit` and `copy` do."""
        self._check_reader(run, visitor)
        first = replace(run.request, copy_of="")
        weights = run.initial_weights
        return self.submit(first, run.corpus, visitor, restart=True, address=address, initial_weights=weights)

    def copy(
        self, run: Run, visitor: str, *, training: TrainConfig | None = None, play: bool = True, address: str = ""
    ) -> Run:
        """A run of the visitor's own that goes on from where `run` is now; the same press gives the same run.

        Args:
            run: whose present state to start from; it goes on by itself.
            visitor: who owns the copy.
            training: how to go on, by default as `run` does. The kind of optimizer has to stay.
            play: whether the copy trains on at once, or is paused.
            address: where they ask from.

        Raises:
            RunRefused: the run has no state to go on from, or cannot go on in this way.
            NotYourText: it learns from another visitor's own text.
        """
        self._check_reader(run, visitor)
        if not run.has_begun:
            raise RunRefused("this run has not started to train, so there is nothing to go on from")
        copied = copy_of(run, self._turns.present(run), visitor, training, address=address)
        self._check(copied.request)
        with self._lock:
            return self._join(copied, play=play)

    def _check(self, request: RunRequest) -> None:
        try:
            request.check(self.limits)
        except RunRefused as refused:
            _log.info("run=%s refused: %s", request.key, refused)
            raise

    def _join(self, copied: Run, *, play: bool) -> Run:
        """Start a copy, or go on with the one that is already there; the caller holds the lock."""
        if not play:
            copied.goal = copied.step
        known = self._runs.get(copied.key)
        if known is None or known.state in (RunState.STOPPED, RunState.FAILED):
            return self._start(copied)
        if play and known.owner == copied.owner:
            self._aim(known, known.request.training.max_steps)
        return known

    def _start(self, run: Run, instead_of: Run | None = None) -> Run:
        """Take in a new run, or refuse it and change nothing; the caller holds the lock."""
        if self._turns.is_closing:
            raise RunRefused("the lab is closing; it takes no new runs")
        ending = [other for other in self._runs.values() if other is instead_of or other.owner == run.owner]
        self._make_place(run, ending)
        others = [other for other in self._runs.values() if other is not instead_of and other.key != run.key]
        forgotten, fits = runs_to_forget([*self.inquiries.under_way(), *others, run], self.limits)
        if not fits:
            raise RunRefused("the runs under way fill the lab's memory; try again when some have finished")
        self._forget(forgotten)
        if instead_of is not None:
            self._stop(instead_of, "Stopped, because the person who started it has started it again.")
        self._runs.pop(run.key, None)
        self._runs[run.key] = run
        self._end_others(run)
        if not run.is_at_goal:
            self._turns.enqueue(run)
        return run

    def _make_place(self, run: Job, ending: Collection[Job]) -> None:
        """Refuse a run for which there is no place in line; those that nobody watches give way to it.

        Args:
            run: the new one.
            ending: the runs that end because of it.
        """
        self._turns.pause_the_left()
        in_line = [other for other in self._turns.queue if other not in ending]
        of_address = [other for other in in_line if other.address == run.address]
        for waiting, most in ((of_address, self.limits.most_waiting_of_address), (in_line, self.limits.most_waiting)):
            if len(waiting) < most:
                continue
            unwatched = [other for other in waiting if not other.lease.watchers]
            if not unwatched:
                raise RunRefused(f"{len(waiting)} runs are already waiting; try again when some have finished")
            self._turns.pause_left(min(unwatched, key=lambda other: other.lease.last_sign))
            return

    def tidy(self) -> bool:
        """Let those runs give way that nobody watches, also where nobody asks for another; called again and again.

        Returns:
            Whether any was forgotten.
        """
        with self._lock:
            self._turns.pause_the_left()
            paused = [run for run in self._runs.values() if run.state is RunState.PAUSED and run.lease.has_ended]
            forlorn = [run for run in paused if run.lease.is_forlorn(self.limits)]
            self._forget(forlorn)
        return bool(forlorn)

    def _make_room(self, run: Job, at_all_costs: bool) -> bool:
        """Forget what has to go so that a run can be trained, or forget nothing; the caller holds the lock."""
        jobs: list[Job] = [*self.inquiries.under_way(), *self._runs.values()]
        others = [other for other in jobs if other is not run]
        forgotten, fits = runs_to_forget([*others, run], self.limits, trained=run)
        if fits or at_all_costs:
            self._forget(forgotten)
        return fits or at_all_costs

    def _forget(self, runs: Sequence[Job]) -> None:
        for run in runs:
            assert isinstance(run, Run)  # an experiment under way is never among them
            self._stop(run, "Forgotten, because newer runs needed its place.")
            del self._runs[run.key]

    def _end_others(self, run: Run) -> None:
        """A visitor has one run under way at a time; the caller holds the lock."""
        for other in self._runs.values():
            if other is not run and other.owner == run.owner:
                self._stop(other, "Stopped, because the person who started it has started another.")

    # --- Looking ----------------------------------------------------------------------------------------------------

    def under_way(self, visitor: str) -> Run | None:
        """The visitor's own run that waits, trains or is paused, the latest if there are several."""
        own = [run for run in self.all_runs() if run.owner == visitor and not run.is_over]
        return own[-1] if own else None

    def is_owner(self, visitor: str) -> bool:
        """Whether a run that the server remembers is this visitor's."""
        return any(run.owner == visitor for run in self.all_runs())

    def find(self, key: str) -> Run | None:
        """The run of that key, if the server still remembers it."""
        with self._lock:
            return self._runs.get(key)

    def all_runs(self) -> list[Run]:
        """All runs that the server remembers, the oldest first."""
        with self._lock:
            return list(self._runs.values())

    def bytes_of_runs(self) -> int:
        """Memory that all runs take, by the formulas of `RunRequest`."""
        with self._lock:
            self._turns.pause_the_left()
            return bytes_of([*self.inquiries.under_way(), *self._runs.values()])

    def place_in_queue(self, run: Job) -> tuple[int, float | None]:
        """How many runs are served before this one is, and in about how many seconds its turn comes, if known."""
        return self._turns.place_of(run)

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
            run.goal = run.told_step
            run.lease.has_ended = False
            if run.state is RunState.WAITING:
                self._turns.move(run, RunState.PAUSED)

    def stop(self, run: Run, visitor: str) -> None:
        """End the run; its models so far stay."""
        with self._owned(run, visitor):
            self._stop(run, "Stopped.")

    def watched(self, run: Job) -> None:
        """Somebody is watching: the run may go on for another `lease_seconds`, and does if it was left alone."""
        with self._lock:
            self._turns.watched(run)

    @contextmanager
    def watching(self, run: Job) -> Iterator[None]:
        """A page shows the run as long as this block lasts. When the last such page is gone, the run pauses soon."""
        with self._lock:
            run.lease.open_page()
            self._turns.watched(run)
        try:
            yield
        finally:
            with self._lock:
                run.lease.close_page()

    def _owned(self, run: Run, visitor: str) -> threading.Condition:
        self._check_owner(run, visitor)
        return self._lock

    def _check_reader(self, run: Run, visitor: str) -> None:
        if not run.may_read(visitor):
            raise NotYourText

    def _check_owner(self, run: Run, visitor: str) -> None:
        if not run.owner or run.owner != visitor:
            raise NotYourRun("another visitor started this run; watch it, or make a copy of your own")

    def _aim(self, run: Run, goal: int) -> None:
        """Have a run trained up to a step; the caller holds the lock, as of all below."""
        if not run.is_over:
            run.goal = goal
            run.lease.renew()
            if run.state is RunState.PAUSED:
                self._turns.enqueue(run)

    def _stop(self, run: Run, message: str) -> None:
        if not run.is_over:
            self._turns.move(run, RunState.STOPPED, message)

    # --- Over a restart ---------------------------------------------------------------------------------------------

    def warm_up(self, archive: Path | None = None) -> None:
        """Load PyTorch and train a model of almost no size, in the background, so that the first visitor need not wait.

        Then the runs that the last server saved in the folder `archive` go on.
        """

        def load_and_restore() -> None:
            self._turns.warm_up()
            if archive is not None:
                self.restore(archive)

        self._warming = threading.Thread(target=load_and_restore, name="warm-up", daemon=True)
        self._warming.start()

    def restore(self, archive: Path) -> None:
        """Go on with what the last server saved in a folder, in the order of its queue."""
        from gpt.runs.archive import restored_runs  # with PyTorch

        for run in restored_runs(archive):
            with self._lock:
                if self._turns.is_closing:
                    return  # this run and those after it stay in the folder, for the next server
                if run.key in self._runs:
                    _log.warning("run %s of the last server was dropped, because it was started again", run.key)
                    continue
                self._runs[run.key] = run
                if run.is_at_end or not (run.is_at_goal or run.lease.has_ended):
                    self._turns.enqueue(run)

    def close(self, archive: Path | None = None) -> None:
        """Pause everything and let the workers go home; with a folder, save there what is not over."""
        unfinished = self._turns.close(self.all_runs(), most_seconds=3)
        if self._warming is not None:
            self._warming.join(timeout=3)  # it may be in the middle of restoring a run
        if archive is None or not unfinished:
            return
        from gpt.runs.archive import save_runs  # with PyTorch

        with self._lock:
            late = [run for run in unfinished if run in self._turns.held and not run.is_at_hand]
            free = [run for run in unfinished if run not in late]
            self._turns.held.update(free)
        for run in late:
            _log.warning("run %s was not saved, because a step of it did not end in time", run.key)
        save_runs(free, archive, most_seconds=3)
        for run in free:
            self._turns.let_go(run)
