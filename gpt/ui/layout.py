"""What the layouts of several tabs have in common."""

from typing import Any

import gradio as gr

# Of a button that prepares files to take home. The page marks it meanwhile (messages.js), if it has an id. The box of
# files has no sign of its own, because after a refusal, which stands below in a sentence, that would say "Error".
PREPARING: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 1}


def section(title: str, explanation: str) -> None:
    """A heading on the page, with a sentence that says what stands below it."""
    gr.HTML(f"<h2>{title}</h2><p>{explanation}</p>", elem_classes="section")
