"""Cost: one visitor measures at a time, the others are told; opening the tab computes and measures nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from served import BOTH, collect, refuses

from gpt.runs.limits import LONGEST_TIMING_QUEUE
from gpt.runs.run import Run
from gpt.ui.cost import handlers
from gpt.ui.cost.handlers import CHOSEN_MODELS, CostHandlers
from gpt.ui.sizes import SMALL

ASKED = (16, "forward only", 512)
ANNA, BEN = SimpleNamespace(session_hash="anna"), SimpleNamespace(session_hash="ben")
Measured = Callable[..., list[dict[str, Any]]]


@pytest.mark.usefixtures("calls")
def test_the_second_waits_for_the_first_and_is_told(cost: CostHandlers) -> None:
    async def both() -> tuple[str, list[str]]:
        first, second = cost.measure_time(*ASKED, request=ANNA), cost.measure_time(*ASKED, request=BEN)
        await anext(first)
        told = json.loads(await anext(second))["status"]
        rest = await asyncio.gather(collect(first), collect(second))
        return told, [json.loads(views[-1])["status"] for views in rest]

    told, statuses = asyncio.run(both())
    assert told.startswith("In the queue: one other is before you")
    assert all(status.startswith("Done: 100 measurements") for status in statuses)
    assert not cost._queue


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
def test_one_may_leave_the_queue(cost: CostHandlers) -> None:
    async def left() -> list[str]:
        first, second = cost.measure_time(*ASKED, request=ANNA), cost.measure_time(*ASKED, request=BEN)
        await anext(first)
        await anext(second)
        await cost.stop(BEN)
        rest = await collect(second)
        await first.aclose()
        return rest

    assert [json.loads(view)["curves"][0]["measured"] for view in asyncio.run(left())] == [[]]
    assert not cost._queue


@pytest.mark.usefixtures("calls")
def test_a_closed_page_leaves_the_queue(cost: CostHandlers, measured: Measured) -> None:
    async def closed() -> None:
        first = cost.measure_time(*ASKED)
        await anext(first)
        await first.aclose()

    asyncio.run(closed())
    assert not cost._queue
    assert measured(*ASKED)[-1]["status"].startswith("Done")


@pytest.mark.usefixtures("calls")
def test_the_queue_has_an_end(cost: CostHandlers) -> None:
    async def crowd() -> None:
        waiting = [cost.measure_time(*ASKED) for _ in range(LONGEST_TIMING_QUEUE)]
        for one in waiting:
            await anext(one)
        try:
            await anext(cost.measure_time(*ASKED))
        finally:
            for one in waiting:
                await one.aclose()

    with refuses(f"{LONGEST_TIMING_QUEUE} others are waiting to measure"):
        asyncio.run(crowd())


# --- What is asked for ------------------------------------------------------------------------------------------------


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


def test_opening_the_tab_computes_and_measures_nothing(
    cost: CostHandlers, calls: list[tuple[int, int | None]], finished: Callable[..., Run]
) -> None:
    run = finished()
    models, times, cache, bars = cost.opened([run.key], ["shipped/gpt2", "gone"], SMALL, 256, *ASKED)
    assert models.value == ["shipped/gpt2", f"run/{run.key}/0"]
    assert set(models.value) <= {name for _, name in models.choices}
    assert json.loads(times)["is_preview"]
    assert [curve["label"] for curve in json.loads(cache)["curves"]] == [
        "gpt2",
        "gpt2, 10 steps, tiny, context 32, your own text, batch 4",
    ]
    assert len(json.loads(bars)["blocks"]) == 2
    assert not calls


def test_opening_the_tab_with_nonsense_in_it_changes_nothing(cost: CostHandlers) -> None:
    _, times, _, bars = cost.opened(None, None, "huge", 256, None, None, None)
    assert times == gr.skip()
    assert bars == gr.skip()
