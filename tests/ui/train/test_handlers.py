"""Training: who owns a run, who watches it, what a page shows when it opens, and what there is to take home."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from served import (
    ANNA,
    BEN,
    FOREVER,
    SHIPPED,
    chart_labels,
    collect,
    controls,
    hands,
    key_of,
    press,
    refuses,
)

from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.address import read
from gpt.ui.catalogue import Catalogue
from gpt.ui.door.files import Files
from gpt.ui.door.visitors import Visitors
from gpt.ui.train.handlers import TrainHandlers


def test_a_newcomer_gets_a_secret_and_owns_their_run(train_tab: TrainHandlers, runs: Runs) -> None:
    watched, seen, secret = train_tab.train("", [], *controls(steps=FOREVER))
    run = runs.find(key_of(watched))
    assert run is not None
    assert seen == [run.key]
    assert len(secret) >= 16
    assert run.owner == secret
    assert train_tab.train(secret, seen, *controls(steps=20))[2] == secret


def test_a_secret_is_never_shown_to_others(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(ANNA, steps=FOREVER)
    answers = [
        train_tab.train(BEN, [], *controls(steps=FOREVER)),
        train_tab.rejoin(read([("run", run.key)]), "", [], {}),
        train_tab.stop(BEN, run.key),
    ]
    assert ANNA not in repr(answers)


def test_equal_settings_join_one_run_and_the_first_owns_it(train_tab: TrainHandlers, runs: Runs) -> None:
    first, _, _ = train_tab.train(ANNA, [], *controls(steps=FOREVER))
    second, _, _ = train_tab.train(BEN, [], *controls(steps=FOREVER))
    assert key_of(first) == key_of(second)
    assert first != second  # or the second press would not be a change for the page to see
    assert runs.find(key_of(first)).owner == ANNA


def test_the_runs_seen_are_listed_once_the_latest_last_and_not_without_end(train_tab: TrainHandlers) -> None:
    seen: Any = None
    keys = []
    for steps in [*range(10, 25), 23]:
        watched, seen, _ = train_tab.train(ANNA, seen, *controls(steps=steps))
        keys.append(key_of(watched))
    assert len(seen) == len(set(seen)) == 12
    assert seen[-1] == keys[-1]


def test_a_lab_without_shipped_models_still_trains(
    tmp_path: Path, runs: Runs, visitors: Visitors, files: Files, wait_until: Callable[..., None]
) -> None:
    tab = TrainHandlers(runs, Catalogue(tmp_path / "none", runs, visitors), visitors, files)
    assert chart_labels(tab.nothing_watched()) == []
    watched, _, _ = tab.train(ANNA, [], *controls())
    run = runs.find(key_of(watched))
    wait_until(lambda: run.is_over, "the end")
    assert run.state == "done"


# --- Watching ---------------------------------------------------------------------------------------------------------


def test_watching_goes_on_until_the_run_is_done(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(variants=["gpt2", "modern"], steps=30)
    views = asyncio.run(collect(train_tab.watch(f"{run.key} 1")))
    shares = [view[1]["share"] for view in views]
    assert shares == sorted(shares)
    last = views[-1]
    assert last[1]["sentence"].startswith("Done: 30 steps, ")
    assert chart_labels(last) == ["gpt2", "modern"]
    assert last[0]["series"][0]["steps"].split()[-1] == "30"
    assert [button["interactive"] for button in hands(last)[1:]] == [False, False]


@pytest.mark.parametrize("watched", ["", "0123456789ab 3", None, 7, [], {"run": 1}], ids=repr)
def test_watching_nothing_shows_the_shipped_models(train_tab: TrainHandlers, watched: Any) -> None:
    (view,) = asyncio.run(collect(train_tab.watch(watched)))
    assert chart_labels(view) == ["gpt2", "sliding-window"]
    assert [button["interactive"] for button in hands(view)] == [False] * 3


def test_rejoining_by_the_address(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)
    watched, seen = train_tab.rejoin(read([("run", run.key)]), "", [], {})[:2]
    assert key_of(watched) == run.key
    assert seen == [run.key]


@pytest.mark.parametrize("query", [{}, {"run": "0123456789ab"}, {"run": "../../etc"}, {"other": "x"}], ids=repr)
def test_an_address_without_a_run_changes_nothing(train_tab: TrainHandlers, query: dict[str, str]) -> None:
    watched, seen, chart, panel, *form = train_tab.rejoin(read(query.items()), "", [], {})
    assert all(update == gr.skip() for update in (watched, seen, *form))
    if "run" in query:  # the page came with what it shows then, but for the sentence
        assert "forgotten the run" in panel["sentence"]
        assert [curve["label"] for curve in chart["series"]] == SHIPPED
    else:
        assert (chart, panel) == (gr.skip(), gr.skip())


def test_opening_the_page_again_finds_ones_own_run(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(ANNA, steps=FOREVER)
    nowhere = read([])
    assert key_of(train_tab.rejoin(nowhere, ANNA, [], {})[0]) == run.key
    assert train_tab.rejoin(nowhere, "b" * 32, [], {})[:2] == (gr.skip(), gr.skip())


# --- Watching only ----------------------------------------------------------------------------------------------------


def hands_off(tab: TrainHandlers, run: Run) -> str:
    """What a page opened with `&hands=off` watches."""
    return tab.rejoin(read([("run", run.key), ("hands", "off")]), "", [], {})[0]


def test_hands_off_is_hands_off(train_tab: TrainHandlers, running: Run) -> None:
    for button in ("pause", "step_once", "stop", "restart", "branch"):
        with refuses("for watching only"):
            press(train_tab, button, ANNA, hands_off(train_tab, running))
    assert running.state == "running"


def test_hands_off_still_watches(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    (view,) = asyncio.run(collect(train_tab.watch(hands_off(train_tab, finished()))))
    assert view[1]["sentence"].startswith("Done")
    assert {button["interactive"] for button in view[2:]} == {False}


# --- Files to take home -----------------------------------------------------------------------------------------------


def test_a_run_can_be_taken_home(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    paths = [Path(path) for path in press(train_tab, "export", ANNA, finished().key)]
    assert {"history.csv", "gpt2-seed-1337.zip", "reproduce.py"} <= {path.name for path in paths}
    assert all(path.stat().st_size > 0 for path in paths)


def test_models_can_be_taken_home_for_transformers(
    train_tab: TrainHandlers, finished: Callable[..., Run], notices: list[str]
) -> None:
    """Those that it has a place for; a sentence names the others, and is the answer where there is no other."""
    run = finished(variants=["gpt2", "sliding-window"], num_kv_heads=1)
    (path,) = (Path(path) for path in press(train_tab, "export_transformers", ANNA, run.key))
    assert path.name == "gpt2-seed-1337-transformers.zip"
    (said,) = notices
    assert said.startswith("Sliding-window: transformers has no place for a window beside learned positions; it has")
    alone = finished(variants=["sliding-window"])
    with refuses("^Sliding-window: transformers has no place for a window beside learned positions"):
        press(train_tab, "export_transformers", ANNA, alone.key)


def test_a_disk_that_takes_nothing_is_said_in_a_sentence(
    train_tab: TrainHandlers, finished: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished()
    for kind, words in ((errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system")):

        def write(*_: Any, kind: int = kind, **__: Any) -> None:
            raise OSError(kind, os.strerror(kind), "/somewhere/secret")

        with monkeypatch.context() as broken:
            for name in ("write_bytes", "write_text", "open"):
                broken.setattr(Path, name, write)
            with refuses(rf"^The server cannot write its files \({words}[^/]*\)\. What is on the page is not lost"):
                press(train_tab, "export", ANNA, run.key)
    assert press(train_tab, "export", ANNA, run.key)


def test_before_its_first_point_there_is_nothing_to_take_home(
    train_tab: TrainHandlers, running: Run, start: Callable[..., Run]
) -> None:
    waiting = start(BEN, steps=FOREVER - 1)
    assert not running.is_over
    with refuses("has not started to train"):
        press(train_tab, "export", BEN, waiting.key)
    with refuses("has not started to train"):
        press(train_tab, "export_transformers", BEN, waiting.key)
