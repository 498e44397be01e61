"""A trained model as transformers opens it: a folder for `AutoModelForCausalLM` and `AutoTokenizer`, nothing to trust.

    model.safetensors       the weights in float32, under the names that transformers has for them
    tokenizer.json, tokenizer_config.json   the vocabulary: the same ids, and nothing added to a text
    generation_config.json  how it writes if nobody says otherwise
    README.md               a card: how to load it, what it learned from, its validation loss
    config.json             what it is; last, because without it nobody takes the folder for a model

transformers itself is not needed for that. `load_pretrained` reads the folder back.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_tensors

from gpt.checkpoints.card import transformers_card_text
from gpt.checkpoints.folder import Checkpoint
from gpt.checkpoints.layouts import layout_of
from gpt.checkpoints.upload import open_checkpoint
from gpt.data.hugging_face import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, tokenizer_files
from gpt.folders import check_vacant, whole_folder, write_to_disk
from gpt.model.config import variant_name

_WORKPLACE = ".exporting"
_NAMES = (
    *("model.safetensors", TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, "generation_config.json", "README.md"),
    "config.json",
)
_TEMPERATURE = 0.8  # as `python -m gpt generate` has it


def export_checkpoint(source: str | Path, out: str | Path) -> str:
    """Write a checkpoint as a folder that transformers opens; it is made whole or not at all.

    Args:
        source: the checkpoint folder, or the zip file of one.
        out: the folder to make, or one that holds nothing yet.

    Returns:
        The class of transformers that the model is.

    Raises:
        CheckpointError: `source` is not a sound checkpoint.
        ValueError: transformers has no place for the model, or something lies in the place of `out`.
        OSError: `out` cannot be written.
    """
    out = Path(out)
    check_vacant(out)  # before the weights are read
    checkpoint = open_checkpoint(source)
    files = transformers_files(checkpoint, name=Path(source).resolve().stem or "model")
    with whole_folder(out, _WORKPLACE, _NAMES) as place:
        for name in _NAMES:
            write_to_disk(place / name, files[name])
    return layout_of(checkpoint.config).architecture


def transformers_files(checkpoint: Checkpoint, name: str, place: str = ".") -> dict[str, bytes]:
    """The files of a checkpoint's model as transformers opens them, by name.

    Args:
        checkpoint: the model, in float32, with what is known of it.
        name: what the card is headed with.
        place: what the card says to load it from: the folder one is in, or its name on the Hugging Face hub.

    Raises:
        ValueError: transformers has no place for the model, or for a character of its vocabulary.
    """
    config = checkpoint.config
    layout = layout_of(config)
    ours = {name: weight.detach().cpu().float() for name, weight in checkpoint.model.named_parameters()}
    description = {
        "model_type": layout.model_type,
        "architectures": [layout.architecture],
        **layout.describe(config),
        "tie_word_embeddings": True,
        "bos_token_id": None,  # else transformers takes the number that GPT-2's vocabulary has for the end of a text
        "eos_token_id": None,
        "dtype": "float32",
    }
    generation = {
        "do_sample": True,
        "temperature": _TEMPERATURE,
        "max_length": config.context_length,  # prompt included: beyond that, learned positions have no rows
        "bos_token_id": None,
        "eos_token_id": None,
    }
    card = transformers_card_text(
        name, place, layout.architecture, _said_of(checkpoint), checkpoint.history, checkpoint.tokenizer
    )
    return {
        "model.safetensors": save_tensors(layout.to_theirs(ours, config.num_layers), metadata={"format": "pt"}),
        **tokenizer_files(checkpoint.tokenizer, config.context_length),
        "generation_config.json": _to_json(generation),
        "README.md": card.encode("utf-8"),
        "config.json": _to_json(description),
    }


def _said_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a card is made from, as a checkpoint's config.json has it."""
    training = checkpoint.train_config
    return {
        "variant": variant_name(checkpoint.config),
        "model": asdict(checkpoint.config),
        "training": None if training is None else asdict(training),
        "corpus": checkpoint.corpus,
        "begins_from": checkpoint.begins_from,
        "result": checkpoint.result,
    }


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8")
