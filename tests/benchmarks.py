"""What the tests of the benchmarks share: the smallest training there is, and what holds for all rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from gpt import TrainConfig
from gpt.bench.rows import Row, as_json_line, as_text

FIGURES = ["ours", "peer", "ratio", "spread", "goal"]
SIZE = {"num_layers": 1, "num_heads": 2, "embed_size": 8, "context_length": 16}
TINY_TRAINING = TrainConfig(max_steps=6, batch_size=2, warmup_steps=1, device="cpu")


def measured(rows: Iterable[Row]) -> dict[str, Row]:
    """The rows by name, after what holds for all: they can be read as a table and as JSON."""
    rows = list(rows)
    figures = json.loads(as_json_line(rows))
    for row in rows:
        assert list(figures[row.name])[:5] == FIGURES
        assert figures[row.name]["goal"] == row.goal
        assert row.ratio is None or math.isfinite(row.spread)  # how far repeats are apart
        first, *below = as_text(row).splitlines()
        assert first.startswith(row.name)
        assert below
        assert all(line.startswith("    ") and len(line) <= 120 for line in below)
    assert len(figures) == len(rows)
    return {row.name: row for row in rows}
