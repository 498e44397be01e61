"""What is told of a training on its way, kept without a gap over pauses and restorations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from gpt.training.state import TrainEvent, TrainingState
from gpt.training.trainer import Trainer


class Recording:
    """A training with its history.

    Each process of a group that trains together has one, and makes the same calls.

    Args:
        trainer: the training.
        begins_from: {"name", "sha256"} of the weights it begins from; None where they are new.

    Attributes:
        history: the events so far, one for each step; replaced or appended to, never changed in between.
    """

    def __init__(self, trainer: Trainer, begins_from: Mapping[str, str] | None = None) -> None:
        self.trainer = trainer
        self.begins_from = begins_from
        self.history: list[TrainEvent] = []

    def restore(
        self, state: TrainingState, history: Iterable[TrainEvent], snapshots: Mapping[int, dict[str, Tensor]]
    ) -> None:
        """Go on from a state, with what was kept up to its step."""
        self.trainer.load_state(state)
        self.trainer.snapshots = {step: weights for step, weights in snapshots.items() if step <= state.step}
        self.history = [event for event in history if event.step <= state.step]

    def events(self) -> Iterator[TrainEvent]:
        """The training, each event noted before it is given; this may be called again after any stop."""
        for event in self.trainer.events():
            self._note(event)
            yield event

    def _note(self, event: TrainEvent) -> None:
        """Append an event, or let it replace the last one if it tells the same step again and no less of it.

        A step is told again where it was the last, or its update was given up; and less of it where it was the last of
        a shorter training, and is not due for evaluation in this one.
        """
        last = self.history[-1] if self.history else None
        if last is None or last.step < event.step:
            self.history.append(event)
        elif event.validation_loss is not None or last.validation_loss is None:
            self.history = [*self.history[:-1], event]
