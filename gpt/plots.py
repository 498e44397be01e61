"""Figures for files, PNG and SVG: what the page draws live, to keep, print or put on a slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from gpt.colours import VARIANT_COLOURS, VARIANT_DASHES
from gpt.trainer import TrainEvent


def loss_figure(
    curves: Mapping[str, tuple[str, Sequence[TrainEvent]]], references: Mapping[str, float] | None = None
) -> Figure:
    """Losses over the steps of training.

    Args:
        curves: for each label, the variant's name (which decides its colour) and the training's events.
        references: losses to compare with, by what they are.

    Returns:
        A figure of 8 x 4.5 inches: validation losses with markers, the training losses faint behind them.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="training step", ylabel="loss (nats per token)")
    for label, (variant, events) in curves.items():
        known = variant if variant in VARIANT_COLOURS else "other"
        colour = VARIANT_COLOURS[known][0]
        learned = [event for event in events if event.train_loss is not None]
        evaluated = [event for event in events if event.validation_loss is not None]
        axes.plot(
            [event.step for event in learned],
            [event.train_loss or 0.0 for event in learned],
            color=colour,
            alpha=0.25,
            linewidth=0.8,
        )
        axes.plot(
            [event.step for event in evaluated],
            [event.validation_loss or 0.0 for event in evaluated],
            color=colour,
            linestyle=(0, VARIANT_DASHES[known]) if VARIANT_DASHES[known] else "solid",
            marker="o",
            markersize=4,
            label=f"{label}, validation",
        )
    for label, loss in (references or {}).items():
        axes.axhline(loss, color="#6B7075", linestyle=(0, (5, 4)), linewidth=1)
        axes.annotate(f"{label} {loss:.2f}", (1, loss), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axes.grid(axis="y", color="#DEDBD3")
    axes.spines[["top", "right", "left"]].set_visible(False)
    if curves:
        axes.legend(frameon=False)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure; the ending of the name, .png or .svg, says how. Raises ValueError for another ending."""
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"{path.name!r} does not end in .png or .svg; name the picture with one of these endings")
    figure.savefig(path, dpi=160)
