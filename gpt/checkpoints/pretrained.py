"""Models in the layouts of Hugging Face: original GPT-2, and Starcoder2's, in our `GPT2`, with their tokenizers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt.checkpoints.files import CheckpointError, check_tensors, read_json
from gpt.checkpoints.layouts import LAYOUTS, Layout
from gpt.checkpoints.saves import read_save
from gpt.checkpoints.shards import SavedWeights, find_weights
from gpt.data.hugging_face import read_tokenizer
from gpt.data.tokenizer import Tokenizer
from gpt.model.config import GPTConfig
from gpt.model.gpt2 import GPT2

PRETRAINED = {
    "gpt2": "124 million parameters, 0.5 GB to fetch once",
    "gpt2-medium": "355 million parameters, 1.5 GB",
    "gpt2-large": "774 million parameters, 3.2 GB",
    "gpt2-xl": "1.6 billion parameters, 6.4 GB",
}

_OWNER = "openai-community"  # of these on the hub
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "vocab.json", "merges.txt")
_LARGEST_WEIGHTS = 8_000_000_000  # bytes
_MOST_PADDING = 8192  # rows of an embedding without tokens: up to a multiple of 128 on each of 64 devices

# What wraps a model when it is saved, before the names of its tensors.
_WRAPPERS = re.compile(r"((module|_orig_mod|model)\.)*(transformer\.)?")
_LABELLERS = re.compile(r".+For(SequenceClassification|TokenClassification|QuestionAnswering)")


class PretrainedUnavailable(RuntimeError):
    """Published weights that have to be fetched could not be; the message says why and what to do."""


def load_pretrained(name_or_folder: str | Path) -> tuple[GPT2, Tokenizer]:
    """Load original GPT-2, or a model in its layout or Starcoder2's, onto the CPU in float32 and evaluation mode.

    The layouts are Hugging Face's (see `layouts`), and `python -m gpt export` writes them: config.json; the weights in
    float32, float16 or bfloat16, in model.safetensors or in shards with an index, the embedding there under its name,
    as lm_head.weight or as both; and tokenizer.json or vocab.json with merges.txt, with or without added_tokens.json.
    Dropout is 0, whatever it was trained with. Rows that pad the embedding beyond the tokenizer's tokens are left out,
    so they are never drawn.

    Args:
        name_or_folder: a folder; or a name of `PRETRAINED`, with or without "openai-community/" before it, which is
            fetched once into the cache of `huggingface_hub`. A folder of that name comes first.

    Returns:
        The model and its tokenizer.

    Raises:
        PretrainedUnavailable: the weights are not here and cannot be fetched.
        CheckpointError: there is no such folder or name, or a file in the folder is missing, damaged or of a model
            that our `GPT2` is not.
    """
    folder = Path(name_or_folder)
    name = str(name_or_folder).removeprefix(f"{_OWNER}/")
    if not folder.is_dir():
        if name not in PRETRAINED:
            raise CheckpointError(
                f"there is no folder {str(name_or_folder)!r}; give a folder in the layout of original GPT-2, "
                f"or one of {', '.join(PRETRAINED)}"
            )
        folder = _fetch(name)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"there is no config.json in {folder}; give a folder in the layout of original GPT-2")
    config, layout = _read_config(folder / "config.json")
    weights = find_weights(folder, _LARGEST_WEIGHTS)
    try:
        tokenizer = read_tokenizer(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    if not 0 <= config.vocab_size - tokenizer.vocab_size <= _MOST_PADDING:
        raise CheckpointError(
            f"the tokenizer in {folder} has {tokenizer.vocab_size:,} tokens and config.json says "
            f"{config.vocab_size:,}; take both from one model"
        )
    return _load_model(weights, config, layout, tokenizer.vocab_size), tokenizer


def is_pretrained(name_or_folder: str | Path) -> bool:
    """Whether this is for `load_pretrained` and not for `load_checkpoint`: by name, or by the folder's config.json.

    Raises:
        CheckpointError: it is a folder, and its config.json cannot be read.
    """
    if not Path(name_or_folder).is_dir():
        return str(name_or_folder).removeprefix(f"{_OWNER}/") in PRETRAINED
    description = read_save(Path(name_or_folder), lambda save: read_json(save.path("config.json")))
    return isinstance(description, dict) and "model_type" in description


def _fetch(name: str) -> Path:
    """The folder of a published model in the hub's cache, fetched if it is not there."""
    from huggingface_hub import snapshot_download  # only where something is fetched

    try:
        folder = Path(snapshot_download(f"{_OWNER}/{name}", allow_patterns=list(_FILES)))
        if not all((folder / file).is_file() for file in _FILES[:3]):
            raise FileNotFoundError(f"{folder} holds a part of the files only")  # left by a fetch that was cut off
    except PermissionError as error:
        raise PretrainedUnavailable(
            f"{name} cannot be kept in {error.filename or 'the cache'}, where this user may not write; name a folder "
            f"of your own in the environment variable HF_HOME"
        ) from error
    except Exception as error:  # no network, a full disk, an error of the hub: the libraries below have many kinds
        raise PretrainedUnavailable(
            f"{name} could not be fetched from huggingface.co ({type(error).__name__}); connect to the network and try "
            f"again, or give a folder with {', '.join(_FILES[:3])} of {_OWNER}/{name}"
        ) from error
    return folder


