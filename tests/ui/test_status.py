"""The status page: numbers of the runs, and no visitor's text."""

from __future__ import annotations

import logging
from collections.abc import Callable

import gradio as gr
import httpx
import pytest
from served import ANNA

from gpt.runs.request import RunRefused
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.status import class_sentence, status_page


def test_the_page_has_a_status(page: tuple[gr.Blocks, str]) -> None:
    answer = httpx.get(f"{page[1]}status")
    assert answer.status_code == 200
    assert "runs in training" in answer.text
    assert "GPT Lab: status" in answer.text


def test_it_counts_runs(
    runs: Runs, start: Callable[..., Run], finished: Callable[..., Run], wait_until: Callable[..., None]
) -> None:
    finished()
    running = start(ANNA, steps=3000)
    wait_until(lambda: running.step > 0, "a step")
    start("b" * 32, steps=20)
    text = status_page(runs)
    for name, count in (("in training", 1), ("in the queue", 1), ("paused", 0), ("remembered", 3)):
        assert f"<tr><th>runs {name}</th><td>{count}</td></tr>" in text
    assert "visitors with a run under way</th><td>2</td>" in text
    assert running.key not in text  # a key is the way to a run
    assert ANNA not in text  # a visitor's secret lets others stop their run


def test_a_teacher_reads_who_watches_and_who_waits(
    runs: Runs, start: Callable[..., Run], wait_until: Callable[..., None]
) -> None:
    assert class_sentence(runs, None) == "no runs in training · nobody waits"
    running = start(ANNA, steps=3000)
    wait_until(lambda: running.step > 0, "a step")
    start("b" * 32, steps=20)
    with runs.watching(running), runs.watching(running):
        said = class_sentence(runs, running.key)
    assert said == "watched on 2 screens · 1 run in training · 1 in the queue"
    assert class_sentence(runs, ["no key"]) == "1 run in training · 1 in the queue"


def test_the_log_tells_of_runs_without_their_texts(
    runs: Runs, finished: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="gpt"):
        run = finished()
        request = run.request
        with pytest.raises(RunRefused):
            runs.submit(type(request)((), request.corpus_sha256, request.training), run.corpus, ANNA)
    lines = [record.getMessage() for record in caplog.records]
    for status in ("waiting", "running", "done"):
        assert any(line.startswith(f"run={run.key} {status} models=1 step=") for line in lines), status
    assert any("refused: no model is chosen" in line for line in lines)
    assert not any(ANNA in line or "fox" in line for line in lines)
