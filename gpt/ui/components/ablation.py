"""What the loss on a text becomes when heads are ablated (their output replaced by zero): a switch for every head."""

import json
import math
from collections.abc import Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component

Numbers = Sequence[Sequence[float | None]]


def ablation(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """A grid of switches, layers by heads, each showing what ablating that head alone costs.

    The value is this dict, or the same as one JSON string, which is what `ablation_value` gives:

    - "label", "colour": of the model; "layers", "heads", "kv_heads": how many it has, the last two per layer;
    - "loss": on the text, in nats per token; "tokens": how many that is a mean over;
    - "costs", "errors": (layers, heads) how much the loss rises when that head alone is ablated, and the standard
      error of that, None where it is not measured or cannot be known;
    - "kv_costs", "kv_errors": (layers, kv_heads) the same for key/value heads; [] where none is shared;
    - "kv_reactions": (layers, kv_heads, heads) the share of each query head's output that changes; [] likewise;
    - "ablated": the [layer, head] and "ablated_kv": the [layer, group] that are ablated now, all from 0;
    - "now": {"loss", "change", "error"} with those ablated, or None where none is;
    - "empty": said where "costs" is missing or empty.

    Layers and heads are shown from 1 and key/value heads from 0, as in the attention map.

    Event: `ablate`, with `heads` and `kv_heads`, the whole new sets. It expects a value with these sets in return;
    until that comes the page shows the switches as pressed and the loss as being measured. A value with other sets is
    then taken for a late answer to an earlier press and only its costs are shown, unless it is about another text.
    """
    return drawn_component(
        "ablation",
        value,
        shared=("parts", "values", "numbers", "keys", "waiting", "colours", "ramps", "legends", "switches", "names"),
        **options,
    )


def ablation_value(
    *,
    label: str,
    colour: str,
    loss: float,
    tokens: int,
    costs: Numbers,
    errors: Numbers,
    kv_costs: Numbers = (),
    kv_errors: Numbers = (),
    kv_reactions: Sequence[Numbers] = (),
    ablated: Sequence[tuple[int, int]] = (),
    ablated_kv: Sequence[tuple[int, int]] = (),
    now: dict[str, float] | None = None,
    empty: str = "",
) -> str:
    """What `ablation` draws, as JSON; what is not finite becomes null, and numbers keep five decimals.

    Raises:
        ValueError: the grids do not fit together, or an ablated head does not exist.
    """
    layers, heads = _shape(costs)
    groups = _shape(kv_costs)[1] if kv_costs else heads
    for name, grid, shape in (
        ("errors", errors, (layers, heads)),
        *((("kv_costs", kv_costs, (layers, groups)), ("kv_errors", kv_errors, (layers, groups))) if kv_costs else ()),
        *((f"kv_reactions[{layer}]", grid, (groups, heads)) for layer, grid in enumerate(kv_reactions)),
    ):
        if _shape(grid) != shape:
            raise ValueError(f"{name} has shape {_shape(grid)}; with costs of {(layers, heads)} it must be {shape}")
    if groups == 0 or heads % groups:
        raise ValueError(f"num_heads ({heads}) must be divisible by num_kv_heads ({groups})")
    for kind, chosen, count in (("head", ablated, heads), ("KV head", ablated_kv, groups)):
        for layer, head in chosen:
            if not (0 <= layer < layers and 0 <= head < count):
                raise ValueError(f"there is no {kind} {head} in layer {layer} of {layers} layers of {count}")
    value = {
        "label": label,
        "colour": colour,
        "layers": layers,
        "heads": heads,
        "kv_heads": groups,
        "loss": loss,
        "tokens": tokens,
        "costs": _rounded(costs),
        "errors": _rounded(errors),
        "kv_costs": _rounded(kv_costs),
        "kv_errors": _rounded(kv_errors),
        "kv_reactions": [_rounded(grid) for grid in kv_reactions],
        "ablated": [list(one) for one in ablated],
        "ablated_kv": [list(one) for one in ablated_kv],
        "now": None if now is None else {name: _finite(number) for name, number in now.items()},
        "empty": empty,
    }
    return json.dumps(value, allow_nan=False)


def _shape(grid: Numbers) -> tuple[int, int]:
    widths = {len(row) for row in grid}
    if len(widths) != 1:
        raise ValueError(f"a grid has rows of {sorted(widths)} numbers; give at least one row, all of the same length")
    return len(grid), widths.pop()


def _rounded(grid: Numbers) -> list[list[float | None]]:
    return [[_finite(number) for number in row] for row in grid]


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else round(number, 5)
