"""A chart of a cost that was measured beside the same cost by formula, with the numbers in a table."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def cost_chart(value: dict[str, Any] | str | None = None, **options: Any) -> gr.HTML:
    """Build the chart, the output of events that give `cost_chart_value`s."""
    return drawn_component(
        "cost_chart",
        value,
        shared=("parts", "values", "numbers", "keys", "scales", "tables", "spoken", "described", "charts"),
        **options,
    )


def cost_chart_value(
    curves: Sequence[Mapping[str, Any]],
    *,
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    right: Mapping[str, Any] | None = None,
    note: str = "",
    status: str = "",
    progress: float | None = None,
    sentences: Sequence[str] = (),
    columns: Sequence[Mapping[str, str]] = (),
    rows: Sequence[Sequence[str]] = (),
    settings: str = "",
    is_preview: bool = False,
) -> str:
    """The value that draws these curves, as JSON.

    Args:
        curves: each {"label", "colour", "dash", "measured", "computed", "measured_words", "computed_words"}. Measured
            points are [x, y] or [x, y, low, high] and are drawn as dots with error bars on a thick line, computed ones
            [x, y] as a thin line. The words stand in the legend.
        x: the horizontal axis, {"title", "scale", "ticks"}; "scale" is "log" or "linear" (from 0).
        y: the vertical axis, {"title", "scale", "unit"}.
        right: the axis of the computed curves, {"title", "unit", "per"}, if it is another: there one unit of y stands
            beside "per" of this one. None: they share the left one.
        note: what the curves are of, below the legend.
        status: what is going on, or was done.
        progress: 0 to 1, or None for no bar.
        sentences: what was found.
        columns: of the table, each {"name", "kind"}; the kind is "measured", "computed" or "".
        rows: of the table, a text for each column.
        settings: what is measured, in words.
        is_preview: nothing is measured here: a chart that shows measurements keeps them, and says of what they are.

    In all words `T^{1.9}` is drawn with a raised exponent.

    Raises:
        ValueError: a number is not finite, or a row does not fit the columns.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells for {len(columns)} columns; give one for each")
    value = {
        "curves": [dict(curve) for curve in curves],
        "x": dict(x),
        "y": dict(y),
        "right": None if right is None else dict(right),
        "note": note,
        "status": status,
        "progress": progress,
        "sentences": list(sentences),
        "columns": [dict(column) for column in columns],
        "rows": [list(row) for row in rows],
        "settings": settings,
        "is_preview": is_preview,
    }
    return json.dumps(value, allow_nan=False)
