"""Two machines side by side: `python -m gpt.bench.table ONE.json OTHER.json` prints a Markdown table of their rows.

The files are those of `python -m gpt bench all --json FILE`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What a row of the table says; a benchmark's row that is not here has no goal.
MEANINGS = {
    "learn.gpt2": "GPT-2 to the loss that nanoGPT ends at: times as fast as nanoGPT",
    "learn.rotary": "rotary positions to that loss: times as fast as nanoGPT",
    "train.nanogpt": "training: tokens a second, times nanoGPT's",
    "train.transformers": "training: tokens a second, times transformers'",
    "generate.4x128": "writing, 4 layers, 128 wide: tokens a second, times transformers'",
    "generate.6x384": "writing, 6 layers, 384 wide: tokens a second, times transformers'",
    "window.full": "attention over a window of 128: times as fast as full attention",
    "window.mistral": "attention over a window of 128: times as fast as transformers' Mistral",
    "window.exponent": "attention over a window of 128: power of the length that its cost grows with",
    "cache": "cache, rolling and grouped: times as small as that of full multi-head attention",
    "start": "start of the page: times that of a page of Gradio alone",
    "many": "thirty readers at once: times as fast as one after another",
    "page.first_point": "page: seconds from Train to the first point",
    "page.run": "page: seconds of its default run, times the command line's",
    "page.gap": "page, 30 open: longest time without a change of a chart",
    "page.steps": "page, 30 open: training steps a second, times those with one open",
}


def markdown_table(files: Sequence[Path]) -> str:
    """A table of the goals, and of what was measured for each in each file; below it, on what.

    Raises:
        ValueError: a file is none that `bench --json` wrote.
    """
    benches = [_read(file) for file in files]
    heads = [f"{bench['machine']['processor']}, {bench['machine']['instructions']}" for bench in benches]
    lines = [f"| | goal | {' | '.join(heads)} |", "|---|---|" + "---|" * len(benches)]
    for name, meaning in MEANINGS.items():
        rows = [bench["rows"].get(name) for bench in benches]
        if any(rows):
            cells = ["–" if row is None else _cell(row) for row in rows]
            goals = dict.fromkeys(row["goal_text"] for row in rows if row)  # may differ, as for fast bfloat16
            lines.append(f"| {meaning} (`{name}`) | {' or '.join(goals)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(_about(bench) for bench in benches)])


def _read(file: Path) -> dict[str, Any]:
    try:
        bench: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        _about(bench)
        bench["rows"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no file of `python -m gpt bench all --json {file}`; make it again") from error
    return bench


def _cell(row: Mapping[str, Any]) -> str:
    if row["judged"] is None:
        return "not measured"
    spread = "" if row["spread"] is None else f" ± {row['spread']:.0%}"
    return f"{row['judged']:.3g}{spread}, {row['verdict']}"


def _about(bench: Mapping[str, Any]) -> str:
    machine = bench["machine"]
    kind = "`bench all --quick`: less of everything, in part extrapolated" if bench["quick"] else "`bench all`"
    return (
        f"{machine['processor']} with {machine['instructions']}: {machine['cores']} cores, {machine['threads']}, "
        f"torch {machine['torch']}; {kind}."
    )


if __name__ == "__main__":
    try:
        print(markdown_table([Path(name) for name in sys.argv[1:]]))
    except (ValueError, OSError) as error:
        sys.exit(f"gpt.bench.table: {error}")
