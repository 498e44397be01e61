"""A bar of links to the parts of a long tab, which stays at the top while the page is scrolled."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def section_links(parts: Sequence[tuple[str, str]], **options: Any) -> gr.HTML:
    """Links to parts of the page, in their order.

    Args:
        parts: the words of each link, and the `elem_id` of what it leads to. A folded accordion opens; what stands
            under a heading of the page is shown with it.
        **options: for `gr.HTML`.
    """
    value = {"parts": [list(part) for part in parts]}
    return drawn_component("section_links", value, shared=("parts",), elem_classes="section-bar", **options)
