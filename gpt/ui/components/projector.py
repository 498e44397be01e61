"""The projector mode: one chart or one map fills the screen, in type that can be read from the back row."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def projector(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """A button that enters the mode, and the bar above the picture that leaves it, as Esc does.

    The mode is the page's alone, also when the address asks for it with `projector=1`: the class `projector` on the
    body, for which `style.css` says what is left on the screen and how large. The server function `class_news`,
    called with `{"run": key}` every few seconds meanwhile, answers with a sentence on who watches and who waits.
    """
    return drawn_component("projector", value, shared=("parts", "numbers", "switches"), **options)
