"""What is known of a training at one moment: the event that is told, and the state that it goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a history is read, and drawn, without PyTorch
    from torch import Tensor


@dataclass(frozen=True)
class TrainEvent:
    """One moment of training.

    Attributes:
        step: updates made so far; 0 is before the first.
        tokens: tokens learned from so far.
        seconds: time spent learning so far; evaluations and samples are not counted.
        train_loss: loss of this step's batch before its update, in nats per token; None at step 0.
        validation_loss: where it was measured, else None.
        validation_error: its standard error, from how much the loss differs between validation windows.
        learning_rate: of AdamW in this update.
        tokens_per_second: over the last few steps.
        sample: text written by the model, at evaluations.
        gradient_norm: of the update that led to this step, over all weights and before clipping; None at step 0, where
            it was not a finite number, and in what an earlier version told.
        validation_accuracy: the share of tokens of the evaluated windows that the model holds likeliest (from 0 to 1),
            where the validation loss was measured, else None; None in what an earlier version told.
    """

    step: int
    tokens: int
    seconds: float
    train_loss: float | None
    validation_loss: float | None
    validation_error: float | None
    learning_rate: float
    tokens_per_second: float
    sample: str | None
    gradient_norm: float | None = None
    validation_accuracy: float | None = None


def best_event(events: Sequence[TrainEvent]) -> TrainEvent | None:
    """The first event of the lowest validation loss; None if none was measured."""
    evaluated = [event for event in events if event.validation_loss is not None]
    return min(evaluated, key=lambda event: event.validation_loss or 0.0, default=None)


@dataclass(frozen=True, eq=False)
class TrainingState:
    """A training about to evaluate `step`; `Trainer.state` saves it and `Trainer.load_state` restores it.

    Attributes:
        step, tokens, seconds, best_loss, best_step, batches_digest: as in `Trainer`.
        tensors: "present/...", "average/..." and "best/..." weights, "optimizer/..." memories, on the CPU.
        train_loss, learning_rate, gradient_norm: of the update that led to `step`, for its event; None, 0 and None
            before the first.
    """

    step: int
    tokens: int
    seconds: float
    best_loss: float
    best_step: int
    batches_digest: str
    tensors: dict[str, Tensor] = field(repr=False)
    train_loss: float | None = None
    learning_rate: float = 0.0
    gradient_norm: float | None = None
