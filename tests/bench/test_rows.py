"""A row of a benchmark: its ratio and spread, whether its goal is met, and how it is read."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from gpt.bench.rows import Row, as_json_line, as_text, goal_text, in_pairs, table_head, timed_row


def test_the_ratio_is_the_median_over_neighbours():
    """A slow moment that hits a whole pair changes neither the ratio nor its spread."""
    row = timed_row("a", "what", ours=[1.0, 10.0, 2.0], peer=[4.0, 40.0, 8.0], goal=3)
    assert (row.ours, row.peer, row.ratio, row.spread, row.verdict) == (2.0, 8.0, 4.0, 0.0, "met")
    rates = timed_row("a", "what", ours=[1.0, 2.0, 4.0], peer=[2.0, 2.0, 2.0], goal=3, tokens=100)
    assert (rates.ours, rates.peer, rates.ratio, rates.unit, rates.verdict) == (50, 50, 1, "tokens/s", "not met")
    assert in_pairs([], [1.0]) == []
    alone = timed_row("a", "what", ours=[1.0, 2.0], peer=[], goal=3)
    assert (alone.ours, alone.peer, alone.ratio, alone.verdict) == (1.5, None, None, "")


@pytest.mark.parametrize(
    ("aim", "ratio", "verdict"),
    [
        ("at least", 2.0, "met"),
        ("at least", 1.9, "not met"),
        ("at most", 2.0, "met"),
        ("at most", 2.1, "not met"),
        ("exactly", 2.0, "met"),
        ("exactly", 2.1, "not met"),
        ("at most", None, ""),
        ("at most", math.inf, ""),
    ],
)
def test_verdicts(aim, ratio, verdict):
    row = Row("a", "what", 1.0, 2.0, "s", ratio, 0.1, goal=2.0, aim=aim)
    assert row.verdict == verdict
    assert as_text(row).splitlines()[0].endswith(verdict or "2")


def test_what_is_no_number_becomes_null():
    row = Row("a", "what", math.inf, None, "s", math.nan, math.nan, goal=2.0, more={"share": 0.5})
    line = as_json_line([row])
    assert json.loads(line) == {
        "a": {"ours": None, "peer": None, "ratio": None, "spread": None, "goal": 2.0, "share": 0.5}
    }
    assert "\n" not in line
    assert "nan" not in as_text(row)
    assert "inf" not in as_text(row)


def test_a_row_reads_as_a_line_and_what_was_measured():
    row = Row("train", "Steps.\nPeer missing.", 12345.6, 6000.0, "tokens/s", 2.0576, 0.031, 2.0, more={"a_share": 0.5})
    head, *below = as_text(row).splitlines()
    assert " ".join(head.split()) == "train 12,346 tokens/s 6,000 tokens/s 2.06 ± 3% >= 2 met"
    assert [line.strip() for line in below] == ["Steps.", "Peer missing.", "a share: 0.5"]
    assert table_head().split()[:4] == ["ours", "peer", "ratio", "goal"]


def test_a_goal_may_be_for_ours_where_there_is_no_peer():
    row = Row("page.gap", "Gaps.", 0.8, None, "s", None, 0.1, goal=1.0, aim="at most", goal_for="ours")
    assert (row.judged, row.verdict, goal_text(row)) == (0.8, "met", "<= 1 s")
    assert replace(row, ours=1.2).verdict == "not met"
    assert " ".join(as_text(row).splitlines()[0].split()) == "page.gap 0.8 s - <= 1 s met"


def test_less_than_the_goal_is_for_is_not_judged():
    row = Row("window.full", "Short.", 1.0, 2.0, "s", 2.0, 0.1, goal=10, is_smaller=True)
    assert row.verdict == "not judged"
    assert timed_row("a", "what", ours=[1.0], peer=[9.0], goal=3, is_smaller=True).verdict == "not judged"
