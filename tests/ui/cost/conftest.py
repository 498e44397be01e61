"""What the tests of the Cost tab share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from served import collect

from gpt.ui.catalogue import Catalogue
from gpt.ui.cost import timing_view
from gpt.ui.cost.handlers import CostHandlers


@pytest.fixture
def cost(catalogue: Catalogue) -> CostHandlers:
    """The Cost tab's handlers."""
    return CostHandlers(catalogue)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """(length, window) of what was timed; it takes T^2 ns in full and T us with a window, and no time to wait for."""
    made: list[tuple[int, int | None]] = []

    def attention_seconds(length: int, window_size: int | None = None, *, repeats: int, **_: Any) -> list[float]:
        made.append((length, window_size))
        return [1e-9 * length**2 if window_size is None else 1e-6 * length] * repeats

    monkeypatch.setattr(timing_view, "attention_seconds", attention_seconds)
    return made


@pytest.fixture
def measured(cost: CostHandlers) -> Callable[..., list[dict[str, Any]]]:
    """`measured(*asked)`: everything that is drawn while this is measured."""
    return lambda *asked: [json.loads(view) for view in asyncio.run(collect(cost.measure_time(*asked)))]
