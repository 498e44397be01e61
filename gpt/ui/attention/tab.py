"""The Attention tab: what every head reads with the mask drawn over it, and what follows from it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gpt.runs.limits import LONGEST_LOOK
from gpt.ui import links
from gpt.ui.attention.handlers import EMPTY_BELOW, NO_SECOND, AttentionHandlers
from gpt.ui.catalogue import Catalogue
from gpt.ui.components.ablation import ablation
from gpt.ui.components.attention_map import attention_map
from gpt.ui.components.head_numbers import head_numbers
from gpt.ui.components.head_table import head_table
from gpt.ui.components.outcomes import outcomes
from gpt.ui.components.receptive_field import receptive_field
from gpt.ui.components.section_links import section_links
from gpt.ui.components.step_slider import step_slider
from gpt.ui.door.files import Files
from gpt.ui.layout import PREPARING, section
from gpt.ui.requests import leave_checks_to_handlers
from gpt.ui.turns import PROBES

_EXAMPLE = "To be, or not to be, that is the question:\nWhether 'tis nobler"
_EMPTY = "Press Look: every head's attention over your text will appear here."


_PARTS = [
    ["Model", "attention-model"],
    ["Map", "attention-map"],
    ["Heads", "head-table"],
    ["Ablate", "ablation"],
    ["Reach", "receptive-field"],
    ["Numbers", "attention-numbers"],
    ["Take home", "attention-files"],
]

# Runs before the export's handler: which head the large map shows, the page alone knows.
_CHOSEN_HEAD = """(looked, chosen) => {
  const map = document.querySelector('#attention-map [data-layer], #attention-map[data-layer]');
  return [looked, map ? `${map.dataset.layer},${map.dataset.head}` : chosen];
}"""


def build_attention_tab(tab: gr.Tab, catalogue: Catalogue, files: Files, seen: gr.State) -> links.Controls:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        tab: the tab itself, for what happens when it opens.
        catalogue: the models there are.
        files: where pictures to take home are prepared.
        seen: the keys of the runs this visitor has watched.

    Returns:
        The controls that an address can set, by their names in it, and that are written into one.
    """
    handlers = AttentionHandlers(catalogue, files)
    choices = catalogue.choices([], snapshots=False)
    with_window = next((name for _, name in choices if name.endswith("sliding-window")), None)
    looked = gr.State(None)
    asked_step = gr.State(None)  # by a link
    section_links({"parts": _PARTS}, elem_id="attention-links", elem_classes="section-bar")
    with gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls", elem_id="attention-model"):
            name = gr.Dropdown(
                choices,
                value=with_window,
                label="Model",
                info="Those you train appear here.",
                allow_custom_value=True,  # programs name models that this page's list does not have yet
                elem_classes="phone-3",
            )
            second = gr.Dropdown(
                [NO_SECOND, *choices],
                value="",
                label="Beside it",
                info="A second model, and the difference.",
                allow_custom_value=True,
                elem_classes="phone-3",
            )
            text = gr.Textbox(
                _EXAMPLE,
                label="Text",
                info=f"Not longer than the model's context, and at most {LONGEST_LOOK} characters.",
                lines=3,
                max_lines=5,
                elem_classes=["monospace", "phone-3"],
            )
            look = gr.Button("Look", variant="primary", elem_classes="phone-3")
            slider = step_slider({"steps": [], "index": 0, "label": ""}, elem_id="step-slider", elem_classes="phone-2")
        with gr.Column(elem_classes="picture"):
            drawing = attention_map({"empty": _EMPTY}, elem_id="attention-map", elem_classes="phone-1")
    section("What each head does", "In the first model, measured on this text; press a row to see its map.")
    table = head_table(EMPTY_BELOW, elem_id="head-table")
    section(
        "Ablate a head",
        "Replace the output of heads in the first model with zero, and see how loss and next characters change.",
    )
    with gr.Row(elem_classes="halves"):
        switches = ablation(EMPTY_BELOW, elem_id="ablation")
        following = outcomes(EMPTY_BELOW, elem_id="outcomes")
    section(
        "What can reach a character",
        "In the first model: the masks show what can reach it, the gradient how strongly it does.",
    )
    reach = receptive_field(EMPTY_BELOW, elem_id="receptive-field")
    with gr.Accordion("One head in numbers", open=False, elem_id="attention-numbers"):
        numbers = head_numbers(EMPTY_BELOW, elem_id="head-numbers")
    with gr.Accordion("Take home", open=False, elem_classes="take-home", elem_id="attention-files"):
        chosen_head = gr.Textbox("0,0", visible=False)
        export = gr.Button("Prepare pictures and weights", size="sm", elem_classes="narrow", elem_id="prepare-maps")
        pictures = gr.File(
            label="The large map, all heads, the weights",
            file_count="multiple",
            interactive=False,
            elem_classes="downloads",
        )

    quiet: dict[str, Any] = {"show_progress": "hidden", **PROBES}
    private: dict[str, Any] = {**quiet, "api_visibility": "private"}
    leave_checks_to_handlers([name, second, text])
    shown = [drawing, slider, looked]
    in_address = {"model": name, "beside": second, "text": text}
    pressed = gr.on(
        [look.click, name.input, second.input, text.submit],
        handlers.look,
        [name, second, text, looked],
        shown,
        js=links.keep("attention", in_address, head="", step=""),
        api_name="attention",
        trigger_mode="always_last",  # a press while another look is under way is not lost
        **quiet,
    )
    stepped = slider.choose_step(handlers.look_at_step, looked, shown, **private)
    opened = tab.select(
        handlers.opened,
        [seen, name, second, text, looked, asked_step],
        [name, second, *shown, asked_step],
        **private,
    )
    for event in (pressed, stepped, opened):
        event.success(handlers.measure, looked, [table, reach, following, numbers], **private)
        event.success(handlers.ablate_each, looked, switches, **private)
    switches.ablate(handlers.ablate, looked, [switches, following], trigger_mode="multiple", **private)
    reach.choose(handlers.trace, looked, reach, trigger_mode="multiple", **private)
    numbers.ask(handlers.follow, looked, numbers, trigger_mode="multiple", **private)
    export.click(
        handlers.export, [looked, chosen_head], pictures, js=_CHOSEN_HEAD, api_visibility="private", **PREPARING
    )
    return links.Controls({**in_address, "step": asked_step}, told={**in_address, "step": slider})
