"""A run of one's own that goes on from where another is now, in its way or in another."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gpt.runs.request import RunRefused, RunRequest
from gpt.runs.run import Run, SavedMember
from gpt.training.recipes import TrainConfig


@dataclass(eq=False)
class Question:
    """Where a run is now, asked of the worker that holds it, which answers between two steps.

    The scheduler's lock guards it.
    """

    answer: list[SavedMember] | None = None


def present_of(run: Run) -> list[SavedMember]:
    """What each model of a run would go on from; for the thread that holds the run."""
    saved = [member.saved for member in run.members if member.saved is not None]
    if len(saved) < len(run.members) or not all(member.events for member in saved):
        raise RunRefused("this run has not started to train, so there is nothing to go on from")
    return saved


def copy_of(
    run: Run, saved: list[SavedMember], visitor: str, training: TrainConfig | None, *, address: str = ""
) -> Run:
    """A new run that goes on from what was saved of another; it is in no queue yet.

    Args:
        run: the other.
        saved: of each of its models.
        visitor: who owns the copy.
        training: how to go on, by default as `run` does. The kind of optimizer has to stay.
        address: where they ask from.

    Raises:
        RunRefused: it cannot go on in this way.
    """
    before = run.request.training
    training = replace(training or before, seed=before.seed)
    if (training.matrix_learning_rate is None) != (before.matrix_learning_rate is None):
        raise RunRefused("a run cannot change its recipe half-way; keep the recipe, or train from the start")
    told = min(member.events[-1].step for member in saved)
    if training.max_steps <= told or training.max_steps < max(member.state.step for member in saved):
        raise RunRefused(f"this run has already made all its {told:,} steps; ask for more steps")
    request = request_of_copy(run, told, visitor, training)
    copied = Run(request, run.corpus, visitor, address=address, initial_weights=run.initial_weights)
    for member, original, start in zip(copied.members, run.members, saved, strict=True):
        member.go_on_from(start)
        member.shared_digest = original.shared_digest
    return copied


def request_of_copy(run: Run, step: int, visitor: str, training: TrainConfig) -> RunRequest:
    """What a visitor asks for who copies a run at a step: the same request for the same press."""
    return replace(run.request, training=training, copy_of=f"{run.key} {step} {visitor}")
