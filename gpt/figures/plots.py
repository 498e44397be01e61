"""Figures for files, PNG and SVG: what the page draws live, to keep, print or put on a slide."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from torch import Tensor

from gpt.data.corpus import Corpus
from gpt.figures.colours import VARIANT_COLOURS, variant_dash
from gpt.figures.fonts import drawable, families
from gpt.model.config import GPTConfig
from gpt.model.masks import attention_mask
from gpt.training.state import TrainEvent

_INK = LinearSegmentedColormap.from_list("ink", ["#FFFFFF", "#14213A"])
_SQUARE_ROOT = PowerNorm(0.5, vmin=0, vmax=1)
_FUTURE: dict[str, Any] = {"hatch": "\\\\\\", "facecolor": "#EEEFF0", "edgecolor": "#B4B8BD"}
_OUTSIDE: dict[str, Any] = {"hatch": "///", "facecolor": "#F9EFE4", "edgecolor": "#E0B48A"}
_LONGEST_NAME = 24  # characters of a token at an axis, which leave room for the map
_TOKENS = "monospace"  # the font of tokens
_MOST_NAMED = 80  # tokens that stand at the axes by themselves; of a longer text, their positions


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
            linestyle=(0, variant_dash(known)) if variant_dash(known) else "solid",
            marker="o",
            markersize=4,
            label=f"{drawable(label)}, validation",
        )
    for label, loss in (references or {}).items():
        axes.axhline(loss, color="#6B7075", linestyle=(0, (5, 4)), linewidth=1)
        axes.annotate(f"{label} {loss:.2f}", (1, loss), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axes.grid(axis="y", color="#DEDBD3")
    axes.spines[["top", "right", "left"]].set_visible(False)
    if curves:
        for text in axes.legend(frameon=False, prop={"family": families("sans-serif")}).get_texts():
            text.set_parse_math(False)
    return figure


def training_figure(variant: str, history: Sequence[TrainEvent], corpus: Corpus) -> Figure:
    """The `loss_figure` of one training, beside what knowing nothing and knowing pairs of tokens would come to."""
    references = {"uniform guessing": math.log(corpus.tokenizer.vocab_size)}
    if corpus.bigram_loss is not None:
        references["bigram model"] = corpus.bigram_loss
    return loss_figure({variant: (variant, history)}, references)


def attention_figure(weights: Tensor, config: GPTConfig, tokens: Sequence[str], title: str) -> Figure:
    """The attention of one head, with what the mask forbids hatched: the future one way, outside the window the other.

    Args:
        weights: (T queries, T keys).
        config: of the model, for its mask.
        tokens: the T tokens as text.
        title: of the figure.

    Returns:
        A figure of 8 x 8.6 inches, weights on a square-root scale that a colour bar states.
    """
    figure = Figure(figsize=(8, 8.6), layout="constrained")
    axes = figure.add_subplot(xlabel="key (what is read)", ylabel="query (who reads)")
    axes.set_title(drawable(title), parse_math=False, family=families("sans-serif"))
    image = _draw_head(axes, weights, config)
    length = len(tokens)
    if length <= _MOST_NAMED:
        size = min(10.0, 420 / length)
        shown = [_visible(token) for token in tokens]
        style: dict[str, Any] = {"fontsize": size, "family": families(_TOKENS), "parse_math": False}
        axes.set_xticks(range(length), shown, **style)
        axes.set_yticks(range(length), shown, **style)
        if any(len(token) > 2 for token in shown):
            axes.tick_params(axis="x", rotation=90)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="attention weight, square-root scale", orientation="horizontal", aspect=50)
    named = [
        Rectangle((0, 0), 1, 1, label=name, linewidth=0, **style)
        for name, style, region in zip(
            ("forbidden: the future", f"forbidden: outside the window of {config.window_size}"),
            (_FUTURE, _OUTSIDE),
            _forbidden(config, length),
            strict=True,
        )
        if region.any()
    ]
    if named:
        figure.legend(handles=named, loc="outside lower center", ncols=2, frameon=False)  # names of tokens may be long
    return figure


def attention_grid_figure(weights: Tensor, config: GPTConfig, title: str) -> Figure:
    """The attention of all heads, (num_layers, num_heads, T, T), drawn as `attention_figure` draws one."""
    layers, heads = weights.shape[:2]
    figure = Figure(figsize=(1.5 * heads + 1, 1.65 * layers + 1), layout="constrained")
    figure.suptitle(drawable(title), parse_math=False, family=families("sans-serif"))
    for layer in range(layers):
        for head in range(heads):
            axes = figure.add_subplot(layers, heads, layer * heads + head + 1, xticks=[], yticks=[])
            axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8)
            image = _draw_head(axes, weights[layer, head], config)
    figure.colorbar(image, ax=figure.axes, label="attention weight, square-root scale", aspect=40, fraction=0.03)
    return figure


def _draw_head(axes: Axes, weights: Tensor, config: GPTConfig) -> AxesImage:
    image = axes.imshow(weights.cpu().numpy(), cmap=_INK, norm=_SQUARE_ROOT, interpolation="nearest")
    for region, style in zip(_forbidden(config, len(weights)), (_FUTURE, _OUTSIDE), strict=True):
        if region.any():
            axes.add_patch(PathPatch(_outline(region), linewidth=0, **style))
    return image


def _forbidden(config: GPTConfig, length: int) -> tuple[Tensor, Tensor]:
    """The cells (T, T) that are forbidden as the future, and those outside the window only."""
    positions = torch.arange(length)
    future = ~attention_mask(positions, positions, causal=config.causal)
    return future, ~attention_mask(positions, positions, config.window_size, config.causal) & ~future


def _outline(region: Tensor) -> Outline:
    """A bool region (T, T) as rectangles, one for each unbroken run of keys in a row."""
    rectangles = []
    for query, row in enumerate(region.tolist()):
        start = None
        for key, inside in enumerate([*row, False]):
            if inside and start is None:
                start = key
            elif not inside and start is not None:
                left, right, top, bottom = start - 0.5, key - 0.5, query - 0.5, query + 0.5
                corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
                rectangles.append(Outline(corners, closed=True))
                start = None
    return Outline.make_compound_path(*rectangles)


def _visible(token: str) -> str:
    """A token as it can stand at an axis: blanks and line breaks as signs, what cannot be drawn as its code point."""
    signs = {" ": "␣", "\n": "⏎", "\t": "⇥"}
    shown = drawable("".join(signs.get(one, one) for one in token), _TOKENS)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 3]}..."


def check_figure_path(path: str | Path, *, folder_to_come: Path | None = None) -> None:
    """Raise ValueError unless a figure can be saved there: asked before the work whose result it shows.

    Args:
        path: of the picture.
        folder_to_come: may hold the picture though it is not there yet.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"{path.name!r} does not end in .png or .svg; name the picture with one of these endings")
    if folder_to_come is not None and path.parent == folder_to_come and not folder_to_come.exists():
        return
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} for the picture {path.name}; make it, or choose another")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"the picture {path} cannot be written there; choose another place")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure; the ending of the name, .png or .svg, says how.

    Raises:
        ValueError: as `check_figure_path`.
        OSError: it cannot be written for another reason.
    """
    check_figure_path(path)
    figure.savefig(path, dpi=160)
