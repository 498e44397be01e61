"""The button and the list of the field's words, and their marks in what the page says."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def glossary(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """A button that opens a list of words; wherever an explanation has one of them, it is marked, and explains itself.

    The value is what `glossary_value` gives: "groups" of {"title", "words"}, each word {"name", "meaning", "forms"},
    and "others", the phrases in which a form means something else.

    Marked are labels, explanations and headings of facts, each word once in a block; never a button, a field, or what
    a model or a user has written. In each tab the first visible mark of a word is a stop of the Tab key.
    """
    return drawn_component("glossary", value, shared=("parts",), parts=("marks", "note"), **options)
