"""Checkpoint folders: a trained model as five files that people and programs can read, and none that runs code.

    config.json           the model's configuration, how it was trained, and on what
    tokenizer.json        the vocabulary
    model.safetensors     the weights of the best evaluation
    history.jsonl         one training event a line
    README.md             a card that says all this in words
    training.safetensors  only while a run is unfinished: all that is needed to go on exactly

A folder is written beside its place and renamed into it, so a reader sees the old one or the new one, never half.
A folder from a stranger is checked (sizes, names, shapes) before memory is taken for its weights.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from gpt.config import GPTConfig, changes_from_gpt2, variant_name
from gpt.costs import parameter_count
from gpt.files import CheckpointError, check_tensors, list_tensors, read_bytes, read_json, read_tensors
from gpt.model import GPT2
from gpt.recipes import TrainConfig
from gpt.tokenizer import CharTokenizer
from gpt.trainer import TrainEvent, TrainingState

_FORMAT = "gpt-lab-1"
_LARGEST_HISTORY = 20_000_000  # bytes
_LARGEST_WEIGHTS = 2_000_000_000  # bytes
_MOST_LAYERS = 1000


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with all that was saved beside it.

    Attributes:
        model: with the weights loaded, in evaluation mode.
        tokenizer: its vocabulary.
        config: the model's configuration.
        history: training events, oldest first; empty if none were saved.
        train_config: how it was trained, or None.
        corpus: {"name", "sha256", ...} of what it learned from; empty if unknown.
    """

    model: GPT2
    tokenizer: CharTokenizer
    config: GPTConfig
    history: tuple[TrainEvent, ...] = ()
    train_config: TrainConfig | None = None
    corpus: Mapping[str, Any] = field(default_factory=dict)


# --- Saving ---------------------------------------------------------------------------------------------------------


def save_checkpoint(
    folder: str | Path,
    model: GPT2,
    tokenizer: CharTokenizer,
    *,
    history: Sequence[TrainEvent] = (),
    train_config: TrainConfig | None = None,
    corpus: Mapping[str, Any] | None = None,
    training_state: TrainingState | None = None,
) -> None:
    """Write a checkpoint folder, in one step as far as a reader can tell; an older one in its place is replaced.

    With a `training_state`, model.safetensors gets its best weights and training.safetensors the rest, whatever
    weights the model has at this moment.

    Raises:
        CheckpointError: something that is not a checkpoint lies in the folder's place.
        OSError: the disk is full or the place cannot be written; what was there before is unharmed.
    """
    folder = Path(folder)
    sweep(folder)
    is_other_folder = folder.is_dir() and not (folder / "config.json").is_file() and any(folder.iterdir())
    if is_other_folder or (folder.exists() and not folder.is_dir()):
        raise CheckpointError(f"{folder} exists and is not a checkpoint; choose another folder, or empty this one")
    best = {name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()}
    progress: dict[str, Any] | None = None
    if training_state is not None:
        best = _below("best/", training_state.tensors)
        progress = {f.name: getattr(training_state, f.name) for f in fields(TrainingState) if f.name != "tensors"}
    description = {
        "format": _FORMAT,
        "variant": variant_name(model.config),
        "model": asdict(model.config),
        "training": None if train_config is None else asdict(train_config),
        "corpus": dict(corpus or {}),
        "progress": progress,
    }
    files: dict[str, bytes] = {
        "config.json": _to_json(description, indent=2),
        "tokenizer.json": _to_json({"type": "characters", "characters": tokenizer.itos}),
        "model.safetensors": save_tensors(best, metadata={"format": "pt"}),
        "history.jsonl": b"".join(_to_json(asdict(event)) for event in history),
        "README.md": _card(folder.name, model, description, history).encode("utf-8"),
    }
    if training_state is not None:
        rest = {name: tensor for name, tensor in training_state.tensors.items() if not name.startswith("best/")}
        if rest:  # else it lies in parts beside the folder, see `gpt.distributed`
            files["training.safetensors"] = save_tensors(rest)
    _replace_folder(folder, files)


