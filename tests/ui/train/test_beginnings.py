"""Begin from: a model of the lab's goes on with the text chosen, or the page says in a sentence why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from served import ANNA, BEN, FOREVER, STORY, controls, key_of, press, refuses, settings

from gpt import evaluate
from gpt.costs.formulas import parameter_count
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.catalogue import Catalogue
from gpt.ui.door.asking import answering
from gpt.ui.door.files import Files
from gpt.ui.door.visitors import Visitors
from gpt.ui.train.handlers import TrainHandlers
from gpt.ui.train.settings import TrainSettings
from gpt.ui.train.views import run_panel_value

SHORTER = STORY[: len(STORY) // 2].replace("z", "s")  # a character less than the models know


def test_the_model_decides_what_is_trained(
    finished: Callable[..., Run], catalogue: Catalogue, train_tab: TrainHandlers
) -> None:
    run = finished(
        begins_from="shipped/sliding-window",
        own_text=SHORTER,
        variants=["gpt2", "rotary"],
        without_mask=True,
        tokens="byte pairs, 320 tokens",
        window_size=9,
    )
    ready = catalogue.get("shipped/sliding-window")
    assert run.request.models == (("sliding-window", ready.model.config),)
    windows = run.request.training.eval_windows
    assert run.members[0].events[0].validation_loss == evaluate(ready.model, run.corpus, most_windows=windows)
    assert run.corpus.tokenizer.encode("lazy") == ready.tokenizer.encode("lazy")
    assert run_panel_value(run, train_tab.runs)["sentence"].endswith(" Goes on from sliding-window.")


def test_a_model_trained_here_is_gone_on_from_by_those_who_may_have_it(
    finished: Callable[..., Run], train_tab: TrainHandlers
) -> None:
    run = finished()
    name = f"run/{run.key}/0"
    assert train_tab.beginnings([run.key], "shipped/gpt2")["choices"][-1] == (
        "gpt2, 10 steps, tiny, context 32, your own text, batch 4",
        name,
    )
    with answering("another page", "192.0.2.1"), refuses("somebody's own text"):
        train_tab.train(BEN, [], *controls(begins_from=name))
    watched, _, _ = train_tab.train(ANNA, [], *controls(begins_from=name))
    later = train_tab.runs.find(key_of(watched))
    assert later is not None
    assert later.key != run.key
    assert later.request.origin["name"] == "gpt2, 10 steps, tiny, context 32, your own text, batch 4"
    assert later.is_private


def test_an_uploaded_model_is_gone_on_from_and_its_name_stays_a_secret(
    finished: Callable[..., Run], catalogue: Catalogue, train_tab: TrainHandlers, start: Callable[..., Run]
) -> None:
    paths = press(train_tab, "export", ANNA, finished().key)
    name = catalogue.upload(next(Path(path) for path in paths if path.endswith(".zip")).read_bytes())
    run = start(begins_from=name)
    assert run.is_private
    assert name not in repr(run.request)
    assert run.request.origin["name"] == "gpt2, uploaded"


def test_characters_the_model_does_not_know_are_named(train_tab: TrainHandlers) -> None:
    with refuses("has no tokens for '7'.*choose a text without these characters.*begin from new weights"):
        train_tab.train(ANNA, [], *controls(begins_from="shipped/gpt2", own_text=STORY + "7"))


@pytest.mark.parametrize(
    "name", [None, 7, True, [], {}, ["shipped/gpt2"], "gpt2", "shipped/../gpt2", "run/0/0", "original/gpt2", "x" * 999]
)
def test_what_names_no_model_is_refused(train_tab: TrainHandlers, name: Any) -> None:
    with refuses("."):
        train_tab.train(ANNA, [], *controls(begins_from=name))
    assert train_tab.runs.all_runs() == []


def test_a_model_too_large_to_be_trained_here_is_not_offered(
    make_runs: Callable[..., Runs], catalogue: Catalogue, visitors: Visitors, files: Files
) -> None:
    size = parameter_count(catalogue.checkpoint("gpt2").config)
    for most, offered in ((size, ["", "shipped/gpt2", "shipped/sliding-window"]), (size - 1, [""])):
        tab = TrainHandlers(make_runs(most_parameters=most), catalogue, visitors, files)
        assert [name for _, name in tab.beginnings([], "")["choices"]] == offered


def test_the_model_chosen_stays_chosen_while_it_is_there(train_tab: TrainHandlers) -> None:
    assert train_tab.beginnings([], "shipped/gpt2")["value"] == "shipped/gpt2"
    for gone in ("run/0123456789ab/0", None, [{}], 7):
        assert train_tab.beginnings([], gone)["value"] == ""


def test_a_branch_keeps_what_its_run_began_from(
    start: Callable[..., Run], train_tab: TrainHandlers, wait_until: Callable[..., None]
) -> None:
    run = start(begins_from="shipped/gpt2", steps=FOREVER)
    wait_until(lambda: run.step >= 1, "a step")
    with refuses("their starting weights"):
        press(train_tab, "branch", ANNA, run.key, steps=FOREVER - 1)
    watched, _, _ = press(train_tab, "branch", ANNA, run.key, steps=FOREVER - 1, begins_from="shipped/gpt2")
    assert train_tab.runs.find(key_of(watched)).request.begins_from == run.request.begins_from


def test_a_program_of_an_earlier_version_trains_new_weights(page: tuple[gr.Blocks, str]) -> None:
    held = settings(steps=10)
    assert list(held)[-1] == "begins_from"
    del held["begins_from"]
    assert TrainSettings(**held).begins_from == ""
    told = Client(page[1], verbose=False).predict("", *held.values(), api_name="/train")
    assert page[0].runs.find(key_of(told[0])).request.begins_from == ""
