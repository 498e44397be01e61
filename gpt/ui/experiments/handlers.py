"""What the Experiments tab's controls do: plain functions of their values."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

import gradio as gr

from gpt.experiments.questions import QUESTIONS, SEED
from gpt.runs.experiment_run import ExperimentRequest, ExperimentRun
from gpt.runs.limits import MOST_IDLE_SECONDS
from gpt.runs.scheduler import Runs
from gpt.ui import address
from gpt.ui.door.asking import asking
from gpt.ui.door.files import Files
from gpt.ui.door.visitors import Visitors
from gpt.ui.experiments.views import board_of, empty_board
from gpt.ui.requests import one_sentence, require_choice, require_whole, with_controls
from gpt.ui.watches import Watches

MOST_CONTROLS = 3
LARGEST_SEED = 2**31 - 1
_SECONDS_BETWEEN_UPDATES = 0.25
_FIRST = next(iter(QUESTIONS))


class ExperimentHandlers:
    """What the tab's controls do, so that tests can call them."""

    def __init__(self, runs: Runs, visitors: Visitors, files: Files) -> None:
        self.runs = runs
        self.visitors = visitors
        self.files = files
        self.watches = Watches()
        self._presses = itertools.count(1)

    def choose(self, name: Any) -> tuple[Any, ...]:
        """Another experiment: the board with its question, its controls at their defaults, and nothing to watch."""
        with one_sentence():
            require_choice("the experiment", name, QUESTIONS)
        return empty_board(name, {}), *control_updates(name, {}), ""

    def change(self, name: Any, *controls: Any) -> tuple[str, str]:
        """One thing was changed: the question again, to be predicted anew; what was shown is not watched any more."""
        with one_sentence():
            return empty_board(name, setting_of(name, controls)), ""

    @with_controls("first", "second", "third", "seed")
    def ask(self, secret: Any, name: Any, *controls: Any) -> tuple[str, str]:
        """Start or join the experiment that the controls describe.

        Returns:
            Its key for the page to watch, and the secret that this visitor is known by.
        """
        from gpt.experiments.conduct import make_setup

        visitor = self.visitors.who(secret)
        with one_sentence():
            setup = make_setup(name, setting_of(name, controls))
            request = ExperimentRequest(name, asdict(setup))
            run = self.runs.inquiries.ask(request, visitor, address=asking().address)
        return self._watched(run), visitor

    def _watched(self, run: ExperimentRun) -> str:
        self.runs.watched(run)
        return f"{run.key} {next(self._presses)}"  # a change, also when it is the one already watched

    def stop(self, secret: Any, watched: Any, name: Any, *controls: Any) -> tuple[Any, ...]:
        """Stop the experiment if it is this visitor's and nobody else watches it; else this page alone leaves it."""
        with one_sentence():
            board = empty_board(name, setting_of(name, controls))
        run = self._find(watched)
        if run is not None and self.runs.inquiries.stop(run, self.visitors.recognise(secret)):
            return gr.skip(), gr.skip()  # the watch shows the end
        if run is not None and not run.is_over:
            gr.Info("Others watch this experiment, so it goes on for them.", title="It goes on")
        return board, ""

    def open_link(self, link: address.Link) -> tuple[Any, ...]:
        """On opening the page: the experiment that the address names, with its settings, and its run if it is there.

        Returns:
            The experiment, the board, the controls, and the run to watch.
        """
        said = link.of("experiments")
        name = said.get("experiment")
        if name is None:
            return (gr.skip(),) * (4 + MOST_CONTROLS)
        values = setting_from_link(name, said.get("set", ""))
        run = self.runs.inquiries.find(said.get("asked", ""))
        if run is not None and run.request.name != name:
            run = None
        board = empty_board(name, values, is_gone=bool(said.get("asked")) and run is None)
        return name, board, *control_updates(name, values), "" if run is None else self._watched(run)

    async def watch(self, watched: Any, request: gr.Request | None = None) -> AsyncIterator[str]:
        """Yield an experiment's board as it changes, until it is over or the page watches another."""
        with self.watches.watch(None if request is None else request.session_hash) as watch:
            await watch.turn()
            run = self._find(watched)
            if run is None or watch.is_superseded:
                yield gr.skip()  # of a stream that ends without a word, Gradio would show nothing
                return
            shown, idle = "", 0.0
            with self.runs.watching(run):
                while idle < MOST_IDLE_SECONDS and not watch.is_superseded:
                    board = board_of(run, self.runs)
                    if board != shown:
                        yield board
                        shown, idle = board, 0.0
                    if run.is_over and board == board_of(run, self.runs):
                        return
                    idle += _SECONDS_BETWEEN_UPDATES
                    await watch.sleep(_SECONDS_BETWEEN_UPDATES)

    def still_watching(self, key: Any) -> int | None:
        """A page says that it shows this experiment; returns how far it is, by its version."""
        run = self.runs.inquiries.find(key) if isinstance(key, str) else None
        if run is None:
            return None
        self.runs.watched(run)
        return run.version

    def take_home(self, watched: Any) -> list[str]:
        """Picture, table and JSON of the result."""
        from gpt.experiments.figure import experiment_figure
        from gpt.experiments.result import Result, one_line
        from gpt.figures.plots import save_figure

        with one_sentence():
            run = self._find(watched)
            if run is None or run.result is None:
                raise ValueError("there is no result yet; run the experiment first")
            result = Result.from_json(run.result)
            name, folder = run.request.name, self.files.new_folder()
            save_figure(experiment_figure(result, QUESTIONS[name].asks), folder / f"{name}.png")
            (folder / f"{name}.csv").write_text(result.to_csv(), encoding="utf-8")
            (folder / f"{name}.json").write_text(one_line(result) + "\n", encoding="utf-8")
            return [str(folder / f"{name}.{ending}") for ending in ("png", "csv", "json")]

    def _find(self, watched: Any) -> ExperimentRun | None:
        return self.runs.inquiries.find(str(watched).partition(" ")[0])


