"""What a run looks like: its sentence, its curves, its samples, its costs, and the proof of equal conditions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from served import SHIPPED, story_corpus

from gpt import TrainConfig
from gpt.model.config import make_config
from gpt.runs.request import RunRequest
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.catalogue import Catalogue
from gpt.ui.train.views import references, run_chart, run_panel_value, run_sentence, shipped_chart, shipped_panel

SIZE = {"embed_size": 16, "num_heads": 2, "num_layers": 2, "context_length": 16}


def request(steps: int = 10, seed: int = 1, **changes: Any) -> RunRequest:
    """A small run of gpt2 on the story."""
    training = TrainConfig(
        **{"max_steps": steps, "seed": seed, "batch_size": 4, "eval_interval": 5, "sample_length": 8} | changes
    )
    corpus = story_corpus()
    models = (("gpt2", make_config("gpt2", corpus.tokenizer.vocab_size, **SIZE)),)
    return RunRequest(models, corpus.sha256, training)


def numbers(text: str) -> list[float]:
    """The numbers that the chart reads from a text."""
    return [float(word) for word in text.split()]


# --- In one line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        ("running", "", "step 0 of 1,000 · measuring the speed"),
        ("paused", "", "Paused. Step 0 of 1,000."),
        ("paused", "Paused, because nobody was watching.", "Paused, because nobody was watching. Step 0 of 1,000."),
        ("stopped", "Stopped.", "Stopped. Step 0 of 1,000."),
        ("failed", "Stopped: the loss is nan.", "Stopped: the loss is nan. Step 0 of 1,000."),
        ("done", "", "Done: 1,000 steps, 0 s of training."),
    ],
)
def test_where_a_run_is(runs: Runs, status: str, message: str, words: str) -> None:
    run = Run(request(1000), story_corpus(), "anna")
    run.state, run.message = status, message
    assert run_sentence(run, runs) == words
    panel = run_panel_value(run, runs)
    assert panel["sentence"] == words
    assert panel["is_error"] == (status == "failed")


def test_the_line_is_counted_as_people_do(make_runs: Callable[..., Runs], wait_until: Callable[..., None]) -> None:
    runs = make_runs()
    corpus = story_corpus()
    first = runs.submit(request(5000), corpus, "visitor 0")
    wait_until(lambda: first.state == "running" and first.step > 3, "the first run to train")
    others = [runs.submit(request(5000, seed=place), corpus, f"visitor {place}") for place in range(2, 25)]
    said = [run_sentence(run, runs) for run in others]
    places = [sentence.split(",")[0].rstrip(".") for sentence in said]
    for ending in ("1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd"):
        assert places[int(ending[:-2]) - 1] == f"In the queue: {ending}"
    assert all("about" in sentence and sentence.endswith((" s.", " min.")) for sentence in said)


def test_a_run_under_way_tells_its_pace(runs: Runs, wait_until: Callable[..., None]) -> None:
    run = runs.submit(request(5000), story_corpus(), "anna")
    wait_until(lambda: "tokens/s" in run_sentence(run, runs), "the speed")
    assert " left" in run_sentence(run, runs)


def test_a_run_that_nobody_watches_says_so(make_runs: Callable[..., Runs], wait_until: Callable[..., None]) -> None:
    runs = make_runs(lease_seconds=-1)
    run = runs.submit(request(), story_corpus(), "anna")
    wait_until(lambda: run.state == "paused", "the pause")
    assert run_sentence(run, runs) == "Paused, because nobody was watching. Step 0 of 10."


def test_a_run_that_takes_too_long_says_so(make_runs: Callable[..., Runs], wait_until: Callable[..., None]) -> None:
    runs = make_runs(most_seconds=0)
    run = runs.submit(request(5000), story_corpus(), "anna")
    wait_until(lambda: run.is_over, "the end")
    assert run_sentence(run, runs).startswith("Stopped after 0 s, the most allowed. Step ")


# --- A finished run -------------------------------------------------------------------------------------------------


@pytest.fixture
def run(finished: Callable[..., Run]) -> Run:
    """Two variants after ten steps."""
    return finished(variants=["gpt2", "sliding-window"], window_size=4)


def test_every_step_is_on_the_chart(run: Run) -> None:
    value = run_chart(run)
    assert value["max_steps"] == 10
    assert [curve["label"] for curve in value["series"]] == ["gpt2", "sliding-window"]
    assert [curve["changes"] for curve in value["series"]] == ["as published", "window of 4"]
    for curve, member in zip(value["series"], run.members, strict=True):
        assert numbers(curve["steps"]) == list(range(1, 11))
        losses = [event.train_loss for event in member.events[1:]]
        assert numbers(curve["losses"]) == pytest.approx(losses, abs=1e-4)
        assert numbers(curve["validation_steps"]) == [0, 10]
        measured = [event.validation_loss for event in member.events if event.validation_loss is not None]
        assert numbers(curve["validation_losses"]) == pytest.approx(measured, abs=1e-4)
        assert len(numbers(curve["seconds"])) == 10
        assert curve["tokens_per_step"] == 4 * 32
    json.dumps(value)


def test_grey_lines_are_measured_on_the_same_text(run: Run) -> None:
    uniform, bigram = run_chart(run)["references"]
    assert uniform == {"label": "uniform guessing", "loss": math.log(run.corpus.tokenizer.vocab_size)}
    assert bigram == {"label": "bigram model", "loss": run.corpus.bigram_loss}
    assert references(run.corpus) == [uniform, bigram]


def test_the_panel_shows_samples_and_costs(run: Run, runs: Runs) -> None:
    panel = run_panel_value(run, runs)
    assert panel["sentence"].startswith("Done: 10 steps, ")
    assert (panel["share"], panel["run"], panel["is_error"]) == (1, run.key, False)
    for model, member in zip(panel["models"], run.members, strict=True):
        assert model["label"] == member.label
        assert [step for step, _ in model["samples"]] == [0, 10]
        assert all(isinstance(text, str) and text for _, text in model["samples"])
        facts = dict(model["facts"])
        assert facts["best validation loss"].startswith(f"{member.best_loss:.3f}")
        parameters = sum(weight.numel() for weight in member.model_at().parameters())
        assert facts["parameters"] == f"{parameters:,}"
        assert "–" not in facts.values()
    json.dumps(panel)


def test_the_panel_says_when_the_next_sample_comes(runs: Runs, wait_until: Callable[..., None]) -> None:
    waiting = Run(request(12), story_corpus(), "anna")
    assert run_panel_value(waiting, runs)["next_sample"] == 0
    assert run_panel_value(waiting, runs, may_read=False)["next_sample"] is None
    run = runs.submit(request(5000), story_corpus(), "anna")
    wait_until(lambda: run.step > 6, "a few steps")
    runs.pause(run, "anna")
    wait_until(lambda: run.state == "paused", "the pause")
    assert run_panel_value(run, runs)["next_sample"] == run.told_step - run.told_step % 5 + 5
    runs.stop(run, "anna")
    assert run_panel_value(run, runs)["next_sample"] is None


def test_the_panel_says_what_the_run_was_set_to(run: Run, runs: Runs) -> None:
    panel = run_panel_value(run, runs)
    said = dict(panel["settings"])
    assert (said["steps"], said["batch size"], said["context"]) == ("10", "4", "32 tokens")
    assert said["text"] == run.corpus.name
    assert "text" not in dict(run_panel_value(run, runs, may_read=False)["settings"])
    assert panel["next_sample"] is None


def test_the_proof_shows_equal_batches_and_equal_starts(run: Run, runs: Runs) -> None:
    (first, one), (second, other) = run_panel_value(run, runs)["proof"]
    assert (first, second) == ("gpt2", "sliding-window")
    assert one == other
    assert "batches to step 10: " in one


def test_a_variant_has_its_colour_in_chart_and_panel(run: Run, runs: Runs) -> None:
    chart, panel = run_chart(run), run_panel_value(run, runs)
    for curve, model in zip(chart["series"], panel["models"], strict=True):
        assert curve["colour"] == model["colour"] == f"var(--variant-{curve['label']})"
        assert curve["dash"] == model["dash"]


def test_repeats_are_drawn_as_one_curve_with_their_spread(finished: Callable[..., Run], runs: Runs) -> None:
    run = finished(seeds=2, seed=3)
    (curve,) = run_chart(run)["series"]
    assert curve["label"] == "gpt2"
    one, other = ([event.validation_loss for event in member.events if event.validation_loss] for member in run.members)
    means = [(a + b) / 2 for a, b in zip(one, other, strict=True)]
    assert numbers(curve["validation_losses"]) == pytest.approx(means, abs=1e-4)
    assert len(numbers(curve["steps"])) == 10
    panel = run_panel_value(run, runs)
    assert [model["label"] for model in panel["models"]] == ["gpt2"]
    assert " ± " in dict(panel["models"][0]["facts"])["best validation loss"]
    assert [name for name, _ in panel["proof"]] == ["gpt2 · seed 3", "gpt2 · seed 4"]


def test_a_long_run_is_drawn_in_few_points(runs: Runs, wait_until: Callable[..., None]) -> None:
    run = runs.submit(request(2400, eval_interval=2400), story_corpus(), "anna")
    wait_until(lambda: run.step > 20, "twenty steps")
    runs.stop(run, "anna")
    steps = numbers(run_chart(run)["series"][0]["steps"])
    assert steps == list(range(4, int(steps[-1]) + 1, 4))


# --- Before anything is trained -------------------------------------------------------------------------------------


def test_shipped_models_show_how_they_learned(catalogue: Catalogue) -> None:
    checkpoints = {name: catalogue.checkpoint(name) for name in catalogue.shipped}
    chart, panel = shipped_chart(checkpoints), shipped_panel(checkpoints)
    assert [curve["label"] for curve in chart["series"]] == SHIPPED
    assert chart["max_steps"] == 8
    assert [line["label"] for line in chart["references"]] == ["uniform guessing"]
    assert panel["sentence"].startswith("How the models that ship with the lab learned.")
    assert (panel["share"], panel["run"], panel["proof"]) == (None, "", [])
    assert [model["label"] for model in panel["models"]] == SHIPPED
    assert all(len(model["samples"]) == 3 for model in panel["models"])


def test_without_shipped_models_the_chart_invites() -> None:
    chart, panel = shipped_chart({}), shipped_panel({})
    assert chart["series"] == []
    assert panel["models"] == []
    assert chart["empty"] == panel["sentence"]
    assert chart["empty"].startswith("Press Train")
