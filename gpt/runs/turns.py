"""Whose turn it is: the queue of runs and experiments, and the workers who have them done.

A worker takes the first run of the queue, and asks between any two steps whether it goes on. From when it takes the run
until it lets it go, it holds the run: nobody else touches the run's trainings. Whoever copies or saves a run that no
worker has holds it likewise.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from gpt.runs.copies import Question, present_of
from gpt.runs.experiment_run import ExperimentRun
from gpt.runs.job import Job
from gpt.runs.limits import Limits
from gpt.runs.request import RunRefused
from gpt.runs.run import RESTARTING, Member, News, Run, SavedMember
from gpt.runs.states import RunState, transition
from gpt.runs.trainers import Trainers

_log = logging.getLogger(__name__)
_LONGEST_STEP = 60.0  # seconds that a visitor waits for a run to come between two steps


class Turns:
    """The queue and the workers of one server.

    Args:
        limits: how many workers there are, and how long a run may train.
        trainers: the processes that train, which stay when the server closes; by default some of its own.
        make_room: called under the lock before a run is trained: forgets others if that makes room for it, or at all
            costs, and tells whether it can be trained.

    Attributes:
        limits: how many workers there are, and how long a run may train.
        lock: guards all that is here, and the state, goal, lease and owner of every run; told when any changes.
        queue: the runs that are WAITING, the next one first.
        held: the runs that a thread holds.
        is_closing: whether the server ends, so that no run goes on.
    """

    def __init__(
        self, limits: Limits, make_room: Callable[[Job, bool], bool], trainers: Trainers | None = None
    ) -> None:
        self.limits = limits
        self._make_room = make_room
        self.lock = threading.Condition()
        self.queue: list[Job] = []
        self.held: set[Job] = set()
        self.is_closing = False
        self._questions: list[tuple[Run, Question]] = []  # to the threads that hold these runs
        self._flops_per_second: float | None = None  # of this machine, as last measured
        self._threads: list[threading.Thread] = []
        self._trainers, self._owns_trainers = trainers, trainers is None

    def move(self, run: Job, to: RunState, message: str = "") -> None:
        """Let a run pass into another state, and into the queue or out of it; the caller holds the lock."""
        before = run.state
        transition(run, to, message)
        if before is RunState.WAITING:
            self.queue.remove(run)
        if to is RunState.WAITING:
            self._line_up(run)
            self._start_workers()
        _log.info("run=%s %s %s", run.key, to, run.in_the_log())
        self.lock.notify_all()

    def enqueue(self, run: Job) -> None:
        """Put a run into the queue, unless the server ends; the caller holds the lock."""
        if not self.is_closing:
            run.lease.has_ended = False
            self.move(run, RunState.WAITING)

    def watched(self, run: Job) -> None:
        """Somebody is watching: the run goes on if it was left alone; the caller holds the lock."""
        run.lease.renew()
        if run.lease.has_ended and run.state is RunState.PAUSED:
            self.enqueue(run)

    def _line_up(self, run: Job) -> None:
        """Put a run in the queue: turns go round by address, and by arrival among the runs of one."""
        rounds: Counter[str] = Counter()
        own_round = sum(other.address == run.address for other in self.queue)
        for place, other in enumerate(self.queue):
            if rounds[other.address] > own_round:
                self.queue.insert(place, run)
                return
            rounds[other.address] += 1
        self.queue.append(run)

    def pause_the_left(self) -> None:
        """Take those runs out of the queue that nobody watches; the caller holds the lock."""
        for run in list(self.queue):
            if run.lease.is_left(self.limits):
                self.pause_left(run)

    def pause_left(self, run: Job) -> None:
        """Pause a run that nobody watches, until somebody does; the caller holds the lock."""
        run.lease.has_ended = True
        self.move(run, RunState.PAUSED, "Paused, because nobody was watching.")

    def place_of(self, run: Job) -> tuple[int, float | None]:
        """How many runs are served before this one is, and in about how many seconds its turn comes, if known."""
        with self.lock:
            if run not in self.queue:
                return 0, 0.0
            before = self.queue[: self.queue.index(run)]
            running = [other for other in self.held if other.state is RunState.RUNNING]
            place = len(before) + max(0, len(running) - self.limits.workers + 1)
            seconds = [other.seconds_left(self._flops_per_second) for other in [*running, *before]]
            if None in seconds:
                return place, None
            return place, sum(some or 0.0 for some in seconds) / self.limits.workers

    # --- What workers ask, see `gpt.runs.workers.Scheduler` ---------------------------------------------------------

    def _start_workers(self) -> None:
        while len(self._threads) < self.limits.workers:
            name = f"trainer-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def _work(self) -> None:
        _workers().work(self, self._own_trainers())

    def _own_trainers(self) -> Trainers:
        with self.lock:
            if self._trainers is None:
                self._trainers = Trainers()
            return self._trainers

    def take(self) -> Job | None:
        """Wait for a run to train, and hold it; None when there will be no more."""
        with self.lock:
            while (run := self._next()) is None and not self.is_closing:
                self.lock.wait()
            if self.is_closing or run is None:
                return None
            self.held.add(run)
            run.lay_out(max(1, self.limits.cores // self.limits.workers))
            if run.lease.watchers:
                run.lease.renew()  # that it had to wait is not its watchers' fault
            self.move(run, RunState.RUNNING)
            return run

    def _next(self) -> Job | None:
        """The first run in the queue for which there is room; the caller holds the lock."""
        self.pause_the_left()
        free = [run for run in self.queue if run not in self.held]
        fitting = next((run for run in free if self._make_room(run, False)), None)
        if fitting is None and free and not any(run.state is RunState.RUNNING for run in self.held):
            # Those that have begun and wait fill the memory. One has to go on, and takes little beside what it has.
            fitting = min(free, key=lambda run: not run.has_models)
            self._make_room(fitting, True)
        return fitting

    def goes_on(self, run: Job) -> bool:
        """Whether to make another step; if not, the run has its next state already."""
        with self.lock:
            if run.state is RunState.RUNNING:  # else somebody has stopped it
                end = run.end_of_turn(self.limits, is_closing=self.is_closing)
                if end is not None:
                    self.move(run, *end)
            return run.state is RunState.RUNNING

    def is_unwanted(self, run: Job) -> bool:
        """Whether a step under way is to be given up."""
        with self.lock:
            return self.is_closing or run.state in (RunState.STOPPED, RunState.FAILED)

    def told(self, run: Run, member: Member, news: News) -> None:
        """A model of the run has made a step."""
        with self.lock:
            member.tell(news)
            run.version += 1
            self._flops_per_second = run.flops_per_second() or self._flops_per_second

    def progressed(self, run: ExperimentRun, share: float, doing: str) -> None:
        """An experiment is so far."""
        with self.lock:
            run.share, run.doing = share, doing
            run.version += 1

    def found(self, run: ExperimentRun, result: Mapping[str, Any]) -> None:
        """An experiment has its result."""
        with self.lock:
            run.share, run.result = 1.0, result
            run.version += 1

    def fail(self, run: Job, message: str) -> None:
        """The run cannot be trained on."""
        with self.lock:
            if run.state is RunState.RUNNING:
                self.move(run, RunState.FAILED, message)
            elif not run.is_over:  # somebody has paused it meanwhile, and it cannot go on
                self.move(run, RunState.STOPPED, message)

    def let_go(self, run: Job) -> None:
        """Whoever held the run does not touch it any more."""
        with self.lock:
            self.held.discard(run)
            self.lock.notify_all()

    # --- Between two steps ------------------------------------------------------------------------------------------

    def present(self, run: Run) -> list[SavedMember]:
        """Where each model of a run is now: answered by its worker, or looked up where nobody holds it."""
        question = Question()
        with self.lock:
            self._questions.append((run, question))
            try:
                self.lock.wait_for(
                    lambda: question.answer or run not in self.held or self.is_closing, timeout=_LONGEST_STEP
                )
            finally:
                self._questions.remove((run, question))
            if question.answer:
                return question.answer
            if self.is_closing:
                raise RunRefused("the lab is closing; it makes no copies")
            if run in self.held:
                raise RunRefused("a step of this run is taking very long; try again later")
            self.held.add(run)
        try:
            return present_of(run)
        finally:
            self.let_go(run)

    def is_asked(self, run: Run) -> bool:
        """Whether somebody wants to know where the run's models are."""
        with self.lock:
            return any(asked is run and question.answer is None for asked, question in self._questions)

    def answer(self, run: Run, saved: Sequence[SavedMember]) -> None:
        """Where they are, all after equally many steps."""
        with self.lock:
            for asked, question in self._questions:
                if asked is run:
                    question.answer = list(saved)  # the same for all: whoever restores it makes copies
            self.lock.notify_all()

    # --- The beginning and the end ----------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Load PyTorch here, and start the first trainer processes, so that the first visitor need not wait for it."""
        self._own_trainers().warm_up(min(2, self.limits.cores))
        _workers()

    def close(self, runs: Sequence[Run], most_seconds: float) -> list[Run]:
        """Pause everything, and wait until the workers have gone home.

        Steps under way are given up, of which nothing remains.

        Returns:
            Those of `runs` that are not over: first the one in training, then in the order of the queue.
        """
        with self.lock:
            self.is_closing = True
            waiting = [job for job in self.queue if isinstance(job, Run)]
            order = [*(run for run in runs if run.state is RunState.RUNNING), *waiting]
            for job in list(self.queue):
                if isinstance(job, Run):
                    self.move(job, RunState.PAUSED, RESTARTING)
                else:
                    self.move(job, RunState.STOPPED, "The lab is restarting; run this experiment again in a moment.")
            self.lock.notify_all()
            self.lock.wait_for(lambda: not self.held, timeout=most_seconds)
            order += [run for run in runs if run not in order]
        for thread in self._threads:
            thread.join(timeout=1)
        if self._owns_trainers and self._trainers is not None:
            self._trainers.close()
        return [run for run in order if not run.is_over]


def _workers() -> ModuleType:
    # It loads PyTorch, for which neither the page nor a visitor waits, so it is imported by threads behind them.
    from gpt.runs import workers

    return workers
