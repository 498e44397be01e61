"""Time against the length of a text: a measurement of full attention and of a window, and the chart of it."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from gpt.costs.timing import attention_seconds, fitted_exponent, spread
from gpt.figures.words import with_error
from gpt.runs.limits import MOST_TIMING_SECONDS
from gpt.ui.components.cost_chart import cost_chart_value
from gpt.ui.cost.settings import HEADS, PASSES, WIDTH, TimingSettings
from gpt.ui.limiter import COMPUTING
from gpt.ui.theme import variant_style

REPEATS, REPEATS_OF_SHORT = 5, 15  # calls whose median makes a point
_SHORT = 256  # tokens: up to here a call takes so little that a moment's disturbance would spoil five in a row
FEWEST_TO_FIT = 3
MFLOPS_PER_MS = 10  # where the two vertical axes meet: 10 billion multiplications and additions a second

_OVERHEAD = 3e7  # what a call costs however short the text, in multiplications: for the guess of the time left
_VARIANTS = ("gpt2", "sliding-window")  # whose colours the two curves carry


class AttentionTiming:
    """Times full attention and a window by turns, the shortest text first.

    Args:
        settings: what is asked for.
        alone: held during each call, so that no two measurements of this server are under way at once.
    """

    def __init__(self, settings: TimingSettings, alone: threading.Lock | None = None) -> None:
        self.settings = settings
        self.is_stopped = False
        self.ran_out_of_time = False
        self.started: float | None = None  # of the clock, at the first call
        self.ended: float | None = None
        self._alone = alone or threading.Lock()
        self._seconds: dict[tuple[int, int | None], list[float]] = {}
        self._left = list(_calls(settings))
        self._all = len(self._left)

    @property
    def is_over(self) -> bool:
        """Whether there is no more to time, for whatever reason."""
        return self.ended is not None

    def stop(self) -> None:
        """End it with the points there are; the call under way goes on to its end, unseen."""
        if not self.is_over:
            self.is_stopped = True
            self.ended = time.perf_counter()

    def time_for(self, seconds: float) -> None:
        """Make calls for about so long, one at least."""
        with self._alone, COMPUTING:
            self.started = self.started or time.perf_counter()
            until = time.perf_counter() + seconds
            while self._left and not self.is_stopped:
                if time.perf_counter() - self.started > MOST_TIMING_SECONDS:
                    self.ran_out_of_time = True
                    break
                self._time_once(*self._left[0])
                if time.perf_counter() >= until:
                    break
        if not self._left or self.ran_out_of_time:
            self.ended = self.ended or time.perf_counter()

    def _time_once(self, length: int, window_size: int | None) -> None:
        backward = PASSES[self.settings.passes]
        taken = attention_seconds(length, window_size, embed_size=WIDTH, num_heads=HEADS, backward=backward, repeats=1)
        if not self.is_stopped:
            self._seconds.setdefault((length, window_size), []).extend(taken)
            self._left.pop(0)

    # ---- what it has found ----

    def milliseconds(self, length: int, window_size: int | None) -> list[float] | None:
        """Each repeat at a length, or None until all of them are there."""
        seconds = self._seconds.get((length, window_size), [])
        return [1000 * second for second in seconds] if len(seconds) >= repeats_at(length) else None

    def measured_lengths(self, window_size: int | None) -> list[int]:
        """The lengths of which all repeats are there."""
        return [length for length in self.settings.lengths if self.milliseconds(length, window_size) is not None]

    def view_in_queue(self, before: int) -> str:
        """What `cost_chart` draws while so many others are to measure first."""
        if before == 0:
            return self._view("Starting.")
        others = "one other is" if before == 1 else f"{before} others are"
        return self._view(
            f"In the queue: {others} before you, since only one can measure at a time. It starts by itself."
        )

    def preview(self) -> str:
        """What `cost_chart` draws while nothing is measured."""
        return self._view(self._status(), is_preview=True)

    def view(self) -> str:
        """What `cost_chart` draws."""
        return self._view(self._status())

    def _view(self, status: str, *, is_preview: bool = False) -> str:
        settings = self.settings
        curves = []
        for window_size, variant, name in zip(settings.windows, _VARIANTS, settings.names(), strict=True):
            lengths = self.measured_lengths(window_size)
            computed = [settings.flops(length, window_size) / 1e6 for length in settings.lengths]
            compared = len(lengths) if len(lengths) >= FEWEST_TO_FIT else len(computed)
            curves.append(
                {
                    "label": name,
                    **variant_style(variant),
                    "measured": [_point(length, self.milliseconds(length, window_size) or []) for length in lengths],
                    "computed": [list(pair) for pair in zip(settings.lengths, computed, strict=True)],
                    "measured_words": self._exponent(window_size),
                    "computed_words": "T^{" + _growth(settings.lengths[:compared], computed[:compared]) + "}",
                }
            )
        return cost_chart_value(
            curves,
            x={"title": "tokens in the text, T", "scale": "log", "ticks": settings.lengths},
            y={"title": "milliseconds, measured", "scale": "log", "unit": "ms"},
            right={"title": "MFLOP, computed", "unit": "MFLOP", "per": MFLOPS_PER_MS},
            note=self._note(),
            status=status,
            progress=None if self.started is None or self.is_over else self._progress(),
            sentences=self._sentences(),
            columns=_time_columns(settings),
            rows=[self._row(length) for length in settings.lengths],
            settings=settings.in_words(),
            is_preview=is_preview,
        )

    def _note(self) -> str:
        """What the computed lines are of."""
        tripled = (
            ", three times as many for forward and backward as for forward" if PASSES[self.settings.passes] else ""
        )
        return (
            f"MFLOP: million multiplications and additions, by formula{tripled}. Where both axes stand at one height, "
            f"{MFLOPS_PER_MS} MFLOP a millisecond."
        )

    def _exponent(self, window_size: int | None) -> str:
        lengths = self.measured_lengths(window_size)
        if not lengths:
            return "not measured yet"
        if len(lengths) < FEWEST_TO_FIT:
            return f"{len(lengths)} of at least {FEWEST_TO_FIT} lengths"
        return "T^{" + with_error(*fitted_exponent(lengths, self._medians(lengths, window_size))) + "}"

    def _medians(self, lengths: Iterable[int], window_size: int | None) -> list[float]:
        return [statistics.median(self.milliseconds(length, window_size) or []) for length in lengths]

    def _row(self, length: int) -> list[str]:
        """Of the table: what was measured at a length, beside what is computed."""
        settings = self.settings
        both = [self.milliseconds(length, window_size) for window_size in settings.windows]
        flops = [settings.flops(length, window_size) for window_size in settings.windows]
        measured = ["–" if one is None else with_error(statistics.median(one), _half_spread(one)) for one in both]
        ratio = "–" if both[0] is None or both[1] is None else with_error(*_ratio(both[0], both[1]))
        computed = [f"{count / 1e6:,.{0 if count >= 1e8 else 1}f}" for count in flops]
        return [f"{length:,}", *measured, ratio, *computed, f"{flops[0] / flops[1]:.2f}"]

    def _sentences(self) -> list[str]:
        """What was found, in words; nothing that was not measured just now."""
        windows, names = self.settings.windows, self.settings.names()
        both = [length for length in self.settings.lengths if all(self.milliseconds(length, one) for one in windows)]
        if len(both) < FEWEST_TO_FIT:
            return [f"How time grows with T will be said here once {FEWEST_TO_FIT} lengths are measured."]
        slopes = ["T^{" + with_error(*fitted_exponent(both, self._medians(both, one))) + "}" for one in windows]
        flops = [_growth(both, [self.settings.flops(length, one) for length in both]) for one in windows]
        last, before = both[-1], both[-2]
        doubled = [
            with_error(*_ratio(self.milliseconds(last, one) or [], self.milliseconds(before, one) or []))
            for one in windows
        ]
        return [
            f"Measured: time grows as {slopes[0]} with full attention and as {slopes[1]} with a {names[1]}, fitted to "
            f"all {len(both)} lengths from {both[0]:,} to {last:,}; ± is the standard error of the fit.",
            f"Measured: from {before:,} to {last:,} tokens alone, time is multiplied by {doubled[0]} and by "
            f"{doubled[1]}; ± is half the distance between the quartiles.",
            f"Computed: by the same fit, the multiplications and additions grow as "
            f"T^{{{flops[0]}}} and as T^{{{flops[1]}}}.",
            *self._why_they_differ(both),
        ]

    def _why_they_differ(self, lengths: Sequence[int]) -> list[str]:
        """Why time and arithmetic grow differently, where they do by more than two standard errors of the fit.

        If every multiplication took as long as every other, both would grow alike; so what is compared is how many
        are done in a millisecond at the two ends.
        """
        said = []
        for window_size, name in zip(self.settings.windows, self.settings.names(), strict=True):
            medians = self._medians(lengths, window_size)
            flops = [self.settings.flops(length, window_size) for length in lengths]
            measured, error = fitted_exponent(lengths, medians)
            computed, _ = fitted_exponent(lengths, flops)
            if abs(measured - computed) <= 2 * error:
                continue
            first, last = (flops[end] / 1e6 / medians[end] for end in (0, -1))
            if (measured < computed) != (first < last):
                continue  # neither end explains it
            ends = (
                f"this machine did {first:,.1f} MFLOP a millisecond at T = {lengths[0]:,} and {last:,.1f} at "
                f"T = {lengths[-1]:,}"
            )
            before = _local_exponent(lengths, medians), _local_exponent(lengths, flops)
            longest = (
                f" Between the two longest texts alone, time grows as T^{{{before[0]:.2f}}} and the arithmetic as "
                f"T^{{{before[1]:.2f}}}."
            )
            why = (
                "a call costs something however short its text, and short products keep the machine less busy, so "
                "short texts take more time than their arithmetic says and the line is less steep"
                if first < last
                else "the longer the text, the more of the time goes to what the formula does not count, such as "
                "moving the T × T weights to memory and back, so the line is steeper"
            )
            said.append(f"Why they differ, {name}: {ends}; {why}.{longest}")
        return said

    def _status(self) -> str:
        done = self._all - len(self._left)
        if self.started is None:
            return "Thin lines are computed. Press Measure: the times of this machine will be drawn beside them."
        seconds = (self.ended or time.perf_counter()) - self.started
        reached = max(self.measured_lengths(None) + self.measured_lengths(self.settings.window_size), default=0)
        upto = f"points up to T = {reached:,}" if reached else "no point yet"
        if self.ran_out_of_time:
            return f"Ended after {MOST_TIMING_SECONDS:g} s, the most that is given to one measurement: {upto}."
        if self.is_stopped:
            return f"Stopped after {seconds:.1f} s: {upto}."
        if self.is_over:
            return f"Done: {done} measurements in {seconds:.1f} s, each point a median with its quartiles."
        length, window_size = self._left[0]
        name = self.settings.names()[self.settings.windows.index(window_size)]
        left = min(seconds / max(self._progress(), 1e-3) - seconds, MOST_TIMING_SECONDS - seconds)
        when = f" · about {max(1, math.ceil(left))} s left" if self._progress() > 0.02 else ""
        return f"T = {length:,}, {name} · {done} of {self._all} measurements{when}"

    def _progress(self) -> float:
        """The share of the work that is done."""
        work = [self.settings.flops(*call) + _OVERHEAD for call in _calls(self.settings)]
        return sum(work[: self._all - len(self._left)]) / sum(work)


def repeats_at(length: int) -> int:
    """Calls whose median makes a point at this length."""
    return REPEATS_OF_SHORT if length <= _SHORT else REPEATS


def _calls(settings: TimingSettings) -> Iterator[tuple[int, int | None]]:
    """(length, window) of every call in its order; who goes first changes, so that nobody has the warmer machine."""
    for length in settings.lengths:
        for repeat in range(repeats_at(length)):
            yield from ((length, one) for one in settings.windows[:: 1 if repeat % 2 == 0 else -1])


def _time_columns(settings: TimingSettings) -> list[dict[str, str]]:
    full, window = settings.names()
    return [
        {"name": "T", "kind": ""},
        {"name": f"{full}, ms", "kind": "measured"},
        {"name": f"{window}, ms", "kind": "measured"},
        {"name": "full / window", "kind": "measured"},
        {"name": f"{full}, MFLOP", "kind": "computed"},
        {"name": f"{window}, MFLOP", "kind": "computed"},
        {"name": "full / window", "kind": "computed"},
    ]


def _point(length: int, milliseconds: Sequence[float]) -> list[float]:
    """[length, median, lower quartile, upper quartile]."""
    low, middle, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
    return [length, round(middle, 4), round(low, 4), round(high, 4)]


def _half_spread(values: Sequence[float]) -> float:
    return spread(values) * statistics.median(values)


def _ratio(values: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Of the medians, and how far it is uncertain by both spreads."""
    ratio = statistics.median(values) / statistics.median(others)
    return ratio, ratio * math.hypot(spread(values), spread(others))


def _local_exponent(lengths: Sequence[int], values: Sequence[float]) -> float:
    """Of the growth between the last two lengths."""
    return math.log(values[-1] / values[-2]) / math.log(lengths[-1] / lengths[-2])


def _growth(lengths: Sequence[int], values: Sequence[float]) -> str:
    return f"{fitted_exponent(lengths, values)[0]:.2f}"