def _replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".new", dir=folder.parent))
    try:
        for name, content in files.items():
            with open(workplace / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        workplace.chmod(0o755)  # mkdtemp's folders are for their owner only
        retired = workplace.with_suffix(".old")
        if folder.exists():
            folder.rename(retired)
        try:
            workplace.rename(folder)
        except OSError:
            if retired.exists():
                retired.rename(folder)
            raise
        shutil.rmtree(retired, ignore_errors=True)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Clear away what an interrupted save of a checkpoint folder left beside it.

    A save that was cut off between its two renames leaves the old folder under a retired name: it gets its name back.
    Nobody else may be saving the same folder meanwhile.
    """
    leftover_name = re.compile(rf"\.{re.escape(folder.name)}\.[^.]+\.(old|new)")
    for leftover in [path for path in folder.parent.glob(".*") if leftover_name.fullmatch(path.name)]:
        if leftover.suffix == ".old" and not folder.exists():
            leftover.rename(folder)
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _to_json(value: Any, indent: int | None = None) -> bytes:
    return (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode("utf-8")


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _card(name: str, model: GPT2, description: Mapping[str, Any], history: Sequence[TrainEvent]) -> str:
    """The folder's README: what this model is, in words and numbers taken from the files beside it."""
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    changes = ", ".join(changes_from_gpt2(config)) or "none"
    lines = [
        f"# {name}",
        "",
        f"A GPT of the variant `{description['variant']}`. Changes from GPT-2: {changes}.",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {parameters:,} |",
        f"| layers x heads x width | {config.num_layers} x {config.num_heads} x {config.embed_size} |",
        f"| context | {config.context_length} tokens |",
    ]
    corpus = description["corpus"]
    if corpus:
        lines.append(f"| corpus | {corpus.get('name')} (SHA-256 of the text `{corpus.get('sha256')}`) |")
    evaluated = [event for event in history if event.validation_loss is not None]
    if evaluated:
        last, best = history[-1], min(evaluated, key=lambda event: event.validation_loss or math.inf)
        training = description["training"] or {}
        lines += [
            f"| trained | {last.step:,} steps, {last.tokens:,} tokens, {last.seconds:,.0f} s, "
            f"seed {training.get('seed')} |",
            f"| best validation loss | {best.validation_loss:.3f} ± {best.validation_error:.3f} (standard error) nats "
            f"per token at step {best.step:,}, "
            f"over {training.get('eval_windows') or 'all'} windows |",
        ]
        if best.sample:
            lines += ["", "What it wrote at that step:", "", *(f"    {line}" for line in best.sample.splitlines())]
    lines += ["", f"Continue a text with it: `python -m gpt generate --model <this folder> --prompt {'...'!r}`", ""]
    return "\n".join(lines)


# --- Loading --------------------------------------------------------------------------------------------------------


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load a checkpoint folder onto the CPU.

    Raises:
        CheckpointError: the folder is not a checkpoint, or a file in it is damaged or does not fit the others.
    """
    folder = Path(folder)
    description = _read_description(folder)
    config = _from_json(GPTConfig, description.get("model"), folder)
    if config.num_layers > _MOST_LAYERS:
        raise CheckpointError(f"config.json asks for {config.num_layers:,} layers; at most {_MOST_LAYERS:,} are loaded")
    if 4 * parameter_count(config) > _LARGEST_WEIGHTS:
        raise CheckpointError(f"config.json asks for more weights than the {_LARGEST_WEIGHTS:,} bytes that are loaded")
    training = description.get("training")
    train_config = None if training is None else _from_json(TrainConfig, training, folder)
    corpus = description.get("corpus")
    tokenizer = _read_tokenizer(folder / "tokenizer.json")
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(
            f"tokenizer.json has {tokenizer.vocab_size} characters and config.json says {config.vocab_size}"
        )
    with torch.device("meta"):  # names and shapes only, no memory
        expected = {name: p.shape for name, p in GPT2.from_config(config).named_parameters()}
    weights = _read_weights(folder / "model.safetensors", expected)
    model = GPT2.from_config(config).eval()
    model.load_weights(weights)
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        config=config,
        history=_read_history(folder / "history.jsonl"),
        train_config=train_config,
        corpus=corpus if isinstance(corpus, dict) else {},
    )


def load_training_state(folder: str | Path) -> TrainingState | None:
    """What is needed to go on with the run in a checkpoint folder; None if it was saved without.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    folder = Path(folder)
    progress = _read_description(folder).get("progress")
    if not progress or not (folder / "training.safetensors").is_file():
        return None
    best = read_tensors(folder / "model.safetensors", _LARGEST_WEIGHTS)
    tensors = read_tensors(folder / "training.safetensors", _LARGEST_WEIGHTS)
    present = {name: tensor.shape for name, tensor in _below("present/", tensors).items()}
    average = {name: tensor.shape for name, tensor in _below("average/", tensors).items()}
    if not present == {name: weight.shape for name, weight in best.items()} == (average or present):
        raise CheckpointError("training.safetensors does not hold the weights that model.safetensors has")
    if any(not re.fullmatch(r"(present|average)/.+|optimizer/[01]/\d{1,6}/\w+", name) for name in tensors):
        raise CheckpointError("training.safetensors holds something that is not part of a training state")
    try:
        return TrainingState(**progress, tensors=tensors | {f"best/{name}": weight for name, weight in best.items()})
    except TypeError:
        raise CheckpointError(f"config.json in {folder} has a 'progress' that is not a training state's") from None


def _read_description(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        sweep(folder)  # an interrupted save may have it under a retired name
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint folder {str(folder)!r}; `python -m gpt train --out` makes one")
    description = read_json(folder / "config.json")
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise CheckpointError(f"{folder / 'config.json'} does not say that this is a {_FORMAT} checkpoint")
    return description


def _from_json(kind: type[Any], values: Any, folder: Path) -> Any:
    """A configuration from its JSON object, refused if a field is missing, unknown or not allowed."""
    if not isinstance(values, dict):
        raise CheckpointError(f"config.json in {folder} lacks the fields of {kind.__name__}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"config.json in {folder} is not sound: {error}") from None


def _read_tokenizer(path: Path) -> CharTokenizer:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("type") != "characters":
        raise CheckpointError(f"{path.name} is not a character vocabulary")
    characters = content.get("characters")
    if not isinstance(characters, list):
        raise CheckpointError(f"{path.name} lacks its list of characters")
    try:
        return CharTokenizer(characters)
    except ValueError as error:
        raise CheckpointError(f"{path.name} is not sound: {error}") from None


def _read_weights(path: Path, expected: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Tensors of a safetensors file, refused before they are read unless they are just those expected."""
    check_tensors(path.name, list_tensors(path, _LARGEST_WEIGHTS), expected)
    return read_tensors(path, _LARGEST_WEIGHTS)


def _read_history(path: Path) -> tuple[TrainEvent, ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(_event(json.loads(line)) for line in _lines(read_bytes(path, _LARGEST_HISTORY)))
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path.name} is damaged; it should hold one training event a line") from None


def _event(values: dict[str, Any]) -> TrainEvent:
    """An event from its JSON object; raises TypeError if a field is missing, unknown or of another type."""
    event = TrainEvent(**values)
    for field_ in fields(TrainEvent):
        value = getattr(event, field_.name)
        allowed = {"int": (int,), "float": (int, float), "str": (str,)}[str(field_.type).partition(" ")[0]]
        is_missing = value is None and "None" in str(field_.type)
        if not is_missing and (isinstance(value, bool) or not isinstance(value, allowed)):
            raise TypeError(f"{field_.name} is {value!r}")
    return event


def _lines(content: bytes) -> Iterable[str]:
    return (line for line in content.decode("utf-8").split("\n") if line)
