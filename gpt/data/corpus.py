"""A text as token ids: the first 90 % to learn from, the rest to be tested on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gpt.data.batches import as_indices
from gpt.data.text import check_text, clean_text
from gpt.data.tokenizer import CharTokenizer, Tokenizer

_TRAIN_SHARE = 0.9
_LARGEST_BIGRAM_TABLE = 1_000  # tokens
_BIGRAM_STRETCH = 1_000_000  # tokens counted at a time


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as token ids, in two parts: the first 90 % to learn from, the rest to be tested on.

    Attributes:
        name: that of `gpt.data.CORPORA`, or the file's name.
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
        """Make a corpus of any text, which is cleaned first: see `clean_text`.

        Raises:
            ValueError: the text is too short to split, has one character only, or more different ones than a
                character model can sensibly learn.
        """
        text = clean_text(name, text)
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
    counts = torch.zeros(vocab_size**2, dtype=torch.float64)
    for start in range(0, len(ids) - 1, _BIGRAM_STRETCH):
        stretch = as_indices(ids[start : start + _BIGRAM_STRETCH + 1], vocab_size)
        counts += torch.bincount(stretch[:-1] * vocab_size + stretch[1:], minlength=vocab_size**2)
    return counts.view(vocab_size, vocab_size)
