"""What the Cost tab measures and computes, as its components draw it."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch

from gpt.costs.formulas import cache_bytes, flops_by_part, parameters_by_part
from gpt.costs.timing import attention_seconds, fitted_exponent, spread
from gpt.generation.decoder import rolls_forever
from gpt.generation.stream import TokenStream, stream_tokens
from gpt.model.config import VARIANTS, GPTConfig, make_config, variant_name
from gpt.model.gpt2 import GPT2
from gpt.runs.limits import MOST_CACHED_TOKENS, MOST_TIMING_SECONDS
from gpt.ui.catalogue import ReadyModel
from gpt.ui.components.cost_bars import cost_bars_value
from gpt.ui.components.cost_chart import cost_chart_value
from gpt.ui.cost.settings import HEADS, PASSES, WIDTH, TimingSettings
from gpt.ui.limiter import COMPUTING
from gpt.ui.requests import sentence
from gpt.ui.theme import variant_style
from gpt.ui.train.settings import SIZES

# --- Time against the length of the text ----------------------------------------------------------------------------

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

    def view_in_line(self, before: int) -> str:
        """What `cost_chart` draws while so many others are to measure first."""
        if before == 0:
            return self._view("Starting.")
        others = "one other is" if before == 1 else f"{before} others are"
        return self._view(f"In line: {others} before you, since only one can measure at a time. It starts by itself.")

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
        ]

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


def _growth(lengths: Sequence[int], values: Sequence[float]) -> str:
    return f"{fitted_exponent(lengths, values)[0]:.2f}"


def with_error(number: float, error: float) -> str:
    """A number with its error, and no more digits than that allows."""
    if not math.isfinite(error) or error <= 0:
        return f"{number:.2f}"
    power = math.floor(math.log10(error))
    digits = min(4, max(0, 1 - power if error < 3 * 10**power else -power))
    return f"{number:,.{digits}f} ± {error:,.{digits}f}".replace("-", "−")


# --- The cache ------------------------------------------------------------------------------------------------------

_EVERY = 25  # tokens between dots, after the first powers of two


def formula_bytes(config: GPTConfig, length: int) -> int | None:
    """`cache_bytes`, or None where generation keeps nothing and reads the text anew for each token."""
    if not config.causal or (length > config.context_length and not rolls_forever(config)):
        return None
    return cache_bytes(config, length)


class CacheMeasurement:
    """Lets models write from one token on, by turns, and notes the bytes of keys and values that they hold."""

    def __init__(self, models: Sequence[ReadyModel]) -> None:
        self.models = list(models)
        self.notes = [""] * len(models)
        self.started: float | None = None
        self.held: list[dict[int, int]] = [{} for _ in models]  # of each model: tokens read -> bytes
        self.read = [0] * len(models)
        self._streams: list[TokenStream | None] = [None] * len(models)
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether every model has written all it was to write."""
        return self._is_over

    def write_for(self, seconds: float) -> None:
        """Let the models write for about so long, a token each at least."""
        if self.started is None:
            self.started = time.perf_counter()
            first = torch.zeros(1, 1, dtype=torch.long)  # any token will do to begin with
            self._streams = [
                stream_tokens(ready.model, first, max_new_tokens=MOST_CACHED_TOKENS, temperature=0.8, seed=1337)
                for ready in self.models
            ]
        with COMPUTING:
            until = time.perf_counter() + seconds
            has_written = True
            while has_written:
                has_written = any([self._write_one(number) for number in range(len(self.models))])  # noqa: C419, all write
                if time.perf_counter() >= until:
                    break
        self._is_over = not has_written or time.perf_counter() - self.started > MOST_TIMING_SECONDS

    def _write_one(self, number: int) -> bool:
        """One token more by one model; returns whether it may have another."""
        stream = self._streams[number]
        if stream is None or stream.tokens_left == 0:
            return False
        try:
            next(stream)
        except ValueError as error:  # of this model alone: the others write on
            self.notes[number], self._streams[number] = sentence(error), None
            return False
        self.read[number] += 1  # the newest token is chosen, and will be read with the next
        if self.read[number] in sampled_lengths(self.models[number].model.config):
            self.held[number][self.read[number]] = stream.cache_bytes
        return True

    def view(self) -> str:
        """What `cost_chart` draws."""
        curves = [self._curve(number) for number in range(len(self.models))]
        lengths = [MOST_CACHED_TOKENS if not self.models else max(self.read, default=0)]
        return cost_chart_value(
            curves,
            x={"title": "tokens read", "scale": "linear", "ticks": [0, 50, 100, 150, 200, 250, 300]},
            y={"title": "KiB of keys and values held", "scale": "linear", "unit": "KiB"},
            status=self._status(lengths[0]),
            progress=None if self.started is None or self.is_over else lengths[0] / MOST_CACHED_TOKENS,
            columns=[
                {"name": "model", "kind": ""},
                {"name": "tokens read", "kind": ""},
                {"name": "bytes", "kind": "computed"},
                {"name": "bytes", "kind": "measured"},
                {"name": "equal", "kind": ""},
            ],
            sentences=[one for number in range(len(self.models)) for one in self._formula(number)] + self._exceptions(),
            rows=[row for number in range(len(self.models)) for row in self._rows(number)],
        )

    def _curve(self, number: int) -> dict[str, Any]:
        ready = self.models[number]
        config = ready.model.config
        lengths = [length for length in sampled_lengths(config) if formula_bytes(config, length) is not None]
        held = self.held[number]
        compared = [length for length in held if formula_bytes(config, length) is not None]
        equal = sum(held[length] == formula_bytes(config, length) for length in compared)
        end = (
            "nothing can be kept without the causal mask"
            if not config.causal
            else f"up to its context of {config.context_length:,}"
            if config.context_length < MOST_CACHED_TOKENS and not rolls_forever(config)
            else ""
        )
        most = max((formula_bytes(config, length) or 0 for length in lengths), default=0)
        at_most = f"at most {most / 1024:,.0f} KiB" if lengths else "none"
        measured = f"equal at {equal} of {len(compared)} lengths" if compared else "not measured yet"
        return {
            "label": ready.label,
            **variant_style(ready.variant),
            "measured": [[length, round(count / 1024, 4)] for length, count in held.items()],
            "computed": [[length, round((formula_bytes(config, length) or 0) / 1024, 4)] for length in lengths],
            "measured_words": self.notes[number] or measured,
            "computed_words": ", ".join(part for part in (at_most, end) if part),
        }

    def _rows(self, number: int) -> list[list[str]]:
        """Of the table: the longest text that is held, and the longest of all if that is another."""
        ready, held = self.models[number], self.held[number]
        config = ready.model.config
        kept = [length for length in sampled_lengths(config) if formula_bytes(config, length) is not None]
        shown = sorted({*(kept[-1:]), MOST_CACHED_TOKENS})
        rows = []
        for length in shown:
            computed, measured = formula_bytes(config, length), held.get(length)
            is_equal = "" if computed is None or measured is None else ("yes" if computed == measured else "no")
            rows.append(
                [
                    ready.label,
                    f"{length:,}",
                    "–" if computed is None else f"{computed:,}",
                    "–" if measured is None else f"{measured:,}",
                    is_equal or "–",
                ]
            )
        return rows

    def _formula(self, number: int) -> list[str]:
        """How the bytes of a model are computed, where there are any."""
        ready = self.models[number]
        config = ready.model.config
        kept = [length for length in sampled_lengths(config) if formula_bytes(config, length) is not None]
        if not kept:
            return []
        return [
            f"Computed, {ready.label}: {_formula_in_numbers(config, kept[-1])} = "
            f"{cache_bytes(config, kept[-1]):,} bytes."
        ]

    def _exceptions(self) -> list[str]:
        """Where there are no bytes to compute, each reason once."""
        configs = [ready.model.config for ready in self.models]
        sentences = [
            f"Past a context of {config.context_length:,} tokens no key stays what it was: the text is read anew for "
            "each token, with nothing held."
            for config in configs
            if config.causal and formula_bytes(config, MOST_CACHED_TOKENS) is None
        ]
        if not all(config.causal for config in configs):
            sentences.append("Without the causal mask each new token changes all keys: the text is read anew for each.")
        return list(dict.fromkeys(sentences))

    def _status(self, read: int) -> str:
        if self.started is None:
            return "Lines are computed. Press Generate: what the models then hold will be marked on them."
        if not self.is_over:
            return f"{read:,} of {MOST_CACHED_TOKENS:,} tokens"
        if min(self.read) < MOST_CACHED_TOKENS and not any(self.notes):
            return f"Ended after {MOST_TIMING_SECONDS:g} s; the slowest model has read {min(self.read):,} tokens."
        return f"Done: {MOST_CACHED_TOKENS:,} tokens read by each model; dots are measured, lines are computed."


