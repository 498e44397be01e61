"""Bytes and pasted texts become a text in one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.data.text import clean_text, decode_text


def test_line_ends():
    assert decode_text("x", b"a\r\nb\rc\nd\r\n") == "a\nb\nc\nd\n"


@given(st.text(st.sampled_from("ab\r\n\ufeff é"), max_size=30))
def test_a_pasted_text_is_read_as_its_file_would_be(text):
    """And cleaning twice is as once, so a text that was exported comes back as it was."""
    cleaned = clean_text("pasted", text)
    assert cleaned == decode_text("file", text.encode())
    assert clean_text("pasted", cleaned) == cleaned
    assert "\r" not in cleaned
    assert not cleaned.startswith("\ufeff")


def test_a_text_with_nul_is_refused_however_it_comes():
    for read in (lambda: clean_text("notes", "a\0b"), lambda: decode_text("notes", b"a\0b")):
        with pytest.raises(ValueError, match="'notes' holds NUL bytes"):
            read()


@given(st.text(st.characters(codec=None), max_size=40))
def test_every_pasted_text_is_read_or_refused_as_its_file_would_be(text):
    """Half of a character, too, which a browser may send and no file in UTF-8 can hold."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        with pytest.raises(ValueError, match="'notes' holds "):
            clean_text("notes", text)
    else:
        assert clean_text("notes", text) == decode_text("notes", text.encode())


def test_half_of_a_character_is_named():
    with pytest.raises(ValueError, match=r"'notes' holds '\\ud83d', half of a character; leave it out"):
        clean_text("notes", "a smile \ud83d here")
