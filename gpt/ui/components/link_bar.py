"""Beside the page's title: the link to what is set, as a copy or as a QR code, and where a class is to join."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component
from gpt.ui.requests import require_text, sentence

LONGEST_QR_LINK = 500  # characters; a code with more modules could not be read from a projector
_LONGEST_QUESTION = 100_000


def link_bar(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """A bar drawn from `{"note", "join", "opens"}`, each "" for none: a sentence on the link that the page was opened
    with, the address at which others join, and the tab that the link opens, unless its visitor has opened one.

    Events: `link`, when the link to the open tab is wanted; the page answers with `gpt-lab:link` on the document, whose
    `detail` is {tab, url, leftOut}; and `go`, with `query`, after a step in the browser's history. The server function
    `qr_code`, called with {"words"}, answers as `code_of` does.
    """
    return drawn_component("link_bar", value, shared=("parts", "numbers", "switches"), **options)


def code_of(words: Any) -> dict[str, Any]:
    """A QR code of some words: {"size", "path"} of an SVG of so many units, or {"error"} with a sentence."""
    try:
        words = require_text("the link", words, _LONGEST_QUESTION)
        if not words or len(words) > LONGEST_QR_LINK:
            raise ValueError(
                f"this link has {len(words):,} characters, and a QR code that can be read from a distance holds at "
                f"most {LONGEST_QR_LINK}; copy the link, or shorten its text"
            )
        return dict(_code(words))
    except ValueError as error:
        return {"error": sentence(error)}


@lru_cache(maxsize=64)
def _code(words: str) -> dict[str, Any]:
    import segno  # when the first code is wanted

    rows = segno.make_qr(words, error="m").matrix
    runs = []
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            end = x
            while end < len(row) and row[end]:
                end += 1
            if end > x:
                runs.append(f"M{x} {y}h{end - x}v1h-{end - x}z")
            x = max(end, x + 1)
    return {"size": len(rows), "path": "".join(runs)}