def sampled_lengths(config: GPTConfig) -> list[int]:
    """Tokens read at which the cache is measured: powers of two, then evenly; and at every bend of the formula."""
    powers = {2**i for i in range(MOST_CACHED_TOKENS.bit_length())}
    bends = {config.context_length, config.context_length + 1, config.window_size or 1}
    return sorted(
        n for n in powers | bends | set(range(_EVERY, MOST_CACHED_TOKENS + 1, _EVERY)) if n <= MOST_CACHED_TOKENS
    )


def _formula_in_numbers(config: GPTConfig, length: int) -> str:
    """The formula of `cache_bytes` with the numbers put in."""
    kept = f"{length}" if config.window_size is None else f"min({length}, {config.window_size})"
    shape = f"{config.num_layers} layers × {kept} tokens × {config.kv_heads} KV heads × {config.head_dim} wide"
    return f"2 × {shape} × 4 bytes"


# --- Parameters and arithmetic by part ------------------------------------------------------------------------------

_VOCABULARY = 65  # characters of Tiny Shakespeare

_PARAMETER_MARKS = {  # what the names of a part's parameters hold
    "token embedding": "token_embedding",
    "position embedding": "position_embedding",
    "attention": "attention.",
    "feed-forward": "feed_forward.",
    "normalisation": "norm.",
}


