"""The Experiments tab: choose a question, predict, run it, and see what was measured."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gpt.experiments.questions import QUESTIONS, SEED
from gpt.runs.scheduler import Runs
from gpt.ui import links
from gpt.ui.components.experiment_board import experiment_board
from gpt.ui.door.door import Door
from gpt.ui.experiments.handlers import LARGEST_SEED, MOST_CONTROLS, ExperimentHandlers, first_experiment
from gpt.ui.experiments.views import empty_board
from gpt.ui.layout import PREPARING
from gpt.ui.requests import leave_checks_to_handlers
from gpt.ui.turns import PRESSES, WATCHING


def build_experiments_tab(
    page: gr.Blocks, runs: Runs, door: Door, secret: gr.BrowserState, bar: gr.HTML
) -> links.Controls:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        page: the page, for what happens when it opens.
        runs: the server's runs, in whose line experiments stand.
        door: who the visitors are, and where their files lie.
        secret: what the visitor is known by.
        bar: the bar that hears of another link.

    Returns:
        Nothing that an address sets, because this tab does it itself; the board, which says what leads back to it.
    """
    handlers = ExperimentHandlers(runs, door.visitors, door.files)

    def still_watching(sent: Any) -> int | None:
        """The page calls this by itself, with one object."""
        return handlers.still_watching(sent.get("run") if isinstance(sent, dict) else None)

    first = first_experiment()
    with gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            name = gr.Radio(
                [(question.title, key) for key, question in QUESTIONS.items()],
                value=first,
                label="Experiments",
                info="Each takes about a minute.",
                elem_classes=["questions", "phone-1"],
            )
            gr.HTML("<h2>Change one thing</h2>", elem_classes=["lead", "phone-3"])
            changes = _build_changes(first)
            seed = gr.Number(
                SEED,
                label="Seed",
                info="Another seed shows how much is chance.",
                precision=0,
                minimum=0,
                maximum=LARGEST_SEED,
                elem_classes="phone-3",
            )
            with gr.Accordion("Take home", open=False, elem_classes="take-home"):
                export = gr.Button("Prepare picture and numbers", size="sm", elem_id="prepare-figure")
                files = gr.File(
                    label="Picture, CSV, JSON", file_count="multiple", interactive=False, elem_classes="downloads"
                )
        with gr.Column(elem_classes="picture"):
            board = experiment_board(
                empty_board(first, {}),
                elem_id="experiment-board",
                elem_classes="phone-2",
                server_functions=[still_watching],
            )
    watched = gr.Textbox(visible="hidden", label="experiment", elem_id="watched-experiment")

    quiet: dict[str, Any] = {"show_progress": "hidden", **PRESSES}
    private: dict[str, Any] = {**quiet, "api_visibility": "private"}
    watching: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "multiple", **WATCHING}
    controls: list[Any] = [*changes, seed]
    leave_checks_to_handlers([name, *controls])
    name.input(handlers.choose, name, [board, *controls, watched], trigger_mode="always_last", **private)
    gr.on(
        [control.input for control in controls],
        handlers.change,
        [name, *controls],
        [board, watched],
        trigger_mode="always_last",
        **private,
    )
    board.ask(handlers.ask, [secret, name, *controls], [watched, secret], api_name="experiment", **quiet)
    board.stop(handlers.stop, [secret, watched, name, *controls], [board, watched], **private)
    watched.change(handlers.watch, watched, board, api_name="watch_experiment", **watching)
    board.watch_again(handlers.watch, watched, board, api_visibility="private", **watching)
    export.click(handlers.take_home, watched, files, api_visibility="private", **PREPARING)
    links.on_opening(page, bar, handlers.open_link, [], [name, board, *controls, watched])
    return links.Controls({}, told={"experiment": board})


def _build_changes(name: str) -> list[gr.Dropdown]:
    """As many dropdowns as the experiment with the most controls has; the first experiment's are shown."""
    shown = QUESTIONS[name].controls
    dropdowns = []
    for place in range(MOST_CONTROLS):
        control = shown[place] if place < len(shown) else None
        dropdowns.append(
            gr.Dropdown(
                [] if control is None else [(words, value) for value, words in control.choices],
                value=None if control is None else control.default,
                label="–" if control is None else control.label,
                info="–" if control is None else control.info,
                visible=control is not None,
                elem_classes="phone-3",
            )
        )
    return dropdowns
