"""Text files of a visitor's own, or a folder of them, read in the browser; only their text is sent."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def text_files(
    value: dict[str, Any] | None = None, *, most_files: int = 1, most_characters: int = 1, **options: Any
) -> gr.HTML:
    """Two buttons, for files and for a folder, and what became of those that were chosen last.

    The value is `{"sentences": [...]}`.

    Event: `open_files`, with `files`, a list of `{"name", "text", "problem"}`, and `others`, how many more were left
    out without a word. A name is the path below the chosen folder. The text is null where the file is not read: because
    of its name, or because of a problem, "size" or "encoding".

    Args:
        value: what is shown first.
        most_files: that are read at once.
        most_characters: of all files that are sent together.
        options: for `gr.HTML`.
    """
    bounds: dict[str, Any] = {"most_files": most_files, "most_characters": most_characters}
    return drawn_component("text_files", value, shared=("parts", "values", "numbers", "switches"), **bounds, **options)
