"""The Compare tab: what several models write, expect and find surprising, side by side."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

import gpt
from gpt import ui
from gpt.limits import (
    LARGEST_UPLOAD,
    LONGEST_PROMPT,
    LONGEST_READING,
    MOST_COMPARED,
    MOST_NEW_TOKENS,
    MOST_WRITING_SECONDS,
)
from gpt.ui.catalogue import Catalogue, ReadyModel, still_there
from gpt.ui.components.next_token import next_token
from gpt.ui.components.surprise_text import surprise_text
from gpt.ui.components.text_columns import text_columns, text_columns_value
from gpt.ui.pace import PACE
from gpt.ui.requests import (
    leave_checks_to_handlers,
    one_sentence,
    require_flag,
    require_number,
    require_text,
    require_whole,
    sentence,
)

SECONDS_BETWEEN_UPDATES = 1 / 12
SECOND_TEMPERATURES = (0.0, 0.2, 0.5, 1.0, 1.2, 1.5, 2.0)

_EMPTY_COLUMNS = "Press Generate: what each model writes will appear here, side by side, letter by letter."
_EMPTY_STEPS = "Press Expect: what each model expects next will appear here; choose what comes."
_EMPTY_READING = "Press Read: every character will be coloured by how much it surprised each model."
_EXAMPLES = ("ROMEO:", "To be, or not to be", "First Citizen:\n", "The king")
_TEXT_TO_READ = (
    "ROMEO:\nBut, soft! what light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n"
    "The quick brown fox jumps over the lazy dog.\n"
)


@dataclass(frozen=True)
class Sampling:
    """The choices of how to write, checked; the fields are the controls in their order.

    Raises:
        ValueError: a control holds what it cannot; the message is for the person at the controls.
    """

    temperature: Any
    top_k: Any
    top_p: Any
    seed: Any

    def __post_init__(self) -> None:
        require_number("temperature", self.temperature, 0, 5)
        object.__setattr__(self, "top_k", require_whole("top-k", self.top_k, 0, 10_000))
        require_number("top-p", self.top_p, 0.01, 1)
        object.__setattr__(self, "seed", require_whole("seed", self.seed, 0, 2**31))

    def options(self) -> dict[str, Any]:
        """Keyword arguments for `stream_tokens`."""
        top_p = None if self.top_p == 1 else self.top_p
        return {"temperature": self.temperature, "top_k": self.top_k or None, "top_p": top_p, "seed": self.seed}


class CompareHandlers:
    """What the tab's buttons do; plain functions of the controls' values, so that tests can call them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    async def generate(
        self, names: Any, prompt: Any, leave_out: Any, length: Any, second: Any, *sampling: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield all columns as they grow, at most twelve times a second.

        Args:
            names: of the models, as the catalogue knows them.
            prompt: what to continue.
            leave_out: whether characters that a model has never seen are left out of its prompt.
            length: tokens to write.
            second: a second temperature at which each model writes, too; "" for none.
            sampling: the fields of `Sampling`, the same for all models.
        """
        with one_sentence():
            columns = await asyncio.to_thread(self._columns, names, prompt, leave_out, length, second, *sampling)
        deadline = time.monotonic() + MOST_WRITING_SECONDS
        goes_on = True
        with PACE.stream():
            while goes_on and time.monotonic() < deadline:
                next_update = time.monotonic() + PACE.seconds(SECONDS_BETWEEN_UPDATES)
                goes_on = await asyncio.to_thread(ui.model_views.write_in_turns, columns, SECONDS_BETWEEN_UPDATES)
                yield text_columns_value([column.view() for column in columns])
                await asyncio.sleep(max(0.0, next_update - time.monotonic()))

    def _columns(
        self, names: Any, prompt: Any, leave_out: Any, length: Any, second: Any, *sampling: Any
    ) -> list[ui.model_views.Column]:
        chosen = Sampling(*sampling)
        length = require_whole("length", length, 1, MOST_NEW_TOKENS)
        temperatures = [chosen.temperature]
        if second not in ("", None):
            temperatures.append(require_number("second temperature", second, 0, 5))
        models = self._models(names, most=MOST_COMPARED // len(temperatures))
        prompt = _prompt(prompt)
        leave_out = require_flag("the switch for unseen characters", leave_out)
        columns = []
        for ready in models:
            own_prompt, note = ui.model_views.readable(ready, prompt, leave_out)
            for temperature in temperatures:
                what = f"{note} · temperature {temperature:g}" if len(temperatures) > 1 else note
                columns.append(
                    ui.model_views.Column(
                        ready, own_prompt, length, chosen.options() | {"temperature": temperature}, what
                    )
                )
        return columns

    def _models(self, names: Any, most: int = MOST_COMPARED) -> list[ReadyModel]:
        if not isinstance(names, list) or not names:
            raise ValueError("no model is chosen; choose at least one")
        if len(names) > most:
            raise ValueError(f"{len(names)} models are chosen; at most {most} fit side by side so")
        return [self.catalogue.get(name) for name in names]

    def expect(
        self, names: Any, text: Any, leave_out: Any, temperature: Any, top_k: Any, top_p: Any
    ) -> tuple[dict[str, Any], str]:
        """What each model expects after a text, for `next_token` to draw, and the text.

        The bars carry logits, so that temperature, top-k and top-p reshape them on the page.
        """
        with one_sentence():
            sampling = Sampling(temperature, top_k, top_p, 0)
            text = _prompt(text, longest=LONGEST_READING)
            leave_out = require_flag("the switch for unseen characters", leave_out)
            models = [ui.model_views.expectation(ready, text, leave_out) for ready in self._models(names)]
        value = {
            "text": text,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "models": models,
            "empty": _EMPTY_STEPS,
        }
        return value, text

    def choose(
        self, names: Any, text: Any, leave_out: Any, temperature: Any, top_k: Any, top_p: Any, chosen: gr.EventData
    ) -> tuple[dict[str, Any], str]:
        """Append the token that was pressed, and look again."""
        with one_sentence():
            token = require_text("the token", getattr(chosen, "token", None), 100)
        return self.expect(names, f"{text or ''}{token}", leave_out, temperature, top_k, top_p)

    def take_back(
        self, names: Any, text: Any, leave_out: Any, temperature: Any, top_k: Any, top_p: Any
    ) -> tuple[dict[str, Any], str]:
        """Remove the last character, unless it is the only one, and look again."""
        shorter = text[:-1] if isinstance(text, str) and len(text) > 1 else text
        return self.expect(names, shorter, leave_out, temperature, top_k, top_p)

    def read(self, names: Any, text: Any, leave_out: Any) -> str:
        """How much each character of a text surprised each model, for `surprise_text` to draw.

        As JSON in one piece, because Gradio's page walks every number of a value that it knows as numbers.
        """
        with one_sentence():
            text = require_text("the text", text, LONGEST_READING)
            if len(text) < 2:
                raise ValueError("the text has fewer than two characters; nothing can be a surprise yet")
            leave_out = require_flag("the switch for unseen characters", leave_out)
            models = [ui.model_views.reading_view(ready, text, leave_out) for ready in self._models(names)]
            if len({tuple(model["tokens"]) for model in models if not model["error"]}) > 1:
                for model in models:  # what is counted per token cannot be compared
                    model["totals"] = [total for total in model["totals"] if total[0] == "bits per byte"]
            return json.dumps({"models": models, "empty": _EMPTY_READING}, allow_nan=False)

    def refresh(self, seen: Any, names: Any) -> gr.Dropdown:
        """The models there are now: those chosen stay chosen, and new ones join them while there is room."""
        choices = self.catalogue.choices(seen)
        kept = still_there(choices, names)
        new = [name for _, name in choices if name.startswith("run/") and "@" not in name and name not in kept]
        return gr.Dropdown(choices=choices, value=[*kept, *new][:MOST_COMPARED], multiselect=True)

    def upload(self, content: Any, seen: Any, names: Any) -> tuple[Any, Any]:
        """Take in a zipped checkpoint and choose it."""
        with one_sentence():
            if not isinstance(content, bytes):
                raise ValueError(f"this is not a file; choose a zip file of at most {LARGEST_UPLOAD // 10**6} MB")
            name = self.catalogue.upload(content)
        known = [*(seen if isinstance(seen, list) else []), name]
        return known, self._also(known, names, name)

    def fetch_original(self, seen: Any, names: Any) -> Any:
        """Load the original GPT-2, which the first time needs the network, and choose it."""
        try:
            name = self.catalogue.fetch_original()
        except gpt.pretrained.PretrainedUnavailable as error:
            raise gr.Error(sentence(error), print_exception=False) from None
        return self._also(seen, names, name)

    def _also(self, seen: Any, names: Any, name: str) -> gr.Dropdown:
        choices = self.catalogue.choices(seen)
        kept = [known for known in still_there(choices, names) if known != name]
        return gr.Dropdown(choices=choices, value=[*kept[: MOST_COMPARED - 1], name], multiselect=True)


def _prompt(text: Any, longest: int = LONGEST_PROMPT) -> str:
    text = require_text("the prompt", text, longest)
    if not text:
        raise ValueError("the prompt is empty; give at least one character to continue from")
    return text


# The address holds the setup, so that a link reproduces it: written by the page when a button is pressed, and read by
# `from_address` when the page opens. These are the names of the controls in it.
_IN_ADDRESS = (
    *("view", "models", "prompt", "stepped", "reading"),
    *("leave_out", "length", "second", "temperature", "top_k", "top_p", "seed"),
)
_VIEWS = ("write", "step", "read")


def _keep_in_address(view: str, *names: str) -> str:
    """The script that runs before a button's handler: it writes the view and these inputs into the address."""
    return f"""(...values) => {{
  const address = new URL(window.location.href);
  address.searchParams.set('view', '{view}');
  {list(names)}.forEach((name, index) => {{
    const value = values[index];
    if (value === null || value === undefined) address.searchParams.delete(name);
    else address.searchParams.set(name, String(value).slice(0, {LONGEST_PROMPT})); // a list is joined by commas
  }});
  window.history.replaceState(window.history.state, '', address);
  return values;
}}"""


def from_address(address: dict[str, str]) -> dict[str, Any]:
    """What a link's query sets: "tab" and the names in `_IN_ADDRESS`; what is missing or unusable is left as it is."""
    tab = address.get("tab")
    is_known = tab in ("train", "compare", "attention", "cost")
    values: dict[str, Any] = {"tab": gr.Tabs(selected=tab) if is_known else gr.skip()}
    for name in _IN_ADDRESS:
        try:
            values[name] = gr.skip() if name not in address else _value_in_address(name, address[name])
        except ValueError:
            values[name] = gr.skip()
    return values


def _value_in_address(name: str, text: str) -> Any:
    if name == "view":
        return gr.Tabs(selected=text) if text in _VIEWS else gr.skip()
    if name == "models":
        return [model[:80] for model in text.split(",")[:MOST_COMPARED]]
    if name in ("prompt", "stepped", "reading"):
        return require_text("the text", text, LONGEST_PROMPT)
    if name == "leave_out":
        return text == "true"
    if name == "second" and not text:
        return ""
    bounds = {"length": (20, MOST_NEW_TOKENS), "top_k": (0, 50), "top_p": (0.05, 1), "seed": (0, 2**31)}
    number = require_number(name, float(text), *bounds.get(name, (0, 2)))
    if name == "second" and number not in SECOND_TEMPERATURES:
        raise ValueError("not one of the second temperatures")
    return int(number) if name in ("length", "top_k", "seed") else number


def build_compare_tab(page: gr.Blocks, tabs: gr.Tabs, tab: gr.Tab, catalogue: Catalogue, seen: gr.State) -> None:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        page: the page, for what happens when it opens.
        tabs: all tabs, for links that lead here.
        tab: this one, for what happens when it opens.
        catalogue: the models there are.
        seen: the keys of the runs this visitor has watched and the names of their uploads.
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
                gr.Markdown("124 million parameters, 0.5 GB, from the Hugging Face hub: needs the network once.")
            temperature = gr.Slider(
                0, 2, value=0.8, step=0.05, label="Temperature", info="0 always takes the likeliest; more is wilder."
            )
            with gr.Accordion("Details", open=False):
                length = gr.Slider(20, MOST_NEW_TOKENS, value=240, step=10, label="Length", info="Tokens to write.")
                top_k = gr.Slider(0, 50, value=0, step=1, label="Top-k", info="Only the k likeliest; 0 is all.")
                top_p = gr.Slider(
                    0.05, 1, value=1, step=0.05, label="Top-p", info="Only the likeliest that make up this share."
                )
                second = gr.Dropdown(
                    [("none", ""), *((f"{value:g}", value) for value in SECOND_TEMPERATURES)],
                    value="",
                    label="Second temperature",
                    info="Each model writes at this one, too.",
                )
                seed = gr.Number(7, precision=0, label="Seed", info="The same seed gives the same text.")
                leave_out = gr.Checkbox(
                    True,
                    label="leave out unseen characters",
                    info="What a model has never seen is left out of its prompt, and named.",
                )
        with gr.Column(elem_classes=["pages", "phone-2"]), gr.Tabs() as views:
            with gr.Tab("Write", id="write"):
                prompt = gr.Textbox(
                    "ROMEO:",
                    label="Prompt",
                    info="What the models continue.",
                    lines=1,
                    max_lines=6,
                    max_length=LONGEST_PROMPT,
                    elem_classes="monospace",
                )
                with gr.Row(elem_classes=["buttons", "narrow"]):
                    generate = gr.Button("Generate", variant="primary")
                    stop = gr.Button("Stop")
                gr.Examples([[example] for example in _EXAMPLES], prompt, label="Try", api_visibility="private")
                columns = text_columns(text_columns_value([], _EMPTY_COLUMNS), elem_id="columns")
            with gr.Tab("Step by step", id="step"):
                stepped = gr.Textbox(
                    "ROMEO:",
                    label="Text so far",
                    info="Every model reads this; press a bar to append its token.",
                    lines=1,
                    max_lines=4,
                    elem_classes="monospace",
                )
                expect = gr.Button("Expect", variant="primary", elem_classes="narrow")
                bars = next_token({"models": [], "empty": _EMPTY_STEPS}, elem_id="next-token")
            with gr.Tab("Read a text", id="read"):
                text = gr.Textbox(
                    _TEXT_TO_READ,
                    label="Text",
                    info=f"Up to {LONGEST_READING:,} characters.",
                    lines=4,
                    max_lines=8,
                    elem_classes="monospace",
                )
                read = gr.Button("Read", variant="primary", elem_classes="narrow")
                reading = surprise_text({"models": [], "empty": _EMPTY_READING}, elem_id="surprise")

    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None}
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
        js=_keep_in_address("write", *writing),
        api_name="generate",
        **quiet,
    )
    stop.click(None, cancels=generating, api_visibility="private")
    stepping_inputs, stepping_outputs = list(stepping.values()), [bars, stepped]
    gr.on(
        [expect.click, stepped.submit],
        handlers.expect,
        stepping_inputs,
        stepping_outputs,
        js=_keep_in_address("step", *stepping),
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
        js=_keep_in_address("read", *reading_of),
        api_name="read",
        trigger_mode="always_last",  # what was pressed last is shown
        **quiet,
    )
    upload.upload(handlers.upload, [upload, seen, names], [seen, names], api_visibility="private")
    original.click(handlers.fetch_original, [seen, names], names, api_visibility="private", concurrency_limit=1)
    tab.select(handlers.refresh, [seen, names], names, api_visibility="private", **quiet)

    in_address = {"tab": tabs, "view": views, **reading_of, **stepping, **writing}

    def open_link(request: gr.Request) -> list[Any]:
        values = from_address(dict(request.query_params))
        return [values[name] for name in in_address]

    page.load(open_link, None, list(in_address.values()), api_visibility="private", **quiet)
