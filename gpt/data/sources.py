"""Where the bytes of a text come from: a file, the files of a folder, or a pipe, which can be read once only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, NoReturn

from gpt.data.text import check_no_nul

STANDARD_INPUT = "-"
_AT_ONCE = 1_000_000  # bytes


def is_read_once(source: str | Path) -> bool:
    """Whether a text comes from standard input ("-"), a pipe or a device, which give each byte to one reader, once."""
    path = Path(source)
    return str(source) == STANDARD_INPUT or (path.exists() and not path.is_file() and not path.is_dir())


@contextmanager
def open_text(source: str | Path) -> Iterator[BinaryIO]:
    """Open a text's bytes for reading.

    Raises:
        ValueError: it is a terminal, or standard input is closed.
        OSError: it cannot be opened.
    """
    if str(source) != STANDARD_INPUT:
        with Path(source).open("rb") as file:
            _refuse_terminal(file, f"{source} is a terminal")
            yield file
    elif sys.stdin is None:
        raise ValueError("standard input is closed; pipe a text into it, or give the path of a text file")
    else:
        _refuse_terminal(sys.stdin.buffer, "standard input is a terminal")
        yield sys.stdin.buffer


def _refuse_terminal(file: BinaryIO, what: str) -> None:
    if file.isatty():
        raise ValueError(f"{what}; pipe a text into it, or give the path of a text file")


def copy_text(source: str | Path, path: Path) -> None:
    """Write what a pipe gives into a new file, so that it can be read again.

    Raises:
        ValueError: as `open_text`; or it holds NUL, which some devices give without end.
        OSError: as `open_text`, or the disk is full.
    """
    with open_text(source) as pipe, path.open("xb") as file:
        while some := pipe.read(_AT_ONCE):
            if 0 in some:
                check_no_nul(text_name(source), "\0")
            file.write(some)


def text_name(source: str | Path) -> str:
    """What a text is called: its file or folder, "stdin" or "pipe"; always writable in UTF-8."""
    path = Path(os.path.abspath(source))
    if str(source) == STANDARD_INPUT:
        return "stdin"
    if path.name.isdigit() and path.parent.name == "fd":  # the shell's <(...)
        return "pipe"
    return os.fsencode(path.name).decode("utf-8", "replace")


def find_texts(folder: Path, pattern: str, tell: Callable[[str], None] = lambda sentence: None) -> list[Path]:
    """The files of a folder, and of all folders below it, that a text is made of, in the order of their paths.

    What is hidden (its name begins with a dot) was put there by a program and is not read: copies that notebooks keep,
    what macOS writes beside each file. Capitals make no difference.

    Args:
        folder: where to look.
        pattern: which names to take, such as "*.txt"; one that begins with a dot takes hidden files.
        tell: is given one sentence if anything is left out: how much, and why.

    Raises:
        FileNotFoundError: no file is left.
        OSError: a folder cannot be read.
    """
    found: list[Path] = []
    left_out: dict[str, list[str]] = {}
    for place, folders, names in os.walk(folder, onerror=_refuse):
        links = {name for name in folders if Path(place, name).is_symlink()}
        left_out.setdefault("hidden", []).extend(name for name in folders if name[0] == ".")
        left_out.setdefault("linking to a folder", []).extend(name for name in links if name[0] != ".")
        folders[:] = [name for name in folders if name[0] != "." and name not in links]
        for name in names:
            path = Path(place, name)
            if name[0] == "." and pattern[:1] != ".":
                left_out.setdefault("hidden", []).append(name)
            elif not fnmatchcase(name.lower(), pattern.lower()):
                left_out.setdefault(f"with a name unlike {pattern!r}", []).append(name)
            elif not path.is_file():
                left_out.setdefault("other than a file", []).append(name)
            else:
                found.append(path)
    counts = [f"{len(names)} {why} (such as {min(names)})" for why, names in left_out.items() if names]
    if not found:
        there = f" (left out: {', '.join(counts)})" if counts else ""
        raise FileNotFoundError(
            f"no file in {folder} has a name like {pattern!r}; give another folder, or --pattern{there}"
        )
    if counts:
        tell(f"{folder}: reading {len(found):,} of its files; left out: {', '.join(counts)}")
    return sorted(found)


def _refuse(error: OSError) -> NoReturn:
    raise error
