"""A training in its checkpoint folder: saved so that it can be restored, and finished.

Each process of a group that trains together makes the same calls, and the first of them writes the folder. Where each
holds a part only of every tensor, these parts take the place of training.safetensors:

    <out>/                                the checkpoint folder; its "progress" says which step's parts belong to it
    <out>/training.sharded/step-<N>/      the parts of the weights and of the optimizers' memories at step N
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from gpt.checkpoints.card import measured_result
from gpt.checkpoints.files import CheckpointError
from gpt.checkpoints.folder import (
    Checkpoint,
    load_checkpoint,
    load_snapshot,
    load_training_state,
    read_progress,
    save_checkpoint,
    state_from,
)
from gpt.checkpoints.listing import holds_checkpoint
from gpt.checkpoints.saves import PARTS, checkpoint_writer
from gpt.data.tokenizer import tokenizer_to_json
from gpt.model.gpt2 import GPT2
from gpt.training.group import Group
from gpt.training.recipes import TrainConfig
from gpt.training.recording import Recording
from gpt.training.state import TrainEvent, TrainingState
from gpt.training.trainer import TrainingInterrupted


@contextmanager
def own_folder(folder: Path, group: Group) -> Iterator[None]:
    """Own the checkpoint folder of a training until the end of the block.

    What would keep it from being saved there is known before any work.

    Raises:
        ValueError: the folder holds something else, or another process writes it.
        OSError: nothing can be written there.
    """
    with ExitStack() as stack:

        def own() -> None:
            stack.enter_context(checkpoint_writer(folder))

        group.let_first(own)
        yield


def saved_events(folder: Path, recording: Recording) -> Iterator[TrainEvent]:
    """The training, saved after each evaluation before its event is given, and when the group is asked to stop.

    Then there are no more events, and `recording.trainer.group.stop_requested` says why.

    Raises:
        TrainingDiverged: the loss became infinite or not a number.
        OSError: as `save_training`.
    """
    group, is_saved = recording.trainer.group, False
    try:
        for event in recording.events():
            is_saved = event.validation_loss is not None
            if is_saved:
                save_training(folder, recording)
            yield event
            if group.stop_requested:
                break
    except TrainingInterrupted:
        if not group.stop_requested:
            raise
    if group.stop_requested and not is_saved:  # since the last event nothing has changed, whatever was given up
        save_training(folder, recording)


def continue_training(folder: Path, recording: Recording) -> bool:
    """Restore what was begun in a folder, if anything was; whether it was.

    Raises:
        ValueError: what is there cannot be continued by this training; the message says why.
    """
    group = recording.trainer.group
    is_there = holds_checkpoint(folder)
    if is_there:
        found = load_checkpoint(folder)
        check_same_training(folder, found, recording)
        if not restore_training(folder, found, recording):
            how = "with --final" if found.result else "as a model by itself, without its training,"
            raise ValueError(f"{folder} was saved {how} and cannot be continued; choose another --out")
    tidy(folder, group)  # and so wait until all have read what is there
    return is_there


def check_same_training(folder: Path, found: Checkpoint, recording: Recording) -> None:
    """Refuse to continue a checkpoint as if it were a training that it is not.

    Only the number of steps may differ, and what is of no consequence for the result.

    Raises:
        ValueError: the model, the text or the settings are others.
    """
    trainer, instead = recording.trainer, "choose another --out, or the options it was made with"
    if found.config != trainer.model.config:
        raise ValueError(f"{folder} holds a model of another configuration ({found.config}); {instead}")
    if found.corpus.get("sha256") != trainer.corpus.sha256:
        raise ValueError(f"{folder} was trained on another text ({found.corpus.get('name')}); {instead}")
    if tokenizer_to_json(found.tokenizer) != tokenizer_to_json(trainer.corpus.tokenizer):
        raise ValueError(f"{folder} was trained on this text cut into other tokens; {instead}")
    before, now = found.begins_from, recording.begins_from or {}
    if before.get("sha256") != now.get("sha256"):
        raise ValueError(f"{folder} was begun from {_weights_of(before)}, not from {_weights_of(now)}; {instead}")
    if found.train_config is None:
        raise ValueError(f"{folder} does not say how it was trained; {instead}")
    free = ("max_steps", "device", "gradient_accumulation_steps", "checkpoint_activations")
    settings = [field.name for field in fields(TrainConfig) if field.name not in free]
    changed = [name for name in settings if getattr(found.train_config, name) != getattr(trainer.config, name)]
    if changed:
        raise ValueError(f"{folder} was trained with another {', '.join(changed)}; {instead}")


def _weights_of(begins_from: Mapping[str, Any]) -> str:
    if not begins_from:
        return "new weights"
    return f"the weights of {begins_from.get('name')} ({str(begins_from.get('sha256'))[:8]})"


def save_training(folder: Path, recording: Recording) -> None:
    """Write all that going on would need.

    Raises:
        OSError: the disk is full or the place cannot be written; what was saved before is unharmed.
    """
    trainer, group = recording.trainer, recording.trainer.group
    state = trainer.state()
    if group.holds_parts:
        parts = _parts_of(folder, state.step)
        if not parts.is_dir():  # those of a step are the same whenever they are written
            group.write_parts({name: part for name, part in state.tensors.items() if not _is_best(name)}, parts)
        # Sorted, because what was read from a file may come in another order in each process.
        best = sorted(filter(_is_best, state.tensors))
        state = replace(state, tensors={name: group.whole(state.tensors[name]).cpu() for name in best})
    group.ask_first(trainer.model, lambda model: _write(folder, recording, model, training_state=state))
    tidy(folder, group)


def restore_training(folder: Path, found: Checkpoint, recording: Recording) -> bool:
    """Go on from what the folder holds, `found` being what was loaded of it; False if that is finished.

    Raises:
        CheckpointError: a file is missing or damaged, or is that of another model.
        ValueError: it has made more steps than are asked for now.
    """
    trainer = recording.trainer
    state = load_training_state(folder) or _load_from_parts(folder, trainer.group, trainer.model)
    if state is None:
        return False
    if state.step > trainer.config.max_steps:
        raise ValueError(
            f"{folder} has made {state.step:,} steps already, and {trainer.config.max_steps:,} are asked for; "
            f"give more --steps, or choose another --out"
        )
    told = next((event for event in found.history if event.step == state.step), None)
    if state.train_loss is None and told is not None:  # a state from before it held these two
        state = replace(state, train_loss=told.train_loss, learning_rate=told.learning_rate)
    recording.restore(state, found.history, {step: load_snapshot(folder, step) for step in found.snapshot_steps})
    return True


def finish_training(folder: Path, recording: Recording, command: str) -> float:
    """Write the folder for good: the best weights in half precision, and what is measured of them.

    Args:
        folder: the checkpoint folder.
        recording: the training, at its end.
        command: what makes this model again, for its card.

    Returns:
        The loss over the validation text.
    """

    def measure_and_write(model: GPT2) -> float:
        model.load_weights({name: weight.half().float() for name, weight in model.named_parameters()})
        result = measured_result(model, recording.trainer.corpus, command)
        _write(folder, recording, model, result=result, dtype=torch.float16)
        return float(result["validation_loss"])

    loss = measure_best(recording, measure_and_write)
    tidy(folder, recording.trainer.group)
    return loss


def measure_best(recording: Recording, question: Callable[[GPT2], float]) -> float:
    """What is measured of the best weights, by the first process; the model keeps them."""
    recording.trainer.restore_best()
    return recording.trainer.group.ask_first(recording.trainer.model, question)


def tidy(folder: Path, group: Group) -> None:
    """Remove the parts in a checkpoint folder that do not belong to it, or no longer, once all are here."""
    group.wait()
    if group.is_first:
        is_in_parts = holds_checkpoint(folder) and not (folder / "training.safetensors").is_file()
        kept = _parts_of(folder, read_progress(folder).get("step") if is_in_parts else None)
        for parts in kept.parent.glob("*step-*"):
            if parts != kept:
                shutil.rmtree(parts, ignore_errors=True)
        if kept.parent.is_dir() and not any(kept.parent.iterdir()):
            kept.parent.rmdir()


def _write(folder: Path, recording: Recording, model: GPT2, **more: Any) -> None:
    corpus = recording.trainer.corpus
    save_checkpoint(
        folder,
        model,
        corpus.tokenizer,
        history=recording.history,
        train_config=recording.trainer.config,
        corpus=corpus.about,
        begins_from=recording.begins_from,
        snapshots=recording.trainer.snapshots,
        threads=torch.get_num_threads(),
        **more,
    )


# --- Parts ----------------------------------------------------------------------------------------------------------


def _parts_of(folder: Path, step: int | None) -> Path:
    return folder / PARTS / f"step-{step}"


def _is_best(name: str) -> bool:
    return name.startswith("best/")


def _load_from_parts(folder: Path, group: Group, model: GPT2) -> TrainingState | None:
    """The state whose parts lie in a folder, which holds the best weights, too; None if that is finished."""
    progress = read_progress(folder)
    if not progress:
        return None
    parts = _parts_of(folder, progress.get("step"))
    if not parts.is_dir():
        raise CheckpointError(
            f"{folder} holds an unfinished training, and what is needed to go on with it is lost: neither "
            f"training.safetensors nor {PARTS}/{parts.name} is there; put it back, or choose another --out (the model "
            f"itself can be used)"
        )
    lost = f"{parts} does not hold all of the training in {folder}; put back its missing files, or choose another --out"
    try:
        tensors = {name: part for name, part in group.read_parts(parts).items() if not _is_best(name)}
    except ValueError:
        raise CheckpointError(lost) from None
    for name, weight in model.named_parameters():
        if f"present/{name}" not in tensors or tensors[f"present/{name}"].shape != weight.shape:
            raise CheckpointError(lost)
    return state_from(folder, progress, tensors)
