"""The cache against the tokens read: a measurement of what models hold while they write, and the chart of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from gpt.costs.formulas import cache_bytes
from gpt.generation.decoder import rolls_forever
from gpt.generation.stream import TokenStream, stream_tokens
from gpt.model.config import GPTConfig
from gpt.runs.limits import MOST_CACHED_TOKENS, MOST_TIMING_SECONDS
from gpt.ui.catalogue import ReadyModel
from gpt.ui.components.cost_chart import cost_chart_value
from gpt.ui.limiter import COMPUTING
from gpt.ui.requests import sentence
from gpt.ui.theme import variant_style

_EVERY = 25  # tokens between dots, after the first powers of two


def formula_bytes(config: GPTConfig, length: int) -> int | None:
    """`cache_bytes`, or None where generation keeps nothing and reads the text again for each token."""
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
            f"Past a context of {config.context_length:,} tokens no key stays what it was: the text is read again for "
            "each token, with nothing held."
            for config in configs
            if config.causal and formula_bytes(config, MOST_CACHED_TOKENS) is None
        ]
        if not all(config.causal for config in configs):
            sentences.append(
                "Without the causal mask each new token changes all keys: the text is read again for each."
            )
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
