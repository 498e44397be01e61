"""What the layouts of several tabs have in common."""

import gradio as gr


def section(title: str, explanation: str) -> None:
    """A heading on the page, with a sentence that says what stands below it."""
    gr.HTML(f"<h2>{title}</h2><p>{explanation}</p>", elem_classes="section")
