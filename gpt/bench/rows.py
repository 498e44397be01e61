"""What a benchmark hands over: rows, and how they are read, by people as a table and by programs as JSON."""

from __future__ import annotations

import json
import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpt.costs.timing import spread

WIDTH = 118  # of the table


@dataclass(frozen=True)
class Row:
    """One measurement of ours, beside a peer measured in turns with it on the same machine.

    Attributes:
        name: such as "learn.gpt2".
        measured: what exactly, in a sentence or a few; also which peer is missing, or what was not reached.
        ours, peer: the figures, medians over repeats; None where there is none.
        unit: of both.
        ratio: how many times better ours is, unless `measured` says otherwise.
        spread: of the figure that the goal is for over the repeats, as `gpt.costs.timing.spread`.
        goal: what that figure is to be; None where it is only to be known.
        aim: whether it is to be at least that, at most, or exactly.
        goal_for: "ratio", or "ours" where there is no peer.
        is_smaller: whether less was measured than the goal is for, so that it says nothing about the goal.
        more: further figures, by name.
    """

    name: str
    measured: str
    ours: float | None
    peer: float | None
    unit: str
    ratio: float | None
    spread: float | None
    goal: float | None
    aim: str = "at least"
    goal_for: str = "ratio"
    is_smaller: bool = False
    more: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the goal is "met" or "not met", or "not judged"; empty where the figure it is for is missing."""
        figure = self.judged
        if figure is None or self.goal is None:
            return ""
        if self.is_smaller:
            return "not judged"
        reached = {
            "at least": figure >= self.goal,
            "at most": figure <= self.goal,
            "exactly": math.isclose(figure, self.goal, rel_tol=1e-9),
        }
        return "met" if reached[self.aim] else "not met"

    @property
    def judged(self) -> float | None:
        """The figure that the goal is for; None where it is missing."""
        return _finite(self.ours if self.goal_for == "ours" else self.ratio)

    def as_json(self) -> dict[str, float | None]:
        """The figures by name; what was not measured, or is no finite number, is None."""
        figures = {name: getattr(self, name) for name in ("ours", "peer", "ratio", "spread", "goal")}
        return {name: _finite(figure) for name, figure in (figures | dict(self.more)).items()}


def timed_row(
    name: str,
    measured: str,
    *,
    ours: Sequence[float],
    peer: Sequence[float],
    goal: float,
    tokens: int | None = None,
    is_smaller: bool = False,
    more: Mapping[str, float | None] | None = None,
) -> Row:
    """The row of some work that ours and the peer were timed at in turns.

    `ours` and `peer` are the seconds of every repeat, the nth of both being neighbours in time; `peer` is empty where
    it is missing. With `tokens`, how many the work gives, the figures are tokens per second.
    """
    ratios = in_pairs(peer, ours)
    return Row(
        name,
        measured,
        ours=_figure(ours, tokens),
        peer=_figure(peer, tokens),
        unit="s" if tokens is None else "tokens/s",
        ratio=statistics.median(ratios) if ratios else None,
        spread=spread(ratios),
        goal=goal,
        is_smaller=is_smaller,
        more=more or {},
    )


def in_pairs(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The nth of one divided by the nth of the other, so that a slow moment of the machine hits both; or nothing."""
    return [a / b for a, b in zip(over, under, strict=True)] if over and under else []


def _figure(seconds: Sequence[float], tokens: int | None) -> float | None:
    if not seconds:
        return None
    middle = statistics.median(seconds)
    return middle if tokens is None else tokens / middle


def _finite(figure: float | None) -> float | None:
    return None if figure is None or not math.isfinite(figure) else figure


# --- Reading them ---------------------------------------------------------------------------------------------------

_COLUMNS = "{:<16} {:>18} {:>18} {:>16} {:>10}  {}"
_SIGNS = {"at least": ">=", "at most": "<=", "exactly": "="}


def table_head() -> str:
    """The names of the columns, underlined."""
    return _COLUMNS.format("", "ours", "peer", "ratio", "goal", "").rstrip() + "\n" + "-" * WIDTH


def as_text(row: Row) -> str:
    """A row of the table, and below it what was measured."""
    figures = _COLUMNS.format(
        row.name,
        _with_unit(row.ours, row.unit),
        _with_unit(row.peer, row.unit),
        _with_spread(row.ratio, row.spread) if row.goal_for == "ratio" else "",
        goal_text(row),
        row.verdict,
    ).rstrip()
    more = "".join(f"\n{name.replace('_', ' ')}: {_number(value)}" for name, value in row.more.items())
    return figures + "\n" + "\n".join(_indented(line) for line in (row.measured + more).splitlines())


def goal_text(row: Row) -> str:
    """What the goal is: ">= 2" for a ratio, "<= 2 s" for ours; empty where there is none."""
    if row.goal is None:
        return ""
    unit = f" {row.unit}" if row.goal_for == "ours" else ""
    return f"{_SIGNS[row.aim]} {row.goal:.3g}{unit}"


def as_json_line(rows: Sequence[Row]) -> str:
    """All rows in one line: {"learn.gpt2": {"ours": ..., "peer": ..., "ratio": ..., "spread": ..., "goal": ...}}."""
    figures: dict[str, Any] = {row.name: row.as_json() for row in rows}
    return json.dumps(figures, allow_nan=False)


def _indented(line: str) -> str:
    return textwrap.fill(line, WIDTH, initial_indent="    ", subsequent_indent="    ")


def _with_unit(figure: float | None, unit: str) -> str:
    return _number(figure) + (f" {unit}" if unit and _finite(figure) is not None else "")


def _with_spread(ratio: float | None, width: float | None) -> str:
    share = _finite(width)
    return _number(ratio) + ("" if share is None or _finite(ratio) is None else f" ± {share:.0%}")


def _number(figure: float | None) -> str:
    known = _finite(figure)
    if known is None:
        return "-"
    return f"{known:,.0f}" if abs(known) >= 100 else f"{known:.3g}"
