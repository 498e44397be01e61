"""All heads of a model as a table of measured numbers, sorted by whichever column a reader presses."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def head_table(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """A sortable table of heads, one row each; every column carries its definition under its name.

    The value is this dict, or the same as one JSON string, which is what `head_table_value` gives and is quicker:

    - "label", "colour": of the model; "note": a sentence about all numbers, or "";
    - "columns": each {"key", "name", "definition", "unit"}; "unit" may be "" or missing;
    - "rows": each {"layer", "head", "kv", "values", "errors", "even"}. Layer and head count from 0 and are shown
      from 1; "kv" is the key/value head that the head reads, shown as it is, or None where none is shared. The other
      three go from a column's key to a number or None: the number, its standard error, and what attention spread
      evenly over all allowed keys would get. Numbers are rounded to what their error allows;
    - "empty": said where there are no rows.

    Pressing a row sends `gpt-lab:choose-head` with `detail` {layer, head} to the document; `gpt-lab:head` with the
    same detail, from anywhere in the document, marks that row. The order and the mark outlive new values.
    """
    return drawn_component(
        "head_table", value, shared=("parts", "values", "numbers", "keys", "tables", "legends", "names"), **options
    )


def head_table_value(
    label: str,
    colour: str,
    columns: Sequence[Mapping[str, str]],
    rows: Sequence[Mapping[str, Any]],
    note: str = "",
    empty: str = "",
) -> str:
    """What `head_table` draws, as JSON; NaN and infinity, which JSON has not, become null.

    Raises:
        ValueError: a row lacks a column's number, or two rows are of the same head.
    """
    keys = [column["key"] for column in columns]
    places = [(row["layer"], row["head"]) for row in rows]
    if len(set(places)) < len(places):
        raise ValueError(f"of {len(places)} rows only {len(set(places))} are of different heads; give one row a head")
    for row in rows:
        missing = [key for key in keys if key not in row["values"]]
        if missing:
            raise ValueError(f"layer {row['layer']}, head {row['head']} has no {', '.join(missing)}; give None instead")
    sent = [
        {
            "layer": row["layer"],
            "head": row["head"],
            "kv": row.get("kv"),
            **{part: {key: _finite(row[part].get(key)) for key in keys} for part in ("values", "errors", "even")},
        }
        for row in rows
    ]
    value = {"label": label, "colour": colour, "columns": [dict(column) for column in columns], "rows": sent}
    return json.dumps(value | {"note": note, "empty": empty}, allow_nan=False)


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else round(number, 5)
