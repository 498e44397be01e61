"""One experiment on the page: its question, a place to predict, and what was measured beside what was predicted.

What a visitor predicts is the page's own: the server is told only that it was done. A choice and a drawn curve are kept
in the address, so that they outlive a reload.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from gpt.figures.colours import VARIANT_COLOURS
from gpt.ui.components import drawn_component
from gpt.ui.theme import variant_style


def experiment_board(value: str | None = None, **options: Any) -> gr.HTML:
    """Build the board, the output of events that give `experiment_board_value`s.

    Events: `ask`, when Run is pressed (or "Just show me"), and `stop`. The server function `still_watching`, called
    with `{"run": key}` every few seconds, says that the page shows it, and answers with its version or None.
    """
    return drawn_component(
        "experiment_board",
        value,
        shared=("parts", "values", "numbers", "keys", "scales", "tables", "spoken", "described", "charts"),
        parts=("chart", "prediction"),
        **options,
    )


def experiment_board_value(
    question: Mapping[str, Any],
    *,
    run: str = "",
    version: int = 0,
    state: str = "",
    status: str = "",
    is_error: bool = False,
    share: float | None = None,
    setup: str = "",
    link: Mapping[str, str] | None = None,
    result: Mapping[str, Any] | None = None,
) -> str:
    """The value that draws an experiment, as JSON.

    Args:
        question: "name", "title", "asks", "method", "options" as [name, sentence] pairs, and "drawing": None, or where
            a curve can be drawn: "of", "x_range", "y_range", "x_title", "y_title", "x_scale".
        run: the key of what is shown, "" before anything was asked.
        version: of it.
        state: "", or as `RunState` names it.
        status: a sentence on where it is.
        is_error: whether that is what went wrong.
        share: how much of it is done, 0 to 1; None for no bar.
        setup: what the controls say now, in words.
        link: the fields that lead back to this setup, for the address.
        result: as `Result.to_json` writes it.

    Raises:
        ValueError: a number is not finite.
    """
    value = {
        "question": dict(question),
        "run": run,
        "version": version,
        "state": state,
        "status": status,
        "is_error": is_error,
        "share": share,
        "setup": setup,
        "link": dict(link or {}),
        "result": None if result is None else _with_looks(result),
    }
    return json.dumps(value, allow_nan=False)


def _with_looks(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result whose curves have a colour and a dash: those of their variants, or grey."""
    charts = []
    for chart in result["charts"]:
        curves, others = [], 0
        for curve in chart["curves"]:
            is_other = curve["variant"] not in VARIANT_COLOURS or curve["variant"] == "other"
            looks = variant_style(curve["variant"], others if is_other else 0)
            curves.append({**curve, **looks, "others_before": others})
            others += is_other
        charts.append({**chart, "curves": curves})
    return {**result, "charts": charts}
