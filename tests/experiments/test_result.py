"""Results as others have them: JSON, CSV, the figure; and the questions that go with every experiment."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from gpt.experiments.conduct import experiment_file, make_setup
from gpt.experiments.figure import experiment_figure
from gpt.experiments.questions import QUESTIONS
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, mean_of, one_line

CURVE = Curve("gpt2", (1.0, 2.0), (0.5, math.nan), (0.1, math.nan), "gpt2")
CHART = Chart("A chart", "x", "y", (CURVE,), x_marks=((1.5, "here"),), y_range=(0.0, 1.0), y_limits=(0.0, 1.0))
ROWS = Chart(
    "Rows", "", "y", (Curve("one", (0.0, 1.0), (3.0, 4.0)),), rows=("first", "second"), y_marks=((3.5, "half"),)
)
RESULT = Result(
    "sampling", {"seed": 1}, (Measure("a/b", 1.0, 0.1, "nats", "3 seeds"), Measure("c", math.nan)), (CHART, ROWS)
)


def test_json_holds_all_and_gives_it_back():
    line = one_line(RESULT)
    assert "\n" not in line
    again = Result.from_json(json.loads(line))
    assert repr(again) == repr(RESULT)  # NaN is not equal to itself
    assert one_line(again) == line


def test_csv_has_every_number():
    rows = list(csv.reader(io.StringIO(RESULT.to_csv())))
    assert ["measure", "nats", "a/b", "", "1.0", "0.1", "3 seeds"] in rows
    assert ["point", "A chart", "gpt2", "1.0", "0.5", "0.1", ""] in rows
    assert ["point", "Rows", "one", "second", "4.0", "", ""] in rows


def test_the_figure_draws_every_curve_and_mark():
    figure = experiment_figure(RESULT, "$title$ \N{SNOWMAN}")
    first, second = figure.axes
    assert [text.get_text() for text in first.texts] == ["here"]
    assert [label.get_text() for label in second.get_yticklabels()] == ["first", "second"]
    figure.canvas.draw()


def test_means_and_comparisons():
    mean = mean_of("x", [1.0, 2.0, 3.0], "nats", "windows")
    assert mean.value == 2.0
    assert mean.error == pytest.approx(1 / math.sqrt(3))
    assert mean.of == "3 windows"
    assert is_above(Measure("a", 3.0, 0.1), Measure("b", 2.0, 0.1))
    assert not is_above(Measure("a", 2.2, 0.1), Measure("b", 2.0, 0.1))
    assert is_above(Measure("a", 1.0), 0.9)
    assert str(Measure("a", 1234.0)) == "1,234"
    assert str(Measure("a", math.nan)) == "not measured"
    with pytest.raises(ValueError, match="2 x, 1 y"):
        Curve("a", (1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match="one name"):
        Result("x", {}, (Measure("a", 1.0), Measure("a", 2.0)), ())


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_fits_its_experiment(name):
    """Its controls are fields of the setup with these defaults, and every choice is allowed."""
    question, file = QUESTIONS[name], experiment_file(name)
    plain = file.Setup()
    assert 2 <= len(question.controls) <= 3
    for control in question.controls:
        assert getattr(plain, control.field) == control.default
        values = [value for value, _ in control.choices]
        assert control.default in values
        for value in values:
            assert getattr(make_setup(name, {control.field: value}), control.field) == value
            assert getattr(make_setup(name, {control.field: str(value)}), control.field) == value
    assert len(dict(question.options)) == len(question.options) >= 3
    assert plain.seed != make_setup(name, {"seed": 7}).seed
    assert isinstance(Progress(0.5, "x").share, float)


def test_an_unknown_experiment_is_named():
    with pytest.raises(ValueError, match="choose one of break-it"):
        make_setup("nothing")
