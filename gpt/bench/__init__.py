"""Benchmarks: what GPT Lab claims about speed and memory, measured on your machine against peers. They assert nothing.

`python -m gpt bench NAME` runs one, or `all`; each is a module of this package whose `rows(setting)` measures with the
settings `FULL` or `QUICK` and yields rows as they are ready. A peer is measured in turns with ours in the same run, and
named as missing where it is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt.bench.rows import Row

# Each is a module of this package, loaded when it is run.
BENCHMARKS = {
    "learn": "seconds until the loss that nanoGPT's CPU recipe ends at",
    "choices": "what each choice of the default recipe gains",
    "train": "tokens learned from per second, against nanoGPT and transformers",
    "generate": "tokens written per second, against transformers",
    "window": "attention over a window, against full attention and transformers' Mistral",
    "cache": "bytes that a generation holds, against full multi-head attention",
    "start": "seconds until the page answers, against a page of Gradio alone",
    "many": "thirty readers at once, against one after another",
    "page": "how soon and how fast the page trains, alone and with thirty pages open",
}


def measure(names: Sequence[str], *, quick: bool = False) -> Iterator[Row]:
    """Run benchmarks by their names in `BENCHMARKS`, and give each row as it is ready.

    Raises:
        ValueError: there is no benchmark of that name.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise ValueError(f"there is no benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}")
    for name in names:
        module = import_module(f"gpt.bench.{name}")
        yield from module.rows(module.QUICK if quick else module.FULL)
