"""The threads that have runs trained, and experiments made; their scheduler decides between any two steps for how long.

A worker holds a run while it is trained, and nobody else touches the run's models meanwhile. It trains nothing itself:
it hires processes (`gpt.runs.trainers`), hands them the models, and makes known what they tell.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, Protocol

from torch import Tensor

from gpt.runs.experiment_run import ExperimentRun
from gpt.runs.job import Job
from gpt.runs.messages import Message
from gpt.runs.run import BestWeights, Member, News, Run, SavedMember
from gpt.runs.trainers import Crew, TrainerLost, Trainers
from gpt.training.state import TrainEvent, TrainingState

_log = logging.getLogger(__name__)

_LEAD = 2  # steps that a model may be ahead of the slowest of its run
_LONGEST_WAIT = 0.05  # seconds between two looks at what the scheduler wants
_LONGEST_GOODBYE = 20.0  # seconds in which a process has to give back its models
_LONGEST_STOP = 1.0  # seconds in which a process has to leave an experiment, of which nothing is kept
_LONGEST_SILENCE = 120.0  # seconds after which a process that tells nothing is given up


class Scheduler(Protocol):
    """What a worker asks of its scheduler."""

    def take(self) -> Job | None:
        """Wait for a run to train, and hold it; None when there will be no more."""

    def goes_on(self, run: Job) -> bool:
        """Whether to make another step; if not, the run has its next state already."""

    def is_unwanted(self, run: Job) -> bool:
        """Whether a step under way is to be given up."""

    def told(self, run: Run, member: Member, news: News) -> None:
        """A model of the run has made a step."""

    def is_asked(self, run: Run) -> bool:
        """Whether somebody wants to know where the run's models are."""

    def answer(self, run: Run, saved: Sequence[SavedMember]) -> None:
        """Where they are, all after equally many steps."""

    def progressed(self, run: ExperimentRun, share: float, doing: str) -> None:
        """An experiment is so far."""

    def found(self, run: ExperimentRun, result: Mapping[str, Any]) -> None:
        """An experiment has its result."""

    def fail(self, run: Job, message: str) -> None:
        """The run cannot be trained on."""

    def let_go(self, run: Job) -> None:
        """Whoever held the run does not touch it any more."""


def work(scheduler: Scheduler, trainers: Trainers) -> None:
    """Have one run after another trained, until the scheduler has no more."""
    while (run := scheduler.take()) is not None:
        try:
            if isinstance(run, ExperimentRun):
                _Experiment(run, scheduler).make(trainers)
            else:
                assert isinstance(run, Run)
                _Training(run, scheduler).make(trainers)
        except TrainerLost as lost:
            if not run.is_over:  # else it was ended because it was not wanted any more
                _log.warning("run %s: %s", run.key, lost)
                again = "run it again" if isinstance(run, ExperimentRun) else "train it again, or smaller models"
                scheduler.fail(run, f"Stopped: {lost}; {again}.")
        except Exception as error:  # a fault of ours must not take the worker with it
            _log.exception("run %s broke", run.key)
            scheduler.fail(run, f"This broke ({type(error).__name__}); please start it again.")
        finally:
            scheduler.let_go(run)
            del run  # else the last one would be kept until there is another


