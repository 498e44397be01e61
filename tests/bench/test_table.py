"""The file that a benchmark keeps, and the table of two of them."""

from __future__ import annotations

import json

import pytest

from gpt.bench import report
from gpt.bench.rows import Row
from gpt.bench.table import MEANINGS, markdown_table

ROWS = [
    Row("learn.gpt2", "Learning.", 20.0, 80.0, "s", 4.0, 0.02, goal=6.0),
    Row("choices.stack", "No goal.", None, None, "nats", 1.1, 0.1, goal=None),
    Row("window.full", "Short.", 1.0, 4.0, "s", 4.0, 0.01, goal=10, is_smaller=True),
    Row("page.gap", "Gaps.", 0.812, None, "s", None, 0.05, goal=1.0, aim="at most", goal_for="ours"),
    Row("many", "Missing.", None, None, "tokens/s", None, None, goal=4),
]


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """`kept(name, rows)`: the file of a bench that measures these rows."""

    def keep(name, rows, **options):
        file = tmp_path / name
        monkeypatch.setattr(report, "measure", lambda names, quick: iter(rows))
        report.report(["some"], file=file, **options)
        return file

    return keep


def test_two_machines_stand_side_by_side(kept, monkeypatch, capsys):
    monkeypatch.setattr(report, "processor", lambda: "Fast One")
    monkeypatch.setattr(report, "instructions_text", lambda: "AVX512, bfloat16 by AMX")
    fast = kept("fast.json", ROWS)
    monkeypatch.setattr(report, "processor", lambda: "Slow One")
    monkeypatch.setattr(report, "instructions_text", lambda: "AVX2, no bfloat16 units in use")
    slow = kept("slow.json", [Row("learn.gpt2", "L.", 9.0, 90.0, "s", 10.0, 0.1, goal=6.0)], quick=True)
    printed = capsys.readouterr().out
    assert printed.count("computes  with") == 2
    assert json.loads(printed.splitlines()[-1])["learn.gpt2"]["ratio"] == 10
    head, _, learn, window, many, gap, _, one, other = markdown_table([fast, slow]).splitlines()
    assert head == "| | goal | Fast One, AVX512, bfloat16 by AMX | Slow One, AVX2, no bfloat16 units in use |"
    assert learn.endswith("(`learn.gpt2`) | >= 6 | 4 ± 2%, not met | 10 ± 10%, met |")
    assert window.endswith("(`window.full`) | >= 10 | 4 ± 1%, not judged | – |")
    assert many.endswith("(`many`) | >= 4 | not measured | – |")
    assert gap.endswith("(`page.gap`) | <= 1 s | 0.812 ± 5%, met | – |")
    assert one.startswith("Fast One with AVX512, bfloat16 by AMX: ")
    assert "extrapolated" in other
    assert "extrapolated" not in one


def test_goals_that_differ_by_machine_are_both_named(kept):
    files = [
        kept(f"{goal}.json", [Row("train.nanogpt", "T.", 1.0, 1.0, "tokens/s", 1.5, 0.0, goal)]) for goal in (1.25, 2.0)
    ]
    assert "| >= 1.25 or >= 2 | 1.5 ± 0%, met | 1.5 ± 0%, not met |" in markdown_table(files)


def test_what_was_measured_is_kept_when_the_rest_breaks_off(monkeypatch, tmp_path):
    def breaking_off(names, quick):
        yield ROWS[0]
        raise OSError("no page")

    monkeypatch.setattr(report, "measure", breaking_off)
    with pytest.raises(OSError, match="no page"):
        report.report(["some"], file=tmp_path / "part.json")
    assert "learn.gpt2" in markdown_table([tmp_path / "part.json"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}, "rows": {}}'])
def test_other_files_are_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match=r"other\.json is no file of `python -m gpt bench all --json"):
        markdown_table([tmp_path / "other.json"])


def test_a_folder_that_is_not_there_is_named_before_anything_is_measured(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        report.report(["cache"], file=tmp_path / "none" / "bench.json")


def test_every_goal_has_a_line():
    """Rows with a goal, by the benchmarks' own docstrings."""
    assert {"learn.rotary", "train.transformers", "window.mistral", "cache", "start", "page.steps"} <= set(MEANINGS)
