"""Computations of visitors by turns: first come, first served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import torch

from gpt.ui.limiter import Limiter


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.001)


def test_first_come_first_served() -> None:
    limiter = Limiter(1)
    served: list[int] = []

    def come(number: int) -> None:
        with limiter:
            served.append(number)

    visitors = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    with limiter:
        for number, visitor in enumerate(visitors, start=1):
            visitor.start()
            until(lambda waiting=number: len(limiter._queue) == waiting)
        assert served == []
    for visitor in visitors:
        visitor.join(timeout=30)
    assert served == list(range(8))


@pytest.mark.parametrize("places", [1, 3])
def test_no_more_are_inside_than_there_are_places(places: int) -> None:
    limiter = Limiter(places)
    inside, most = 0, 0
    counting = threading.Lock()

    def come() -> None:
        nonlocal inside, most
        for _ in range(50):
            with limiter:
                with counting:
                    inside += 1
                    most = max(most, inside)
                threading.Event().wait(0.0001)
                with counting:
                    inside -= 1

    visitors = [threading.Thread(target=come) for _ in range(10)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(timeout=60)
    assert most == places
    assert inside == 0


def test_an_error_leaves_the_place_to_the_next() -> None:
    limiter = Limiter(1)
    with pytest.raises(ValueError, match="mine"), limiter:
        raise ValueError("mine")
    with limiter:
        assert torch.get_num_threads() == 1
