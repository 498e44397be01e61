"""What a text to learn from has to be, and the one place where bytes or a pasted text become one."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

LARGEST_VOCABULARY = 10_000  # characters
BYTE_ORDER_MARK = "\ufeff"


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


def decode_text(name: str, content: bytes) -> str:
    """The text of a file's bytes, as `clean_text` gives it; raises ValueError if they are not UTF-8 text."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(name, error.start, content[error.start : error.start + 2]) from None
    return clean_text(name, text)


def clean_text(name: str, text: str) -> str:
    """A text as it is learned from: no byte order mark before it, and every line end one newline.

    Raises:
        ValueError: it holds NUL, or half of a surrogate pair, which no file in UTF-8 can.
    """
    check_no_nul(name, text)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{name!r} holds {text[error.start]!a}, half of a character; leave it out") from None
    return text.lstrip(BYTE_ORDER_MARK).replace("\r\n", "\n").replace("\r", "\n")


def not_utf8(name: str, position: int, found: bytes) -> ValueError:
    """The error for a file that is not UTF-8 from its byte `position` on, where two bytes `found` stand."""
    is_utf16 = position == 0 and found in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return ValueError(
        f"{name!r} is not UTF-8 text (byte {position:,}){' but UTF-16' if is_utf16 else ''}; save it as UTF-8"
    )


def check_no_nul(name: str, text: str) -> None:
    """Raise ValueError if a text holds NUL, as binary files and UTF-16 do."""
    if "\0" in text:
        raise ValueError(f"{name!r} holds NUL bytes, so it is not a text; give a plain text file in UTF-8")
