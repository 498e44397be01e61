"""The figure of a result, for files; the page draws the same charts by itself."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt.experiments.result import Chart, Curve, Result
from gpt.figures.colours import OTHER_DASHES, VARIANT_COLOURS, variant_dash
from gpt.figures.fonts import drawable, families

_GREY = "#6B7075"
_MARKERS = "osD^vP"  # what tells curves of one colour apart, beside their dashes


def experiment_figure(result: Result, title: str) -> Figure:
    """All charts of a result below each other, with its sentences underneath.

    Args:
        result: what is drawn.
        title: of the figure.

    Returns:
        A figure 9 inches wide and 4.2 inches high for each chart.
    """
    figure = Figure(figsize=(9, 4.2 * len(result.charts) + 0.35 * len(result.sentences) + 0.4), layout="constrained")
    figure.suptitle(drawable(title), family=families("sans-serif"), parse_math=False)
    for place, chart in enumerate(result.charts, start=1):
        axes = figure.add_subplot(len(result.charts), 1, place)
        _draw(axes, chart)
    if result.sentences:
        words = "\n".join(drawable(sentence) for sentence in result.sentences)
        figure.supxlabel(words, fontsize=9, x=0.02, ha="left", wrap=True, family=families("sans-serif"))
    return figure


def _draw(axes: Axes, chart: Chart) -> None:
    axes.set_title(drawable(chart.title), fontsize=10, loc="left", parse_math=False)
    axes.grid(axis="x" if chart.rows else "y", color="#DEDBD3")
    axes.spines[["top", "right"]].set_visible(False)
    others = 0
    for curve in chart.curves:
        _draw_curve(axes, chart, curve, others)
        others += curve.variant not in VARIANT_COLOURS or curve.variant == "other"
    _name_axes(axes, chart)
    for where, what in chart.x_marks:
        axes.axvline(where, color=_GREY, linestyle=(0, (5, 4)), linewidth=1)
        looks: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 8}
        axes.annotate(drawable(what), (where, 0.98), (3, 0), rotation=90, va="top", **looks)
    for where, what in chart.y_marks:
        draw = axes.axvline if chart.rows else axes.axhline
        draw(where, color=_GREY, linestyle=(0, (5, 4)), linewidth=1)
        place = (where, 0.98) if chart.rows else (1, where)
        coordinates = ("data", "axes fraction") if chart.rows else ("axes fraction", "data")
        axes.annotate(drawable(what), place, xycoords=coordinates, ha="right", va="bottom", fontsize=8)
    if len(chart.curves) > 1:
        for text in axes.legend(frameon=False, fontsize=8, prop={"family": families("sans-serif")}).get_texts():
            text.set_parse_math(False)


def _draw_curve(axes: Axes, chart: Chart, curve: Curve, others_before: int) -> None:
    known = curve.variant if curve.variant in VARIANT_COLOURS else "other"
    dash = OTHER_DASHES[others_before % len(OTHER_DASHES)] if known == "other" else variant_dash(known)
    errors = _error_bars(chart, curve)
    looks: dict[str, Any] = {"color": VARIANT_COLOURS[known][0], "label": drawable(curve.label), "markersize": 3}
    marker = _MARKERS[others_before % len(_MARKERS)]
    if chart.rows:
        axes.errorbar(curve.y, curve.x, xerr=errors, fmt=marker, capsize=3, **looks)
    else:
        line = (0, dash) if dash else "solid"
        shown = marker if len(curve.x) <= 40 else None
        axes.errorbar(curve.x, curve.y, yerr=errors, linestyle=line, marker=shown, capsize=2, **looks)


def _error_bars(chart: Chart, curve: Curve) -> list[list[float]] | None:
    """How far the bars go down and up: not beyond what y can be."""
    if not curve.error:
        return None
    low, high = chart.y_limits or (-math.inf, math.inf)
    errors = [error if math.isfinite(error) else 0.0 for error in curve.error]
    return [
        [max(0.0, min(error, y - low)) for y, error in zip(curve.y, errors, strict=True)],
        [max(0.0, min(error, high - y)) for y, error in zip(curve.y, errors, strict=True)],
    ]


def _name_axes(axes: Axes, chart: Chart) -> None:
    if chart.rows:
        axes.set_yticks(range(len(chart.rows)), [drawable(row) for row in chart.rows])
        axes.invert_yaxis()
        axes.set(xlabel=chart.y_title, xscale=chart.y_scale)
        if chart.y_range:
            axes.set_xlim(chart.y_range)
        return
    axes.set(xlabel=chart.x_title, ylabel=chart.y_title, xscale=chart.x_scale, yscale=chart.y_scale)
    if chart.x_scale == "log":  # named are the places that were measured
        places = sorted({x for curve in chart.curves for x in curve.x})
        axes.set_xticks(places, [f"{place:,.0f}" for place in places])
        axes.minorticks_off()
    if chart.x_scale == "linear" and all(x == int(x) for curve in chart.curves for x in curve.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no length of two and a half
    if chart.y_range:
        low, high = axes.get_ylim()
        low, high = min(low, chart.y_range[0]), max(high, chart.y_range[1])
        if chart.y_limits and chart.x_marks:
            axes.set_yticks([tick for tick in axes.get_yticks() if chart.y_limits[0] <= tick <= chart.y_limits[1]])
            high = max(high, 1.2 * chart.y_limits[1])  # room for the names of the marks, where no share can be
        axes.set_ylim(low, high)
