"""What a checkpoint folder tells of its model without the weights: read in a moment, and without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gpt.checkpoints.files import CheckpointError, read_bytes, read_json
from gpt.checkpoints.saves import FORMAT, Save, read_save
from gpt.data.tokenizer import Tokenizer, tokenizer_from_json
from gpt.model.config import GPTConfig
from gpt.training.recipes import TrainConfig, training_config
from gpt.training.state import TrainEvent


@dataclass(frozen=True, eq=False)
class Record:
    """What was saved beside a model's weights.

    Attributes:
        tokenizer: its vocabulary.
        config: the model's configuration.
        history: training events, oldest first; empty if none were saved.
        train_config: how it was trained, or None.
        corpus: {"name", "sha256", ...} of what it learned from; empty if unknown.
        begins_from: {"name", "sha256"} of the weights it began from; empty if they were new.
        result: what was measured of the finished model, as `measured_result` gives it; else empty.
        snapshot_steps: the steps for which `load_snapshot` has weights.
    """

    tokenizer: Tokenizer
    config: GPTConfig
    history: tuple[TrainEvent, ...] = ()
    train_config: TrainConfig | None = None
    corpus: Mapping[str, Any] = field(default_factory=dict)
    begins_from: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    snapshot_steps: tuple[int, ...] = ()


def read_record(folder: str | Path) -> Record:
    """What a checkpoint folder says of its model.

    Raises:
        CheckpointError: the folder is not a checkpoint, or a file read here is damaged or does not fit the others.
    """
    return read_save(Path(folder), lambda save: record_of(save, description_of(save)))


# --- The files of a save --------------------------------------------------------------------------------------------


def record_of(save: Save, description: Mapping[str, Any]) -> Record:
    """The record of a save, whose config.json says this."""
    corpus, begins_from, result = (description.get(name) for name in ("corpus", "begins_from", "result"))
    config, tokenizer = config_and_tokenizer(save, description)
    return Record(
        tokenizer=tokenizer,
        config=config,
        history=_history(save.path("history.jsonl")),
        train_config=train_config_of(save),
        corpus=corpus if isinstance(corpus, dict) else {},
        begins_from=begins_from if isinstance(begins_from, dict) else {},
        result=result if isinstance(result, dict) else {},
        snapshot_steps=save.snapshot_steps,
    )


def config_and_tokenizer(save: Save, description: Mapping[str, Any]) -> tuple[GPTConfig, Tokenizer]:
    """What the model is, and its vocabulary, which fit each other."""
    config = config_of(save, description)
    tokenizer = _tokenizer(save.vocabulary)
    if tokenizer.vocab_size != config.vocab_size:
        found = f"{save.vocabulary.name} has {tokenizer.vocab_size} tokens"
        raise CheckpointError(f"{found} and config.json says {config.vocab_size}")
    return config, tokenizer


def config_of(save: Save, description: Mapping[str, Any]) -> GPTConfig:
    """What the model is."""
    config: GPTConfig = _from_json("model", GPTConfig, description.get("model"), save.folder)
    return config


def description_of(save: Save) -> dict[str, Any]:
    """What config.json says, nothing checked but its format."""
    folder = save.folder
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint folder {str(folder)!r}; `python -m gpt train --out` makes one")
    description = read_json(save.path("config.json"), None)
    if isinstance(description, dict) and "model_type" in description:
        other = "is of a model in the layout of transformers, and not of a checkpoint; open its folder with"
        raise CheckpointError(f"{folder / 'config.json'} {other} load_pretrained or `python -m gpt generate --model`")
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CheckpointError(f"{folder / 'config.json'} does not say that this is a {FORMAT} checkpoint")
    return description


def train_config_of(save: Save) -> TrainConfig | None:
    """How the model was trained, if config.json says so."""
    training = description_of(save).get("training")
    return None if training is None else _from_json("training", training_config, training, save.folder)


def _from_json(name: str, kind: Callable[..., Any], values: Any, folder: Path) -> Any:
    """What config.json says under a name, refused if a field is missing, unknown or not allowed."""
    if not isinstance(values, dict):
        raise CheckpointError(f"config.json in {folder} lacks the fields of {name!r}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"config.json in {folder} is not sound: {error}") from None


def _tokenizer(path: Path) -> Tokenizer:
    content = read_json(path, None)
    try:
        return tokenizer_from_json(content)
    except ValueError as error:
        raise CheckpointError(f"{path.name} is not sound: {error}") from None


def _history(path: Path) -> tuple[TrainEvent, ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(_event(json.loads(line)) for line in _lines(read_bytes(path)))
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
