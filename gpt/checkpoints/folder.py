"""Checkpoint folders: a trained model as a few files that people and programs can read, and none that runs code.

    config.json                  the model's configuration, how it was trained, on what, and what came of it
    vocabulary.json              the vocabulary
    model.safetensors            the weights of the best evaluation
    history.jsonl                one training event a line
    README.md                    a card that says all this in words
    snapshot-000100.safetensors  the model on its way, here after 100 steps, in a byte a weight; if asked for
    training.safetensors         only while a run is unfinished: all that is needed to go on exactly

All files change at once (see `saves`), so a reader sees the old ones or the new ones, never some of both; what else
lies in the folder stays. What was saved is read, however large. A folder may come from a stranger: names, types and
shapes are checked before memory is taken for its weights, and that is never more than its files take.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from gpt.checkpoints.card import card_text
from gpt.checkpoints.files import CheckpointError, check_tensors, list_tensors, read_tensors
from gpt.checkpoints.listing import holds_checkpoint
from gpt.checkpoints.quantization import dequantize, quantize, quantized_kinds
from gpt.checkpoints.record import (
    Record,
    config_and_tokenizer,
    config_of,
    description_of,
    record_of,
    train_config_of,
)
from gpt.checkpoints.saves import FORMAT, Save, checkpoint_writer, read_save, snapshot_name, write_save
from gpt.costs.formulas import parameter_count
from gpt.data.tokenizer import VOCABULARY_FILE, Tokenizer, tokenizer_to_json
from gpt.model.config import GPTConfig, variant_name
from gpt.model.gpt2 import GPT2
from gpt.training.recipes import TrainConfig
from gpt.training.state import TrainEvent, TrainingState

_Kinds = Mapping[str, tuple[Sequence[str], Sequence[int]]]  # of tensors by name: the types allowed, the shape


@dataclass(frozen=True, eq=False)
class Checkpoint(Record):
    """A model with all that was saved beside it.

    Attributes:
        model: with the weights loaded, in evaluation mode.
    """

    model: GPT2 = field(kw_only=True)


# --- Saving ---------------------------------------------------------------------------------------------------------


def save_checkpoint(
    folder: str | Path,
    model: GPT2,
    tokenizer: Tokenizer,
    *,
    history: Sequence[TrainEvent] = (),
    train_config: TrainConfig | None = None,
    corpus: Mapping[str, Any] | None = None,
    begins_from: Mapping[str, Any] | None = None,
    training_state: TrainingState | None = None,
    result: Mapping[str, Any] | None = None,
    snapshots: Mapping[int, Mapping[str, Tensor]] | None = None,
    threads: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a checkpoint into a folder, in one step as far as a reader can tell; it replaces an older one there.

    Files that are not a checkpoint's stay as they are. The folder may be a link, or the root of a disk.

    With a `training_state`, model.safetensors gets its best weights and training.safetensors the rest, whatever
    weights the model has at this moment. `result` is what `measured_result` gave, `snapshots` are weights by
    step, `threads` is how many it was trained on (another number rounds differently), and `dtype` is what
    model.safetensors is written in: float32, or float16 for half the size.

    Raises:
        CheckpointError: something that is not a checkpoint lies in the folder's place, or a weight is not a finite
            number of this type.
        FolderInUse: another process is writing it, such as a training.
        OSError: the disk is full or the place cannot be written; what was there before is unharmed.
    """
    folder = Path(folder)
    best = {name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()}
    progress: dict[str, Any] | None = None
    if training_state is not None:
        best = _below("best/", training_state.tensors)
        progress = {f.name: getattr(training_state, f.name) for f in fields(TrainingState) if f.name != "tensors"}
        if math.isinf(training_state.best_loss):  # JSON has no infinity
            progress["best_loss"] = None
    best = {name: weight.to(dtype) for name, weight in best.items()}
    for name, weight in best.items():
        if not torch.isfinite(weight).all():  # which nobody would read again
            raise CheckpointError(f"{name} has values that are not finite numbers as {dtype}; nothing was saved")
    weights = save_tensors(best, metadata={"format": "pt"})
    description = {
        "format": FORMAT,
        "variant": variant_name(model.config),
        "model": asdict(model.config),
        "training": None if train_config is None else asdict(train_config),
        "corpus": dict(corpus or {}),
        "begins_from": dict(begins_from or {}),
        "threads": threads,
        "progress": progress,
        "result": dict(result) | {"weights_sha256": hashlib.sha256(weights).hexdigest()} if result else None,
    }
    files: dict[str, bytes] = {
        "config.json": _to_json(description, indent=2),
        VOCABULARY_FILE: _to_json(tokenizer_to_json(tokenizer)),
        "model.safetensors": weights,
        "history.jsonl": b"".join(_to_json(asdict(event)) for event in history),
        "README.md": card_text(_title(folder), description, history).encode("utf-8"),
    }
    for step, snapshot in (snapshots or {}).items():
        files[snapshot_name(step)] = save_tensors(quantize(snapshot))
    if training_state is not None:
        rest = {name: tensor for name, tensor in training_state.tensors.items() if not name.startswith("best/")}
        if rest:  # else it lies in parts, see `training_folder`
            files["training.safetensors"] = save_tensors(rest)
    with checkpoint_writer(folder):
        write_save(folder, files)


