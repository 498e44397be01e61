"""What the tests of the Train tab share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from served import ANNA, FOREVER

from gpt.runs.run import Run


@pytest.fixture
def running(start: Callable[..., Run], wait_until: Callable[..., None]) -> Run:
    """Anna's run, under way."""
    run = start(ANNA, steps=FOREVER)
    wait_until(lambda: run.step >= 2, "two steps")
    return run
