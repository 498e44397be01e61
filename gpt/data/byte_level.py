"""The encoder inside a byte-level BPE: made of tokens and merges, or read from the files of Hugging Face's libraries.

tokenizer.json          all of it
vocab.json, merges.txt  in its place: token -> id, and a pair of tokens a line
added_tokens.json       token -> id, of those that were added to the others later
tokenizer_config.json   the same in newer folders: "added_tokens_decoder", id -> the token and how it is found
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    import tokenizers  # imported where it is used: `import gpt` stays light

END_OF_TEXT = "<|endoftext|>"

_LARGEST_FILE = 20_000_000  # bytes
_ADDED, _CONFIG = "added_tokens.json", "tokenizer_config.json"
_FINDING = ("single_word", "lstrip", "rstrip", "special")  # how an added token is found in a text, True or False each


def read_encoder(folder: Path) -> tokenizers.Tokenizer:
    """Read `tokenizer.json`, or else `vocab.json` and `merges.txt`, and the tokens that were added to either.

    Raises:
        ValueError: the files are not there, too large or damaged.
    """
    is_whole = (folder / "tokenizer.json").is_file()
    names = ["tokenizer.json"] if is_whole else ["vocab.json", "merges.txt"]
    if not all((folder / name).is_file() for name in names):
        raise ValueError(f"no tokenizer is in {folder}; put tokenizer.json there, or vocab.json and merges.txt")
    texts = {name: _read_text(folder / name) for name in names}
    with _said_of(names, folder):
        encoder = _whole_encoder(texts) if is_whole else _encoder_of_parts(texts)
    names = [name for name in (_ADDED, _CONFIG) if (folder / name).is_file()]
    texts = {name: _read_text(folder / name) for name in names}
    with _said_of(names, folder):
        _add_tokens(encoder, _added_tokens(texts))
    return encoder


@contextmanager
def _said_of(names: list[str], folder: Path) -> Iterator[None]:
    """What goes wrong with these files, as one ValueError that names them."""
    try:
        yield
    except Exception as error:  # `tokenizers` raises plain ones, some of several lines
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{' with '.join(names)} in {folder} is not sound: {why}") from None


def make_encoder(token_ids: dict[str, int], merges: list[tuple[str, str]]) -> tokenizers.Tokenizer:
    """An encoder from its tokens (token -> id) and its merges, the first made first.

    Raises:
        ValueError: a merge is of tokens that are not there.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    for left, right in merges:  # checked here, as `tokenizers` panics at some, which is no Exception
        if not left or not right or not {left, right, left + right} <= token_ids.keys():
            raise ValueError(f"the merge of {left!r} and {right!r} is out of vocabulary")
    encoder = Tokenizer(models.BPE(token_ids, merges))
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if END_OF_TEXT in token_ids:
        encoder.add_special_tokens([END_OF_TEXT])
    return encoder


def is_vocabulary(token_ids: Any) -> TypeGuard[dict[str, int]]:
    """Whether this is an object of tokens and their ids."""
    return isinstance(token_ids, dict) and all(type(index) is int and index >= 0 for index in token_ids.values())


def _whole_encoder(texts: dict[str, str]) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(texts["tokenizer.json"])


def _encoder_of_parts(texts: dict[str, str]) -> tokenizers.Tokenizer:
    """An encoder from vocab.json and from merges.txt, which has a version line, then a pair a line."""
    token_ids = json.loads(texts["vocab.json"])
    if not is_vocabulary(token_ids):
        raise ValueError("vocab.json is not an object of tokens and their ids")
    lines = [line.rstrip("\r").partition(" ") for line in texts["merges.txt"].split("\n")]
    return make_encoder(token_ids, [(left, right) for left, space, right in lines if space and left != "#version:"])


def _added_tokens(texts: dict[str, str]) -> dict[int, tokenizers.AddedToken]:
    """The tokens that were added, by their ids."""
    from tokenizers import AddedToken

    token_ids = json.loads(texts.get(_ADDED, "{}"))
    if not is_vocabulary(token_ids):
        raise ValueError(f"{_ADDED} is not an object of tokens and their ids")
    added = {index: AddedToken(token, normalized=False) for token, index in token_ids.items()}
    config = json.loads(texts.get(_CONFIG, "{}"))
    described = config.get("added_tokens_decoder", {}) if isinstance(config, dict) else None
    if not isinstance(described, dict) or not all(_is_described(token) for token in described.values()):
        raise ValueError(f"{_CONFIG} does not describe its added_tokens_decoder as ids and their tokens")
    for index, token in described.items():
        finding = {name: token[name] for name in _FINDING if name in token}
        added[int(index)] = AddedToken(token["content"], normalized=False, **finding)
    return added


def _is_described(token: Any) -> bool:
    return isinstance(token, dict) and isinstance(token.get("content"), str)


def _add_tokens(encoder: tokenizers.Tokenizer, added: dict[int, tokenizers.AddedToken]) -> None:
    """Add those that an encoder does not have as added ones; each gets the id it has there, or the next free one."""
    known = encoder.get_added_tokens_decoder()
    encoder.add_tokens([added[index] for index in sorted(added.keys() - known.keys())])
    for index, token in added.items():
        if encoder.token_to_id(token.content) != index:
            raise ValueError(
                f"the added token {token.content!r} has the id {index:,}, which is taken or leaves ids out"
            )


def _read_text(path: Path) -> str:
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise ValueError(f"{path.name} has {size:,} bytes; at most {_LARGEST_FILE:,} are read")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8 text; the file is damaged") from None
