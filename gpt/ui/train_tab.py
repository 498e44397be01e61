"""The Train tab: choose variants, watch their loss fall and their writing improve."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

import gpt
from gpt import ui
from gpt.config import VARIANTS
from gpt.limits import LARGEST_OWN_TEXT, LONGEST_BEGINNING, MOST_IDLE_SECONDS
from gpt.recipes import RECIPES
from gpt.run import NotYourRun, Run
from gpt.runs import Runs
from gpt.ui.catalogue import Catalogue
from gpt.ui.components.loss_chart import loss_chart, loss_chart_value
from gpt.ui.components.run_panel import run_panel
from gpt.ui.requests import leave_checks_to_handlers, one_sentence, require_text, require_whole, sentence, visitor_of
from gpt.ui.run_views import run_chart, run_panel_value, run_sentence, shipped_chart, shipped_panel
from gpt.ui.train_settings import (
    CONTEXTS,
    MOST_STEPS,
    OWN_TEXT,
    PRESETS,
    SIZES,
    SMALL,
    Preset,
    TrainSettings,
    corpus_for,
    preview_text,
)
from gpt.ui.watches import Watches

SECONDS_BETWEEN_UPDATES = 0.25
HANDS_OFF = " hands off"  # ends the name of a run that a page may only watch

_OPENING = "Fetching how the models that ship with the lab learned…"


class TrainHandlers:
    """What the tab's buttons do; plain functions of the controls' values, so that tests can call them."""

    def __init__(self, runs: Runs, catalogue: Catalogue) -> None:
        self.runs = runs
        self.catalogue = catalogue
        self.watches = Watches()
        self._presses = itertools.count(1)
        self._exports = tempfile.TemporaryDirectory(prefix="gpt-lab-")  # gone with the process

    def train(self, secret: Any, seen: Any, *controls: Any) -> tuple[Any, ...]:
        """Start or join the run that the controls describe.

        Returns:
            The run's key for the page to watch, the runs this visitor has seen, and the secret they are known by.
        """
        visitor = visitor_of(secret)
        with one_sentence():
            settings = TrainSettings(*controls)
            corpus, notice = corpus_for(settings)
            run = self.runs.submit(settings.request(corpus), corpus, visitor)
        if notice:
            gr.Warning(notice, title="Another text")
        return *self._show(run, seen), visitor

    def rejoin(self, secret: Any, seen: Any, request: gr.Request) -> tuple[Any, ...]:
        """On opening the page: watch the run named in the address (`?run=...`), or else the visitor's own.

        With `&hands=off` this page may only watch. Where there is nothing to watch, the chart and the panel show how
        the shipped models learned.
        """
        address = dict(request.query_params)
        run = self.runs.find(str(address.get("run", ""))) or self.runs.under_way(visitor_of(secret))
        if run is None:
            return gr.skip(), gr.skip(), *shipped_view(self.catalogue)
        return *self._show(run, seen, hands_off=address.get("hands") == "off"), gr.skip(), gr.skip()

    def _show(self, run: Run, seen: Any, *, hands_off: bool = False) -> tuple[Any, ...]:
        keys = [key for key in seen if key != run.key] if isinstance(seen, list) else []
        self.runs.watched(run)
        # The number makes each press a change, also when the run is the one already watched.
        watched = f"{run.key} {next(self._presses)}{HANDS_OFF if hands_off else ''}"
        return watched, [*keys, run.key][-12:]

    async def watch(self, watched: Any, request: gr.Request | None = None) -> AsyncIterator[tuple[Any, ...]]:
        """Yield a run's chart and panel and the buttons' states as they change, at most four times a second.

        A page's newer watch ends the one before it, so that none has two.
        """
        with self.watches.watch(None if request is None else request.session_hash) as watch:
            await watch.turn()
            if watch.is_superseded:
                return
            run = self.runs.find(str(watched).partition(" ")[0])
            if run is None:
                yield self.nothing_watched()
                return
            hands_off = str(watched).endswith(HANDS_OFF)
            shown, shown_status = None, ""
            idle = 0.0
            with self.runs.watching(run):
                while idle < MOST_IDLE_SECONDS and not watch.is_superseded:
                    now = (run.version, run.status, run_sentence(run, self.runs) if run.status == "waiting" else "")
                    if now != shown:
                        buttons = _buttons(run.status, hands_off) if now[1] != shown_status else [gr.skip()] * 4
                        yield run_chart(run), run_panel_value(run, self.runs), *buttons
                        if run.is_over and now == (run.version, run.status, ""):
                            return
                        shown, shown_status, idle = now, now[1], 0.0
                    is_in_line = run.status == "waiting" and self.runs.place_in_line(run)[0] > 0
                    seconds = SECONDS_BETWEEN_UPDATES * (2 if is_in_line else 1)
                    idle += seconds
                    await watch.sleep(seconds)

    def still_watching(self, key: Any) -> int | None:
        """A page says that it shows this run; returns how far the run is, by its version, for the page to compare."""
        run = self.runs.find(key) if isinstance(key, str) else None
        if run is None:
            return None
        self.runs.watched(run)
        return run.version

    def nothing_watched(self) -> tuple[Any, ...]:
        """The view before anything is trained."""
        return *shipped_view(self.catalogue), *_buttons("", hands_off=False)

    def pause(self, secret: Any, seen: Any, watched: Any, steps: Any) -> tuple[Any, ...]:
        """Hold the run, let it go on, or, when it is done, train a copy for as many steps more as the control says.

        A watcher gets a copy of their own to do so with.
        """
        visitor = visitor_of(secret)
        with one_sentence():
            run = self._run_in_hand(watched)
            if run.status == "done":
                more = run.request.training.max_steps + require_whole("steps", steps, 1, MOST_STEPS)
                run = self.runs.copy(run, visitor, training=replace(run.request.training, max_steps=more))
            else:
                resume = run.status == "paused"
                try:
                    (self.runs.play if resume else self.runs.pause)(run, visitor)
                except NotYourRun:
                    run = self._own_copy(run, visitor, play=resume)
        return *self._show(run, seen), visitor

    def step_once(self, secret: Any, seen: Any, watched: Any) -> tuple[Any, ...]:
        """Train one step and hold; a watcher gets a copy of their own to do so with."""
        visitor = visitor_of(secret)
        with one_sentence():
            run = self._run_in_hand(watched)
            try:
                self.runs.step_once(run, visitor)
            except NotYourRun:
                run = self._own_copy(run, visitor, play=False)
        return *self._show(run, seen), visitor

    def stop(self, secret: Any, watched: Any) -> tuple[Any, ...]:
        """End the run; a watcher leaves it.

        Returns:
            The view, at once, whether or not the page's watch still lives, and what the page watches from now on. The
            watch goes on: it shows the end after all else it had to show, and then ends by itself.
        """
        with one_sentence():
            run = self._run_in_hand(watched)
            try:
                self.runs.stop(run, visitor_of(secret))
            except NotYourRun:
                return *self.nothing_watched(), ""
        view = run_chart(run), run_panel_value(run, self.runs), *_buttons(run.status, hands_off=False)
        return *view, gr.skip()

    def restart(self, secret: Any, seen: Any, watched: Any) -> tuple[Any, ...]:
        """Train the run anew from the start, with the same seed."""
        visitor = visitor_of(secret)
        with one_sentence():
            run = self._run_in_hand(watched)
            run = self.runs.submit(replace(run.request, copy_of=""), run.corpus, visitor, restart=True)
        return *self._show(run, seen), visitor

    def branch(self, secret: Any, seen: Any, watched: Any, *controls: Any) -> tuple[Any, ...]:
        """Go on from the run's present state, in a copy, with the training settings that the controls say now."""
        visitor = visitor_of(secret)
        with one_sentence():
            run = self._run_in_hand(watched)
            wanted = TrainSettings(*controls).request(run.corpus)
            before = run.request
            kept = (wanted.models, wanted.seeds, wanted.training.seed)
            if kept != (before.models, before.seeds, before.training.seed):
                raise ValueError(
                    "a branch keeps its models and its seed; change only steps, batch size or learning rate, "
                    "or press Train to start anew"
                )
            run = self.runs.copy(run, visitor, training=wanted.training)
        return *self._show(run, seen), visitor

    def export(self, watched: Any) -> list[str]:
        """Files of the run to take home."""
        with one_sentence():
            run = self._run_in_hand(watched, hands_off=True)
            if not any(member.events for member in run.members):
                raise ValueError("this run has not begun yet; wait for its first point")
            folder = Path(self._exports.name) / run.key
            folder.mkdir(exist_ok=True)
            return [str(path) for path in gpt.exports.export_run(run, folder)]

    def next_characters(self, key: Any, prompt: Any) -> dict[str, Any]:
        """The likeliest next characters after a prompt, for every model of a run (or of those that ship)."""
        try:
            prompt = require_text("the prompt", prompt, LONGEST_BEGINNING)
            run = self.runs.find(key) if isinstance(key, str) else None
            if run is None:
                names = {name: f"shipped/{name}" for name in self.catalogue.shipped}
            else:
                labels = [label for label, _ in run.request.models]
                names = {label: f"run/{run.key}/{number}" for number, label in enumerate(labels)}
            bars = [
                ui.model_views.next_character_bars(self.catalogue.get(name), prompt) | {"label": label}
                for label, name in names.items()
            ]
            return {"models": bars}
        except ValueError as error:
            return {"error": sentence(error)}

    def _run_in_hand(self, watched: Any, *, hands_off: bool = False) -> Run:
        run = self.runs.find(str(watched).partition(" ")[0])
        if run is None:
            raise ValueError("there is no run here to do this with; press Train to start one")
        if str(watched).endswith(HANDS_OFF) and not hands_off:
            raise ValueError("this link is for watching only; open the page without it to train yourself")
        return run

    def _own_copy(self, run: Run, visitor: str, *, play: bool) -> Run:
        copied = self.runs.copy(run, visitor, play=play)
        gr.Info("Somebody else started that run, so this is now your own copy of it.", title="Your copy")
        return copied


