"""The loss chart: training and validation loss of every variant of a run, drawn live while it trains.

The server sends numbers and `loss_chart.js` draws them; which axis, which curves and which step a visitor
looks at are the page's own state and survive every new value.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component

_NUMBERS = ("steps", "seconds", "losses", "validation_steps", "validation_seconds", "validation_losses")
_OPTIONAL_NUMBERS = ("validation_spreads",)


def loss_chart(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Build the loss chart, the output of an event that yields `loss_chart_value`s, at most four a second.

    Args:
        value: What `loss_chart_value` returns, or None for an empty chart.
        options: Passed on to `gr.HTML`, for example `elem_id`.
    """
    return drawn_component(
        "loss_chart",
        value,
        shared=("parts", "numbers", "keys", "scales", "tables", "spoken", "described", "charts"),
        parts=("curves", "view", "labels", "words"),
        **options,
    )


def loss_chart_value(
    series: Sequence[Mapping[str, Any]],
    references: Sequence[Mapping[str, Any]],
    max_steps: int,
    empty_text: str,
    tokens_per_character: float | None = None,
) -> dict[str, Any]:
    """The value that draws these curves.

    Args:
        series: One curve per variant, with distinct labels; none for an empty chart. Each holds:

            - `label`: the name, such as `"gpt2"`.
            - `colour`, `dash`: a CSS colour and an SVG stroke-dasharray, both from `theme.variant_style`.
            - `changes`: a few words shown beside the name in the legend, or `""`.
            - `tokens_per_step`: batch size times context length; turns steps into tokens.
            - `steps`, `seconds`, `losses`: the training loss, one entry per step, steps rising. `seconds` is
              how long this variant had trained. A loss of None or NaN leaves a gap.
            - `validation_steps`, `validation_seconds`, `validation_losses`: the same for the validation loss.
            - `validation_spreads` (may be left out): where the curve is a mean over seeds, their standard
              deviation at each validation loss, drawn as a band.
        references: Grey lines to compare with, such as `{"label": "bigram model", "loss": 2.48}`.
        max_steps: How long the run will be, so that the axis keeps still while it is under way.
        empty_text: The sentence that an empty chart shows.
        tokens_per_character: Of the text that all of them are tested on; None where these differ or are unknown, and
            then losses are shown in nats per token only.

    Losses are in nats per token; the page turns them into bits per character for those who want these. Lists of numbers
    become text: at every update Gradio's page copies each number of a list on its own, over half a second for four
    curves of 5,000 steps, but a text in one piece; and of a text that has grown only the end is sent.
    """
    curves = [
        dict(curve) | {key: _as_text(curve[key]) for key in (*_NUMBERS, *_OPTIONAL_NUMBERS) if key in curve}
        for curve in series
    ]
    return {
        "series": curves,
        "references": [dict(reference) for reference in references],
        "max_steps": max_steps,
        "empty": empty_text,
        "tokens_per_character": tokens_per_character,
    }


def _as_text(numbers: Iterable[float | None]) -> str:
    """Numbers with up to four decimals, each followed by a space: a longer list only adds to the end."""
    return "".join("nan " if number is None else f"{round(number, 4)} " for number in numbers)
