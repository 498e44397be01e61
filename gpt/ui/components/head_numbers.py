"""One head in numbers: how the attention of one query comes about, figure by figure."""

import base64
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from gpt.ui.components import drawn_component

if TYPE_CHECKING:
    from torch import Tensor

    from gpt.interpret import HeadInNumbers


def head_numbers(value: dict[str, Any] | str | None = None, **options: Any) -> gr.HTML:
    """The query vector, a table of all keys from q · k to the softmax, and the vector that the head gives on.

    The value is one of these, as a dict or as one JSON string:

    - {"edition"}, any text that was not sent before: there is a new model or text to look into. The component asks for
      its numbers as soon as a reader has it in view, so nothing is computed while it is folded away;
    - {"empty"}: why there is nothing to ask for;
    - what `head_numbers_value` returns.

    Pressing a row of the table chooses the key whose numbers stand beside the query's; the page alone does this.

    Event: `ask`, with `layer`, `head` and `position`. It expects the numbers of that place in return. Which place that
    is the component learns from the attention map, by an event `gpt-lab:which` of the document whose `detail` the map
    fills in; it asks again after `gpt-lab:head`, `gpt-lab:choose-head` and `gpt-lab:query`.
    """
    return drawn_component(
        "head_numbers",
        value,
        shared=(
            "parts",
            "values",
            "tokens",
            "numbers",
            "keys",
            "waiting",
            "take_away",
            "tables",
            "legends",
            "hatches",
            "switches",
            "names",
        ),
        parts=("turns", "tables", "csv"),
        **options,
    )


def head_numbers_value(
    numbers: "HeadInNumbers",
    *,
    label: str,
    colour: str,
    tokens: Sequence[str],
    layer: int,
    head: int,
    position: int,
    shares_keys: bool,
    causal: bool,
) -> str:
    """What `head_numbers` draws, as JSON.

    Numbers are written with nine digits, which float32 needs to be read back as it was. The keys and values, which are
    many, travel as base64 of float32, row by row.

    Args:
        numbers: what `head_in_numbers` returns.
        label: of the model.
        colour: its CSS colour.
        tokens: the T tokens as text.
        layer: the layer that the numbers are about, from 0.
        head: the head, from 0.
        position: the query's, from 0.
        shares_keys: whether several heads read one key/value head.
        causal: whether the model hides the future; what else it hides lies outside its window.

    Raises:
        ValueError: there are more or fewer tokens than keys.
    """
    if len(tokens) != len(numbers.weights):
        raise ValueError(f"there are {len(tokens)} tokens and {len(numbers.weights)} keys; give a token for each key")
    causes = [
        "" if allowed else "future" if causal and key > position else "window"
        for key, allowed in enumerate(numbers.allowed.tolist())
    ]
    value = {
        "label": label,
        "colour": colour,
        "tokens": list(tokens),
        "layer": layer,
        "head": head,
        "position": position,
        "kv": numbers.kv_head if shares_keys else None,
        "before": _listed(numbers.query_before),
        "speeds": None if numbers.speeds is None else _listed(numbers.speeds),
        "angles": None if numbers.angles is None else _listed(numbers.angles),
        "query": _listed(numbers.query),
        "products": _listed(numbers.products),
        "scaled": _listed(numbers.scaled),
        "bias": None if numbers.bias is None else _listed(numbers.bias),
        "forbidden": causes,
        "scores": _listed(numbers.scores),
        "weights": _listed(numbers.weights),
        "output": _listed(numbers.output),
        "keys": _packed(numbers.keys),
        "values": _packed(numbers.values),
    }
    return json.dumps(value, allow_nan=False)


def _listed(numbers: "Tensor") -> list[float | None]:
    """With nine digits each; None for what JSON has no number for."""
    return [float(f"{number:.9g}") if math.isfinite(number) else None for number in numbers.float().tolist()]


def _packed(numbers: "Tensor") -> str:
    return base64.b64encode(numbers.float().cpu().numpy().astype(np.dtype("<f4")).tobytes()).decode("ascii")
