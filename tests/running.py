"""Running a generator to its end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Told = TypeVar("Told")
Found = TypeVar("Found")


def finished(running: Generator[Told, None, Found]) -> tuple[Found, list[Told]]:
    """What a generator returns, and all that it yielded before."""
    told = []
    while True:
        try:
            told.append(next(running))
        except StopIteration as end:
            return end.value, told
