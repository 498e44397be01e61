"""A text as token ids: the first 90 % to learn from, the rest to be tested on."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt.data.batches import as_indices
from gpt.data.byte_pairs import byte_pair_ids, learn_byte_pairs
from gpt.data.text import check_text, clean_text
from gpt.data.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, tokenizer_to_json

_TRAIN_SHARE = 0.9
_LARGEST_BIGRAM_TABLE = 1_024  # tokens
_COUNTED_STRETCH = 1_000_000  # tokens counted at a time


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as token ids, in two parts: the first 90 % to learn from, the rest to be tested on.

    Attributes:
        name: that of `gpt.data.CORPORA`, or the file's name.
        tokenizer: the characters of the whole text, or a byte-pair encoding.
        train_ids, validation_ids: (N,) token ids: int64 in memory, or unsigned and mapped from a prepared file.
        sha256: of the text in UTF-8.
    """

    name: str
    tokenizer: Tokenizer
    train_ids: Tensor
    validation_ids: Tensor
    sha256: str

    @classmethod
    def from_text(cls, name: str, text: str, byte_pairs: int | BPETokenizer | None = None) -> Corpus:
        """Make a corpus of any text, which is cleaned first: see `clean_text`.

        Args:
            name: of the corpus.
            text: all of it.
            byte_pairs: what a token is: None for the text's characters, or a byte-pair encoding, or a number of
                tokens, the 256 bytes among them, for one that is learned from the text.

        Raises:
            ValueError: the text is too short to split, has one character only, or more different ones than a
                character model can sensibly learn; or a byte-pair encoding cannot have that many tokens.
        """
        text = clean_text(name, text)
        characters = sorted(set(text))
        check_text(name, characters, len(text))
        sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
        if byte_pairs is None:
            tokenizer = CharTokenizer(characters)
            return cls.from_ids(name, tokenizer, torch.tensor(tokenizer.encode(text)), sha256)
        encoder = byte_pairs if isinstance(byte_pairs, BPETokenizer) else learn_byte_pairs(text, byte_pairs)
        ids = torch.from_numpy(np.concatenate(list(byte_pair_ids(encoder, [text]))).astype(np.int64))
        if len(ids) < 20:
            raise ValueError(f"{name!r} has {len(ids)} tokens; give a text of at least 20, better some ten thousand")
        return cls.from_ids(name, encoder, ids, sha256)

    @classmethod
    def from_ids(cls, name: str, tokenizer: Tokenizer, ids: Tensor, sha256: str) -> Corpus:
        """Make a corpus of the token ids (N,) of a whole text."""
        split = int(_TRAIN_SHARE * len(ids))
        return cls(name, tokenizer, ids[:split], ids[split:], sha256)

    def written_with(self, tokenizer: Tokenizer) -> Corpus:
        """The same text in the tokens of another vocabulary, for a model that has that one already.

        Raises:
            ValueError: the text holds characters that this vocabulary has no tokens for, or it was prepared with
                another one.
        """
        if tokenizer_to_json(tokenizer) == tokenizer_to_json(self.tokenizer):
            return self
        if not isinstance(self.tokenizer, CharTokenizer) or self.train_ids.dtype != torch.int64:
            raise ValueError(
                f"{self.name!r} was prepared with another vocabulary than the model's; give the text itself"
            )
        unknown = tokenizer.unknown_characters("".join(self.tokenizer.itos))
        if unknown:
            named = " ".join(repr(character) for character in unknown[:10])
            more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
            raise ValueError(
                f"the model has no tokens for {named}{more}, and {self.name!r} holds them; choose a text "
                f"without these characters, write others in their place, or begin from new weights"
            )
        text = self.tokenizer.decode([*self.train_ids.tolist(), *self.validation_ids.tolist()])
        return Corpus.from_ids(self.name, tokenizer, torch.tensor(tokenizer.encode(text)), self.sha256)

    @cached_property
    def tokenizer_sha256(self) -> str:
        """Of the vocabulary; empty for the characters of the text, which its own checksum decides."""
        if isinstance(self.tokenizer, CharTokenizer):
            return ""
        return hashlib.sha256(json.dumps(tokenizer_to_json(self.tokenizer)).encode("utf-8")).hexdigest()

    @property
    def about(self) -> dict[str, Any]:
        """What a checkpoint says of the text that it learned from."""
        return {"name": self.name, "sha256": self.sha256, "tokens_per_character": self.tokens_per_character}

    @cached_property
    def tokens_per_character(self) -> float:
        """Tokens that the validation text takes for a character: 1 where a token is a character.

        Counted are the tokens that are predicted, all but the first, and the characters that begin in them. So a mean
        loss in nats per token, times this, is in nats per character, which can be compared between vocabularies.
        """
        begun = torch.tensor(self.tokenizer.characters_begun(), dtype=torch.float64)
        counts = torch.zeros(len(begun), dtype=torch.float64)
        for stretch in self.validation_ids[1:].split(_COUNTED_STRETCH):
            counts += torch.bincount(as_indices(stretch, len(begun)), minlength=len(begun))
        return (counts.sum() / (counts @ begun).clamp(min=1)).item()

    def bits_per_character(self, loss: float) -> float:
        """A mean loss over the validation text, in nats per token, as bits per character."""
        return loss / math.log(2) * self.tokens_per_character

    def loss_in_words(self, loss: float) -> str:
        """A mean loss in nats per token, and in bits per character where a token is something else."""
        bits = f" ({self.bits_per_character(loss):.3f} bits per character)" if self.tokens_per_character != 1 else ""
        return f"{loss:.3f}{bits}"

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
    for start in range(0, len(ids) - 1, _COUNTED_STRETCH):
        stretch = as_indices(ids[start : start + _COUNTED_STRETCH + 1], vocab_size)
        counts += torch.bincount(stretch[:-1] * vocab_size + stretch[1:], minlength=vocab_size**2)
    return counts.view(vocab_size, vocab_size)
