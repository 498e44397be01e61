"""The attention map: every head as a thumbnail, one head large, and the same text as each held token reads it.

It shows one model, or two side by side with the difference of their chosen heads.

The sliding window is seen here as what it is: a rule about which cells of the map may hold a weight at all.
So the rule travels as a rule (`window`, `causal`) and the weights as one byte for each allowed cell; the
browser hatches forbidden cells, finds where each byte belongs, and refuses to draw when the count is wrong.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from gpt.ui.components import drawn_component

if TYPE_CHECKING:
    import torch

# A softmax may miss 0 or 1 by a rounding error of half precision; more than this is a mistake of the caller.
_TOLERANCE = 1e-3


def attention_map(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Build the component. Hovering, choosing heads and moving with the keys never call the server.

    Args:
        value: what `attention_map_value` returns; `{"empty": sentence}` or None shows a faint sketch.
        **options: passed to `gr.HTML`, such as `elem_id`.

    What the reader has chosen outlives a new value over the same tokens. An event that fills the component needs
    `show_progress="hidden"`, or Gradio dims it meanwhile.

    The page's element counts the values it has shown in `data-painted`, for tests to wait on, and names the first
    model's head in `data-layer` and `data-head`, from 0. Other components on the page hear of the reader's choices
    through events of the document, may choose a head with one, and ask with another what is chosen:

        gpt-lab:head          {layer, head}   the reader chose a head of the first model
        gpt-lab:query         {position}      the reader held a query
        gpt-lab:choose-head   {layer, head}   choose that head of the first model
        gpt-lab:which         {}              set in it layer, head and position: what is chosen of the first model
    """
    return drawn_component(
        "attention_map",
        value,
        shared=(
            "parts",
            "values",
            "tokens",
            "numbers",
            "mask",
            "colours",
            "canvas",
            "keys",
            "tables",
            "described",
            "legends",
            "hatches",
            "switches",
            "names",
        ),
        parts=("weights", "words", "described", "maps", "heads", "difference", "text"),
        **options,
    )


def attention_map_value(packs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The value that `attention_map` draws: `{"models": [pack]}`, or two packs to compare.

    Args:
        packs: one or two of what `pack_attention` returns, over the same tokens.

    Raises:
        ValueError: if there are none or more than two, or two that read different tokens.
    """
    if len(packs) not in (1, 2):
        raise ValueError(f"{len(packs)} packs were given: an attention map shows 1 model, or 2 side by side")
    first, last = packs[0]["tokens"], packs[-1]["tokens"]
    if first != last:
        place = next(at for at in range(len(first) + 1) if first[at : at + 1] != last[at : at + 1])
        raise ValueError(
            f"the tokens of the two models differ from token {place} on ({len(first)} and {len(last)} tokens): "
            "only maps over the same tokens can be compared"
        )
    return {"models": list(packs)}


def pack_attention(
    weights: "torch.Tensor",
    allowed: "torch.Tensor",
    tokens: Sequence[str],
    *,
    num_kv_heads: int,
    window_size: int | None,
    causal: bool,
    label: str,
    colour: str,
) -> dict[str, Any]:
    """Turn a model's attention weights into what `attention_map` draws of it.

    Args:
        weights: attention weights in [0, 1], (layers, heads, T, T), the queries before the keys.
        allowed: True where a query may read a key, (T, T). It must be what the rule below says.
        tokens: the T tokens as text.
        num_kv_heads: how many key/value heads the query heads share; equal to `heads` when none is shared.
        window_size: a query reads only keys less than this far away; None for no window.
        causal: whether keys after the query are forbidden.
        label: the name of the variant, shown as text.
        colour: a CSS colour, such as `variant_style("sliding-window")["colour"]`.

    Returns:
        A JSON object, with the values of a small model as an example:

            {"label": "sliding-window", "colour": "var(--variant-sliding-window)", "tokens": ["T", "o", ...],
             "layers": 6, "heads": 6, "kv_heads": 2, "window": 32 (or null), "causal": true,
             "weights": "eJzs..."}

        `weights` is base64 of a zlib stream of unsigned bytes, each `round(255 * sqrt(weight))`: for each
        layer, for each head, the allowed cells row by row, that is `weights[:, :, allowed]`. The square root
        spends the 256 steps where most weights are, near zero. The mask is not sent: it follows from the rule

            allowed(query, key) = (not causal or key <= query) and (window is null or |query - key| < window)

    Raises:
        ValueError: if shapes disagree, `allowed` is not the mask of the rule, or a weight is not in [0, 1] or
            lies on a forbidden cell, where the picture could not show it.
    """
    weight_array = weights.detach().float().cpu().numpy()
    allowed_array = allowed.detach().cpu().numpy().astype(bool)
    _check_shapes(weight_array, allowed_array, len(tokens), num_kv_heads)
    _check_rule(allowed_array, window_size, causal)
    _check_weights(weight_array, allowed_array)
    layers, heads = weight_array.shape[:2]
    packed = np.rint(255 * np.sqrt(weight_array[:, :, allowed_array].clip(0, 1))).astype(np.uint8)
    return {
        "label": label,
        "colour": colour,
        "tokens": list(tokens),
        "layers": layers,
        "heads": heads,
        "kv_heads": num_kv_heads,
        "window": window_size,
        "causal": causal,
        "weights": base64.b64encode(zlib.compress(packed.tobytes())).decode("ascii"),
    }


def _check_shapes(weights: np.ndarray, allowed: np.ndarray, length: int, num_kv_heads: int) -> None:
    if length == 0:
        raise ValueError("tokens is empty: an attention map needs at least 1 token")
    if weights.ndim != 4 or weights.shape[2:] != (length, length):
        raise ValueError(
            f"weights has shape {weights.shape}: with {length} tokens it must be (layers, heads, {length}, {length})"
        )
    if allowed.shape != (length, length):
        raise ValueError(f"allowed has shape {allowed.shape}: with {length} tokens it must be ({length}, {length})")
    if num_kv_heads < 1 or weights.shape[1] % num_kv_heads:
        raise ValueError(f"num_heads ({weights.shape[1]}) must be divisible by num_kv_heads ({num_kv_heads})")


def _check_rule(allowed: np.ndarray, window_size: int | None, causal: bool) -> None:
    if window_size is not None and window_size < 1:
        raise ValueError(f"window_size is {window_size}: it must be at least 1, or None for no window")
    positions = np.arange(len(allowed))
    distance = positions[:, None] - positions[None, :]  # (queries, keys), negative for the future
    rule = np.ones_like(allowed)
    if causal:
        rule &= distance >= 0
    if window_size is not None:
        rule &= np.abs(distance) < window_size
    wrong = int((rule != allowed).sum())
    if wrong:
        raise ValueError(
            f"allowed differs in {wrong} cells from the mask of window_size={window_size} and "
            f"causal={causal}: pass the mask that the model used, and the window_size and causal that made it"
        )


def _check_weights(weights: np.ndarray, allowed: np.ndarray) -> None:
    lowest, highest = float(weights.min()), float(weights.max())
    if not (lowest >= -_TOLERANCE and highest <= 1 + _TOLERANCE):  # also true for NaN
        raise ValueError(f"weights range from {lowest} to {highest}: they must lie between 0 and 1")
    forbidden = np.abs(weights[:, :, ~allowed]).max(initial=0.0)
    if forbidden > _TOLERANCE:
        raise ValueError(
            f"a forbidden cell holds a weight of {forbidden:.3f}: pass the weights after the mask and the softmax"
        )