def count_by_part(model: GPT2) -> dict[str, int]:
    """Number of weights in each part, counted in the model itself."""
    counted = dict.fromkeys(_PARAMETER_MARKS, 0)
    for name, parameter in model.named_parameters():
        part = next(part for part, mark in _PARAMETER_MARKS.items() if mark in name)
        counted[part] += parameter.numel()
    return counted


@lru_cache(maxsize=16)
def variants_at(size: str, context_length: int, window_size: int) -> list[tuple[str, GPT2]]:
    """Every variant at a size, without numbers in it: (name, a model on the meta device)."""
    models = []
    with torch.device("meta"):
        for name in VARIANTS:
            own = {"window_size": window_size} if name in ("sliding-window", "modern") else {}
            config = make_config(name, _VOCABULARY, **SIZES[size], context_length=context_length, **own)
            models.append((name, GPT2.from_config(config)))
    return models


def parts_view(models: Sequence[tuple[str, GPT2]], about: str) -> str:
    """Parameters and multiplications of these models (label, model) split by part, for `cost_bars`."""
    styles = [variant_style(variant_name(model.config)) for _, model in models]
    parameters = [
        {"label": label, **style, "computed": parameters_by_part(model.config), "counted": count_by_part(model)}
        for (label, model), style in zip(models, styles, strict=True)
    ]
    flops = [
        {
            "label": label,
            **style,
            "computed": {part: round(count) for part, count in flops_by_part(model.config).items()},
            "counted": None,
        }
        for (label, model), style in zip(models, styles, strict=True)
    ]
    return cost_bars_value(
        [
            {
                "title": "Parameters",
                "note": "bars and upper numbers computed by formula; lower numbers counted in the model",
                "models": parameters,
            },
            {
                "title": "Multiplications and additions per token",
                "note": "computed by formula, forward, for a text that fills the context",
                "models": flops,
            },
        ],
        about,
    )
