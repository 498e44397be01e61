"""Long words are cut, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from gpt.data.long_words import cut_long_words


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a" * 256, 1),
        ("a" * 257, 2),
        (" " + "a" * 256, 2),
        ("é" * 128 + " 中文", 1),
        ("🙂" * 64, 1),
        ("🙂" * 65 + " and " + "=" * 300, 3),
        (" \n" * 128, 1),
        (" " * 300, 2),
        ("abc," * 1000, 1),
        ("", 1),
    ],
)
def test_words_are_long_from_257_bytes_on(text, pieces):
    assert len(cut_long_words(text)) == pieces


RUNS = st.tuples(st.sampled_from(["a", "é", "中", "🙂", "=", " ", "\n", "1", "'s", "a1"]), st.integers(1, 600))


@given(st.lists(RUNS, max_size=5).map(lambda runs: "".join(sign * count for sign, count in runs)))
def test_no_piece_has_a_long_word(text):
    pieces = cut_long_words(text)
    assert "".join(pieces) == text
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert all(len(word) <= 256 for piece in pieces for word, _ in words.pre_tokenize_str(piece))
    is_long = any(len(word) > 256 for word, _ in words.pre_tokenize_str(text))
    assert is_long == (len(pieces) > 1)
