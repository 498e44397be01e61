"""Models at their work, side by side: each writes its own text, a token at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch

from gpt.costs.formulas import cache_bytes, parameter_count
from gpt.generation.engine import EngineStream
from gpt.generation.owner import GenerationFailed
from gpt.generation.sampling import Sampling
from gpt.ui.catalogue import ReadyModel
from gpt.ui.requests import sentence
from gpt.ui.theme import variant_style


class Column:
    """One model at its work: the text so far, how fast it came and what it took.

    Its times count from when it was asked, as a reader sees them: a model computes ahead while the others are read, so
    that the time spent waiting for it alone would be too short.
    """

    def __init__(self, ready: ReadyModel, prompt: str, length: int, sampling: Sampling, note: str) -> None:
        self.ready = ready
        self.prompt = prompt
        self.note = note
        self.text = ""
        self.tokens = 0
        self.seconds = 0.0
        self.first_seconds: float | None = None
        self.is_done = False
        self._started = time.perf_counter()
        self._tokens: EngineStream | None = None
        self._pieces: Iterator[str] = iter(())
        try:
            ids = torch.tensor([ready.tokenizer.encode(prompt)])
            self._tokens = ready.engine.stream(ids, max_new_tokens=length, **asdict(sampling))
            self._pieces = ready.tokenizer.decode_stream(self._tokens)
        except (ValueError, GenerationFailed) as error:  # of this model alone: the others write on
            self.note, self.is_done = sentence(error), True

    def write_one(self) -> bool:
        """Add a token; returns whether there was one to add."""
        try:
            piece = next(self._pieces, None)
        except GenerationFailed as error:  # of this model alone, too
            self.note, piece = sentence(error), None
        if piece is None:
            self.is_done = True
            return False
        self.seconds = time.perf_counter() - self._started
        if self.first_seconds is None:
            self.first_seconds = self.seconds
        self.text += piece
        self.tokens += 1
        return True

    def view(self) -> dict[str, Any]:
        """What `text_columns` draws of it."""
        config = self.ready.model.config
        full = cache_bytes(config, config.context_length)
        held = 0 if self._tokens is None else self._tokens.cache_bytes
        facts = [
            ["speed", f"{self.tokens / self.seconds:,.0f} tokens/s" if self.seconds else "–"],
            ["first token", f"{1000 * self.first_seconds:,.0f} ms" if self.first_seconds is not None else "–"],
            ["parameters", f"{parameter_count(config):,}"],
            ["cache now, measured", _kibibytes(held) if held or not self.tokens else "none"],
            ["cache at most, computed", _kibibytes(full)],
        ]
        return {
            "label": self.ready.label,
            "note": self.note,
            **variant_style(self.ready.variant),
            "prompt": self.prompt,
            "text": self.text,
            "facts": facts,
            "is_done": self.is_done,
        }


def _kibibytes(count: int) -> str:
    return f"{count / 1024:,.0f} KiB"


def write_in_turns(columns: Sequence[Column], seconds: float) -> bool:
    """Let the columns write one token each in turn for about so long; returns whether any has more to write."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        has_written = [column.write_one() for column in columns]
        if not any(has_written):
            return False
    return True
