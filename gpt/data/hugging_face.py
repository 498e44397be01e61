"""Tokenizers in the format of Hugging Face's libraries: `tokenizer.json`, as `AutoTokenizer` reads it, there and back.

Characters are its "WordLevel" model with every character a word. A character that is not in the vocabulary is refused
there, too: there is no token for it, and none is made up. Byte pairs are its byte-level BPE, as original GPT-2's.
Nothing is added to a text, nothing in it is tidied up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpt.data.byte_level import make_encoder
from gpt.data.tokenizer import BPETokenizer, CharTokenizer, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"

_LARGEST_FILE = 20_000_000  # bytes
_ONE_CHARACTER = r"[\s\S]"  # a regular expression that line breaks fit, too
_UNKNOWN = ""  # the word that stands for others; there is none of this name, so they are refused


def tokenizer_files(tokenizer: Tokenizer, context_length: int) -> dict[str, bytes]:
    """The files of a tokenizer as `AutoTokenizer.from_pretrained` reads them, by name.

    Args:
        tokenizer: a `CharTokenizer` or a `BPETokenizer`.
        context_length: of its model, which has no use for longer texts.

    Raises:
        ValueError: it is of another kind, has a character that is none, or added tokens that cannot be saved.
    """
    content = _bpe_json(tokenizer) if isinstance(tokenizer, BPETokenizer) else _characters_json(tokenizer)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # takes tokenizer.json as it is, and adds no tokens of its own
        "model_max_length": context_length,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
    }
    return {TOKENIZER_FILE: _to_bytes(content, indent=None), TOKENIZER_CONFIG_FILE: _to_bytes(config, indent=2)}


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder in the layout of transformers: characters as we write them, or a byte-level BPE.

    Raises:
        ValueError: the files are not there, too large, damaged, or those of another kind.
    """
    path = folder / TOKENIZER_FILE
    content: Any = None
    if path.is_file() and path.stat().st_size <= _LARGEST_FILE:
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            content = None  # for the other reader, which says what is wrong
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or model.get("type") != "WordLevel":
        return BPETokenizer.from_folder(folder)
    return _characters(content, model.get("vocab"), folder)


def _characters(content: dict[str, Any], vocabulary: Any, folder: Path) -> CharTokenizer:
    """The character tokenizer that a "WordLevel" is, if it splits a text into its characters and does nothing else."""
    is_numbered = isinstance(vocabulary, dict) and all(type(index) is int for index in vocabulary.values())
    characters = sorted(vocabulary, key=vocabulary.__getitem__) if is_numbered else []
    try:
        if not is_numbered or sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise ValueError("its ids do not run from 0 upwards, each once")
        tokenizer = CharTokenizer(characters)
        ours = _characters_json(tokenizer)
        for field in ("normalizer", "pre_tokenizer", "added_tokens"):
            if (content.get(field) or None) != (ours.get(field) or None):
                raise ValueError(f"it has another {field} than one that splits a text into its characters")
    except ValueError as error:
        raise ValueError(f"{TOKENIZER_FILE} in {folder} is not sound: {error}") from None
    return tokenizer


def _characters_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """tokenizer.json of a vocabulary of characters.

    It is written here and not by `tokenizers`, which would read it once more for nothing; a test has it read.
    """
    if not isinstance(tokenizer, CharTokenizer):
        raise ValueError(
            f"a tokenizer of the kind {type(tokenizer).__name__} has no form in transformers; use a CharTokenizer or "
            f"a BPETokenizer"
        )
    halves = [character for character in tokenizer.itos if "\ud800" <= character <= "\udfff"]
    if halves:
        raise ValueError(f"the vocabulary holds {halves[0]!r}, half of a character, which transformers cannot read")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": _ONE_CHARACTER},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},  # puts the characters together with nothing between them
        "model": {"type": "WordLevel", "vocab": tokenizer.stoi, "unk_token": _UNKNOWN},
    }


def _bpe_json(tokenizer: BPETokenizer) -> dict[str, Any]:
    """tokenizer.json of byte pairs."""
    from tokenizers import decoders  # imported where it is used: `import gpt` stays light

    parts = tokenizer.parts()
    encoder = make_encoder(parts["vocabulary"], [(left, right) for left, right in parts["merges"]])
    encoder.decoder = decoders.ByteLevel()
    content: dict[str, Any] = json.loads(encoder.to_str())
    return content


def _to_bytes(content: dict[str, Any], indent: int | None) -> bytes:
    return (json.dumps(content, indent=indent, ensure_ascii=False) + "\n").encode("utf-8")