def _buttons(status: str, hands_off: bool) -> list[Any]:
    """What becomes of Train, Pause, Step and Stop for a run of this status; "" is none.

    As plain updates, because making a component takes longer than all else that a chart's update takes.
    """
    goes_on = status in ("paused", "done")
    is_under_way = status in ("waiting", "running", "paused")
    return [
        gr.update(interactive=not hands_off),
        gr.update(value="Go on" if goes_on else "Pause", interactive=not hands_off and (goes_on or is_under_way)),
        gr.update(interactive=not hands_off and is_under_way),
        gr.update(interactive=not hands_off and is_under_way),
    ]


def shipped_view(catalogue: Catalogue) -> tuple[dict[str, Any], dict[str, Any]]:
    """The chart and the panel before anything is trained: how the shipped models learned."""
    checkpoints = {name: catalogue.checkpoint(name) for name in catalogue.shipped}
    return shipped_chart(checkpoints), shipped_panel(checkpoints)


def build_train_tab(page: gr.Blocks, runs: Runs, catalogue: Catalogue, seen: gr.State) -> None:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        page: the page, for what happens when it opens.
        runs: the server's runs.
        catalogue: the models there are to look at.
        seen: the keys of the runs this visitor has watched, shared with the other tabs.
    """
    handlers = TrainHandlers(runs, catalogue)
    secret = gr.BrowserState("", storage_key="gpt-lab-visitor", secret="gpt-lab")

    # The page calls these two by themselves, with one object each.
    def still_watching(sent: Any) -> int | None:
        return handlers.still_watching(sent.get("run") if isinstance(sent, dict) else None)

    def next_characters(sent: Any) -> dict[str, Any]:
        question = sent if isinstance(sent, dict) else {}
        return handlers.next_characters(question.get("run"), question.get("prompt"))

    with gr.Row(elem_classes="presets"):
        gr.HTML("<span>Train at once:</span>", elem_classes="lead")
        presets = [gr.Button(preset.question, size="sm") for preset in PRESETS]
    with gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            with gr.Row(elem_classes=["buttons", "phone-2"]):
                train = gr.Button("Train", variant="primary")
                pause = gr.Button("Pause", interactive=False)
                step = gr.Button("Step", interactive=False)
                stop = gr.Button("Stop", interactive=False)
            controls = _build_controls(runs.limits.most_steps)
            with gr.Accordion("The run", open=False):
                restart = gr.Button("Train again from the start", size="sm")
                branch = gr.Button("Go on with the settings above, in a copy", size="sm")
                export = gr.Button("Prepare files to take home", size="sm")
                files = gr.File(label="Chart, log, models, script", file_count="multiple", interactive=False)
        with gr.Column(elem_classes="picture"):
            chart = loss_chart(loss_chart_value([], [], 1, _OPENING), elem_id="loss-chart", elem_classes="phone-1")
            panel = run_panel(
                {
                    "sentence": _OPENING,
                    "is_error": False,
                    "share": None,
                    "run": "",
                    "version": 0,
                    "models": [],
                    "proof": [],
                },
                elem_id="run-panel",
                elem_classes="phone-3",
                server_functions=[still_watching, next_characters],
            )
    # Hidden, not absent: its change starts the watching, and a program names a run by it.
    watched = gr.Textbox(visible="hidden", label="run", elem_id="watched-run")

    view = [chart, panel, train, pause, step, stop]
    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None}
    watched.change(handlers.watch, watched, view, trigger_mode="multiple", api_name="watch", **quiet)
    panel.take_up(handlers.watch, watched, view, trigger_mode="multiple", api_visibility="private", **quiet)
    leave_checks_to_handlers(controls.values())
    hand = [secret, seen, watched]
    settings = list(controls.values())
    for button, handler, inputs in (
        (train, handlers.train, [secret, seen, *settings]),
        (pause, handlers.pause, [*hand, controls["steps"]]),
        (step, handlers.step_once, hand),
        (restart, handlers.restart, hand),
        (branch, handlers.branch, [*hand, *settings]),
    ):
        button.click(
            handler,
            inputs,
            [watched, seen, secret],
            api_name=handler.__name__,
            trigger_mode="multiple" if button is step else "once",  # each press of Step is a step
            **quiet,
        )
    stop.click(handlers.stop, [secret, watched], [*view, watched], api_name="stop", **quiet)
    export.click(handlers.export, watched, files, api_name="export", concurrency_limit=1)
    for button, preset in zip(presets, PRESETS, strict=True):
        button.click(
            partial(_set_up, preset),
            None,
            [controls[name] for name in ("variants", "without_mask", "window_size", "num_kv_heads")],
            api_visibility="private",
            **quiet,
        ).then(
            handlers.train,
            [secret, seen, *settings],
            [watched, seen, secret],
            api_visibility="private",
            **quiet,
        )
    page.load(handlers.rejoin, [secret, seen], [watched, seen, chart, panel], api_visibility="private", **quiet)


def _set_up(preset: Preset) -> tuple[Any, ...]:
    return list(preset.variants), preset.without_mask, 8, 1


def _build_controls(most_steps: int) -> dict[str, gr.components.Component]:
    """The controls by their names in `TrainSettings` and in its order, the rare ones folded away."""
    variants = gr.CheckboxGroup(
        list(VARIANTS),
        value=["gpt2", "sliding-window"],
        label="Variants",
        info="Trained side by side, on the same batches.",
        elem_classes="variants",
    )
    without_mask = gr.Checkbox(
        label="also without the causal mask", info="Trains a second model of each, which sees the future."
    )
    size = gr.Dropdown(list(SIZES), value=SMALL, label="Size", info="Larger learns more, and more slowly.")
    text = gr.Dropdown([*gpt.corpus.CORPORA, OWN_TEXT], value="shakespeare", label="Text", info="What to learn from.")
    with gr.Group(visible=False) as own_group:
        own_text = gr.Textbox(
            label="Your own text",
            info="Some ten thousand characters or more; the last tenth is kept for testing.",
            lines=6,
            max_lines=6,
            max_length=LARGEST_OWN_TEXT,
        )
        upload = gr.UploadButton("Open a .txt file", file_types=[".txt"], type="binary", size="sm")
    steps = gr.Slider(10, min(3000, most_steps), value=200, step=10, label="Steps", info="Updates of the weights.")
    with gr.Accordion("Details", open=False):
        window_size = gr.Slider(
            1, 64, value=8, step=1, label="Window", info="Keys a query may see; sliding-window and modern."
        )
        num_kv_heads = gr.Slider(
            1, 6, value=1, step=1, label="KV heads", info="Must divide the heads; grouped-query and modern."
        )
        context_length = gr.Dropdown(
            list(CONTEXTS), value=64, label="Context", info="Characters a model can look back on."
        )
        batch_size = gr.Slider(1, 64, value=32, step=1, label="Batch size", info="Texts learned from in each step.")
        recipe = gr.Dropdown(
            list(RECIPES),
            value="fast",
            label="Recipe",
            info="fast: Muon and AdamW; showcase: slower rates and averaged weights; nanogpt: AdamW as published.",
        )
        rate_multiple = gr.Dropdown(
            [0.1, 0.3, 1, 3, 10], value=1, label="Learning rate", info="A multiple of the recipe's own."
        )
        seed = gr.Number(value=1337, precision=0, label="Seed", info="The same seed gives the same run.")
        seeds = gr.Slider(1, 3, value=1, step=1, label="Repeats", info="The same with the next seeds, for the spread.")

    with gr.Accordion("Look at the text", open=False) as preview_fold:
        preview = gr.Textbox(show_label=False, lines=8, max_lines=8, interactive=False, elem_classes="monospace")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    text.change(lambda choice: gr.Group(visible=choice == OWN_TEXT), text, own_group, **quiet)
    gr.on([text.change, own_text.blur, preview_fold.expand], preview_text, [text, own_text], preview, **quiet)
    upload.upload(read_upload, upload, own_text, api_visibility="private")
    controls = {
        "variants": variants,
        "without_mask": without_mask,
        "size": size,
        "text": text,
        "own_text": own_text,
        "steps": steps,
        "recipe": recipe,
        "batch_size": batch_size,
        "rate_multiple": rate_multiple,
        "context_length": context_length,
        "window_size": window_size,
        "num_kv_heads": num_kv_heads,
        "seed": seed,
        "seeds": seeds,
    }
    return {field.name: controls[field.name] for field in fields(TrainSettings)}


def read_upload(content: Any) -> str:
    """The text of an uploaded file."""
    with one_sentence():
        if not isinstance(content, bytes) or len(content) > 4 * LARGEST_OWN_TEXT:
            raise ValueError(f"this is not a text file of at most {LARGEST_OWN_TEXT:,} characters; choose another")
        return require_text("the file", gpt.corpus.decode_text("the file", content), LARGEST_OWN_TEXT)
