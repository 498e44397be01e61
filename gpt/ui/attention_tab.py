"""The Attention tab: what every head reads, with the mask drawn over it."""

from __future__ import annotations

from typing import Any

import gradio as gr
import torch

from gpt.masks import attention_mask
from gpt.probes import attention_maps
from gpt.ui.catalogue import Catalogue
from gpt.ui.components.attention_map import attention_map, pack_attention
from gpt.ui.requests import one_sentence, require_text, sentence
from gpt.ui.theme import variant_style

LONGEST_TEXT = 256  # tokens; a larger map could not be read, and would be heavy to send
_EXAMPLE = "To be, or not to be, that is the question:\nWhether 'tis nobler"
_EMPTY = "Press Look: every head's attention over your text will appear here."


class AttentionHandlers:
    """What the tab's buttons do; plain functions of the controls' values, so that tests can call them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def look(self, name: Any, text: Any) -> dict[str, Any]:
        """The attention of a model over a text, packed for `attention_map` to draw."""
        with one_sentence():
            return self._packed(name, text)

    def _packed(self, name: Any, text: Any) -> dict[str, Any]:
        torch.set_num_threads(1)  # trainers beside it keep their core
        ready = self.catalogue.get(name)
        config = ready.model.config
        text = require_text("the text", text, 100_000)
        most = min(config.context_length, LONGEST_TEXT)
        if not text:
            raise ValueError("the text is empty; give at least one character to look at")
        if len(text) > most:
            raise ValueError(f"the text has {len(text):,} characters; {ready.label} looks at {most} at most")
        weights = attention_maps(ready.model, torch.tensor([ready.tokenizer.encode(text)]))[:, 0]
        positions = torch.arange(len(text))
        return pack_attention(
            weights,
            attention_mask(positions, positions, config.window_size, config.causal),
            list(text),
            num_kv_heads=config.kv_heads,
            window_size=config.window_size,
            causal=config.causal,
            label=ready.label,
            colour=variant_style(ready.variant)["colour"],
        )

    def opened(self, seen: Any, name: Any, text: Any) -> tuple[Any, Any]:
        """On opening the tab: the models there are now, and the chosen one's attention, or why there is none."""
        choices = self.catalogue.choices(seen)
        there = [known for _, known in choices]
        chosen = name if name in there else (there[0] if there else None)
        if chosen is None:
            return gr.Dropdown(choices=choices), gr.skip()
        try:
            drawing = self._packed(chosen, text)
        except ValueError as error:
            drawing = {"empty": sentence(error)}
        return gr.Dropdown(choices=choices, value=chosen), drawing


def build_attention_tab(tab: gr.Tab, catalogue: Catalogue, seen: gr.State) -> None:
    """Lay the tab out inside the current `gr.Tab` and connect it.

    Args:
        tab: the tab itself, for what happens when it opens.
        catalogue: the models there are.
        seen: the keys of the runs this visitor has watched.
    """
    handlers = AttentionHandlers(catalogue)
    choices = catalogue.choices([])
    with_window = next((name for _, name in choices if name.endswith("sliding-window")), None)
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
        text = gr.Textbox(
            _EXAMPLE,
            label="Text",
            info=f"As long as the model's context, {LONGEST_TEXT} characters at most.",
            lines=2,
            max_lines=4,
            max_length=4 * LONGEST_TEXT,
            elem_classes="monospace",
            scale=5,
            min_width=240,
        )
        look = gr.Button("Look", variant="primary", scale=0, min_width=96)
    drawing = attention_map({"empty": _EMPTY}, elem_id="attention-map")

    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 2, "concurrency_id": "probes"}
    gr.on([look.click, name.input, text.submit], handlers.look, [name, text], drawing, api_name="attention", **quiet)
    tab.select(handlers.opened, [seen, name, text], [name, drawing], api_visibility="private", **quiet)
