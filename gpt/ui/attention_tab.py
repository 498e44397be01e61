"""The Attention tab: what every head reads with the mask drawn over it, and what follows from it."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

import gpt
from gpt import ui
from gpt.config import GPTConfig
from gpt.limits import LONGEST_LOOK, MOST_LOOKS
from gpt.ui.catalogue import Catalogue, at_step
from gpt.ui.components.attention_map import attention_map
from gpt.ui.components.head_table import head_table
from gpt.ui.components.outcomes import outcomes
from gpt.ui.components.receptive_field import receptive_field
from gpt.ui.components.silence import silence
from gpt.ui.components.step_slider import step_slider
from gpt.ui.limiter import COMPUTING
from gpt.ui.requests import leave_checks_to_handlers, one_sentence, require_text, require_whole, sentence

_LONGEST_SENT = 100_000  # characters that are read at all, to say by how much a text is too long
_EXAMPLE = "To be, or not to be, that is the question:\nWhether 'tis nobler"
_EMPTY = "Press Look: every head's attention over your text will appear here."
_EMPTY_BELOW = {"empty": "Press Look above: what is measured in the model will appear here."}


class AttentionHandlers:
    """What the tab's buttons do; plain functions of the controls' values, so that tests can call them.

    `look` remembers what is looked at and gives it a key, by which the other handlers find it: so all that is on the
    page is about the same weights, even while these go on learning.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._looks: OrderedDict[str, ui.attention_views.Look] = OrderedDict()
        self._exports = tempfile.TemporaryDirectory(prefix="gpt-lab-")  # gone with the process

    def look(self, name: Any, second: Any, text: Any, looked: Any = None) -> tuple[Any, ...]:
        """Look at a text with one model or two.

        Args:
            name: of the model, as the catalogue knows it.
            second: of another, to stand beside it; "" for none.
            text: what they read.
            looked: what the tab remembers of its look before.

        Returns:
            Values for `attention_map` and `step_slider`, and what the tab remembers: a key, and the names.
        """
        with one_sentence():
            return self._look(name, second, text, looked)

    def _look(self, name: Any, second: Any, text: Any, looked: Any) -> tuple[Any, ...]:
        models = [self.catalogue.get(one) for one in ([name] if second in ("", None) else [name, second])]
        look = ui.attention_views.take_look(models, require_text("the text", text, _LONGEST_SENT))
        if isinstance(looked, list) and looked and looked[0] in self._looks:
            self._looks[looked[0]].is_past = True
        key = secrets.token_hex(8)
        self._looks[key] = look
        while len(self._looks) > MOST_LOOKS:
            oldest, _ = self._looks.popitem(last=False)
            shutil.rmtree(Path(self._exports.name) / oldest, ignore_errors=True)
        steps = self.catalogue.steps(name)
        step = self.catalogue.step_of(name)
        slider = {
            "steps": steps,
            "index": steps.index(step) if step in steps else 0,
            "label": f"As it learned, {look.first.label}",
        }
        with COMPUTING:
            return ui.attention_views.map_view(look), slider, [key, name, second]

    def look_at_step(self, looked: Any, chosen: gr.EventData) -> tuple[Any, ...]:
        """The same look at another step of the first model's training."""
        with one_sentence():
            key, name, second = self._remembered(looked)
            steps = self.catalogue.steps(name)
            if not steps:
                raise ValueError("of this model no other steps are kept; choose one that was trained here")
            step = require_whole("the step", getattr(chosen, "step", None), 0, steps[-1])
            return self._look(at_step(name, step), second, self._looks[key].text, looked)

    def measure(self, looked: Any) -> tuple[Any, ...]:
        """The numbers of every head, the receptive field of the last token, and what is expected after the text."""
        if looked is None:
            return _EMPTY_BELOW, _EMPTY_BELOW, _EMPTY_BELOW
        with one_sentence(), COMPUTING:
            look = self._find(looked)
            views = (
                ui.attention_views.heads_view(look),
                ui.attention_views.field_view(look, len(look.tokens) - 1),
                ui.attention_views.outcomes_view(look),
            )
            # A look that came meanwhile has views of its own, which this must not come after.
            return tuple(gr.skip() for _ in views) if look.is_past else views

    def silence_each(self, looked: Any) -> Iterator[Any]:
        """What silencing each head costs, one layer after another."""
        if looked is None:
            yield _EMPTY_BELOW
            return
        with one_sentence():
            look = self._find(looked)
            if len(look.ids) < 2:
                yield {"empty": "A text of one token has no loss to compare; give a longer one."}
                return
            yield self._silence_view(look)
            if look.silencing or not ui.attention_views.can_silence_all(look.config, len(look.ids)):
                return  # measured before; or large, where heads are silenced by hand alone
            layers = gpt.ablation.silencing_costs(look.first.model, look.ids)
            measured: list[gpt.ablation.Silencing] = []
            while not look.is_past:
                with COMPUTING:
                    layer = next(layers, None)
                if layer is None:
                    return
                measured.append(layer)
                look.silencing = list(measured)
                yield self._silence_view(look)

    def silence(self, looked: Any, chosen: gr.EventData) -> tuple[str, dict[str, Any]]:
        """Silence these heads of the first model, and no others: the change of its loss and of what it expects."""
        with one_sentence():
            look = self._find(looked)
            heads = _head_list("heads", getattr(chosen, "heads", None))
            kv_heads = _head_list("KV heads", getattr(chosen, "kv_heads", None))
            before = look.heads, look.kv_heads
            look.heads, look.kv_heads = heads, kv_heads
            try:
                with COMPUTING:
                    return ui.attention_views.silence_view(look), ui.attention_views.outcomes_view(look)
            except ValueError:
                look.heads, look.kv_heads = before
                raise

    def trace(self, looked: Any, chosen: gr.EventData) -> str:
        """What can reach the output at the chosen token, and what does."""
        with one_sentence():
            look = self._find(looked)
            position = require_whole("the token", getattr(chosen, "position", None), 0, len(look.ids) - 1)
            with COMPUTING:
                return ui.attention_views.field_view(look, position)

    def export(self, looked: Any, chosen: Any) -> list[str]:
        """Pictures and weights of the first model's attention; `chosen` is "layer,head" of the large map."""
        with one_sentence():
            look = self._find(looked)
            head = _head_in_text(chosen, look.config)
            folder = Path(self._exports.name) / self._remembered(looked)[0]
            folder.mkdir(exist_ok=True)
            with COMPUTING:
                weights = gpt.probes.attention_maps(look.first.model, look.ids[None])[:, 0]
            files = gpt.exports.export_attention(weights, look.config, look.tokens, head, look.first.label, folder)
            return [str(path) for path in files]

    @staticmethod
    def _silence_view(look: ui.attention_views.Look) -> str:
        with COMPUTING:
            return ui.attention_views.silence_view(look)

    def _find(self, looked: Any) -> ui.attention_views.Look:
        return self._looks[self._remembered(looked)[0]]

    def _remembered(self, looked: Any) -> list[Any]:
        if not isinstance(looked, list) or len(looked) != 3 or looked[0] not in self._looks:
            raise ValueError("there is nothing to look into yet, or it was too long ago; press Look")
        return looked

    def opened(self, seen: Any, name: Any, second: Any, text: Any, looked: Any = None) -> tuple[Any, ...]:
        """On opening the tab: the models there are now, and the chosen one's attention, or why there is none."""
        choices = self.catalogue.choices(seen, snapshots=False)
        there = [known for _, known in choices]
        chosen = name if name in there else (there[0] if there else None)
        also = second if second in there else ""
        lists = gr.Dropdown(choices=choices, value=chosen), gr.Dropdown(choices=[_NO_SECOND, *choices], value=also)
        if chosen is None:
            return *lists, gr.skip(), gr.skip(), gr.skip()
        try:
            return *lists, *self._look(chosen, also, text, looked)
        except ValueError as error:
            return *lists, {"empty": sentence(error)}, {"steps": [], "index": 0, "label": ""}, None


