"""Watching a run: one stream a page, which is heard to be alive and shows things in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
from served import ANNA, FOREVER, collect

from gpt.runs.run import Run
from gpt.ui.train.handlers import TrainHandlers


def test_a_page_has_one_watch(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)
    page = SimpleNamespace(session_hash="page")

    async def watch_twice() -> tuple[list[Any], Any]:
        earlier = train_tab.watch(f"{run.key} 1", page)
        views = [await anext(earlier)]
        rest = asyncio.ensure_future(collect(earlier))
        later = train_tab.watch(f"{run.key} 2", page)
        view = await anext(later)
        assert rest.done()  # before the later one shows anything
        assert (run.lease.watchers, train_tab.watches.count("page")) == (1, 1)
        await later.aclose()
        return views + rest.result(), view

    views, view = asyncio.run(watch_twice())
    assert views[-1][1]["version"] <= view[1]["version"]
    assert run.lease.watchers == 0


def test_a_page_hears_how_far_its_run_is(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)
    before = run.lease.last_sign
    first = train_tab.still_watching(run.key)
    assert first is not None
    assert run.lease.last_sign >= before
    train_tab.stop(ANNA, run.key)
    later = train_tab.still_watching(run.key)
    assert later is not None
    assert later > first
    for unknown in ("", "0123456789ab", None, 7, [], {}):
        assert train_tab.still_watching(unknown) is None


def test_a_watch_shows_the_stop_itself_after_all_else(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)

    async def watch_and_stop() -> tuple[Any, list[Any]]:
        watching = train_tab.watch(f"{run.key} 1", SimpleNamespace(session_hash="page"))
        await anext(watching)  # Gradio may send this after what Stop returns
        stopped = train_tab.stop(ANNA, f"{run.key} 1")
        return stopped, await collect(watching)

    stopped, rest = asyncio.run(watch_and_stop())
    assert stopped[1]["sentence"].startswith("Stopped. Step ")
    assert rest[-1][1]["sentence"].startswith("Stopped. Step ")
    assert stopped[-1] == gr.skip()  # the page goes on watching it
