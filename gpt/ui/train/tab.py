"""The Train tab: choose variants, watch their loss fall and their writing improve."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import gradio as gr

from gpt.data.corpora import corpora_at_hand
from gpt.model.config import VARIANTS
from gpt.runs.limits import LARGEST_OWN_TEXT, MOST_OWN_FILES
from gpt.runs.scheduler import Runs
from gpt.training.recipes import RECIPES
from gpt.ui import links
from gpt.ui.catalogue import Catalogue
from gpt.ui.components.diagnostics import diagnostics
from gpt.ui.components.loss_chart import loss_chart
from gpt.ui.components.run_panel import run_panel
from gpt.ui.components.text_files import text_files
from gpt.ui.components.token_text import token_text
from gpt.ui.door.door import Door
from gpt.ui.layout import PREPARING
from gpt.ui.naming import LONGEST_RUN_NAME
from gpt.ui.requests import leave_checks_to_handlers
from gpt.ui.sizes import (
    LARGEST_TRAINED_WINDOW,
    SIZES,
    SMALL,
    TRAINED_CONTEXT,
    TRAINED_CONTEXTS,
    TRAINED_WINDOW,
)
from gpt.ui.train.form import names_in_links
from gpt.ui.train.handlers import NEW_WEIGHTS, TrainHandlers
from gpt.ui.train.settings import CHOICES, OWN_TEXT, PRESETS, RATE_MULTIPLES, TOKENS, Preset, TrainSettings
from gpt.ui.train.texts import preview_text, read_files
from gpt.ui.train.views import shipped_view
from gpt.ui.turns import PRESSES, WATCHING

# On a phone the settings are folded away behind their button, so that the chart is on the first screen. Whoever starts
# a run wants to see it, and they fold again.
_FOLD_SETTINGS = """() => {
  const fold = document.querySelector('#settings-fold');
  const bench = fold?.closest('.workbench');
  if (!bench) return;
  const show = (isShown) => {
    bench.classList.toggle('shows-settings', isShown);
    fold.setAttribute('aria-expanded', isShown);
  };
  fold.setAttribute('aria-controls', 'train-settings');
  show(false);
  fold.addEventListener('click', () => show(!bench.classList.contains('shows-settings')));
  for (const start of document.querySelectorAll('.workbench .buttons .primary, .presets button')) {
    start.addEventListener('click', () => show(false));
  }
}"""
_NOTHING_TRAINED = "Press Train: gradient norms, right guesses and what the heads do will be drawn here."


def build_train_tab(
    page: gr.Blocks,
    runs: Runs,
    catalogue: Catalogue,
    door: Door,
    secret: gr.BrowserState,
    seen: gr.State,
    names: gr.BrowserState,
    bar: gr.HTML,
) -> links.Controls:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        page: the page, for what happens when it opens.
        runs: the server's runs.
        catalogue: the models there are to look at.
        door: who the visitors are, and where their files lie.
        secret: what the visitor is known by, kept in their browser.
        seen: the keys of the runs this visitor has watched, shared with the other tabs.
        names: what this visitor calls runs, by their keys, kept in their browser.
        bar: the bar that hears of another link.

    Returns:
        Nothing that an address sets, because this tab does it itself; the controls that are written into one.
    """
    handlers = TrainHandlers(runs, catalogue, door.visitors, door.files)

    # The page calls these by itself, with one object each.
    def still_watching(sent: Any) -> int | None:
        return handlers.still_watching(sent.get("run") if isinstance(sent, dict) else None)

    def next_characters(sent: Any) -> dict[str, Any]:
        question = sent if isinstance(sent, dict) else {}
        return handlers.next_characters(question.get("run"), question.get("prompt"))

    def news_of_run(sent: Any) -> dict[str, Any]:
        question = sent if isinstance(sent, dict) else {}
        return handlers.diagnostics(question.get("run"), question.get("told"))

    def head_scores(sent: Any) -> dict[str, Any]:
        question = sent if isinstance(sent, dict) else {}
        return handlers.head_scores(question.get("run"), question.get("model"), question.get("score"))

    with gr.Row(elem_classes="presets"):
        gr.HTML("<span>Ready-made runs:</span>", elem_classes="lead")
        presets = [gr.Button(preset.question, size="sm") for preset in PRESETS]
    with gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            with gr.Row(elem_classes=["buttons", "phone-1"]):
                train = gr.Button("Train", variant="primary")
                pause = gr.Button("Pause", interactive=False)
                step = gr.Button("Step", interactive=False)
                stop = gr.Button("Stop", interactive=False)
                gr.Button("Settings", elem_id="settings-fold")  # on phones only
            with gr.Column(elem_classes=["settings", "phone-2"], elem_id="train-settings"):
                controls = _build_controls(runs.limits.most_steps, handlers, seen)
            with gr.Accordion("The run", open=False, elem_classes="take-home"):
                name = gr.Textbox(
                    label="Name of this run",
                    info=f"Up to {LONGEST_RUN_NAME} characters; for you, and for those who get your link.",
                    max_lines=1,
                    max_length=LONGEST_RUN_NAME,
                    elem_id="run-name",
                )
                restart = gr.Button("Train again from the start", size="sm")
                branch = gr.Button("Go on in a copy, with the settings above", size="sm")
                export = gr.Button("Prepare files to take home", size="sm", elem_id="prepare-files")
                for_transformers = gr.Button("Prepare the models for transformers", size="sm", elem_id="prepare-models")
                gr.Markdown(
                    "To take home: the chart, the log, a script, and each model in a file that Compare opens. For "
                    "transformers: each model in a folder that this library opens."
                )
                files = gr.File(
                    label="Files to take home", file_count="multiple", interactive=False, elem_classes="downloads"
                )
        with gr.Column(elem_classes="picture"):
            # They come with the page, so that the first curves wait for nothing else.
            curves, learned = shipped_view(catalogue)
            chart = loss_chart(curves, elem_id="loss-chart", elem_classes="phone-3")
            panel = run_panel(
                learned,
                elem_id="run-panel",
                elem_classes="phone-4",
                server_functions=[still_watching, next_characters],
            )
            diagnostics(
                {"empty": _NOTHING_TRAINED},
                elem_id="diagnostics",
                elem_classes="phone-5",
                server_functions=[news_of_run, head_scores],
            )
    # Hidden, not absent: its change starts the watching, and a program names a run by it.
    watched = gr.Textbox(visible="hidden", label="run", elem_id="watched-run")

    view = [chart, panel, train, pause, step, stop]
    quiet: dict[str, Any] = {"show_progress": "hidden", **PRESSES}
    private: dict[str, Any] = {**quiet, "api_visibility": "private"}
    watching: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "multiple", **WATCHING}
    watched.change(handlers.watch, watched, view, js=links.KEEP_RUN, api_name="watch", **watching)
    in_address = {address_name: controls[setting] for setting, address_name in names_in_links().items()}
    watched.change(handlers.name_of, watched, [name, names], trigger_mode="multiple", **private)
    panel.watch_again(handlers.watch, watched, view, api_visibility="private", **watching)
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
    taking_home: dict[str, Any] = {**PREPARING, "concurrency_id": "take-home"}
    export.click(handlers.export, watched, files, api_name="export", **taking_home)
    for_transformers.click(handlers.export_transformers, watched, files, api_name="export_transformers", **taking_home)
    for button, preset in zip(presets, PRESETS, strict=True):
        button.click(
            partial(_set_up, preset),
            None,
            [controls[name] for name in _SET_UP],
            api_visibility="private",
            **quiet,
        ).then(
            handlers.train,
            [secret, seen, *settings],
            [watched, seen, secret],
            api_visibility="private",
            **quiet,
        )
    gr.on(
        [name.submit, name.blur],
        handlers.name_run,
        [seen, watched, name],
        [watched, seen, names, name],
        trigger_mode="always_last",
        **private,
    )
    page.load(None, js=_FOLD_SETTINGS, api_visibility="private")
    links.on_opening(page, bar, handlers.rejoin, [secret, seen, names], [watched, seen, chart, panel, *settings])
    return links.Controls({}, told=in_address)


