"""What a person is shown of the benchmarks while they are run, and the file that tables are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gpt.bench import measure
from gpt.bench.rows import Row, as_json_line, as_text, goal_text, table_head
from gpt.costs.machine import instructions_text, machine_text, processor, threads_text, usable_cores


def report(names: Sequence[str], *, quick: bool = False, file: Path | None = None) -> None:
    """Run benchmarks and print the machine, their rows as they are ready, and all figures in a line of JSON.

    Args:
        names: of the benchmarks, as in `BENCHMARKS`.
        quick: whether little is measured of each.
        file: where to keep the rows for `gpt.bench.table`, written again after each.

    Raises:
        ValueError: there is no benchmark of that name, or no folder for the file.
    """
    if file is not None and not file.parent.is_dir():
        raise ValueError(f"there is no folder {file.parent}; make it, or give a file in one that is there")
    print(f"{machine_text()}\n\n{table_head()}", flush=True)
    rows: list[Row] = []
    for row in measure(names, quick=quick):
        rows.append(row)
        print(as_text(row), flush=True)
        if file is not None:
            file.write_text(json.dumps(kept(rows, quick=quick), indent=1, allow_nan=False), encoding="utf-8")
    print(as_json_line(rows))


def kept(rows: Sequence[Row], *, quick: bool) -> dict[str, Any]:
    """The rows with what they were measured on, for a file."""
    return {
        "machine": {
            "processor": processor(),
            "instructions": instructions_text(),
            "cores": usable_cores(),
            "threads": threads_text(),
            "torch": torch.__version__,
        },
        "quick": quick,
        "rows": {row.name: row.as_json() | _about(row) for row in rows},
    }


def _about(row: Row) -> dict[str, Any]:
    return {"judged": row.judged, "goal_text": goal_text(row), "verdict": row.verdict, "measured": row.measured}