_NO_SECOND = ("none", "")


def _head_list(what: str, value: Any) -> list[tuple[int, int]]:
    """Pairs of layer and head as a page sends them; raises ValueError in a sentence."""
    if not isinstance(value, list) or len(value) > 10_000:
        raise ValueError(f"the {what} are {value!r:.80}; give a list of pairs of layer and head")
    pairs = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"one of the {what} is {pair!r:.80}; give a pair of layer and head")
        pairs.append((require_whole("the layer", pair[0], 0, 999), require_whole("the head", pair[1], 0, 999)))
    return list(dict.fromkeys(pairs))


def _section(title: str, explanation: str) -> None:
    """A heading on the page, with a line that says what stands below it."""
    gr.HTML(f"<h2>{title}</h2><p>{explanation}</p>", elem_classes="section")


def _head_in_text(text: Any, config: GPTConfig) -> tuple[int, int]:
    """(layer, head) of "layer,head"; the first head where the text says anything else."""
    layer, _, head = str(text).partition(",")
    if not (layer.isdecimal() and head.isdecimal() and len(layer) < 4 and len(head) < 4):
        return 0, 0
    return min(int(layer), config.num_layers - 1), min(int(head), config.num_heads - 1)


# Runs before the export's handler: which head the large map shows, the page alone knows.
_CHOSEN_HEAD = """(looked, chosen) => {
  const map = document.querySelector('#attention-map [data-layer], #attention-map[data-layer]');
  return [looked, map ? `${map.dataset.layer},${map.dataset.head}` : chosen];
}"""


