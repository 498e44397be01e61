"""Seconds from the start of `python demo.py` until the page answers, against a page of Gradio alone."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt.bench.rows import Row, in_pairs
from gpt.bench.served import DEMO, served, what_is_missing
from gpt.bench.turns import FEWEST_REPEATS, Budget, progress
from gpt.costs.timing import spread

# The least that can be served with this version of Gradio; as `gpt.ui.app.launch`, it asks for no second server.
ONE_BUTTON = """
import sys
import gradio as gr

with gr.Blocks(analytics_enabled=False) as demo:
    gr.Button("Hello")
demo.launch(server_name="127.0.0.1", server_port=int(sys.argv[2]), ssr_mode=False)
"""


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        repeats: starts of each page, in turns, at most.
        seconds: that all of it may take; but each page is started twice at least.
        most_seconds: to wait for a page.
        program: what `--port N` is given to; the demo.
    """

    repeats: int = 5
    seconds: float = math.inf
    most_seconds: float = 120.0
    program: Path = DEMO


FULL = Setting()
QUICK = Setting(repeats=3, seconds=11)


def rows(setting: Setting) -> Iterator[Row]:
    """The row `start`."""
    ours: list[float] = []
    peer: list[float] = []
    measured = (
        "From the start of the process to the first answer with status 200, fresh processes in turns after one "
        "start of each that is not counted. The peer is a page of one button, of the same Gradio and without PyTorch. "
        "The ratio is ours over the peer's; lower is better."
    )
    missing = what_is_missing(setting.program)
    if missing:
        yield _row(f"{measured}\n{missing}", ours, peer)
        return
    budget = Budget(setting.seconds)
    with tempfile.TemporaryDirectory() as folder:
        one_button = Path(folder) / "one_button.py"
        one_button.write_text(ONE_BUTTON, encoding="utf-8")
        for repeat in range(setting.repeats + 1):
            if repeat > FEWEST_REPEATS and ours[-1] + peer[-1] > budget.left:
                break
            progress(f"start: {repeat} of {setting.repeats}" if repeat else "start: warming up")
            for program, seconds in ((setting.program, ours), (one_button, peer)):
                with served(program, setting.most_seconds) as (once, _):
                    if repeat:
                        seconds.append(once)
    yield _row(measured, ours, peer)


def _row(measured: str, ours: list[float], peer: list[float]) -> Row:
    ratios = in_pairs(ours, peer)
    return Row(
        "start",
        measured,
        ours=statistics.median(ours) if ours else None,
        peer=statistics.median(peer) if peer else None,
        unit="s",
        ratio=statistics.median(ratios) if ratios else None,
        spread=spread(ratios),
        goal=1.3,
        aim="at most",
    )
