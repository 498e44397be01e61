"""What the tests of the Compare tab share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from served import BOTH, collect

from gpt.ui.catalogue import Catalogue
from gpt.ui.compare.handlers import CompareHandlers

ASKED: dict[str, Any] = {
    "names": BOTH,
    "prompt": "The fox",
    "leave_out": False,
    "length": 60,
    "second": "",
    "temperature": 0.8,
    "top_k": 0,
    "top_p": 1,
    "seed": 7,
}


@pytest.fixture
def compare_tab(catalogue: Catalogue) -> CompareHandlers:
    """The Compare tab's handlers."""
    return CompareHandlers(catalogue)


@pytest.fixture
def generate(compare_tab: CompareHandlers) -> Callable[..., list[dict[str, Any]]]:
    """`generate(**changes)`: press Generate; all values the page gets, one after the other."""

    def press(**changes: Any) -> list[dict[str, Any]]:
        return asyncio.run(collect(compare_tab.generate(*(ASKED | changes).values())))

    return press