_SET_UP = ("variants", "without_mask", "size", "steps", "window_size", "num_kv_heads", "begins_from")


def _set_up(preset: Preset) -> tuple[Any, ...]:
    """What a preset sets the controls in `_SET_UP` to."""
    return list(preset.variants), preset.without_mask, preset.size, preset.steps, TRAINED_WINDOW, 1, NEW_WEIGHTS[1]


def _those_with(choice: str) -> str:
    """The variants that make this choice of their own, by name."""
    made = {name: make(vocab_size=1) for name, make in VARIANTS.items()}
    return " and ".join(name for name, config in made.items() if getattr(config, choice) is not None)


def _build_controls(most_steps: int, handlers: TrainHandlers, seen: gr.State) -> dict[str, gr.components.Component]:
    """The controls by their names in `TrainSettings` and in its order, the rare ones folded away."""
    variants = gr.CheckboxGroup(
        list(CHOICES),
        value=["gpt2", "sliding-window"],
        label="Variants",
        info="Trained side by side, on the same batches.",
        elem_classes="variants",
    )
    without_mask = gr.Checkbox(
        label="also without the causal mask", info="Trains a second model of each variant, which sees the future."
    )
    size = gr.Dropdown(list(SIZES), value=SMALL, label="Size", info="A larger model takes longer to train.")
    text = gr.Dropdown(
        [*corpora_at_hand(), OWN_TEXT], value="shakespeare", label="Text", info="What the models learn from."
    )
    with gr.Group(visible=False) as own_group:
        own_text = gr.Textbox(
            "",
            label="Your own text",
            info="Give ten thousand characters or more if you can; the last tenth is kept for validation.",
            lines=6,
            max_lines=6,
            max_length=LARGEST_OWN_TEXT,
        )
        own_files = text_files(most_files=MOST_OWN_FILES, most_characters=LARGEST_OWN_TEXT, elem_id="own-files")
    steps = gr.Slider(10, min(3000, most_steps), value=200, step=10, label="Steps", info="Updates of the weights.")
    with gr.Accordion("Details", open=False, elem_classes="details") as details:
        begins_from = gr.Dropdown(
            [NEW_WEIGHTS, *handlers.catalogue.beginnings([])],
            value=NEW_WEIGHTS[1],
            label="Begin from",
            info="Begin from a trained model instead of new weights. It then sets variant, mask, size, window, KV "
            "heads, context and tokens.",
        )
        tokens = gr.Dropdown(
            list(TOKENS),
            value="characters",
            label="Tokens",
            info="The units that a model reads and writes; byte pairs are learned from the text.",
        )
        window_size = gr.Slider(
            1,
            LARGEST_TRAINED_WINDOW,
            value=TRAINED_WINDOW,
            step=1,
            label="Window",
            info=f"How many keys a query may see; for {_those_with('window_size')}.",
        )
        num_kv_heads = gr.Slider(
            1,
            6,
            value=1,
            step=1,
            label="KV heads",
            info=f"Must divide the number of heads; for {_those_with('num_kv_heads')}.",
        )
        context_length = gr.Dropdown(
            list(TRAINED_CONTEXTS),
            value=TRAINED_CONTEXT,
            label="Context",
            info="How many tokens a model can look back on.",
        )
        batch_size = gr.Slider(
            1, 64, value=32, step=1, label="Batch size", info="How many pieces of text each step learns from."
        )
        recipe = gr.Dropdown(
            list(RECIPES),
            value="fast",
            label="Recipe",
            info="fast: Muon and AdamW; showcase: lower rates and averaged weights; nanogpt: AdamW as published.",
        )
        rate_multiple = gr.Dropdown(
            list(RATE_MULTIPLES), value=1, label="Learning rate", info="A multiple of the recipe's own."
        )
        seed = gr.Number(value=1337, precision=0, label="Seed", info="The same seed gives the same run.")
        seeds = gr.Slider(
            1, 3, value=1, step=1, label="Repeats", info="Trains again with the next seeds, to show the spread."
        )

    with gr.Accordion("Look at the text", open=False) as preview_fold:
        preview = token_text(elem_id="token-text")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    text.change(lambda choice: gr.Group(visible=choice == OWN_TEXT), text, own_group, **quiet)
    opened = [details.expand, begins_from.focus]
    gr.on(opened, handlers.beginnings, [seen, begins_from], begins_from, **quiet)
    looked = [text, own_text, tokens]
    changes = [text.change, own_text.blur, tokens.change, preview_fold.expand]
    gr.on(changes, preview_text, looked, preview, **quiet)
    read = own_files.open_files(read_files, None, [own_text, own_files], **quiet)
    read.then(preview_text, looked, preview, **quiet)
    controls = {
        "variants": variants,
        "without_mask": without_mask,
        "size": size,
        "text": text,
        "own_text": own_text,
        "tokens": tokens,
        "steps": steps,
        "recipe": recipe,
        "batch_size": batch_size,
        "rate_multiple": rate_multiple,
        "context_length": context_length,
        "window_size": window_size,
        "num_kv_heads": num_kv_heads,
        "seed": seed,
        "seeds": seeds,
        "begins_from": begins_from,
    }
    return {field.name: controls[field.name] for field in fields(TrainSettings)}