def build_attention_tab(tab: gr.Tab, catalogue: Catalogue, seen: gr.State) -> None:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        tab: the tab itself, for what happens when it opens.
        catalogue: the models there are.
        seen: the keys of the runs this visitor has watched.
    """
    handlers = AttentionHandlers(catalogue)
    choices = catalogue.choices([], snapshots=False)
    with_window = next((name for _, name in choices if name.endswith("sliding-window")), None)
    looked = gr.State(None)
    with gr.Row(elem_classes="strip"):
        name = gr.Dropdown(
            choices,
            value=with_window,
            label="Model",
            info="Those you train appear here.",
            allow_custom_value=True,  # programs name models that this page's list does not have yet
            scale=2,
            min_width=200,
        )
        second = gr.Dropdown(
            [_NO_SECOND, *choices],
            value="",
            label="Beside it",
            info="A second model, and the difference.",
            allow_custom_value=True,
            scale=2,
            min_width=200,
        )
        text = gr.Textbox(
            _EXAMPLE,
            label="Text",
            info=f"Not longer than the model's context, nor than {LONGEST_LOOK} characters.",
            lines=2,
            max_lines=4,
            max_length=4 * LONGEST_LOOK,
            elem_classes="monospace",
            scale=5,
            min_width=240,
        )
        look = gr.Button("Look", variant="primary", scale=0, min_width=96)
    slider = step_slider({"steps": [], "index": 0, "label": ""}, elem_id="step-slider")
    drawing = attention_map({"empty": _EMPTY}, elem_id="attention-map")
    _section("What each head does", "In the first model, measured on this text; press a row to see its map.")
    table = head_table(_EMPTY_BELOW, elem_id="head-table")
    _section("Silence a head", "Switch heads of the first model off, and see what the loss and the next characters do.")
    with gr.Row(elem_classes="halves"):
        silencing = silence(_EMPTY_BELOW, elem_id="silence")
        following = outcomes(_EMPTY_BELOW, elem_id="outcomes")
    _section(
        "What can reach a character",
        "In the first model: the masks say what could count, the gradient how much it does.",
    )
    reach = receptive_field(_EMPTY_BELOW, elem_id="receptive-field")
    with gr.Accordion("Take home", open=False):
        chosen_head = gr.Textbox("0,0", visible=False)
        export = gr.Button("Prepare pictures and weights", size="sm", elem_classes="narrow")
        files = gr.File(label="The large map, all heads, the weights", file_count="multiple", interactive=False)

    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 2, "concurrency_id": "probes"}
    private: dict[str, Any] = {**quiet, "api_visibility": "private"}
    leave_checks_to_handlers([name, second, text])
    shown = [drawing, slider, looked]
    pressed = gr.on(
        [look.click, name.input, second.input, text.submit],
        handlers.look,
        [name, second, text, looked],
        shown,
        api_name="attention",
        trigger_mode="always_last",  # a press while another look is under way is not lost
        **quiet,
    )
    stepped = slider.choose_step(handlers.look_at_step, looked, shown, **private)
    opened = tab.select(handlers.opened, [seen, name, second, text, looked], [name, second, *shown], **private)
    for event in (pressed, stepped, opened):
        event.success(handlers.measure, looked, [table, reach, following], **private)
        event.success(handlers.silence_each, looked, silencing, **private)
    silencing.silence(handlers.silence, looked, [silencing, following], trigger_mode="multiple", **private)
    reach.choose(handlers.trace, looked, reach, trigger_mode="multiple", **private)
    export.click(
        handlers.export, [looked, chosen_head], files, js=_CHOSEN_HEAD, api_visibility="private", concurrency_limit=1
    )
