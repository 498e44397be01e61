"""Texts side by side, one column a model, as they are written."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def text_columns(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Columns of text that grow; the value is what `text_columns_value` gives.

    When the document gets `gpt-lab:stop-writing`, the columns say that the writing which they show was stopped.
    """
    return drawn_component(
        "text_columns", value, shared=("parts", "dashes", "switches", "cards", "more", "take_away"), **options
    )


def text_columns_value(
    columns: Sequence[dict[str, Any]], empty: str = "", *, status: str = "", writing: int = 0
) -> dict[str, Any]:
    """What `text_columns` draws.

    Args:
        columns: each with "label", "note" (a few words under it), "colour", "dash", "prompt", "text" (written so
            far) and "facts", a list of [name, value] in words; "is_done" once a column has no more to write.
        empty: said where there are no columns.
        status: whether the texts are being written, or are done, in a sentence that seldom changes.
        writing: while they are being written, a number that no other writing has; 0 afterwards.
    """
    return {"columns": list(columns), "empty": empty, "status": status, "writing": writing}
