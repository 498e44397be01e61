"""Text to learn from: fetched, built in, or your own; split 90/10, and cut into batches and validation windows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.data.tokenizer import CharTokenizer, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

DATA_FOLDER_VARIABLE = "GPT_LAB_DATA"  # a folder looked into before anything is fetched

CORPORA = {
    "shakespeare": "Tiny Shakespeare: 1.1 million characters of his plays, fetched once and kept",
    "python-docs": "Python's own reference prose, half a million characters that every Python brings along",
}

_SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_TRAIN_SHARE = 0.9
_LARGEST_FILE = 50_000_000  # bytes
LARGEST_VOCABULARY = 10_000  # characters
_LARGEST_BIGRAM_TABLE = 1_000  # tokens
_BIGRAM_STRETCH = 1_000_000  # tokens counted at a time
_MOST_TOKENS_AT_ONCE = 4096  # evaluated side by side: as quick as more, with far less memory than a training step


class CorpusUnavailable(RuntimeError):
    """A corpus that has to be fetched could not be; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as token ids, in two parts: the first 90 % to learn from, the rest to be tested on.

    Attributes:
        name: "shakespeare", "python-docs", or the file's name.
        tokenizer: the characters of the whole text, or the byte-pair encoding of a prepared one.
        train_ids, validation_ids: (N,) token ids: int64 in memory, or unsigned and mapped from a prepared file.
        sha256: of the text in UTF-8.
    """

    name: str
    tokenizer: Tokenizer
    train_ids: Tensor
    validation_ids: Tensor
    sha256: str

    @classmethod
    def from_text(cls, name: str, text: str) -> Corpus:
        """Make a corpus of any text.

        Raises:
            ValueError: the text is too short to split, has one character only, or more different ones than a
                character model can sensibly learn.
        """
        import torch  # not before: the names of the corpora are known without it

        tokenizer = CharTokenizer.from_text(text)
        check_text(name, tokenizer.itos, len(text))
        ids = torch.tensor(tokenizer.encode(text))
        return cls.from_ids(name, tokenizer, ids, hashlib.sha256(text.encode("utf-8")).hexdigest())

    @classmethod
    def from_ids(cls, name: str, tokenizer: Tokenizer, ids: Tensor, sha256: str) -> Corpus:
        """Make a corpus of the token ids (N,) of a whole text."""
        split = int(_TRAIN_SHARE * len(ids))
        return cls(name, tokenizer, ids[:split], ids[split:], sha256)

    @cached_property
    def bigram_loss(self) -> float | None:
        """Validation loss, in nats per token, of knowing only how often each token follows each other one.

        The counts come from the training part, with one added to each pair. None where the vocabulary is too large
        for a table of pairs.
        """
        vocab_size = self.tokenizer.vocab_size
        if vocab_size > _LARGEST_BIGRAM_TABLE:
            return None
        counts = _pair_counts(self.train_ids, vocab_size) + 1.0
        log_probabilities = (counts / counts.sum(dim=1, keepdim=True)).log()
        asked = _pair_counts(self.validation_ids, vocab_size)
        return -((asked * log_probabilities).sum() / asked.sum()).item()


def _pair_counts(ids: Tensor, vocab_size: int) -> Tensor:
    """How often the second token stands right after the first: (first, second) in float64, which counts exactly."""
    import torch

    counts = torch.zeros(vocab_size**2, dtype=torch.float64)
    for start in range(0, len(ids) - 1, _BIGRAM_STRETCH):
        stretch = _as_indices(ids[start : start + _BIGRAM_STRETCH + 1], vocab_size)
        counts += torch.bincount(stretch[:-1] * vocab_size + stretch[1:], minlength=vocab_size**2)
    return counts.view(vocab_size, vocab_size)


def _as_indices(ids: Tensor, vocab_size: int | None) -> Tensor:
    """Token ids as int64; those of a prepared text come from a file, so they are held against the vocabulary.

    Raises:
        ValueError: an id is beyond the vocabulary, where its size is given.
    """
    ids = ids.long()
    if vocab_size is not None and ids.numel() and ids.max() >= vocab_size:
        raise ValueError(
            f"the text holds the token {ids.max()} and its vocabulary ends at {vocab_size - 1}; "
            f"its file of ids is damaged, so prepare the text again"
        )
    return ids


def check_text(name: str, characters: Sequence[str], length: int) -> None:
    """Raise ValueError unless a text can be learned from, character by character.

    Args:
        name: of the text, for the message.
        characters: each different one of the text, once.
        length: of the text, in characters.
    """
    if len(characters) < 2:
        what = f"only the character {characters[0]!r}" if characters else "no text"
        raise ValueError(f"{name!r} holds {what}; give a text of at least two different characters")
    if len(characters) > LARGEST_VOCABULARY:
        raise ValueError(
            f"{name!r} has {len(characters):,} different characters, and at most {LARGEST_VOCABULARY:,} are "
            f"allowed; is it a text?"
        )
    if length < 20:
        raise ValueError(f"{name!r} has {length} characters; give at least 20, better some ten thousand")


def load_corpus(name_or_path: str | Path) -> Corpus:
    """Load a corpus by name (see `CORPORA`), or by its path a UTF-8 text file of your own, or a prepared text.

    A prepared text, of any length, is a folder that `prepare_text` made; its ids stay in their file.

    Tiny Shakespeare is looked for in the folder named by the environment variable GPT_LAB_DATA (as
    `tinyshakespeare/input.txt`), then in the user's cache folder, and else fetched, with its checksum verified.

    Raises:
        CorpusUnavailable: Tiny Shakespeare is not here and cannot be fetched.
        FileNotFoundError: there is no corpus and no file of that name.
        ValueError: the file is not a text to learn from, or the folder not a sound prepared text.
    """
    if name_or_path == "shakespeare":
        return Corpus.from_text("shakespeare", _tiny_shakespeare())
    if name_or_path == "python-docs":
        return Corpus.from_text("python-docs", _python_docs())
    path = Path(name_or_path)
    if (path / "meta.json").is_file():
        from gpt.data.prepare import load_prepared

        return load_prepared(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no corpus or text file {str(name_or_path)!r}; give the path of a text file or of a prepared "
            f"text, or one of {', '.join(CORPORA)}"
        )
    return Corpus.from_text(path.name, _read_text(path))


def _read_text(path: Path) -> str:
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise ValueError(
            f"{path.name!r} has {size:,} bytes; at most {_LARGEST_FILE:,} are read at once; make it ready with "
            f"`python -m gpt prepare`, and give the folder that this makes"
        )
    return decode_text(path.name, path.read_bytes())


def decode_text(name: str, content: bytes) -> str:
    """Bytes of a text file to text, line ends made uniform; raises ValueError if they are not UTF-8 text."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(name, error.start) from None
    check_no_nul(name, text)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def not_utf8(name: str, position: int) -> ValueError:
    """The error for a file whose byte at `position` is not UTF-8."""
    return ValueError(f"{name!r} is not UTF-8 text (byte {position:,}); save it as UTF-8")


