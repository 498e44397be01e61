"""A text as each model reads it: every token coloured by how much it surprised the model, or two models compared."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def surprise_text(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """A text coloured by surprise: one model, two side by side, or their difference.

    The value is `{"empty", "models"}`, the words for a page without models and the readings. Each has

    - "label", "note", "colour", "dash", and "error", a sentence that stands in place of the reading, or "";
    - "tokens", the text cut as this model reads it; where two models' are equal, their difference can be shown;
    - "bits", the surprise -log2 p of each token; the first is None, for nothing stands before it;
    - "alternatives", for each token the likeliest ones in its place as [token, probability], or None;
    - "totals", a list of [name, value in words].

    An event returns this dict, or the same as one JSON string. For more than some hundred tokens only the string is
    quick: Gradio walks through every number of a dict on its way (3 s for two models and 5,000 tokens, not 0.7 s).
    """
    return drawn_component(
        "surprise_text",
        value,
        shared=("parts", "values", "tokens", "numbers", "keys", "tables", "legends", "dashes", "cards"),
        **options,
    )