def _title(folder: Path) -> str:
    """What a card is headed with: the folder's name, which it has also where it is written as `.`."""
    return Path(os.path.abspath(folder)).name or "model"


def _to_json(value: Any, indent: int | None = None) -> bytes:
    return (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode("utf-8")


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


# --- Loading --------------------------------------------------------------------------------------------------------


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load a checkpoint folder onto the CPU.

    Raises:
        CheckpointError: the folder is not a checkpoint, or a file in it is damaged or does not fit the others.
    """
    return read_save(Path(folder), _read_checkpoint)


def load_model(folder: str | Path) -> tuple[GPT2, Tokenizer]:
    """The model of a checkpoint folder, in evaluation mode, and its vocabulary; its history may be lost or damaged.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """

    def read(save: Save) -> tuple[GPT2, Tokenizer]:
        config, tokenizer = config_and_tokenizer(save, description_of(save))
        return _read_model(save, config), tokenizer

    return read_save(Path(folder), read)


def load_snapshot(folder: str | Path, step: int) -> dict[str, Tensor]:
    """The weights that a checkpoint's model had after so many steps, quantized to a byte each: name -> float32 tensor.

    Raises:
        CheckpointError: there is none of that step, or as `load_checkpoint`.
    """

    def read(save: Save) -> dict[str, Tensor]:
        config = config_of(save, description_of(save))
        if step not in save.snapshot_steps:
            raise CheckpointError(f"there is no snapshot of step {step}; there are {list(save.snapshot_steps)}")
        return dequantize(_read_weights(save.path(snapshot_name(step)), config, quantized_kinds))

    return read_save(Path(folder), read)


def load_training_state(folder: str | Path) -> TrainingState | None:
    """What is needed to go on with the run in a checkpoint folder; None if it was saved without.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """

    def read(save: Save) -> TrainingState | None:
        progress = _read_progress(save)
        if not progress or "training.safetensors" not in save.places:
            return None
        return _state_from(save, progress, read_tensors(save.path("training.safetensors")))

    return read_save(Path(folder), read)


def read_progress(folder: Path) -> dict[str, Any]:
    """How far the training in a checkpoint folder has come; empty if it is finished.

    Raises:
        CheckpointError: the folder is not a checkpoint, or says something else here.
    """
    return read_save(folder, _read_progress)


def state_from(folder: Path, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TrainingState:
    """The state of a training from its progress, its tensors, and the best weights, which are those of the folder.

    Raises:
        CheckpointError: they do not belong together.
    """
    return read_save(folder, lambda save: _state_from(save, progress, tensors))


def read_description(folder: Path) -> dict[str, Any]:
    """What config.json says, nothing checked but its format; raises CheckpointError if it is not a checkpoint's."""
    return read_save(folder, description_of)


def settings_as_begun(folder: str | Path, settings: TrainConfig) -> TrainConfig:
    """The settings with which to train in a folder: what no option chooses stays as it is in what was begun there.

    So a training that an earlier version began goes on in its way by the same command, whose recipe is another now.

    Raises:
        CheckpointError: what is there does not say how it was trained, or is damaged.
    """
    begun = read_save(Path(folder), train_config_of) if holds_checkpoint(folder) else None
    multiple = (begun or settings).feed_forward_rate_multiple
    return replace(settings, feed_forward_rate_multiple=multiple)


# --- The files of a save --------------------------------------------------------------------------------------------


def _read_checkpoint(save: Save) -> Checkpoint:
    description = description_of(save)
    record = record_of(save, description)
    values = {one.name: getattr(record, one.name) for one in fields(Record)}
    return Checkpoint(**values, model=_read_model(save, record.config))


def _read_model(save: Save, config: GPTConfig) -> GPT2:
    weights = _read_weights(save.path("model.safetensors"), config, _weight_kinds)
    model = GPT2.from_config(config).eval()
    model.load_weights(weights)
    return model


def _weight_kinds(shapes: Mapping[str, Sequence[int]]) -> _Kinds:
    return {name: (("F32", "F16"), shape) for name, shape in shapes.items()}


def _read_progress(save: Save) -> dict[str, Any]:
    progress = description_of(save).get("progress") or {}
    if not isinstance(progress, dict):
        raise _not_a_state(save.folder)
    return progress


def _state_from(save: Save, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TrainingState:
    best = read_tensors(save.path("model.safetensors"))
    present = {name: tensor.shape for name, tensor in _below("present/", tensors).items()}
    average = {name: tensor.shape for name, tensor in _below("average/", tensors).items()}
    if not present == {name: weight.shape for name, weight in best.items()} == (average or present):
        raise CheckpointError("training.safetensors does not hold the weights that model.safetensors has")
    if any(not re.fullmatch(r"(present|average)/.+|optimizer/[01]/\d{1,6}/\w+", name) for name in tensors):
        raise CheckpointError("training.safetensors holds something that is not part of a training state")
    best_loss = math.inf if progress.get("best_loss") is None else progress["best_loss"]  # before any evaluation
    every = {**tensors, **{f"best/{name}": weight for name, weight in best.items()}}
    try:
        return TrainingState(**{**progress, "best_loss": best_loss}, tensors=every)
    except TypeError:
        raise _not_a_state(save.folder) from None


def _not_a_state(folder: Path) -> CheckpointError:
    return CheckpointError(f"config.json in {folder} has a 'progress' that is not a training state's")


def _shapes(config: GPTConfig) -> dict[str, torch.Size]:
    """The shapes of a model's weights by name, without memory for them."""
    with torch.device("meta"):
        return {name: parameter.shape for name, parameter in GPT2.from_config(config).named_parameters()}


def _read_weights(
    path: Path, config: GPTConfig, kinds: Callable[[Mapping[str, Sequence[int]]], _Kinds]
) -> dict[str, Tensor]:
    """Tensors of a safetensors file, refused before they are read unless they are just those expected.

    Args:
        path: of the file.
        config: of the model.
        kinds: the types and shapes of the tensors expected, from the shapes of the model's weights.
    """
    listed = list_tensors(path)
    # What a file cannot hold is not even laid out, as config.json may ask for anything.
    if config.num_layers > len(listed):
        raise CheckpointError(f"config.json asks for {config.num_layers:,} layers; {path.name} has not as many tensors")
    if parameter_count(config) > path.stat().st_size:
        raise CheckpointError(f"config.json asks for more weights than {path.name} has bytes")
    check_tensors(path.name, listed, kinds(_shapes(config)))
    return read_tensors(path)