def check_no_nul(name: str, text: str) -> None:
    """Raise ValueError if a text holds NUL, as binary files and UTF-16 do."""
    if "\0" in text:
        raise ValueError(f"{name!r} holds NUL bytes, so it is not a text; give a plain text file in UTF-8")


def _tiny_shakespeare() -> str:
    local_folder = os.environ.get(DATA_FOLDER_VARIABLE)
    if local_folder:
        path = Path(local_folder) / "tinyshakespeare" / "input.txt"
        if path.is_file():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != _SHAKESPEARE_SHA256:
                raise CorpusUnavailable(
                    f"tinyshakespeare/input.txt in {DATA_FOLDER_VARIABLE} is not the published file (its checksum "
                    f"differs); replace it, or give it as a text file of your own"
                )
            return content.decode("utf-8")
    return _fetch_tiny_shakespeare().read_text(encoding="utf-8")


def _fetch_tiny_shakespeare() -> Path:
    import pooch  # only where something is fetched

    try:
        return Path(
            pooch.retrieve(
                _SHAKESPEARE_URL,
                known_hash=f"sha256:{_SHAKESPEARE_SHA256}",
                fname="tinyshakespeare.txt",
                path=pooch.os_cache("gpt-lab"),
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=20),
            )
        )
    except (OSError, ValueError) as error:  # no network, an error from the server, a wrong checksum
        raise CorpusUnavailable(
            f"Tiny Shakespeare could not be fetched ({type(error).__name__}); use the corpus python-docs, which needs "
            f"no network, or put the file in a folder as tinyshakespeare/input.txt and name the folder in "
            f"{DATA_FOLDER_VARIABLE}"
        ) from error


def _python_docs() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


