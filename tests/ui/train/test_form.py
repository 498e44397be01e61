"""The form shows the run that is watched: pressing Train on it asks for the same run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from served import ANNA, BEN, FOREVER, controls, key_of, settings

from gpt.runs.run import Run
from gpt.ui.address import read
from gpt.ui.catalogue import Catalogue
from gpt.ui.door.asking import answering
from gpt.ui.train.form import form_of, names_in_links
from gpt.ui.train.handlers import TrainHandlers
from gpt.ui.train.settings import TrainSettings
from gpt.ui.train.texts import corpus_for

SETUPS: list[dict[str, Any]] = [
    {},
    {"variants": ["modern", "gpt2"], "without_mask": True, "text": "names", "steps": 300},
    {"variants": ["sliding-window"], "window_size": 3, "seeds": 2, "seed": 9, "batch_size": 7},
    {"variants": ["grouped-query"], "size": "small: 4 layers, 128 wide", "num_kv_heads": 2, "context_length": 128},
    {"recipe": "nanogpt", "rate_multiple": 0.3},
    {"recipe": "showcase", "rate_multiple": 10},
    {"tokens": "byte pairs, 320 tokens", "text": "names"},
]


@pytest.mark.parametrize("changes", SETUPS, ids=str)
def test_the_form_of_a_run_asks_for_that_run(changes: dict[str, Any], catalogue: Catalogue) -> None:
    asked = TrainSettings(*controls(**changes))
    corpus, _ = corpus_for(asked)
    run = Run(asked.request(corpus), corpus, ANNA)
    form = form_of(run, catalogue, [])
    again = TrainSettings(**{**settings(), **form})
    assert again.request(corpus_for(again)[0]).key == run.key
    assert "own_text" not in form


def test_the_form_of_a_run_that_goes_on_from_a_model_names_it(start: Callable[..., Run], catalogue: Catalogue) -> None:
    run = start(begins_from="shipped/sliding-window")
    assert form_of(run, catalogue, [])["begins_from"] == "shipped/sliding-window"


def test_a_link_to_a_run_shows_it_and_its_settings(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(ANNA, variants=["modern"], steps=FOREVER, text="names")
    link = [("run", run.key), ("name", "<i>Ada"), ("steps", "20"), ("variants", "gpt2")]
    with answering("ben's page", ""):
        watched, _, _, _, *form = train_tab.rejoin(read(link), "", [], {})
        chart, _ = train_tab._view(run)
        assert train_tab.name_of(watched) == ("<i>Ada", {run.key: "<i>Ada"})
    assert key_of(watched) == run.key
    held = dict(zip(settings(), form, strict=True))
    assert (held["variants"], held["steps"], held["own_text"]) == (["modern"], FOREVER, gr.skip())
    assert [curve["label"] for curve in chart["series"]] == ["<i>Ada: modern"]
    with answering("anna's page", ""):  # a link of Ben's names it for those who open it, and for nobody else
        assert train_tab._view(run)[0]["series"][0]["label"] == "modern"
    gone = train_tab.rejoin(read([("run", "0" * 12), ("steps", "20"), ("variants", "gpt2")]), "", [], {})
    held = dict(zip(settings(), gone[4:], strict=True))
    assert (held["variants"], held["steps"], held["seed"]) == (["gpt2"], 20, gr.skip())
    assert set(names_in_links()) == set(settings()) - {"own_text"}


def test_a_second_run_says_what_became_of_the_first(
    train_tab: TrainHandlers, start: Callable[..., Run], notices: list[str]
) -> None:
    run = start(ANNA, steps=FOREVER)
    start(BEN, steps=20, text="names")
    assert notices == []
    start(ANNA, steps=20)
    (notice,) = notices
    assert "yours of gpt2 was stopped at step" in notice
    assert f'href="?tab=train&amp;run={run.key}"' in notice


def test_a_run_that_paused_because_it_was_left_says_so_to_whoever_comes_back(
    train_tab: TrainHandlers, running: Run, notices: list[str], wait_until: Callable[..., None]
) -> None:
    running.lease.last_sign = -1e9
    wait_until(lambda: running.state == "paused", "its pause")
    train_tab.rejoin(read([("run", running.key)]), "", [], {})
    assert "paused at step" in notices[0]
    assert "nobody was watching" in notices[0]
    train_tab.rejoin(read([("run", running.key)]), "", [], {})
    assert len(notices) == 1