class _Training:
    """The training of a run in some processes, from when they are hired until they have left it."""

    def __init__(self, run: Run, scheduler: Scheduler) -> None:
        self.run = run
        self.scheduler = scheduler
        self._digests: dict[int, Mapping[str, str]] = {}
        self._states: dict[int, SavedMember] = {}

    def make(self, trainers: Trainers) -> None:
        """Train as long as the run goes on.

        Each step brings a model closer to its last one, and a run does not go on when all have made that.
        """
        if not self.scheduler.goes_on(self.run):
            return
        with trainers.hired(self.run.layout[0]) as crew:
            self._begin(crew)
            heard = time.monotonic()
            while self.scheduler.goes_on(self.run):
                self._allow(crew, min(self.run.goal, self.run.told_step + _LEAD))
                if self._hear(crew.news(_LONGEST_WAIT)):
                    heard = time.monotonic()
                elif time.monotonic() - heard > _LONGEST_SILENCE:
                    raise TrainerLost("the process that trained it has stopped answering")
                if self.scheduler.is_asked(self.run) and self.run.has_begun:
                    self._answer(crew)
            self._states.clear()
            self._hear(crew.leave(_LONGEST_GOODBYE))
            for number, member in enumerate(self.run.members):
                member.saved = self._states[number]
            self.run.allowed = -1

    def _begin(self, crew: Crew) -> None:
        run = self.run
        initial = {} if run.initial_weights is None else run.initial_weights.tensors
        crew.listen()
        crew.give_corpus(run.corpus)
        for number, member in enumerate(run.members):
            saved = member.saved
            said = {
                "number": number,
                "model": asdict(member.config),
                "training": asdict(replace(run.request.training, seed=member.seed, device="cpu")),
                "threads": run.layout[1],
                "state": None if saved is None else _fields_of(saved.state),
                "events": [] if saved is None else [asdict(event) for event in saved.events[-1:]],
                "batches_digest": "" if saved is None else saved.batches_digest,
            }
            crew.order(number, Message("begin", said, initial if saved is None else saved.state.tensors))

    def _allow(self, crew: Crew, step: int) -> None:
        """Let every model go on until it has told of this step; what was allowed before stays so."""
        if step > self.run.allowed:
            crew.order_all(Message("limit", {"step": step}))
            self.run.allowed = step

    def _answer(self, crew: Crew) -> None:
        """Tell where the models are, once all have made the steps that they were allowed."""
        give_up = time.monotonic() + _LONGEST_GOODBYE
        self._states.clear()
        is_asked = False
        while len(self._states) < len(self.run.members):
            if time.monotonic() > give_up or self.scheduler.is_unwanted(self.run):
                return
            if self.run.told_step == self.run.allowed and not is_asked:
                crew.order_all(Message("present"))
                is_asked = True
            self._hear(crew.news(_LONGEST_WAIT))
        self.scheduler.answer(self.run, [self._states[number] for number in sorted(self._states)])

    def _hear(self, news: Iterable[Message]) -> bool:
        """Make known what was told; whether anything was."""
        has_heard = False
        for message in news:
            getattr(self, f"_on_{message.kind}")(message)
            has_heard = True
        return has_heard

    # --- What processes tell, see `gpt.runs.trainer_process` --------------------------------------------------------

    def _on_begun(self, message: Message) -> None:
        self._digests[message.fields["number"]] = message.fields["digests"]
        if len(self._digests) == len(self.run.members):
            for seed in {member.seed for member in self.run.members}:
                same_seed = [number for number, member in enumerate(self.run.members) if member.seed == seed]
                digests = shared_digests([self._digests[number] for number in same_seed])
                for number, digest in zip(same_seed, digests, strict=True):
                    self.run.members[number].shared_digest = digest

    def _on_told(self, message: Message) -> None:
        member = self.run.members[message.fields["number"]]
        self.scheduler.told(self.run, member, _news_of(message))

    def _on_state(self, message: Message) -> None:
        number = message.fields["number"]
        member = self.run.members[number]
        state = TrainingState(tensors=dict(message.tensors), **message.fields["state"])
        digest = message.fields["told_batches_digest"]
        self._states[number] = SavedMember(state, list(member.events), member.snapshots, digest)

    def _on_left(self, message: Message) -> None:
        """After its states, a process has nothing more to tell."""

    def _on_diverged(self, message: Message) -> None:
        self.scheduler.fail(self.run, f"Stopped: {message.fields['text']}.")

    def _on_broke(self, message: Message) -> None:
        self.scheduler.fail(self.run, f"This run broke ({message.fields['text']}); please train it again.")


class _Experiment:
    """An experiment in a process, from when it is hired until it has left it."""

    def __init__(self, run: ExperimentRun, scheduler: Scheduler) -> None:
        self.run = run
        self.scheduler = scheduler

    def make(self, trainers: Trainers) -> None:
        """Have it made; ends with its result, or when it is not wanted any more, or when its process is lost."""
        if not self.scheduler.goes_on(self.run):
            return
        with trainers.hired(self.run.layout[0]) as crew:
            crew.listen()
            said = {"name": self.run.request.name, "setup": dict(self.run.request.setup)}
            crew.order(0, Message("experiment", said | {"threads": self.run.layout[1]}))
            heard = time.monotonic()
            while self.scheduler.goes_on(self.run):
                news = crew.news(_LONGEST_WAIT)
                for message in news:
                    self._hear(message)
                heard = time.monotonic() if news else heard
                if time.monotonic() - heard > _LONGEST_SILENCE:
                    raise TrainerLost("the process that made it has stopped answering")
            for _ in crew.leave(_LONGEST_STOP):  # what is still told of it does not matter
                pass

    def _hear(self, message: Message) -> None:
        said = message.fields
        if message.kind == "progress":
            self.scheduler.progressed(self.run, said["share"], said["doing"])
        elif message.kind == "result":
            self.scheduler.found(self.run, said["result"])
        elif message.kind == "refused":
            self.scheduler.fail(self.run, f"{said['text']}")
        elif message.kind == "broke":
            self.scheduler.fail(self.run, f"This experiment broke ({said['text']}); please run it again.")


def _news_of(message: Message) -> News:
    snapshots: dict[int, dict[str, Tensor]] = {}
    best: dict[str, Tensor] = {}
    for path, tensor in message.tensors.items():
        kind, _, name = path.partition("/")
        if kind == "snapshot":
            step, _, name = name.partition("/")
            snapshots.setdefault(int(step), {})[name] = tensor
        else:
            best[name] = tensor
    found = BestWeights(message.fields["best_step"], best) if best else None
    return News(TrainEvent(**message.fields["event"]), message.fields["batches_digest"], snapshots, found)


def shared_digests(models: Sequence[Mapping[str, str]]) -> list[str]:
    """For each model, the digest of the tensors that all of them have, by name and shape.

    Args:
        models: of each, a digest of every tensor by its name, which begins with its shape.
    """
    shared = [
        name
        for name, digest in models[0].items()
        if all(name in other and _shape_of(other[name]) == _shape_of(digest) for other in models)
    ]
    return [
        hashlib.sha256("".join(name + model[name] for name in shared).encode()).hexdigest()[:16] for model in models
    ]


def _shape_of(digest: str) -> str:
    return digest.partition(" ")[0]


def _fields_of(state: TrainingState) -> dict[str, object]:
    return {field.name: getattr(state, field.name) for field in fields(state) if field.name != "tensors"}
