"""What the controls of a measurement hold, or what is wrong with it in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from served import NO_NUMBERS, refuses

from gpt.runs.limits import LARGEST_TIMED_WINDOW
from gpt.ui.cost.handlers import CostHandlers
from gpt.ui.cost.settings import LONGEST, TimingSettings

Measured = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_window_is_refused(measured: Measured, name: str) -> None:
    with refuses("[Ww]indow"):
        measured(NO_NUMBERS[name], "forward only", 512)


@pytest.mark.parametrize("asked", [(0, "forward only", 512), (LARGEST_TIMED_WINDOW + 1, "forward only", 512)])
def test_a_window_has_bounds(measured: Measured, asked: tuple[Any, ...]) -> None:
    with refuses("Window is"):
        measured(*asked)


@pytest.mark.parametrize("value", [*NO_NUMBERS.values(), "backward", 100])
def test_other_controls_hold_what_is_offered(cost: CostHandlers, value: Any) -> None:
    with refuses("What is timed is"):
        cost.preview(8, value, 512)
    with refuses("The longest text is"):
        cost.preview(8, "forward only", value)


def test_numbers_may_arrive_as_floats() -> None:
    assert TimingSettings(8.0, "forward only", 512.0) == TimingSettings(8, "forward only", 512)
    assert TimingSettings(8, "forward only", LONGEST[-1]).lengths[-1] == LONGEST[-1]
