"""The cone of what can reach one output through the layers' masks, and how much of it does."""

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def receptive_field(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """The text below, a row of cells for the embeddings and each layer's output above it, the output on top.

    The value is this dict, or the same as one JSON string, which is what `receptive_field_value` gives:

    - "label", "colour": of the model; "tokens": the text; "query": the position of the output, from 0;
    - "cone": [first, last] for each row, from the embeddings up: the positions that the masks let reach the output.
      The last row is the output position alone: [query, query];
    - "influence": (rows, T) measured, each row divided by its largest; drawn on a square-root scale;
    - "target": the token whose output it is, shown on top;
    - "formula": "4 × (8 − 1) + 1 = 29", or "" without a window; "reach": its result, or None without a window;
    - "inside": how many of the text's tokens lie in the cone; "outside": the largest influence outside of it;
    - "note": a sentence on how influence is measured, or ""; "empty": said where there are no tokens.

    What lies left of the cone is hatched as outside the window; right of it as the future, or, where the cone reaches
    past the query, as outside the window, too. Of the last row the other positions stay blank: they are other outputs.

    Event: `choose`, with `position`, when a token is pressed and when the document gets `gpt-lab:query` with `detail`
    {position}. It expects a value with that "query" in return. The page marks the token at once.
    """
    return drawn_component(
        "receptive_field",
        value,
        shared=(
            "parts",
            "values",
            "tokens",
            "numbers",
            "colours",
            "canvas",
            "keys",
            "waiting",
            "tables",
            "described",
            "legends",
            "hatches",
            "switches",
            "names",
        ),
        **options,
    )


def receptive_field_value(
    *,
    label: str,
    colour: str,
    tokens: Sequence[str],
    query: int,
    cone: Sequence[tuple[int, int]],
    influence: Sequence[Sequence[float]],
    target: str,
    formula: str,
    reach: int | None,
    outside: float,
    note: str = "",
    empty: str = "",
) -> str:
    """What `receptive_field` draws, as JSON; each row of `influence` may have any scale and is divided by its largest.

    Raises:
        ValueError: the rows do not fit the text, or the cone does not narrow to the query.
    """
    length = len(tokens)
    if not 0 <= query < length:
        raise ValueError(f"there is no position {query} in a text of {length} tokens; give 0 to {length - 1}")
    if len(cone) != len(influence) or any(len(row) != length for row in influence):
        widths = sorted({len(row) for row in influence})
        raise ValueError(
            f"influence has {len(influence)} rows of {widths} numbers; "
            f"a cone of {len(cone)} rows over {length} tokens needs {len(cone)} rows of {length}"
        )
    if any(not 0 <= first <= query <= last < length for first, last in cone) or tuple(cone[-1]) != (query, query):
        raise ValueError(f"the cone {list(cone)} does not narrow to position {query} inside the text")
    value = {
        "label": label,
        "colour": colour,
        "tokens": list(tokens),
        "query": query,
        "cone": [list(span) for span in cone],
        "influence": [_relative(row) for row in influence],
        "target": target,
        "formula": formula,
        "reach": reach,
        "inside": cone[0][1] - cone[0][0] + 1,
        "outside": outside,
        "note": note,
        "empty": empty,
    }
    return json.dumps(value, allow_nan=False)


def _relative(row: Sequence[float]) -> list[float]:
    largest = max(row)
    return [round(number / largest, 4) if largest > 0 else 0.0 for number in row]
