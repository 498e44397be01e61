"""The threads that train runs. What is trained, and for how long, their scheduler decides between any two steps.

A worker holds a run while it trains it, and nobody else touches the run's trainings meanwhile. This is the one module
of the chapter that every run's training goes through; it loads PyTorch, for which the page does not wait.
"""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from gpt.data.corpus import Corpus
from gpt.model.gpt2 import GPT2
from gpt.runs.request import is_snapshot_step
from gpt.runs.run import Member, Run
from gpt.training.recipes import TrainConfig
from gpt.training.recording import Recording
from gpt.training.state import TrainEvent
from gpt.training.trainer import Trainer, TrainingDiverged, TrainingInterrupted

_log = logging.getLogger(__name__)


class Scheduler(Protocol):
    """What a worker asks of its scheduler."""

    def take(self) -> Run | None:
        """Wait for a run to train, and hold it; None when there will be no more."""

    def goes_on(self, run: Run) -> bool:
        """Whether to make another step; if not, the run has its next state already."""

    def is_unwanted(self, run: Run) -> bool:
        """Whether a step under way is to be given up."""

    def told(self, run: Run, member: Member, batches_digest: str) -> None:
        """A model of the run has made a step."""

    def fail(self, run: Run, message: str) -> None:
        """The run cannot be trained on."""

    def let_go(self, run: Run) -> None:
        """Whoever held the run does not touch it any more."""


def work(scheduler: Scheduler) -> None:
    """Train one run after another, until the scheduler has no more."""
    torch.set_num_threads(1)  # trainers with more threads than cores slow each other many times over
    while (run := scheduler.take()) is not None:
        try:
            _train(run, scheduler)
        except TrainingDiverged as error:
            scheduler.fail(run, f"Stopped: {error}.")
        except Exception as error:  # a fault of ours must not take the worker with it
            _log.exception("run %s broke", run.key)
            scheduler.fail(run, f"This run broke ({type(error).__name__}); please train it again.")
        finally:
            scheduler.let_go(run)
            del run  # else the last one would be kept until there is another


def _train(run: Run, scheduler: Scheduler) -> None:
    """Train a run as long as it goes on, always the model that is furthest behind.

    Each step brings a model closer to its last one, and a model that has made that is never asked again, because a run
    does not go on when all have. A step that was given up is made again, if the run goes on after all.
    """
    if not scheduler.goes_on(run):
        return
    known = weakref.ref(run)  # the run holds its trainings, which ask this: a circle would keep it when it is forgotten

    def is_unwanted() -> bool:
        asked = known()
        return asked is None or scheduler.is_unwanted(asked)

    _make_recordings(run, is_unwanted)
    streams = [_events(member) for member in run.members]
    while scheduler.goes_on(run):
        number, member = min(enumerate(run.members), key=lambda pair: pair[1].last_step)
        assert member.recording is not None
        digest = member.recording.trainer.batches_digest  # at the event's step, before the update that follows it
        try:
            next(streams[number])
        except TrainingInterrupted:
            streams[number] = _events(member)
            continue
        scheduler.told(run, member, digest)


def _events(member: Member) -> Iterator[TrainEvent]:
    assert member.recording is not None  # made before the first step
    return member.recording.events()


def _make_recordings(run: Run, is_unwanted: Callable[[], bool]) -> None:
    """Make the trainings of a run, where they are not there, from the start or from where they were saved."""
    for member in run.members:
        if member.recording is not None:
            continue
        model = GPT2.from_config(member.config)
        model.initialize(member.seed)
        training = replace(run.request.training, seed=member.seed, device="cpu")
        trainer = Trainer(model, run.corpus, training, is_snapshot_step=is_snapshot_step)
        trainer.interrupt_when(is_unwanted)
        recording = Recording(trainer)
        if member.saved is not None:
            saved = member.saved
            recording.restore(saved.state, saved.events, saved.snapshots)
        member.recording, member.saved = recording, None
    for seed in {member.seed for member in run.members}:
        same_seed = [member for member in run.members if member.seed == seed]
        if not any(member.shared_digest for member in same_seed):
            models = [member.recording.trainer.model for member in same_seed if member.recording is not None]
            for member, digest in zip(same_seed, shared_digests(models), strict=True):
                member.shared_digest = digest


def shared_digests(models: Sequence[GPT2]) -> list[str]:
    """For each model, the digest of the tensors that all of them have, by name and shape."""
    tensors = [dict(model.named_parameters()) for model in models]
    shared = [
        name
        for name, tensor in tensors[0].items()
        if all(name in other and other[name].shape == tensor.shape for other in tensors)
    ]
    return [_digest(model_tensors, shared) for model_tensors in tensors]


def _digest(tensors: Mapping[str, Tensor], names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def warm_up() -> None:
    """Train a model of almost no size, so that the first visitor need not wait for what the first step loads."""
    torch.set_num_threads(1)
    corpus = Corpus.from_text("warm-up", "to be or not to be, " * 4)
    model = GPT2(corpus.tokenizer.vocab_size, 8, 1, 8, 1, context_length=8)
    training = TrainConfig(max_steps=1, batch_size=1, sample_length=1, device="cpu")
    for _ in Trainer(model, corpus, training).events():
        pass
