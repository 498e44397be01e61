"""What a command line stands on: its output may be a screen, a file, a pipe that somebody closes, or nothing at all."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_ERROR = 2  # what was wrong, a person can set right
_BROKEN_PIPE = 128 + 13  # as of a program that the signal of a closed pipe has ended


def as_program(main: Callable[[], int]) -> int:
    """Run the `main` of a command line whatever its output is connected to; returns the exit status.

    What is printed appears line by line, also in a file. A character that the output's encoding lacks is written as its
    number. Where standard output or error is closed, nothing is printed. If whoever reads standard output wants no more
    (`| head`), the program ends without a word, with the status that shells expect; if nobody reads standard error, it
    goes on.
    """
    _open_streams()
    status = 0
    try:
        try:
            status = main()
        except SystemExit as end:  # of argparse
            status = end.code if isinstance(end.code, int) else int(bool(end.code))
        sys.stdout.flush()
    except BrokenPipeError:
        status = _BROKEN_PIPE
        _discard_output()
    except OSError as error:  # a full disk
        if status == 0:
            status = _ERROR
            print(f"gpt: {sentence(error)}", file=sys.stderr)
        _discard_output()
    return status


def sentence(error: Exception) -> str:
    """An error's message in words; those of the system name the file, if there is one, and then what is wrong."""
    if not isinstance(error, OSError) or not isinstance(error.strerror, str):
        return str(error)
    what = error.strerror[:1].lower() + error.strerror[1:]
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' and '.join(names)}: {what}" if names else what


class _Stream:
    """A standard stream that may fail.

    Args:
        stream: what is written to.
        name: is named by the OSError where it cannot be written; None lets go what cannot be written.
    """

    def __init__(self, stream: TextIO, name: str | None) -> None:
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        with self._failing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._name is not None:
                raise OSError(error.errno, error.strerror, self._name) from None  # of the same kind, by its number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _open_streams() -> None:
    """Make standard output and error something that can be written to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: else the next file opened would get this number, and what others print
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
    sys.stdout = cast(TextIO, _Stream(_writable(sys.stdout), "standard output"))
    sys.stderr = cast(TextIO, _Stream(_writable(sys.stderr), None))


def _writable(stream: TextIO | None) -> TextIO:
    """A standard stream, or where there is none, nowhere; able to write every character, line by line."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")
    if isinstance(stream, io.TextIOWrapper):
        is_strict = stream.errors in ("strict", "surrogateescape")  # else somebody has chosen
        stream.reconfigure(errors="backslashreplace" if is_strict else None, line_buffering=True)
    return stream


def _discard_output() -> None:
    """Let what standard output still holds go nowhere, as Python tries once more to write it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
