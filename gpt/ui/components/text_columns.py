"""Texts side by side, one column a model, as they are written."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def text_columns(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Columns of text that grow; the value is what `text_columns_value` gives."""
    return drawn_component(
        "text_columns", value, shared=("parts", "dashes", "switches", "cards", "take_away"), **options
    )


def text_columns_value(columns: Sequence[dict[str, Any]], empty: str = "") -> dict[str, Any]:
    """What `text_columns` draws.

    Args:
        columns: each with "label", "note" (a few words under it), "colour", "dash", "prompt", "text" (written so
            far) and "facts", a list of [name, value] in words.
        empty: said where there are no columns.
    """
    return {"columns": list(columns), "empty": empty}
