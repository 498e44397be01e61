"""Bars of what several models cost, split by part, each bar's numbers in a table below."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component

# A part looks the same in every block; the patterns are tints and textures of ink, never a variant's colour.
_PATTERNS = {
    "token embedding": "solid",
    "output layer": "solid",
    "position embedding": "dots",
    "attention": "stripes",
    "attention projections": "stripes",
    "attention scores and values": "grid",
    "feed-forward": "tint",
    "normalisation": "clear",
}


def cost_bars(value: dict[str, Any] | str | None = None, **options: Any) -> gr.HTML:
    """Build the bars, the output of events that give `cost_bars_value`s."""
    return drawn_component(
        "cost_bars", value, shared=("parts", "values", "numbers", "keys", "tables", "legends"), **options
    )


def cost_bars_value(blocks: Sequence[Mapping[str, Any]], note: str = "", empty: str = "") -> str:
    """What `cost_bars` draws, as JSON.

    Args:
        blocks: side by side where there is room, each {"title", "note", "models"}. Each model is {"label", "colour",
            "dash", "computed", "counted"}: the last two go from a part's name to a whole number, the same parts in the
            same order for all models of a block; "counted" may be None.
        note: a sentence about all of it.
        empty: said where there are no blocks.

    Raises:
        ValueError: two models of a block have different parts.
    """
    sent = []
    for block in blocks:
        parts = list(block["models"][0]["computed"])
        for model in block["models"]:
            for kind in ("computed", "counted"):
                if model[kind] is not None and list(model[kind]) != parts:
                    raise ValueError(f"{model['label']} has the {kind} parts {list(model[kind])}; give {parts}")
        named = [{"name": part, "pattern": _PATTERNS.get(part, "clear")} for part in parts]
        sent.append({**block, "parts": named, "models": [dict(model) for model in block["models"]]})
    return json.dumps({"blocks": sent, "note": note, "empty": empty}, allow_nan=False)
