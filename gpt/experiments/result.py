"""What an experiment gives: numbers with their spread, the curves of its figure, and sentences made of them alone."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gpt.figures.words import with_error

_MEDIAN_ERROR = 1.2533 / 1.3490  # of a median, against a mean's; quartiles, against a standard deviation


@dataclass(frozen=True)
class Progress:
    """How far an experiment is.

    Attributes:
        share: of its work that is done, 0 to 1.
        doing: what it does now, in a few words.
    """

    share: float
    doing: str


@dataclass(frozen=True)
class Measure:
    """One number that was measured.

    Attributes:
        name: unique in its result; parts are joined by "/", such as "no-mask/loss".
        value: the number; NaN where it could not be measured.
        error: its standard error, or NaN where it has none.
        unit: such as "nats per token"; empty for a share or a count.
        of: what the error comes from, such as "200 windows" or "3 seeds".
    """

    name: str
    value: float
    error: float = math.nan
    unit: str = ""
    of: str = ""

    def __str__(self) -> str:
        """The number with its error, and no more digits than that allows."""
        if not math.isfinite(self.value):
            return "not measured"
        if not self.error > 0 and (abs(self.value) >= 100 or self.value == int(self.value)):
            return f"{self.value:,.0f}".replace("-", "−")
        return with_error(self.value, self.error)


@dataclass(frozen=True)
class Curve:
    """One line, or row of dots, of a chart.

    Attributes:
        label: its name in the legend.
        x, y: as many of each; a y of NaN leaves a gap.
        error: the standard error of each y; empty for none.
        variant: whose colour it takes; "other" is grey.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    error: tuple[float, ...] = ()
    variant: str = "other"

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or (self.error and len(self.error) != len(self.y)):
            raise ValueError(f"the curve {self.label!r} has {len(self.x)} x, {len(self.y)} y, {len(self.error)} errors")


@dataclass(frozen=True)
class Chart:
    """One picture of a result.

    Attributes:
        title: what it shows.
        x_title, y_title: with units.
        curves: with distinct labels.
        x_scale, y_scale: "linear" or "log".
        y_range: the lowest and highest y that the axis shows at least; None follows the curves.
        y_limits: the lowest and highest that y can be, such as 0 and 1 of a share: error bars end there.
        x_marks, y_marks: (where, what) of lines to compare with, upright and level.
        rows: where the x of the curves are not numbers: the names of 0, 1, 2, ..., which stand below each other, with
            y drawn as a dot to the right; empty for numbers.
    """

    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    x_scale: str = "linear"
    y_scale: str = "linear"
    y_range: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    x_marks: tuple[tuple[float, str], ...] = ()
    y_marks: tuple[tuple[float, str], ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What came of an experiment.

    Attributes:
        experiment: its name.
        setup: what it was made with, by field.
        measures: the numbers.
        charts: the pictures, the first the one that answers the question (and that a prediction is drawn on).
        answer: which of the predictions that can be chosen the numbers bear out; empty where they decide for none.
        sentences: what was found, made of the measures alone.
        seconds: how long it took.
        machine: on what, in words.
    """

    experiment: str
    setup: Mapping[str, Any]
    measures: tuple[Measure, ...]
    charts: tuple[Chart, ...]
    answer: str = ""
    sentences: tuple[str, ...] = ()
    seconds: float = math.nan
    machine: str = ""
    _by_name: Mapping[str, Measure] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {measure.name: measure for measure in self.measures}
        if len(by_name) < len(self.measures):
            raise ValueError(f"{self.experiment}: two measures have one name")
        object.__setattr__(self, "_by_name", by_name)

    def __getitem__(self, name: str) -> Measure:
        """The measure of that name; raises KeyError."""
        return self._by_name[name]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON can hold it; a number that is not finite is null."""
        fields = asdict(self)
        del fields["_by_name"]
        return _finite(fields)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Result:
        """The result that `to_json` wrote."""
        said = dict(_known(fields))
        said["measures"] = tuple(Measure(**_known(measure)) for measure in said["measures"])
        said["charts"] = tuple(_chart(chart) for chart in said["charts"])
        said["sentences"] = tuple(said["sentences"])
        return cls(**said)

    def to_csv(self) -> str:
        """All numbers as a table: kind, chart or unit, name, x, value, standard error, what the error comes from."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["kind", "chart or unit", "name", "x", "value", "standard error", "error from"])
        table.writerows(["setup", "", name, "", value, "", ""] for name, value in self.setup.items())
        for one in self.measures:
            table.writerow(["measure", one.unit, one.name, "", _cell(one.value), _cell(one.error), one.of])
        table.writerows(self._points())
        return text.getvalue()

    def _points(self) -> Iterator[list[Any]]:
        for chart in self.charts:
            for curve in chart.curves:
                errors = curve.error or (math.nan,) * len(curve.y)
                for x, y, error in zip(curve.x, curve.y, errors, strict=True):
                    place = chart.rows[int(x)] if chart.rows else x
                    yield ["point", chart.title, curve.label, place, _cell(y), _cell(error), ""]


def mean_of(name: str, values: Sequence[float], unit: str = "", of: str = "") -> Measure:
    """The mean of some values, with its standard error.

    Args:
        name: of the measure.
        values: one or more; of one, the error is not known.
        unit: of each.
        of: what they are, in the plural, such as "windows"; their number goes before it.
    """
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Measure(name, statistics.fmean(values), error, unit, f"{len(values):,} {of}" if of else "")


def median_of(name: str, values: Sequence[float], unit: str = "", of: str = "") -> Measure:
    """The median of some values, with its standard error: for times, which other programs disturb now and then.

    The error is what it would be for a normal distribution with the distance between the quartiles that these have.
    """
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    error = _MEDIAN_ERROR * (high - low) / math.sqrt(len(values))
    return Measure(name, middle, error, unit, f"{len(values):,} {of}" if of else "")


def is_above(one: Measure, other: Measure | float, errors: float = 2.0) -> bool:
    """Whether a number lies above another by more than so many standard errors of their difference."""
    value, error = (other.value, other.error) if isinstance(other, Measure) else (other, 0.0)
    both = math.hypot(*(known for known in (one.error, error) if math.isfinite(known)), 0.0)
    return one.value - value > errors * both


def _cell(number: float) -> float | str:
    return number if math.isfinite(number) else ""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of numbers that were written as null, as NaN again."""
    return {key: math.nan if value is None and key in _NUMBERS else value for key, value in fields.items()}


_NUMBERS = ("value", "error", "seconds")


def _chart(fields: Mapping[str, Any]) -> Chart:
    said: dict[str, Any] = dict(fields)
    for key in ("x_marks", "y_marks"):
        said[key] = tuple((at, what) for at, what in said[key])
    said["curves"] = tuple(_curve(curve) for curve in said["curves"])
    for key in ("y_range", "y_limits"):
        said[key] = tuple(said[key]) if said.get(key) else None
    said["rows"] = tuple(said["rows"])
    return Chart(**said)


def _curve(fields: Mapping[str, Any]) -> Curve:
    said: dict[str, Any] = dict(fields)
    return Curve(**said | {key: _tuple(said[key]) for key in ("x", "y", "error")})


def _tuple(numbers: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if number is None else number for number in numbers)


def one_line(result: Result) -> str:
    """A result as one line of JSON."""
    return json.dumps(result.to_json(), allow_nan=False)
