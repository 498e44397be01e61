"""The Cost tab: time, cache, parameters and arithmetic, by formula and measured on this machine, side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gpt.runs.limits import LARGEST_TIMED_WINDOW, MOST_CACHED_TOKENS, MOST_COMPARED, MOST_TIMING_SECONDS
from gpt.ui import links
from gpt.ui.catalogue import Catalogue
from gpt.ui.components.cost_bars import cost_bars
from gpt.ui.components.cost_chart import cost_chart
from gpt.ui.cost.handlers import CostHandlers
from gpt.ui.cost.settings import CHOSEN_MODELS, HEADS, LONGEST, PASSES, WIDTH
from gpt.ui.layout import section
from gpt.ui.requests import leave_checks_to_handlers
from gpt.ui.sizes import COUNTED_CONTEXTS, SIZES, SMALL, TRAINED_CONTEXT, TRAINED_WINDOW
from gpt.ui.turns import MEASURING, PRESSES

_EMPTY_PARTS = '{"blocks": [], "empty": "Choose a size: what each part of a model costs will appear here."}'


def build_cost_tab(tab: gr.Tab, catalogue: Catalogue, seen: gr.State) -> links.Controls:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        tab: the tab itself, for what happens when it opens.
        catalogue: the models there are.
        seen: the keys of the runs this visitor has watched.

    Returns:
        The controls that an address can set, by their names in it, and that are written into one.
    """
    handlers = CostHandlers(catalogue)
    choices = catalogue.choices([], snapshots=False)
    section("Time", "How long one attention layer takes as its text grows, with full attention and with a window.")
    with gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            with gr.Row(elem_classes=["buttons", "phone-1"]):
                measure = gr.Button("Measure", variant="primary")
                stop = gr.Button("Stop")
            window_size = gr.Slider(
                1,
                LARGEST_TIMED_WINDOW,
                value=TRAINED_WINDOW,
                step=1,
                label="Window",
                info="How many keys a query may see, itself included; the shipped model has 32.",
            )
            passes = gr.Radio(
                list(PASSES),
                value="forward and backward",
                label="What is timed",
                info="Training needs both; reading needs only the first.",
            )
            longest = gr.Dropdown(
                [(f"{length:,}", length) for length in LONGEST],
                value=2048,
                label="Longest text",
                info="In tokens; lengths double from 64.",
            )
            with gr.Accordion("What is fixed", open=False, elem_classes="details"):
                gr.Markdown(
                    f"One layer of {HEADS} heads, {WIDTH} wide; one text at a time, float32, one thread. "
                    "A point is the median of 15 calls up to 256 tokens, of 5 beyond. "
                    f"At most {MOST_TIMING_SECONDS:g} seconds. The times include whatever else this machine does "
                    "meanwhile."
                )
        with gr.Column(elem_classes="picture"):
            times = cost_chart(elem_id="time-chart", elem_classes="phone-2")
    section("Cache", "The keys and values held while a model writes, in bytes: by formula, and measured in memory.")
    with gr.Row(elem_classes="strip"):
        names = gr.Dropdown(
            choices,
            value=[name for _, name in choices[:MOST_COMPARED]],
            multiselect=True,
            max_choices=MOST_COMPARED,
            allow_custom_value=True,  # programs name models that this page's list does not have yet
            label="Models",
            info=f"Up to {MOST_COMPARED}; those you train appear here. Each writes {MOST_CACHED_TOKENS} tokens.",
            scale=4,
            min_width=280,
        )
        generate = gr.Button("Generate", variant="primary", scale=0, min_width=128)
    cache = cost_chart(elem_id="cache-chart")
    section("Parameters and arithmetic, by part", "Where the weights are, and where the work is.")
    with gr.Row(elem_classes="strip"):
        of = gr.Dropdown(
            [(f"all variants, {size}", size) for size in SIZES] + [(CHOSEN_MODELS, CHOSEN_MODELS)],
            value=SMALL,
            label="Of",
            info="The variants at a size from the Train tab, or the models chosen for the cache above.",
            scale=2,
            min_width=280,
        )
        context_length = gr.Dropdown(
            [(f"{length:,}", length) for length in COUNTED_CONTEXTS],
            value=TRAINED_CONTEXT,
            label="Context",
            info="In tokens, for the variants, at first that of Train; the text counted fills it.",
            scale=1,
            min_width=200,
        )
    bars = cost_bars(_EMPTY_PARTS, elem_id="cost-bars")

    quiet: dict[str, Any] = {"show_progress": "hidden", **PRESSES}
    measures: dict[str, Any] = {"show_progress": "hidden", **MEASURING}
    private: dict[str, Any] = {**quiet, "api_visibility": "private"}
    settings = [window_size, passes, longest]
    parts = [of, context_length, window_size, names]
    leave_checks_to_handlers([*settings, names, of, context_length])
    timed = {"window": window_size, "timed": passes, "longest": longest}
    counted = {"of": of, "context": context_length}
    measure.click(
        handlers.measure_time,
        settings,
        times,
        js=links.keep("cost", timed),
        api_name="measure_time",
        **measures,
    )
    stop.click(handlers.stop, None, None, queue=False, **private)
    gr.on(
        [window_size.release, passes.input, longest.input],
        handlers.preview,
        settings,
        times,
        trigger_mode="always_last",
        **private,
    )
    generating = generate.click(
        handlers.measure_cache,
        names,
        cache,
        js=links.keep("cost", {"models": names}),
        api_name="measure_cache",
        **measures,
    )
    names.input(handlers.preview_cache, names, cache, cancels=generating, trigger_mode="always_last", **private)
    gr.on(
        [of.input, context_length.input, window_size.release],
        handlers.count_parts,
        parts,
        bars,
        trigger_mode="always_last",
        api_name="count_parts",
        **quiet,
    )
    names.input(handlers.count_parts, parts, bars, trigger_mode="always_last", **private)
    tab.select(handlers.opened, [seen, names, of, context_length, *settings], [names, times, cache, bars], **private)
    told = {**timed, "models": names, **counted}
    return links.Controls(told, told)
