"""Cost: what is drawn as measured was measured, what is drawn as computed is the formula; one measures at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from served import NO_NUMBERS, collect, refuses

from gpt import GPT2
from gpt.costs.formulas import cache_bytes, flops_by_part, parameters_by_part
from gpt.model.config import VARIANTS
from gpt.runs.limits import LARGEST_TIMED_WINDOW, LONGEST_TIMING_LINE
from gpt.runs.run import Run
from gpt.ui.catalogue import Catalogue
from gpt.ui.cost import handlers
from gpt.ui.cost import views as cost_views
from gpt.ui.cost.handlers import CHOSEN_MODELS, CostHandlers
from gpt.ui.cost.settings import LONGEST, PASSES, TimingSettings
from gpt.ui.cost.views import AttentionTiming, CacheMeasurement, formula_bytes, repeats_at
from gpt.ui.train.settings import SIZES, SMALL

ASKED = (16, "forward only", 512)
LENGTHS = [64, 128, 256, 512]
BOTH = ["shipped/gpt2", "shipped/sliding-window"]
ANNA, BEN = SimpleNamespace(session_hash="anna"), SimpleNamespace(session_hash="ben")


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

    monkeypatch.setattr(cost_views, "attention_seconds", attention_seconds)
    return made


def measured(cost: CostHandlers, *asked: Any) -> list[dict[str, Any]]:
    """Everything that is drawn while this is measured."""
    return [json.loads(view) for view in asyncio.run(collect(cost.measure_time(*asked)))]


# --- Time -----------------------------------------------------------------------------------------------------------


def test_full_and_window_are_timed_by_turns_and_the_shortest_first(
    cost: CostHandlers, calls: list[tuple[int, int | None]]
) -> None:
    measured(cost, *ASKED)
    assert [length for length, _ in calls] == [length for length in LENGTHS for _ in range(2 * repeats_at(length))]
    pairs = [calls[i : i + 2] for i in range(0, len(calls), 2)]
    assert all({window for _, window in pair} == {None, 16} for pair in pairs)
    assert {pair[0][1] for pair in pairs} == {None, 16}, "both go first at times"


@pytest.mark.usefixtures("calls")
def test_points_and_exponents_are_those_of_the_times(cost: CostHandlers) -> None:
    value = measured(cost, *ASKED)[-1]
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


def test_real_times_are_measured(cost: CostHandlers) -> None:
    value = measured(cost, *ASKED)[-1]
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
def test_a_measurement_is_bounded_in_time(cost: CostHandlers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_views, "MOST_TIMING_SECONDS", -1.0)
    value = measured(cost, *ASKED)[-1]
    assert value["status"].startswith("Ended after -1 s")
    assert value["status"].endswith("no point yet.")


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_window_is_refused(cost: CostHandlers, name: str) -> None:
    with refuses("[Ww]indow"):
        measured(cost, NO_NUMBERS[name], "forward only", 512)


@pytest.mark.parametrize("asked", [(0, "forward only", 512), (LARGEST_TIMED_WINDOW + 1, "forward only", 512)])
def test_a_window_has_bounds(cost: CostHandlers, asked: tuple[Any, ...]) -> None:
    with refuses("Window is"):
        measured(cost, *asked)


@pytest.mark.parametrize("value", [*NO_NUMBERS.values(), "backward", 100])
def test_other_controls_hold_what_is_offered(cost: CostHandlers, value: Any) -> None:
    with refuses("What is timed is"):
        cost.preview(8, value, 512)
    with refuses("The longest text is"):
        cost.preview(8, "forward only", value)


def test_numbers_may_arrive_as_floats() -> None:
    assert TimingSettings(8.0, "forward only", 512.0) == TimingSettings(8, "forward only", 512)
    assert TimingSettings(8, "forward only", LONGEST[-1]).lengths[-1] == LONGEST[-1]


# --- The line -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("calls")
def test_the_second_waits_for_the_first_and_is_told(cost: CostHandlers) -> None:
    async def both() -> tuple[str, list[str]]:
        first, second = cost.measure_time(*ASKED, request=ANNA), cost.measure_time(*ASKED, request=BEN)
        await anext(first)
        told = json.loads(await anext(second))["status"]
        rest = await asyncio.gather(collect(first), collect(second))
        return told, [json.loads(views[-1])["status"] for views in rest]

    told, statuses = asyncio.run(both())
    assert told.startswith("In line: one other is before you")
    assert all(status.startswith("Done: 100 measurements") for status in statuses)
    assert not cost._line


@pytest.mark.usefixtures("calls")
def test_stop_ends_ones_own_measurement_alone(cost: CostHandlers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "SECONDS_BETWEEN_UPDATES", 0.0)  # a call for each update

    async def stopped() -> tuple[list[str], list[str]]:
        first, second = cost.measure_time(*ASKED, request=ANNA), cost.measure_time(*ASKED, request=BEN)
        for one in (first, first, second):
            await anext(one)
        await cost.stop(ANNA)
        return await collect(first), await collect(second)

    mine, others = asyncio.run(stopped())
    assert json.loads(mine[-1])["status"].startswith("Stopped after")
    assert json.loads(others[0])["status"] == "Starting."


@pytest.mark.usefixtures("calls")
def test_one_may_leave_the_line(cost: CostHandlers) -> None:
    async def left() -> list[str]:
        first, second = cost.measure_time(*ASKED, request=ANNA), cost.measure_time(*ASKED, request=BEN)
        await anext(first)
        await anext(second)
        await cost.stop(BEN)
        rest = await collect(second)
        await first.aclose()
        return rest

    assert [json.loads(view)["curves"][0]["measured"] for view in asyncio.run(left())] == [[]]
    assert not cost._line


@pytest.mark.usefixtures("calls")
def test_a_closed_page_leaves_the_line(cost: CostHandlers) -> None:
    async def closed() -> None:
        first = cost.measure_time(*ASKED)
        await anext(first)
        await first.aclose()

    asyncio.run(closed())
    assert not cost._line
    assert measured(cost, *ASKED)[-1]["status"].startswith("Done")


@pytest.mark.usefixtures("calls")
def test_the_line_has_an_end(cost: CostHandlers) -> None:
    async def crowd() -> None:
        waiting = [cost.measure_time(*ASKED) for _ in range(LONGEST_TIMING_LINE)]
        for one in waiting:
            await anext(one)
        try:
            await anext(cost.measure_time(*ASKED))
        finally:
            for one in waiting:
                await one.aclose()

    with refuses(f"{LONGEST_TIMING_LINE} others are in line"):
        asyncio.run(crowd())


# --- Cache ----------------------------------------------------------------------------------------------------------


def test_what_is_held_is_what_the_formula_says(
    cost: CostHandlers, catalogue: Catalogue, finished: Callable[..., Run]
) -> None:
    run = finished(variants=["rotary", "grouped-query", "sliding-window", "modern"], num_kv_heads=1, window_size=4)
    names = [f"run/{run.key}/{number}" for number in range(4)]
    value = json.loads(asyncio.run(collect(cost.measure_cache(names)))[-1])
    assert value["status"].startswith("Done")
    for curve, name in zip(value["curves"], names, strict=True):
        config = catalogue.get(name).model.config
        for length, kibibytes in curve["measured"]:
            held = formula_bytes(config, length)
            assert 1024 * kibibytes == (0 if held is None else held)
        assert curve["measured_words"].startswith("equal at ")
        equal, of = (int(word) for word in curve["measured_words"].split() if word.isdecimal())
        assert equal == of == len(curve["computed"])
    assert "no" not in [row[4] for row in value["rows"]]


def test_the_formula_ends_where_nothing_is_kept(small_config: Callable[..., Any]) -> None:
    learned, rolling = small_config("sliding-window"), small_config("modern")
    assert formula_bytes(learned, learned.context_length) == cache_bytes(learned, learned.context_length)
    assert formula_bytes(learned, learned.context_length + 1) is None
    assert rolling.receptive_field <= rolling.context_length
    assert formula_bytes(rolling, 10 * rolling.context_length) == cache_bytes(rolling, rolling.window_size)
    assert formula_bytes(small_config("gpt2", causal=False), 2) is None


def test_without_the_causal_mask_nothing_is_computed_or_held(cost: CostHandlers, finished: Callable[..., Run]) -> None:
    run = finished(without_mask=True)
    value = json.loads(asyncio.run(collect(cost.measure_cache([f"run/{run.key}/1"])))[-1])
    (curve,) = value["curves"]
    assert curve["computed"] == []
    assert {count for _, count in curve["measured"]} == {0}
    assert "Without the causal mask" in value["sentences"][-1]
    assert value["rows"] == [[curve["label"], "300", "–", "0", "–"]]


def test_a_model_that_cannot_write_does_not_stop_the_others(catalogue: Catalogue) -> None:
    good, bad = (catalogue.get(name) for name in BOTH)
    broken = GPT2.from_config(bad.model.config)
    with torch.no_grad():
        broken.token_embedding.weight.fill_(float("nan"))
    cache = CacheMeasurement([good, SimpleNamespace(**{**vars(bad), "model": broken})])  # type: ignore[list-item]
    while not cache.is_over:
        cache.write_for(1.0)
    first, second = json.loads(cache.view())["curves"]
    assert first["measured_words"].startswith("equal at")
    assert second["measured_words"].startswith("The model's logits are not numbers")


def test_before_it_is_measured_the_formula_is_drawn(cost: CostHandlers) -> None:
    value = json.loads(cost.preview_cache(BOTH))
    assert all(curve["computed"] and not curve["measured"] for curve in value["curves"])
    assert {row[3] for row in value["rows"]} == {"–"}


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([], "No model is chosen"),
        (None, "No model"),
        ("gpt2", "No model"),
        ([[]], "no longer here"),
        ([*BOTH] * 3, "6"),
    ],
)
def test_what_are_no_models_is_refused(cost: CostHandlers, names: Any, match: str) -> None:
    with refuses(match):
        asyncio.run(collect(cost.measure_cache(names)))
    with refuses(match):
        cost.preview_cache(names)
    with refuses(match):
        cost.count_parts(CHOSEN_MODELS, 256, 64, names)


# --- Parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_variants_are_counted_by_part(cost: CostHandlers, size: str) -> None:
    parameters, flops = json.loads(cost.count_parts(size, 256, 16, None))["blocks"]
    assert [model["label"] for model in parameters["models"]] == list(VARIANTS)
    for model in parameters["models"]:
        assert model["computed"] == model["counted"]
        assert model["colour"] == f"var(--variant-{model['label']})"
    by_name = {model["label"]: model["computed"] for model in flops["models"]}
    attention = "attention scores and values"
    assert by_name["sliding-window"][attention] < by_name["gpt2"][attention]
    assert all(model["counted"] is None for model in flops["models"])


def test_chosen_models_are_counted_by_part(cost: CostHandlers, catalogue: Catalogue) -> None:
    parameters, flops = json.loads(cost.count_parts(CHOSEN_MODELS, None, None, BOTH))["blocks"]
    for name, counted, work in zip(BOTH, parameters["models"], flops["models"], strict=True):
        config = catalogue.get(name).model.config
        assert counted["computed"] == counted["counted"] == parameters_by_part(config)
        assert work["computed"] == {part: round(count) for part, count in flops_by_part(config).items()}
        assert counted["label"].endswith(f", context {config.context_length}")


@pytest.mark.parametrize("value", [*NO_NUMBERS.values(), "large", 100])
def test_what_cannot_be_counted_is_refused(cost: CostHandlers, value: Any) -> None:
    with refuses("What is counted is"):
        cost.count_parts(value, 256, 64, BOTH)
    with refuses("The context is"):
        cost.count_parts(SMALL, value, 64, BOTH)


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_the_variants_window_is_checked(cost: CostHandlers, name: str) -> None:
    with refuses("[Ww]indow"):
        cost.count_parts(SMALL, 256, NO_NUMBERS[name], BOTH)


# --- Opening --------------------------------------------------------------------------------------------------------


def test_opening_the_tab_computes_and_measures_nothing(
    cost: CostHandlers, calls: list[tuple[int, int | None]], finished: Callable[..., Run]
) -> None:
    run = finished()
    models, times, cache, bars = cost.opened([run.key], ["shipped/gpt2", "gone"], SMALL, 256, *ASKED)
    assert models.value == ["shipped/gpt2", f"run/{run.key}/0"]
    assert set(models.value) <= {name for _, name in models.choices}
    assert json.loads(times)["is_preview"]
    assert [curve["label"] for curve in json.loads(cache)["curves"]] == ["gpt2", f"gpt2 (run {run.key[:4]})"]
    assert len(json.loads(bars)["blocks"]) == 2
    assert not calls


def test_opening_the_tab_with_nonsense_in_it_changes_nothing(cost: CostHandlers) -> None:
    _, times, _, bars = cost.opened(None, None, "huge", 256, None, None, None)
    assert times == gr.skip()
    assert bars == gr.skip()
