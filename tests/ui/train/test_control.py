"""A run is held, stepped, ended, begun again and branched by its owner; watchers do it no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from served import (
    ANNA,
    BEN,
    FOREVER,
    chart_labels,
    controls,
    hands,
    key_of,
    press,
    refuses,
)

from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.door.asking import answering
from gpt.ui.train.handlers import TrainHandlers


def test_pause_step_and_go_on(train_tab: TrainHandlers, running: Run, wait_until: Callable[..., None]) -> None:
    watched, _, secret = press(train_tab, "pause", ANNA, running.key)
    assert (key_of(watched), secret) == (running.key, ANNA)
    wait_until(lambda: running.state == "paused", "the pause")
    held = running.step
    for more in (1, 2):
        press(train_tab, "step_once", ANNA, running.key)
        wait_until(lambda: running.state == "paused", "the pause")
        assert running.step == held + more
    press(train_tab, "pause", ANNA, watched)
    wait_until(lambda: running.step > held + 2, "the run to go on")
    assert not running.is_over


def test_each_press_of_step_is_a_step(
    train_tab: TrainHandlers, start: Callable[..., Run], wait_until: Callable[..., None]
) -> None:
    run = start(ANNA, steps=FOREVER)
    press(train_tab, "pause", ANNA, run.key)
    wait_until(lambda: run.state == "paused", "the pause")
    before = run.step
    for _ in range(5):
        press(train_tab, "step_once", ANNA, run.key)
    wait_until(lambda: run.state == "paused" and run.step >= before + 5, "five steps")
    assert run.step == before + 5


def test_a_paused_run_offers_to_go_on(train_tab: TrainHandlers, running: Run, wait_until: Callable[..., None]) -> None:
    press(train_tab, "pause", ANNA, running.key)
    wait_until(lambda: running.state == "paused", "the pause")

    async def first_view() -> Any:
        watching = train_tab.watch(running.key)
        view = await anext(watching)
        await watching.aclose()
        return view

    view = asyncio.run(first_view())
    assert view[1]["sentence"].startswith("Paused. Step ")
    assert hands(view)[0]["value"] == "Go on"
    assert False not in [button["interactive"] for button in hands(view)]


def test_stop_ends_the_owners_run(train_tab: TrainHandlers, running: Run) -> None:
    view = train_tab.stop(ANNA, running.key)
    assert running.state == "stopped"
    assert view[1]["sentence"].startswith("Stopped. Step ")
    assert chart_labels(view) == ["gpt2"]
    assert train_tab.stop(ANNA, running.key)[1]["sentence"] == view[1]["sentence"]


def test_training_a_stopped_run_again_begins_again(train_tab: TrainHandlers, running: Run, runs: Runs) -> None:
    train_tab.stop(ANNA, running.key)
    watched, _, _ = train_tab.train(BEN, [], *controls(steps=FOREVER))
    again = runs.find(key_of(watched))
    assert again is not running
    assert again.owner == BEN
    assert not again.is_over


def test_a_watchers_stop_leaves_and_does_not_stop(train_tab: TrainHandlers, running: Run) -> None:
    view = train_tab.stop(BEN, running.key)
    assert chart_labels(view) == ["gpt2", "sliding-window"]
    assert view[-1] == ""  # the page watches nothing, which ends its watch
    assert running.state == "running"
    assert running.goal == FOREVER


@pytest.mark.parametrize("button", ["pause", "step_once"])
def test_a_watchers_hand_makes_a_copy(
    train_tab: TrainHandlers,
    running: Run,
    runs: Runs,
    notices: list[str],
    wait_until: Callable[..., None],
    button: str,
) -> None:
    running.readers.add(BEN)  # who has the text, too
    watched, seen, secret = press(train_tab, button, BEN, running.key, [running.key])
    copy = runs.find(key_of(watched))
    assert copy is not None
    assert copy is not running
    assert (copy.owner, secret) == (BEN, BEN)
    assert seen == [running.key, copy.key]
    assert len(notices) == 1
    assert "your own copy" in notices[0]
    assert running.state == "running"
    assert running.goal == FOREVER
    assert [event.train_loss for event in copy.members[0].events[:3]] == [
        event.train_loss for event in running.members[0].events[:3]
    ]
    train_tab.stop(ANNA, running.key)  # the copy gets its worker
    wait_until(lambda: copy.state == "paused", "the copy to be held")


@pytest.mark.parametrize("button", ["pause", "step_once", "restart", "branch", "export", "export_transformers"])
def test_what_learns_from_somebodys_own_text_is_nobody_elses(
    train_tab: TrainHandlers, running: Run, runs: Runs, button: str
) -> None:
    with answering("another page", "192.0.2.1"), refuses("somebody's own text or model, so its models"):
        press(train_tab, button, BEN, running.key, steps=FOREVER)
    assert runs.all_runs() == [running]


def test_without_the_secret_nobody_stops_a_run(train_tab: TrainHandlers, running: Run) -> None:
    for secret in ("", None, 7, [ANNA], "short"):
        train_tab.stop(secret, running.key)
        assert running.state == "running"


def test_a_run_in_the_queue_cannot_be_copied_yet(
    train_tab: TrainHandlers, running: Run, start: Callable[..., Run], notices: list[str]
) -> None:
    waiting = start(BEN, steps=FOREVER - 1)
    assert waiting.state == "waiting"
    waiting.readers.add(ANNA)
    with refuses("has not started to train"):
        press(train_tab, "pause", ANNA, waiting.key)
    press(train_tab, "pause", BEN, waiting.key)
    assert waiting.state == "paused"


@pytest.mark.parametrize("watched", ["", "0123456789ab 3", None, 7, [], "x" * 9999], ids=lambda value: f"{value!r:.9}")
@pytest.mark.parametrize("button", ["pause", "step_once", "stop", "restart", "branch", "export", "export_transformers"])
def test_buttons_without_a_run_say_so(train_tab: TrainHandlers, button: str, watched: Any) -> None:
    with refuses("press Train to start one"):
        press(train_tab, button, ANNA, watched)


# --- Going on from a run ----------------------------------------------------------------------------------------------


def test_a_run_that_is_done_goes_on_in_a_copy(
    train_tab: TrainHandlers, finished: Callable[..., Run], runs: Runs, wait_until: Callable[..., None]
) -> None:
    run = finished(ANNA, steps=10)
    watched, seen, _ = press(train_tab, "pause", ANNA, run.key, [run.key], steps=20)
    longer = runs.find(key_of(watched))
    assert longer is not run
    assert seen == [run.key, longer.key]
    wait_until(lambda: longer.is_over, "the end of the copy")
    assert (longer.state, longer.step) == ("done", 30)
    assert longer.members[0].events[:11] == run.members[0].events


def test_more_steps_have_to_be_a_number(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    run = finished()
    for steps in (None, float("nan"), 0, 2.5, "20", True, [20]):
        with refuses("Steps"):
            press(train_tab, "pause", ANNA, run.key, steps=steps)


def test_training_again_from_the_start_gives_the_same_losses(
    train_tab: TrainHandlers, finished: Callable[..., Run], runs: Runs, wait_until: Callable[..., None]
) -> None:
    run = finished(ANNA)
    again = runs.find(key_of(press(train_tab, "restart", ANNA, run.key)[0]))
    assert again is not run
    assert again.key == run.key
    wait_until(lambda: again.is_over, "the end of the second run")
    losses = [[event.train_loss for event in one.members[0].events] for one in (run, again)]
    assert losses[0] == losses[1]


def test_a_branch_goes_on_with_other_settings(
    train_tab: TrainHandlers, running: Run, runs: Runs, wait_until: Callable[..., None]
) -> None:
    press(train_tab, "pause", ANNA, running.key)
    wait_until(lambda: running.state == "paused", "the pause")
    more = running.step + 10
    watched, _, _ = press(train_tab, "branch", ANNA, running.key, steps=more, rate_multiple=0.1, batch_size=2)
    branch = runs.find(key_of(watched))
    assert branch is not running
    assert branch.request.training.batch_size == 2
    assert branch.request.training.learning_rate == pytest.approx(0.1 * running.request.training.learning_rate)
    wait_until(lambda: branch.is_over, "the end of the branch")
    assert (branch.state, branch.step) == ("done", more)


def test_a_branch_keeps_its_models(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    run = finished(ANNA)
    for changes, match in (
        ({"variants": ["rotary"]}, "A copy keeps its models"),
        ({"context_length": 64}, "A copy keeps its models"),
        ({"seeds": 2}, "A copy keeps its models"),
        ({"recipe": "nanogpt"}, "cannot change its recipe"),
        ({"steps": 1}, "ask for more steps"),
        ({"steps": None}, "Steps is None"),
        ({"variants": []}, "No variant is chosen"),
    ):
        with refuses(match):
            press(train_tab, "branch", ANNA, run.key, **({"steps": 20} | changes))


def test_another_seed_on_a_branch_counts_or_is_refused(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    """The page says that a branch may change the seed: then it must not quietly keep the old one."""
    run = finished(ANNA)
    try:
        watched, _, _ = press(train_tab, "branch", ANNA, run.key, steps=20, seed=5)
    except gr.Error:
        return
    assert train_tab.runs.find(key_of(watched)).request.training.seed == 5
