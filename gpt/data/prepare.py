"""Texts of any length, made ready to learn from: a folder with the token ids in a file that training maps.

    ids.bin          the token ids of the whole text: unsigned and little-endian, 16 bits each, or 32 if 16 are too few
    vocabulary.json  the vocabulary, as in a checkpoint
    meta.json        what the text was: its name, counts and SHA-256

A text is read twice, a stretch at a time, first for its vocabulary and then for its ids, so the memory this takes does
not grow with the text. The files are written in a folder of their own within, and move up when they are whole. The
last is meta.json: without it nothing is taken for a prepared text.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from tqdm import tqdm

from gpt.data.byte_pairs import LARGEST_STRETCH, byte_pair_ids, cut_text
from gpt.data.sources import copy_text, find_texts, is_read_once, text_name
from gpt.data.text import BYTE_ORDER_MARK, LARGEST_VOCABULARY, check_no_nul, check_text, not_utf8
from gpt.data.tokenizer import (
    OLD_VOCABULARY_FILE,
    VOCABULARY_FILE,
    BPETokenizer,
    CharTokenizer,
    Tokenizer,
    tokenizer_from_json,
    tokenizer_to_json,
)
from gpt.folders import whole_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpt.data.corpus import Corpus

TOKENIZERS = ("characters", "bpe")

_FORMAT = "gpt-lab-text-1"
_IDS_TYPES = {"uint16": "<u2", "uint32": "<u4"}
_FILES = ("ids.bin", VOCABULARY_FILE, "meta.json")  # in the order in which they come to their places
_WORKPLACE = ".preparing"
_COPY = "text.txt"  # of a text that can be read once only
_BPE_SAMPLE = 50_000_000  # bytes of text that merges are learned from, at most
_LONGEST_PASSAGE = 10_000  # characters; what is longer has no spaces for thousands of them
_UNBROKEN_SAMPLE = 5_000_000  # characters of such passages, at most: hardly anything repeats, and all takes memory
_CODE_POINTS = 0x110000
_UNKNOWN = 0xFFFF  # what the table of ids says of a character outside the vocabulary

# On to the next end of a word after some thousand characters; or the rest, where no word ends.
_PASSAGE = re.compile(r".{4000,}?\S(?=[ \n])|.+", re.DOTALL)


@dataclass(frozen=True)
class PreparedText:
    """What meta.json says of a prepared text.

    Attributes:
        name: of the file or folder it was made of.
        characters: length of the text.
        tokens: how many ids it became.
        vocab_size: of its tokenizer.
        ids_type: "uint16" or "uint32".
        sha256: of the text in UTF-8, line ends made uniform.
    """

    name: str
    characters: int
    tokens: int
    vocab_size: int
    ids_type: str
    sha256: str

    def __post_init__(self) -> None:
        counts = (self.characters, self.tokens, self.vocab_size)
        if not all(type(count) is int and count > 0 for count in counts):
            raise ValueError("its counts are not whole numbers above 0")
        if not isinstance(self.ids_type, str) or self.ids_type not in _IDS_TYPES:
            raise ValueError(f"its ids_type is {self.ids_type!r}; {' and '.join(_IDS_TYPES)} are known")
        if not isinstance(self.name, str) or not re.fullmatch("[0-9a-f]{64}", str(self.sha256)):
            raise ValueError("its name or sha256 is not one")


# --- Preparing ------------------------------------------------------------------------------------------------------


def prepare_text(
    source: str | Path,
    out: str | Path,
    *,
    tokenizer: str = "characters",
    vocab_size: int = 4096,
    pattern: str = "*.txt",
    progress: bool = False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> PreparedText:
    """Make the folder `out` of a UTF-8 text file, or of all text files in a folder; `load_corpus` reads it.

    The files of a folder are one text: those whose names fit the pattern, in all folders below it too, in the order of
    their paths, with a line end between one and the next; hidden files and folders are not read. Line ends are made
    uniform, as `Corpus.from_text` has them, and with characters the ids are the same as there, too.

    Args:
        source: the text file, or the folder of text files; or a pipe, or "-" for standard input, of which `out` keeps a
            copy while it is made, because a text is read twice.
        out: the folder to make, or one that holds nothing yet; it may be a link, or the root of a disk.
        tokenizer: one of `TOKENIZERS`: the text's characters, or a byte-pair encoding learned from it (from evenly
            spaced parts of a longer text than 50 MB, or than 5 MB where there are no spaces).
        vocab_size: tokens of the byte-pair encoding; characters have as many as there are.
        pattern: which files of a folder are read, such as "*.md"; capitals make no difference.
        progress: show a bar, in bytes read, on standard error.
        tell: is given a sentence for each thing that is not done as one may expect: files of the folder that are not
            read, words that were too long to learn a byte-pair encoding from as a whole.

    Raises:
        ValueError: something else is in the place of `out`, or another process is making it; a file is not a text, or
            an argument is not allowed.
        OSError: a file cannot be read, or `out` not written.
    """
    source, out = Path(source), Path(out)
    if tokenizer not in TOKENIZERS:
        raise ValueError(f"there is no tokenizer {tokenizer!r}; choose one of {', '.join(TOKENIZERS)}")
    files = _files(source, pattern, tell)
    with whole_folder(out, _WORKPLACE, _FILES, old=(OLD_VOCABULARY_FILE,)) as workplace:
        if is_read_once(source):
            copy_text(source, workplace / _COPY)
            files = [workplace / _COPY]
        size = sum(path.stat().st_size for path in files)
        with tqdm(total=2 * size, unit="B", unit_scale=True, desc="vocabulary", disable=not progress) as bar:
            first_reading = _Reading(source, files, bar)
            if tokenizer == "bpe":
                vocabulary: Tokenizer = _learn_bpe(first_reading, vocab_size, size, tell)
            else:
                vocabulary = _collect_characters(first_reading)
            bar.set_description("ids")
            prepared = _write(workplace, _Reading(source, files, bar), vocabulary)
    return prepared


def _files(source: Path, pattern: str, tell: Callable[[str], None]) -> list[Path]:
    if source.is_dir():
        return find_texts(source, pattern, tell)
    if not source.is_file() and not is_read_once(source):
        raise FileNotFoundError(f"there is no text file or folder {str(source)!r}; give the path of one")
    return [source]


class _Reading:
    """One reading of a text, a stretch at a time.

    Attributes:
        name: of the file or folder.
        characters: how many have been read.
        digest: SHA-256 of what has been read.
    """

    def __init__(self, source: Path, files: Sequence[Path], bar: tqdm) -> None:
        self.name = text_name(source)
        self.characters = 0
        self.digest = hashlib.sha256()
        self._source, self._files, self._bar = source, files, bar

    def __iter__(self) -> Iterator[str]:
        for number, path in enumerate(self._files):
            if number:
                yield self._counted("\n")
            for stretch in self._stretches(path):
                yield self._counted(stretch)

    def _counted(self, stretch: str) -> str:
        self.characters += len(stretch)
        self.digest.update(stretch.encode("utf-8"))
        return stretch

    def _stretches(self, path: Path) -> Iterator[str]:
        """A file as `decode_text` gives it, in parts."""
        name = path.relative_to(self._source).as_posix() if self._source.is_dir() else self.name
        with path.open("rb") as file, io.TextIOWrapper(file, encoding="utf-8", newline=None) as text:
            done, has_begun = 0, False
            while True:
                try:
                    stretch = text.read(LARGEST_STRETCH)
                except UnicodeDecodeError as error:  # knows the position within the bytes it was given last
                    position, found = file.tell() - len(error.object) + error.start, error.object[error.start :]
                    raise not_utf8(name, position, found[:2]) from None
                self._bar.update(file.tell() - done)
                done = file.tell()
                if not stretch:
                    return
                check_no_nul(name, stretch)
                if not has_begun:
                    stretch = stretch.lstrip(BYTE_ORDER_MARK)
                    has_begun = bool(stretch)
                yield stretch


def _collect_characters(reading: _Reading) -> CharTokenizer:
    """The vocabulary of a whole text, in Unicode order."""
    occurs = np.zeros(_CODE_POINTS, dtype=bool)
    for stretch in reading:
        occurs[_code_points(stretch)] = True
    characters = [chr(code_point) for code_point in np.flatnonzero(occurs)]
    if len(characters) > LARGEST_VOCABULARY:
        raise ValueError(
            f"{reading.name!r} has {len(characters):,} different characters, and at most {LARGEST_VOCABULARY:,} are "
            f"allowed; take the tokenizer bpe, which has no such limit"
        )
    check_text(reading.name, characters, reading.characters)
    return CharTokenizer(characters)


def _learn_bpe(reading: _Reading, vocab_size: int, size: int, tell: Callable[[str], None]) -> BPETokenizer:
    """The byte-pair encoding learned from a text of `size` bytes, all of which is read, and so checked."""
    spacing = -(-size // _BPE_SAMPLE) or 1

    def sample() -> Iterator[str]:
        unbroken = 0  # characters so far
        for number, some in enumerate(cut_text(reading, _PASSAGE)):
            for passage in some if number % spacing == 0 else ():
                if len(passage) > _LONGEST_PASSAGE:
                    share = reading.characters / max(size, 1)  # files of the system say that they are empty
                    if unbroken > _UNBROKEN_SAMPLE * share:
                        continue
                    unbroken += len(passage)
                yield passage

    return BPETokenizer.from_texts(sample(), vocab_size, tell)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def _write(folder: Path, reading: _Reading, tokenizer: Tokenizer) -> PreparedText:
    """Write the files of a prepared text."""
    ids_type = "uint16" if tokenizer.vocab_size <= 2**16 else "uint32"
    tokens = 0
    with open(folder / "ids.bin", "wb") as file:
        encoded = (
            byte_pair_ids(tokenizer, reading) if isinstance(tokenizer, BPETokenizer) else _char_ids(tokenizer, reading)
        )
        for ids in encoded:
            tokens += len(ids)
            file.write(ids.astype(_IDS_TYPES[ids_type], copy=False).tobytes())
        _flush_to_disk(file)
    if tokens < 20:
        raise ValueError(f"{reading.name!r} has {tokens} tokens; give a text of at least 20, better some ten thousand")
    sha256 = reading.digest.hexdigest()
    prepared = PreparedText(reading.name, reading.characters, tokens, tokenizer.vocab_size, ids_type, sha256)
    _write_json(folder / VOCABULARY_FILE, tokenizer_to_json(tokenizer))
    _write_json(folder / "meta.json", {"format": _FORMAT, **asdict(prepared)})
    return prepared


def _char_ids(tokenizer: Tokenizer, reading: _Reading) -> Iterator[NDArray[Any]]:
    table = np.full(_CODE_POINTS, _UNKNOWN, dtype=np.uint16)
    characters = tokenizer.decode(range(tokenizer.vocab_size))
    table[_code_points(characters)] = np.arange(len(characters))
    for stretch in reading:
        ids = table[_code_points(stretch)]
        if ids.max() == _UNKNOWN:
            raise ValueError(f"{reading.name!r} changed while it was read; prepare it when nobody is writing to it")
        yield ids


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        file.write((json.dumps(content, ensure_ascii=False) + "\n").encode("utf-8"))
        _flush_to_disk(file)


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


# --- Loading --------------------------------------------------------------------------------------------------------


def load_prepared(folder: str | Path) -> Corpus:
    """The corpus of a folder that `prepare_text` made, its ids mapped: only what is used of them comes into memory.

    The folder must stay as it is while the corpus is in use.

    Raises:
        ValueError: a file is missing, damaged, or does not fit the others.
    """
    from gpt.data.corpus import Corpus  # with PyTorch, which preparing does without

    folder = Path(folder)
    try:
        prepared = _from_json(_read_json(folder / "meta.json"))
        is_old = not (folder / VOCABULARY_FILE).exists() and (folder / OLD_VOCABULARY_FILE).exists()
        vocabulary = OLD_VOCABULARY_FILE if is_old else VOCABULARY_FILE
        tokenizer = tokenizer_from_json(_read_json(folder / vocabulary))
        if tokenizer.vocab_size != prepared.vocab_size:
            raise ValueError(f"{vocabulary} has {tokenizer.vocab_size} tokens, meta.json says {prepared.vocab_size}")
        return Corpus.from_ids(prepared.name, tokenizer, _mapped(folder / "ids.bin", prepared), prepared.sha256)
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder} is not a sound prepared text: {error}; prepare the text again") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path.name} is not JSON; the file is damaged") from None


def _from_json(content: Any) -> PreparedText:
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ValueError(f"meta.json does not say that this is a {_FORMAT}")
    try:
        return PreparedText(**content)
    except TypeError:
        raise ValueError("meta.json has other fields than a prepared text") from None


def _mapped(path: Path, prepared: PreparedText) -> Any:
    """The ids of a file as a tensor (tokens,) that reads them where they lie."""
    import torch

    ids_type = np.dtype(_IDS_TYPES[prepared.ids_type])
    size = path.stat().st_size
    if size != prepared.tokens * ids_type.itemsize or prepared.tokens < 20:
        raise ValueError(f"ids.bin has {size:,} bytes, meta.json says {prepared.tokens:,} tokens of {ids_type.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nobody may write to this tensor; and nobody does
        return torch.from_numpy(np.memmap(path, dtype=ids_type, mode="r"))