def setting_of(name: Any, controls: tuple[Any, ...]) -> dict[str, Any]:
    """The fields of a setup, from the values of the controls in their order and of the seed; raises ValueError."""
    require_choice("the experiment", name, QUESTIONS)
    *values, seed = controls
    said: dict[str, Any] = {"seed": require_whole("the seed", seed, 0, LARGEST_SEED)}
    for control, value in zip(QUESTIONS[name].controls, values, strict=False):
        allowed = [choice for choice, _ in control.choices]
        require_choice(control.label.lower(), value, allowed)
        said[control.field] = allowed[allowed.index(value)]  # 8.0 is 8
    return said


def setting_from_link(name: str, words: str) -> dict[str, Any]:
    """What "window_size:8,seed:7" says, without what is unusable."""
    values: dict[str, Any] = {}
    choices = {
        control.field: {str(value): value for value, _ in control.choices} for control in QUESTIONS[name].controls
    }
    for piece in words.split(","):
        field, _, value = piece.partition(":")
        if field in choices and value in choices[field]:
            values[field] = choices[field][value]
        elif field == "seed" and value.isdecimal() and int(value) <= LARGEST_SEED:
            values["seed"] = int(value)
    return values


def control_updates(name: str, values: Mapping[str, Any]) -> list[Any]:
    """What becomes of the controls and of the seed for an experiment: labels, choices and values; spare ones vanish."""
    updates: list[Any] = []
    for control in QUESTIONS[name].controls:
        choices = [(words, value) for value, words in control.choices]
        value = values.get(control.field, control.default)
        updates.append(gr.update(choices=choices, value=value, label=control.label, info=control.info, visible=True))
    spare = [gr.update(visible=False)] * (MOST_CONTROLS - len(updates))
    return [*updates, *spare, gr.update(value=values.get("seed", SEED))]


def first_experiment() -> str:
    """The one that the page opens with."""
    return _FIRST
