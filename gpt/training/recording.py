"""A training that is written down: in its checkpoint folder at each evaluation, and taken up there after a stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt.checkpoints.card import measured_result
from gpt.checkpoints.folder import Checkpoint, load_snapshot, load_training_state, save_checkpoint
from gpt.model.gpt2 import GPT2
from gpt.training.state import TrainEvent
from gpt.training.trainer import Trainer


class Recording:
    """What is kept of a training, and where.

    Each process of a group that trains together has one, and makes the same calls; the first of them writes.

    Args:
        trainer: the training.
        folder: its checkpoint folder.
        snapshot_steps: the steps whose weights are kept to look back.

    Attributes:
        history: all events so far.
    """

    def __init__(self, trainer: Trainer, folder: Path, snapshot_steps: Sequence[int] = ()) -> None:
        self.trainer = trainer
        self.folder = folder
        self.history: list[TrainEvent] = []
        self._snapshot_steps = snapshot_steps
        self._snapshots: dict[int, dict[str, Tensor]] = {}

    def take_up(self, found: Checkpoint) -> bool:
        """Go on from what the folder holds, `found` being what was loaded of it; False if that is finished.

        Raises:
            CheckpointError: as `gpt.checkpoints.folder.load_training_state`.
        """
        group = self.trainer.group
        state = load_training_state(self.folder) or group.load(self.folder, self.trainer.model)
        if state is None:
            return False
        self.trainer.load_state(state)
        self.history = [event for event in found.history if event.step <= self.trainer.step]
        self._snapshots = {step: load_snapshot(self.folder, step) for step in found.snapshot_steps}
        return True

    def events(self) -> Iterator[TrainEvent]:
        """The training, saved after each evaluation before its event is given."""
        for event in self.trainer.events():
            self.history.append(event)
            if event.step in self._snapshot_steps:
                weights = self.trainer.copy_of_weights()
                self._snapshots[event.step] = {name: self.trainer.group.whole(w).cpu() for name, w in weights.items()}
            if event.validation_loss is not None:
                self.save()
            yield event

    def save(self) -> None:
        """Write the folder, with all that going on would need."""
        group = self.trainer.group
        state = group.store(self.trainer.state(), self.folder)
        group.ask_first(self.trainer.model, lambda model: self._write(model, training_state=state))
        group.tidy(self.folder)

    def finish(self, command: str) -> float:
        """Write the folder for good: the best weights in half precision, and what is measured of them.

        Args:
            command: what makes this model again, for its card.

        Returns:
            The loss over the validation text.
        """

        def measure_and_write(model: GPT2) -> float:
            model.load_weights({name: weight.half().float() for name, weight in model.named_parameters()})
            result = measured_result(model, self.trainer.corpus, command)
            self._write(model, result=result, dtype=torch.float16)
            return float(result["validation_loss"])

        self.trainer.restore_best()
        loss = self.trainer.group.ask_first(self.trainer.model, measure_and_write)
        self.trainer.group.tidy(self.folder)
        return loss

    def measure(self, question: Callable[[GPT2], float]) -> float:
        """What is measured of the best weights, by the first process."""
        self.trainer.restore_best()
        return self.trainer.group.ask_first(self.trainer.model, question)

    def _write(self, model: GPT2, **more: Any) -> None:
        corpus = self.trainer.corpus
        save_checkpoint(
            self.folder,
            model,
            corpus.tokenizer,
            history=self.history,
            train_config=self.trainer.config,
            corpus={"name": corpus.name, "sha256": corpus.sha256},
            snapshots=self._snapshots,
            **more,
        )