def _read_config(path: Path) -> tuple[GPTConfig, Layout]:
    """Our configuration of the model that a config.json of Hugging Face's describes, and the layout it is in."""
    description = read_json(path)
    kind = description.get("model_type") if isinstance(description, dict) else None
    layout = LAYOUTS.get(kind) if isinstance(kind, str) else None
    if layout is None:
        raise CheckpointError(
            f"{path} has the model_type {repr(kind)[:60]}, and not the 'gpt2' of an original GPT-2 or the 'starcoder2' "
            f"of a model with rotary positions; choose another folder, or open it with load_checkpoint if GPT Lab has "
            f"saved it"
        )
    for field, allowed in layout.only.items():
        value = description.get(field, allowed[0])
        if value not in allowed:
            raise CheckpointError(
                f"config.json: {field} is {repr(value)[:60]}, and our GPT2, as the original, has only "
                f"{' or '.join(map(repr, allowed))}; choose another model"
            )
    labellers = [name for name in _names(description.get("architectures")) if _LABELLERS.fullmatch(name)]
    if labellers:
        raise CheckpointError(
            f"config.json: the model is a {labellers[0][:60]}, which labels texts and writes none; choose another"
        )
    try:
        return layout.read(description), layout
    except CheckpointError:
        raise
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"config.json is not sound: {error}") from None


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _load_model(weights: SavedWeights, config: GPTConfig, layout: Layout, vocab_size: int) -> GPT2:
    """Our model with the weights of a folder, which are refused before they are read if they are not this model's.

    Args:
        weights: in the folder.
        config: as config.json says.
        layout: of the folder.
        vocab_size: how many tokens there are; the others of `config` are padding.
    """
    names = {_WRAPPERS.sub("", name, count=1): name for name in weights.listed}  # by the name without wrappers
    if len(names) < len(weights.listed):
        raise CheckpointError(f"{weights.name} has a tensor twice, with and without '{layout.prefix}' before its name")
    names = {short: name for short, name in names.items() if not re.fullmatch(layout.ignored, short)}
    if config.num_layers > len(names):
        raise CheckpointError(f"config.json asks for {config.num_layers:,} layers; {weights.name} has fewer tensors")
    embedding = layout.embedding
    if embedding not in names and "lm_head.weight" in names:  # one matrix, written once
        names[embedding] = names.pop("lm_head.weight")
    expected = layout.shapes(config)
    if "lm_head.weight" in names:
        expected["lm_head.weight"] = expected[embedding]
    kinds = ("F32", "F16", "BF16")
    found = {short: weights.listed[name] for short, name in names.items()}
    check_tensors(weights.name, found, {name: (kinds, shape) for name, shape in expected.items()})

    tensors = weights.read(names.values())
    theirs = {short: tensors[name] for short, name in names.items()}
    if "lm_head.weight" in theirs and not _equal(theirs["lm_head.weight"], theirs[embedding]):
        raise CheckpointError(
            f"{weights.name} has an output layer of its own (lm_head.weight is not {embedding}), and our GPT2 has "
            f"one matrix for both; choose another model"
        )
    theirs[embedding] = theirs[embedding][:vocab_size]
    config = replace(config, vocab_size=vocab_size)
    with torch.device("meta"):  # made without drawing random weights, which takes longer than all the rest
        model = GPT2.from_config(config).eval()
    model.to_empty(device="cpu")
    model.output_layer.weight = model.token_embedding.weight  # tied again: `to_empty` parts them
    model.load_weights(layout.to_ours(theirs, config.num_layers))
    return model


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.float(), other.float())
