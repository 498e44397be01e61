"""A text cut into its tokens: neighbours in alternating shades, so that one sees where each begins and ends."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def token_text(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """How a text begins, token by token.

    The value is `{"sentence", "is_error", "tokens"}`: what there is to say of the text, or why it cannot be shown, and
    its first tokens as texts; one that only continues a character is "".
    """
    return drawn_component("token_text", value, shared=("parts", "values", "tokens"), **options)
