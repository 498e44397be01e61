"""The Experiments tab, by calling what its controls call."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from served import ANNA, BEN

from gpt.experiments import sampling
from gpt.experiments.questions import QUESTIONS, SEED
from gpt.ui.address import read
from gpt.ui.experiments.handlers import MOST_CONTROLS, ExperimentHandlers, control_updates, setting_from_link
from gpt.ui.experiments.views import link_of

PLAIN = ("gpt2", 0.5, 1.3, SEED)  # the controls of "sampling"


@pytest.fixture
def tab(runs, visitors, files, monkeypatch) -> ExperimentHandlers:
    """The tab's handlers, where the sampling experiment is a small one."""
    small = replace(sampling.QUICK, texts=2, length=20)
    monkeypatch.setattr(sampling, "Setup", lambda: small)
    return ExperimentHandlers(runs, visitors, files)


def seen(tab: ExperimentHandlers, watched: str) -> list[dict[str, Any]]:
    """All boards that a page is shown until the experiment is over."""

    async def watch() -> list[dict[str, Any]]:
        return [json.loads(board) async for board in tab.watch(watched) if isinstance(board, str)]

    return asyncio.run(watch())


def test_two_visitors_see_one_result_and_take_it_home(tab):
    watched, secret = tab.ask(ANNA, "sampling", *PLAIN)
    assert secret == ANNA
    again, _ = tab.ask(BEN, "sampling", *PLAIN)
    assert again.split()[0] == watched.split()[0]
    boards = seen(tab, watched)
    assert boards[-1]["state"] == "done"
    assert boards[-1]["result"]["sentences"]
    assert all(board["result"] is None for board in boards[:-1])
    assert seen(tab, again)[-1]["result"] == boards[-1]["result"]
    home = [Path(path) for path in tab.take_home(watched)]
    assert {path.suffix for path in home} == {".png", ".csv", ".json"}
    assert json.loads(home[2].read_text())["answer"] == boards[-1]["result"]["answer"]


def test_a_link_leads_back_to_its_setup_and_run(tab):
    watched, _ = tab.ask(ANNA, "sampling", "rotary", 0.2, 1.6, 7)
    board = seen(tab, watched)[-1]
    query = board["link"]
    assert query["set"] == "model:rotary,low:0.2,high:1.6,seed:7"
    name, shown, *updates, following = tab.open_link(read(query.items()))
    assert name == "sampling"
    assert [update.get("value") for update in updates] == ["rotary", 0.2, 1.6, 7]
    assert following.split()[0] == watched.split()[0]
    assert json.loads(shown)["question"]["name"] == "sampling"
    gone = tab.open_link(read((query | {"asked": "0" * 12}).items()))
    assert gone[-1] == ""
    assert "run it again" in json.loads(gone[1])["status"]
    assert all(part == gr.skip() for part in tab.open_link(read([("experiment", "junk")])))


def test_the_one_who_asked_stops_it_and_another_only_leaves(tab, notices, monkeypatch, wait_until):
    monkeypatch.setattr(sampling, "Setup", lambda: replace(sampling.QUICK, texts=400, length=1000))
    watched, _ = tab.ask(ANNA, "sampling", *PLAIN)
    run = tab.runs.inquiries.find(watched.split()[0])
    wait_until(lambda: run.share > 0, "some progress")
    board, following = tab.stop(BEN, watched, "sampling", *PLAIN)
    assert following == ""
    assert json.loads(board)["run"] == ""
    assert "goes on" in notices[-1]
    assert tab.stop(ANNA, watched, "sampling", *PLAIN) == (gr.skip(), gr.skip())
    assert seen(tab, watched)[-1]["status"] == "Stopped."


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_experiment_can_be_chosen_and_every_setup_linked(tab, name):
    board, *updates, watched = tab.choose(name)
    assert json.loads(board)["question"]["name"] == name
    assert watched == ""
    assert len(updates) == MOST_CONTROLS + 1
    for control in QUESTIONS[name].controls:
        for value, _ in control.choices:
            link = link_of(name, {control.field: value, "seed": 7})["set"]
            expected = {"seed": 7} | ({control.field: value} if value != control.default else {})
            assert setting_from_link(name, link) == expected
    assert len(control_updates(name, {})) == len(updates)


@pytest.mark.parametrize(
    ("name", "controls", "words"),
    [
        ("nothing", PLAIN, "choose one of"),
        (None, PLAIN, "choose one of"),
        ("sampling", ("nobody", 0.5, 1.3, SEED), "choose one of gpt2"),
        ("sampling", ("gpt2", True, 1.3, SEED), "choose one of 0.2"),
        ("sampling", ("gpt2", 0.5, 1.3, -1), "seed"),
        ("sampling", ("gpt2", 0.5, 1.3, None), "seed"),
        ("sampling", ("gpt2", [0.5], 1.3, SEED), "choose one of 0.2"),
    ],
)
def test_nonsense_gets_a_sentence(tab, name, controls, words):
    with pytest.raises(gr.Error, match=words):
        tab.ask(ANNA, name, *controls)
    with pytest.raises(gr.Error, match=words):
        tab.change(name, *controls)


def test_nothing_is_watched_or_taken_home_before_it_was_asked(tab):
    assert seen(tab, "0" * 12) == []
    assert tab.still_watching(None) is None
    with pytest.raises(gr.Error, match="no result yet"):
        tab.take_home("")
    assert setting_from_link("sampling", "seed:x,low:9,__class__:1,:,") == {}
