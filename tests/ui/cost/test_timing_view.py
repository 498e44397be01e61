"""Time: what is drawn as measured was measured, and what is drawn as computed is the formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gpt.costs.formulas import flops_by_part
from gpt.ui.cost import timing_view
from gpt.ui.cost.handlers import CostHandlers
from gpt.ui.cost.settings import PASSES, TimingSettings
from gpt.ui.cost.timing_view import AttentionTiming, repeats_at

ASKED = (16, "forward only", 512)
LENGTHS = [64, 128, 256, 512]
Measured = Callable[..., list[dict[str, Any]]]


def test_full_and_window_are_timed_by_turns_and_the_shortest_first(
    measured: Measured, calls: list[tuple[int, int | None]]
) -> None:
    measured(*ASKED)
    assert [length for length, _ in calls] == [length for length in LENGTHS for _ in range(2 * repeats_at(length))]
    pairs = [calls[i : i + 2] for i in range(0, len(calls), 2)]
    assert all({window for _, window in pair} == {None, 16} for pair in pairs)
    assert {pair[0][1] for pair in pairs} == {None, 16}, "both go first at times"


@pytest.mark.usefixtures("calls")
def test_points_and_exponents_are_those_of_the_times(measured: Measured) -> None:
    value = measured(*ASKED)[-1]
    full, window = value["curves"]
    assert [point[0] for point in full["measured"]] == LENGTHS
    assert [point[1] for point in full["measured"]] == pytest.approx([1e-6 * t**2 for t in LENGTHS], rel=0.05)
    assert [point[1:] for point in window["measured"]] == [[1e-3 * t] * 3 for t in LENGTHS]
    assert full["measured_words"].startswith("T^{2.00")
    assert window["measured_words"].startswith("T^{1.00")
    assert value["status"].startswith("Done: 100 measurements in ")
    assert "grows as T^{2.00" in value["sentences"][0]
    assert "as T^{1.00" in value["sentences"][0]
    assert "all 4 lengths from 64 to 512" in value["sentences"][0]
    assert "from 256 to 512 tokens alone, time is multiplied by 4.00 and by 2.00" in value["sentences"][1]
    assert [len(row) for row in value["rows"]] == [len(value["columns"])] * 4
    assert value["progress"] is None


@pytest.mark.usefixtures("calls")
def test_why_time_grows_otherwise_is_said_of_the_numbers(measured: Measured) -> None:
    """Full attention takes T² here, which is steeper than its arithmetic."""
    full = [one for one in measured(*ASKED)[-1]["sentences"] if one.startswith("Why they differ, full attention")]
    (said,) = full
    first, last = (28.4 / 3 / (1e-6 * 64**2), 403.0 / 3 / (1e-6 * 512**2))  # MFLOP a millisecond
    assert first > last
    assert "so the line is steeper" in said
    assert f"did {first:,.0f}"[:6] in said.replace(".", " ")


def test_real_times_are_measured(measured: Measured) -> None:
    value = measured(*ASKED)[-1]
    for curve in value["curves"]:
        assert [point[0] for point in curve["measured"]] == LENGTHS
        assert all(0 < low <= middle <= high for _, middle, low, high in curve["measured"])


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("window", [1, 64, 1024])
def test_what_is_computed_is_the_formula_of_a_layer(
    cost: CostHandlers, small_config: Callable[..., Any], passes: str, window: int
) -> None:
    value = json.loads(cost.preview(window, passes, 512))
    assert value["is_preview"]
    factor = 3 if passes == "forward and backward" else 1
    for curve, window_size in zip(value["curves"], (None, window), strict=True):
        assert curve["measured"] == []
        for length, mflops in curve["computed"]:
            config = small_config(
                "gpt2", embed_size=128, num_heads=4, num_layers=1, context_length=length, window_size=window_size
            )
            parts = flops_by_part(config)
            both = parts["attention projections"] + parts["attention scores and values"]
            assert mflops == pytest.approx(factor * length * both / 1e6)


def test_before_three_lengths_nothing_is_fitted(calls: list[tuple[int, int | None]]) -> None:
    timing = AttentionTiming(TimingSettings(*ASKED))
    while len(calls) < 2 * (repeats_at(64) + repeats_at(128)):
        timing._time_once(*timing._left[0])
    value = json.loads(timing.view())
    assert [len(curve["measured"]) for curve in value["curves"]] == [2, 2]
    assert value["curves"][0]["measured_words"] == "2 of at least 3 lengths"
    assert not any("Measured" in one for one in value["sentences"])


@pytest.mark.usefixtures("calls")
def test_a_measurement_is_bounded_in_time(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing_view, "MOST_TIMING_SECONDS", -1.0)
    value = measured(*ASKED)[-1]
    assert value["status"].startswith("Ended after -1 s")
    assert value["status"].endswith("no point yet.")
