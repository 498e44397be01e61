"""The Compare tab: what several models write, expect and find surprising, side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gpt.runs.limits import LONGEST_PROMPT, LONGEST_READING, MOST_COMPARED
from gpt.ui import links
from gpt.ui.catalogue import Catalogue
from gpt.ui.compare.handlers import EMPTY_READING, EMPTY_STEPS, CompareHandlers
from gpt.ui.compare.settings import LENGTHS, SECOND_TEMPERATURES, TEMPERATURES, TOP_KS, TOP_PS
from gpt.ui.components.next_token import next_token
from gpt.ui.components.surprise_text import surprise_text
from gpt.ui.components.text_columns import text_columns, text_columns_value
from gpt.ui.requests import leave_checks_to_handlers
from gpt.ui.turns import PRESSES, WRITING

_EMPTY_COLUMNS = "Press Generate: what each model writes will appear here, side by side, letter by letter."
_EXAMPLES = ("ROMEO:", "To be, or not to be", "First Citizen:\n", "The king")
_SAY_STOPPED = "() => document.dispatchEvent(new Event('gpt-lab:stop-writing')) && []"
_TEXT_TO_READ = (
    "ROMEO:\nBut, soft! what light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n"
    "The quick brown fox jumps over the lazy dog.\n"
)


def build_compare_tab(tab: gr.Tab, catalogue: Catalogue, seen: gr.State) -> links.Controls:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        tab: the tab itself, for what happens when it opens.
        catalogue: the models there are.
        seen: the keys of the runs this visitor has watched and the names of their uploads.

    Returns:
        The controls that an address can set, by their names in it, and that are written into one.
    """
    handlers = CompareHandlers(catalogue)
    choices = catalogue.choices([])
    with gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            names = gr.Dropdown(
                choices,
                value=[f"shipped/{name}" for name in dict.fromkeys((*catalogue.shipped[:1], *catalogue.shipped[-1:]))],
                multiselect=True,
                max_choices=MOST_COMPARED,
                allow_custom_value=True,  # programs and links name models that this page's list does not have yet
                label="Models",
                info=f"Up to {MOST_COMPARED}; those you train appear here.",
                elem_classes="phone-1",
            )
            with gr.Accordion("More models", open=False):
                upload = gr.UploadButton("Open a checkpoint (.zip)", file_types=[".zip"], type="binary", size="sm")
                original = gr.Button("Fetch the original GPT-2", size="sm")
                gr.Markdown("124 million parameters, 0.5 GB, from the Hugging Face hub. It needs the network once.")
            temperature = gr.Slider(
                *TEMPERATURES,
                value=0.8,
                step=0.05,
                label="Temperature",
                info="0 always takes the likeliest token; higher is wilder.",
            )
            with gr.Accordion("Details", open=False, elem_classes="details"):
                length = gr.Slider(*LENGTHS, value=240, step=10, label="Length", info="How many tokens to write.")
                top_k = gr.Slider(
                    *TOP_KS,
                    value=0,
                    step=1,
                    label="Top-k",
                    info="Choose among the k likeliest tokens only; 0 means all.",
                )
                top_p = gr.Slider(
                    *TOP_PS,
                    value=1,
                    step=0.05,
                    label="Top-p",
                    info="Choose among the fewest likeliest tokens with this total probability.",
                )
                second = gr.Dropdown(
                    [("none", ""), *((f"{value:g}", value) for value in SECOND_TEMPERATURES)],
                    value="",
                    label="Second temperature",
                    info="Each model also writes at this temperature.",
                )
                seed = gr.Number(7, precision=0, label="Seed", info="The same seed gives the same text.")
                leave_out = gr.Checkbox(
                    True,
                    label="leave out unseen characters",
                    info="Characters that a model has never seen are left out of its prompt and listed.",
                )
        with gr.Column(elem_classes=["pages", "phone-2"]), gr.Tabs() as views:
            with gr.Tab("Write", id="write"):
                prompt = gr.Textbox(
                    "ROMEO:",
                    label="Prompt",
                    info=f"What the models continue; up to {LONGEST_PROMPT:,} characters.",
                    lines=1,
                    max_lines=6,
                    elem_classes=["monospace", f"at-most-{LONGEST_PROMPT}"],
                )
                with gr.Row(elem_classes=["buttons", "narrow"]):
                    generate = gr.Button("Generate", variant="primary")
                    stop = gr.Button("Stop")
                gr.Examples(
                    [[example] for example in _EXAMPLES],
                    prompt,
                    label="Try",
                    elem_id="prompts",
                    api_visibility="private",
                )
                columns = text_columns(text_columns_value([], _EMPTY_COLUMNS), elem_id="columns")
            with gr.Tab("Step by step", id="step"):
                stepped = gr.Textbox(
                    "What sh",
                    label="Text so far",
                    info="Every model reads this. Press a bar to append its token.",
                    lines=1,
                    max_lines=4,
                    elem_classes=["monospace", f"at-most-{LONGEST_READING}"],
                )
                expect = gr.Button("Expect", variant="primary", elem_classes="narrow")
                bars = next_token({"models": [], "empty": EMPTY_STEPS}, elem_id="next-token")
            with gr.Tab("Read a text", id="read"):
                text = gr.Textbox(
                    _TEXT_TO_READ,
                    label="Text",
                    info=f"Up to {LONGEST_READING:,} characters.",
                    lines=4,
                    max_lines=8,
                    elem_classes=["monospace", f"at-most-{LONGEST_READING}"],
                )
                read = gr.Button("Read", variant="primary", elem_classes="narrow")
                reading = surprise_text({"models": [], "empty": EMPTY_READING}, elem_id="surprise")

    quiet: dict[str, Any] = {"show_progress": "hidden", **PRESSES}
    writes: dict[str, Any] = {"show_progress": "hidden", **WRITING}
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    writing = {"models": names, "prompt": prompt, "leave_out": leave_out, "length": length, "second": second}
    writing |= {**sampling, "seed": seed}
    stepping = {"models": names, "stepped": stepped, "leave_out": leave_out, **sampling}
    reading_of = {"models": names, "reading": text, "leave_out": leave_out}
    leave_checks_to_handlers([*writing.values(), *stepping.values(), *reading_of.values()])
    generating = gr.on(
        [generate.click, prompt.submit],
        handlers.generate,
        list(writing.values()),
        columns,
        js=links.keep("compare", writing, view=""),
        api_name="generate",
        **writes,
    )
    stop.click(None, cancels=generating, js=_SAY_STOPPED, api_visibility="private")
    stepping_inputs, stepping_outputs = list(stepping.values()), [bars, stepped]
    gr.on(
        [expect.click, stepped.submit],
        handlers.expect,
        stepping_inputs,
        stepping_outputs,
        js=links.keep("compare", stepping, view="step"),
        api_name="expect",
        trigger_mode="always_last",  # what was pressed last is shown
        **quiet,
    )
    for event, handler in ((bars.choose, handlers.choose), (bars.take_back, handlers.take_back)):
        event(handler, stepping_inputs, stepping_outputs, trigger_mode="multiple", api_visibility="private", **quiet)
    read.click(
        handlers.read,
        list(reading_of.values()),
        reading,
        js=links.keep("compare", reading_of, view="read"),
        api_name="read",
        trigger_mode="always_last",  # what was pressed last is shown
        **quiet,
    )
    upload.upload(handlers.upload, [upload, seen, names], [seen, names], api_visibility="private")
    original.click(handlers.fetch_original, [seen, names], names, api_visibility="private", concurrency_limit=1)
    tab.select(handlers.refresh, [seen, names], names, api_visibility="private", **quiet)

    told = {**reading_of, **stepping, **writing}
    return links.Controls({"view": views, **told}, told)
