"""A bar of links to the parts of a long tab, which stays at the top while the page is scrolled."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def section_links(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Links to parts of the page, in their order.

    The value is `{"parts": [[words, elem_id], ...]}`: the words of each link, and what it leads to. A folded accordion
    opens; a heading of the page that stands above a part is shown with it. The class "section-bar" keeps it in sight.
    """
    return drawn_component("section_links", value, shared=("parts",), **options)
