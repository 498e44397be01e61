"""How to interrupt a library that hears no Ctrl-C: another thread does the work, and this one listens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Result = TypeVar("Result")


def interruptibly(work: Callable[[Callable[[Iterable[Any]], Iterator[Any]]], Result]) -> Result:
    """What a long work gives, or KeyboardInterrupt as soon as there is one.

    Args:
        work: is given a function, through which it has to take what it reads bit by bit; that ends the work when nobody
            waits for it any more. What it is at otherwise, it goes on with unheard, until it or the process ends.

    Raises:
        KeyboardInterrupt: the work was interrupted, and its result is lost.
        Exception: whatever the work raises.
    """
    given_up = threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def while_wanted(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if given_up.is_set():
                raise RuntimeError("nobody is waiting for this any more")
            yield item

    def run() -> None:
        try:
            results.append(work(while_wanted))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)  # waiting without an end, Windows would not hear it either
    finally:
        given_up.set()
    if errors:
        raise errors[0]
    return results[0]