@dataclass(frozen=True, eq=False)
class BatchStream:
    """The batches of a run: batch number n depends on the seed and on n alone.

    So variants trained side by side see the same batches, and a resumed run needs no memory of the ones before.

    Attributes:
        ids: (N,) the text to draw from, of any integer type.
        batch_size, context_length: rows B and length T of a batch.
        seed: chooses the stream.
        order: "passes" goes through the text again and again, each time cut anew, at another offset, into windows that
            do not overlap, which come in another random order; "random" takes windows anywhere.
        vocab_size: refuse a batch with ids beyond it; None trusts the ids.

    Raises:
        ValueError: the text is shorter than one row and the token after it.
    """

    ids: Tensor
    batch_size: int
    context_length: int
    seed: int
    order: str = "passes"
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        if len(self.ids) <= self.context_length:
            raise ValueError(
                f"the training part of the text has {len(self.ids)} tokens, and a context of "
                f"{self.context_length} needs at least {self.context_length + 1}; "
                f"give a longer text or a shorter context"
            )

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of batch `number`, (B, T) each: windows of the text, the targets one token further."""
        import torch

        starts = self._passing_starts(number) if self.order == "passes" else self._random_starts(number)
        windows = self.ids[starts[:, None] + torch.arange(self.context_length + 1)]  # (B, T + 1)
        windows = _as_indices(windows, self.vocab_size)
        return windows[:, :-1], windows[:, 1:]

    def _random_starts(self, number: int) -> Tensor:
        import torch

        from gpt.model.seeds import seeded_generator

        generator = seeded_generator(self.seed, "batch", number)
        return torch.randint(len(self.ids) - self.context_length, (self.batch_size,), generator=generator)

    def _passing_starts(self, number: int) -> Tensor:
        import torch

        next_row, missing = number * self.batch_size, self.batch_size
        parts: list[Tensor] = []
        while missing:
            pass_number, done = divmod(next_row, self._windows_per_pass)
            parts.append(self._pass_starts(pass_number)[done : done + missing])
            next_row, missing = next_row + len(parts[-1]), missing - len(parts[-1])
        return torch.cat(parts)

    @property
    def _windows_per_pass(self) -> int:
        return max(1, (len(self.ids) - self.context_length) // self.context_length)

    def _pass_starts(self, pass_number: int) -> Tensor:
        """Where the windows of one pass over the text start, in their order: (windows per pass,)."""
        spare = len(self.ids) - self._windows_per_pass * self.context_length
        return _pass_starts(
            self.seed, pass_number, self._windows_per_pass, self.context_length, min(spare, self.context_length)
        )


@lru_cache(maxsize=4)  # the same for all variants that are trained side by side
def _pass_starts(seed: int, pass_number: int, windows: int, context_length: int, offsets: int) -> Tensor:
    import torch

    from gpt.model.seeds import seeded_generator

    generator = seeded_generator(seed, "pass", pass_number)
    offset = torch.randint(offsets, (1,), generator=generator)
    # In place: a gigabyte of text has millions of windows.
    return torch.randperm(windows, generator=generator).mul_(context_length).add_(offset)


def validation_windows(
    ids: Tensor, context_length: int, most: int | None = None, *, vocab_size: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a text into fixed windows that do not overlap: inputs and targets (B, T) of up to 4,096 tokens at a time.

    Every token but the first is a target exactly once. The last window may be shorter than the others, and then comes
    by itself.

    Args:
        ids: (N,) the text, of any integer type.
        context_length: T.
        most: use only this many windows, evenly spaced; None uses all.
        vocab_size: refuse ids beyond it; None trusts the ids.

    Raises:
        ValueError: fewer than two tokens, so that there is nothing to predict; or an id beyond the vocabulary.
    """
    import torch

    if len(ids) < 2:
        raise ValueError(f"the text to evaluate on has {len(ids)} tokens; it needs at least 2")
    count = -(-(len(ids) - 1) // context_length)
    chosen = torch.arange(count) if most is None or most >= count else torch.arange(most) * count // most
    starts = chosen * context_length
    is_whole = starts + context_length < len(ids)
    for some in starts[is_whole].split(max(1, _MOST_TOKENS_AT_ONCE // context_length)):
        windows = _as_indices(ids[some[:, None] + torch.arange(context_length + 1)], vocab_size)  # (B, T + 1)
        if len(windows):
            yield windows[:, :-1], windows[:, 1:]
    for start in starts[~is_whole].tolist():
        window = _as_indices(ids[None, start:], vocab_size)
        yield window[:, :-1], window[:, 1:]
