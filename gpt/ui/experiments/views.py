"""What the board of an experiment shows: its question, where it is in the line or in its work, and its result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gpt.experiments.questions import QUESTIONS, SEED
from gpt.runs.experiment_run import ExperimentRun
from gpt.runs.scheduler import Runs
from gpt.runs.states import RunState
from gpt.ui.components.experiment_board import experiment_board_value

_GONE = "The server has forgotten this result, but its settings are here: run it again."

_ENOUGH_TO_GUESS = 0.08  # of an experiment, whose first steps take longer than the others


def question_view(name: str) -> dict[str, Any]:
    """A question as the board takes it."""
    question = QUESTIONS[name]
    drawing = question.drawing
    return {
        "name": name,
        "title": question.title,
        "asks": question.asks,
        "method": question.method,
        "options": [list(option) for option in question.options],
        "drawing": None if drawing is None else vars(drawing),
    }


def setting_in_words(name: str, setup: Mapping[str, Any]) -> str:
    """What the controls of an experiment say, such as "window 8, layers 2, seed 1337"."""
    said = []
    for control in QUESTIONS[name].controls:
        value = setup.get(control.field, control.default)
        called = next((words for choice, words in control.choices if choice == value), str(value))
        said.append(f"{control.label.lower()} {called}")
    return ", ".join([*said, f"seed {setup.get('seed', SEED)}"])


def link_of(name: str, setup: Mapping[str, Any], key: str = "") -> dict[str, str]:
    """The fields of the address that lead back here: the experiment, what differs from its defaults, and the run."""
    changed = [
        f"{control.field}:{setup[control.field]}"
        for control in QUESTIONS[name].controls
        if setup.get(control.field, control.default) != control.default
    ]
    if setup.get("seed", SEED) != SEED:
        changed.append(f"seed:{setup['seed']}")
    return {"tab": "experiments", "experiment": name, "set": ",".join(changed), "asked": key}


def empty_board(name: str, setup: Mapping[str, Any], *, is_gone: bool = False) -> str:
    """The board before anything was asked, or when what was asked is forgotten."""
    return experiment_board_value(
        question_view(name),
        status=_GONE if is_gone else "",
        setup=setting_in_words(name, setup),
        link=link_of(name, setup),
    )


def board_of(run: ExperimentRun, runs: Runs) -> str:
    """The board of an experiment that was asked for."""
    name = run.request.name
    return experiment_board_value(
        question_view(name),
        run=run.key,
        version=run.version,
        state=str(run.state),
        status=status_of(run, runs),
        is_error=run.state is RunState.FAILED,
        share=run.share if run.state is RunState.RUNNING else None,
        setup=setting_in_words(name, run.request.setup),
        link=link_of(name, run.request.setup, run.key),
        result=run.result if run.state is RunState.DONE else None,
    )


def status_of(run: ExperimentRun, runs: Runs) -> str:
    """A sentence on where it is."""
    if run.state is RunState.WAITING:
        place, seconds = runs.place_in_queue(run)
        if place == 0:
            return "It is next; starting."
        others = "one other is" if place == 1 else f"{place} others are"
        when = "" if seconds is None else f", about {_in_words(seconds)}"
        return f"In the queue: {others} before it{when}."
    if run.state is RunState.RUNNING:
        left = run.seconds_left(None)
        when = f" · about {_in_words(left)} left" if left is not None and run.share >= _ENOUGH_TO_GUESS else ""
        doing = run.doing[:1].upper() + run.doing[1:]
        return f"{doing}{when}."
    if run.state is RunState.DONE:
        return ""
    return run.message


def _in_words(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{round(seconds / 60)} min"
