"""Byte pairs of a text: a vocabulary learned from it in seconds, and its token ids, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt.data.tokenizer import BPETokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_STRETCH = 1_000_000  # characters that are read at a time

_SAMPLE = 500_000  # characters that are learned from at most: of a text without spaces, that takes seconds
_PASSAGES = 50  # evenly spaced, that a sample is made of
_MOST_KNOWN = 3_000_000  # characters of words whose tokens are kept
_WORD = re.compile(r".*?\S(?=[ \n])|.+", re.DOTALL)  # to the next end of a word; or the rest, where no word ends


def learn_byte_pairs(text: str, vocab_size: int) -> BPETokenizer:
    """The byte-pair encoding of a text in memory, learned from evenly spaced passages of a longer one than 500,000.

    The same text gives the same encoding, and Ctrl-C is heard meanwhile.

    Args:
        text: what to learn from.
        vocab_size: how many tokens there are to be, the 256 bytes among them; fewer where no pair is left that occurs
            twice.

    Raises:
        ValueError: a vocabulary without room for merges, or larger than any in use.
    """
    if len(text) <= _SAMPLE:
        return BPETokenizer.from_texts([text], vocab_size)
    length, spacing = _SAMPLE // _PASSAGES, len(text) // _PASSAGES
    passages = (text[start : start + length] for start in range(0, _PASSAGES * spacing, spacing))
    return BPETokenizer.from_texts(passages, vocab_size)


def cut_text(stretches: Iterable[str], pattern: re.Pattern[str]) -> Iterator[list[str]]:
    """A text in pieces, cut before spaces and line ends that follow a word, where byte-pair encoding never joins.

    So the tokens of the pieces are those of the whole text. Only a stretch that has no such place is cut at its end.
    """
    rest = ""
    for stretch in stretches:
        *pieces, rest = pattern.findall(rest + stretch)
        if len(rest) >= LARGEST_STRETCH:
            pieces, rest = [*pieces, rest], ""
        yield pieces
    if rest:
        yield [rest]


def byte_pair_ids(tokenizer: BPETokenizer, stretches: Iterable[str]) -> Iterator[NDArray[Any]]:
    """The ids of a text; each word is encoded when it first comes, and again only after many others."""
    known: dict[str, list[int]] = {}
    known_characters = 0
    for words in cut_text(stretches, _WORD):
        new = list({word for word in words if word not in known})
        known_characters += sum(map(len, new))
        if known_characters > _MOST_KNOWN:
            new = list(set(words))
            known, known_characters = {}, sum(map(len, new))
        known.update(zip(new, tokenizer.encode_batch(new), strict=True))
        yield np.fromiter(chain.from_iterable(map(known.__getitem__, words)), dtype=np.uint32)
