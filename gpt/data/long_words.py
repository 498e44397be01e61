"""Words too long to learn a byte-pair encoding from, as in DNA on one line: learning is quadratic in their length."""

from __future__ import annotations

import re

LONGEST_WORD = 256  # bytes that are learned from at once

_SHORTEST_LONG = LONGEST_WORD // 4  # characters, which have up to 4 bytes
_MAYBE_LONG = re.compile(rf" ?\S{{{_SHORTEST_LONG},}}|\s{{{_SHORTEST_LONG},}}(?!\S)")  # as GPT-2 splits words


def cut_long_words(text: str) -> list[str]:
    """A text in pieces, in which no word has more than `LONGEST_WORD` bytes; one piece where none has in the text."""
    from tokenizers import pre_tokenizers

    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    cuts = [0]
    for run in _MAYBE_LONG.finditer(text):
        for word, (start, end) in words.pre_tokenize_str(run[0]):  # a character of `word` is a byte
            if len(word) > LONGEST_WORD:
                step = LONGEST_WORD if len(word) == end - start else _SHORTEST_LONG
                cuts += range(run.start() + start + step, run.start() + end, step)
    return [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]
