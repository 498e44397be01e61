"""A process that trains models of a run, a step of the one furthest behind at a time; its server tells it how far.

It is told (`gpt.runs.messages`):

    warm                                  train a model of almost no size, which loads what a first step needs
    corpus  name, sha256, tokenizer       the text of the models that follow; its parts as tensors
    begin   number, model, training, threads   train this model, from the weights in the tensors where there are any,
                                          or go on with it where they hold its state
    limit   step                          go on until every model has told of this step
    present                               tell where each model is
    leave                                 the same, then forget them; a step under way is given up
    experiment  name, setup, threads      make this experiment (`gpt.experiments`)

and tells:

    begun   number, digests               of each tensor of a new model
    told    number, event, batches_digest a model has made a step; with snapshots and best weights that are new
    state   number, ..., tensors          all that a training goes on from
    left                                  after the states of `leave`
    diverged or broke, text               no model is trained on
    progress  share, doing                an experiment is so far
    result or refused                     it is over: with its result, or with a sentence on why it cannot be made

It ends when its server does: nobody is there to read its pipe then.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from queue import SimpleQueue
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gpt.data.corpora import CorpusUnavailable
from gpt.data.corpus import Corpus
from gpt.data.tokenizer import tokenizer_from_json
from gpt.experiments import Progress, Result, conduct, make_setup
from gpt.model.config import GPTConfig
from gpt.model.gpt2 import GPT2
from gpt.runs.messages import Message, read_message, write_message
from gpt.runs.request import is_snapshot_step
from gpt.terminal import sentence
from gpt.training.recipes import TrainConfig
from gpt.training.recording import Recording
from gpt.training.state import TrainEvent, TrainingState
from gpt.training.trainer import Trainer, TrainingDiverged, TrainingInterrupted

_BETWEEN_TELLINGS = 0.1  # seconds between two reports of how far an experiment is
_POLITENESS = 2  # how much the page goes before, where both want a core


class _Training:
    """One model in training, and what has been told of it."""

    def __init__(self, number: int, recording: Recording) -> None:
        self.number = number
        self.recording = recording
        self.events = recording.events()
        self.batches_digest = recording.trainer.batches_digest  # at the last event, before the update that follows it
        self.told_best: Mapping[str, Tensor] | None = recording.trainer.best_weights

    @property
    def last_step(self) -> int:
        history = self.recording.history
        return history[-1].step if history else -1


class TrainerLoop:
    """Obeys one order after another, and trains while there is something to train.

    Args:
        orders: where they come from.
        news: where what happens is told.
    """

    def __init__(self, orders: BinaryIO, news: BinaryIO) -> None:
        self._news = news
        self._arrived: SimpleQueue[Message | None] = SimpleQueue()
        self._orders: deque[Message | None] = deque()  # arrived, and not obeyed yet
        self._corpus: Corpus | None = None
        self._trainings: list[_Training] = []
        self._limit = -1
        self._experiment: Generator[Progress, None, Result] | None = None
        self._told_at = 0.0  # when progress was last told
        threading.Thread(target=self._listen, args=(orders,), name="orders", daemon=True).start()

    def run(self) -> None:
        """Go on until there are no more orders to come."""
        while (order := self._next_order()) is not None:
            self._obey(order)
            while not self._orders and self._arrived.empty() and self._is_anything_to_do():
                self._step()

    def _listen(self, orders: BinaryIO) -> None:
        while (order := read_message(orders)) is not None:
            self._arrived.put(order)
        self._arrived.put(None)

    def _next_order(self) -> Message | None:
        return self._orders.popleft() if self._orders else self._arrived.get()

    def _is_interruption_wanted(self) -> bool:
        """Whether the models are to be left at once; asked very often."""
        while not self._arrived.empty():
            self._orders.append(self._arrived.get())
        return any(order is None or order.kind == "leave" for order in self._orders)

    def _tell(self, kind: str, tensors: Mapping[str, Tensor] | None = None, **said: Any) -> None:
        with suppress(OSError, ValueError):  # the server has ended, which the next order tells
            write_message(self._news, Message(kind, said, tensors or {}))

    def _obey(self, order: Message) -> None:
        try:
            getattr(self, f"_on_{order.kind}")(order)
        except Exception as error:  # a fault of ours must not take the process with it
            self._break(error)

    def _break(self, error: Exception) -> None:
        traceback.print_exception(error)
        self._limit = -1
        self._tell("broke", text=type(error).__name__)

    # --- Orders -----------------------------------------------------------------------------------------------------

    def _on_warm(self, _: Message) -> None:
        corpus = Corpus.from_text("warm-up", "to be or not to be, " * 4)
        model = GPT2(corpus.tokenizer.vocab_size, 8, 1, 8, 1, context_length=8)
        training = TrainConfig(max_steps=1, batch_size=1, sample_length=1, device="cpu")
        for _event in Trainer(model, corpus, training).events():
            pass

    def _on_corpus(self, order: Message) -> None:
        said, parts = order.fields, order.tensors
        tokenizer = tokenizer_from_json(said["tokenizer"])
        self._corpus = Corpus(said["name"], tokenizer, parts["train"], parts["validation"], said["sha256"])

    def _on_begin(self, order: Message) -> None:
        said = order.fields
        assert self._corpus is not None  # it comes first
        torch.set_num_threads(said["threads"])
        training = TrainConfig(**said["training"])
        model = GPT2.from_config(GPTConfig(**said["model"]))
        model.initialize(training.seed)
        if said["state"] is None and order.tensors:
            model.load_weights(order.tensors)
        trainer = Trainer(model, self._corpus, training, is_snapshot_step=is_snapshot_step)
        trainer.interrupt_when(self._is_interruption_wanted)
        recording = Recording(trainer)
        if said["state"] is None:
            self._tell("begun", number=said["number"], digests=tensor_digests(model))
        else:
            state = TrainingState(tensors=dict(order.tensors), **said["state"])
            recording.restore(state, [TrainEvent(**event) for event in said["events"]], {})
        self._trainings.append(_Training(said["number"], recording))
        if said["state"] is not None:
            self._trainings[-1].batches_digest = said["batches_digest"]

    def _on_limit(self, order: Message) -> None:
        self._limit = order.fields["step"]

    def _on_present(self, _: Message) -> None:
        for one in self._trainings:
            state = one.recording.trainer.state()
            said = {f.name: getattr(state, f.name) for f in fields(state) if f.name != "tensors"}
            self._tell("state", state.tensors, number=one.number, state=said, told_batches_digest=one.batches_digest)

    def _on_leave(self, order: Message) -> None:
        self._on_present(order)
        self._trainings, self._limit = [], -1
        if self._experiment is not None:
            self._experiment.close()
            self._experiment = None
        self._tell("left")

    def _on_experiment(self, order: Message) -> None:
        said = order.fields
        torch.set_num_threads(said["threads"])
        self._experiment = _experiment(said["name"], said["setup"])

    # --- Training ---------------------------------------------------------------------------------------------------

    def _is_anything_to_do(self) -> bool:
        return self._experiment is not None or any(one.last_step < self._limit for one in self._trainings)

    def _step(self) -> None:
        if self._experiment is not None:
            self._go_on_with(self._experiment)
        else:
            self._train()

    def _go_on_with(self, experiment: Generator[Progress, None, Result]) -> None:
        try:
            progress = next(experiment)
        except StopIteration as end:
            self._experiment = None
            self._tell("result", result=end.value.to_json())
        except (ValueError, CorpusUnavailable) as error:  # what its setup does not allow here
            self._experiment = None
            self._tell("refused", text=sentence(error))
        except Exception as error:
            self._experiment = None
            self._break(error)
        else:
            if time.monotonic() - self._told_at > _BETWEEN_TELLINGS:
                self._told_at = time.monotonic()
                self._tell("progress", share=progress.share, doing=progress.doing)

    def _train(self) -> None:
        """A step of the model that is furthest behind; one that was given up is made again, if it goes on after all."""
        one = min(self._trainings, key=lambda training: training.last_step)
        trainer = one.recording.trainer
        digest = trainer.batches_digest
        try:
            next(one.events)
        except TrainingInterrupted:
            one.events = one.recording.events()
            return
        except TrainingDiverged as error:
            self._limit = -1
            self._tell("diverged", text=str(error))
            return
        except Exception as error:
            self._break(error)
            return
        one.batches_digest = digest
        news = {
            f"snapshot/{step}/{name}": weight
            for step, weights in trainer.snapshots.items()
            for name, weight in weights.items()
        }
        trainer.snapshots = {}  # the server keeps them
        if trainer.best_weights is not one.told_best:
            one.told_best = trainer.best_weights
            news |= {f"best/{name}": weight for name, weight in trainer.best_weights.items()}
        event = asdict(one.recording.history[-1])
        self._tell("told", news, number=one.number, event=event, batches_digest=digest, best_step=trainer.best_step)


def _experiment(name: str, setup: Mapping[str, Any]) -> Generator[Progress, None, Result]:
    """An experiment, whose setup is refused where it would begin."""
    return (yield from conduct(name, make_setup(name, setup)))


def tensor_digests(model: GPT2) -> dict[str, str]:
    """The shape and a digest of each weight of a model, such as "65x128 3a7b...", by name."""
    return {
        name: f"{'x'.join(map(str, tensor.shape))} {hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()}"
        for name, tensor in model.named_parameters()
    }


def main() -> None:
    """Be a trainer process: orders come in on standard input, news go out where standard output was."""
    news = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that nobody's print comes between
    for ending in ("SIGINT", "SIGTERM", "SIGHUP"):  # a terminal's Ctrl-C reaches us too; the server decides
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(_POLITENESS)
    TrainerLoop(sys.stdin.buffer, news).run()
    os._exit(0)  # not through the interpreter's end, where the listening thread may hold standard input


if __name__ == "__main__":
    main()
