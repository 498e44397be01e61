"""What a model writes, expects and finds surprising, as the page draws it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch

from gpt.costs.formulas import cache_bytes, parameter_count
from gpt.generation.engine import EngineStream
from gpt.generation.owner import GenerationFailed
from gpt.generation.sampling import Sampling, next_token_probabilities
from gpt.interpret.surprise import read_text
from gpt.model.gpt2 import evaluation_mode
from gpt.ui.catalogue import ReadyModel
from gpt.ui.limiter import COMPUTING
from gpt.ui.requests import sentence
from gpt.ui.theme import variant_style

MOST_LOGITS = 512  # of a larger vocabulary the likeliest 200 are sent, and the rest as one number
SENT_OF_MANY = 200


class Column:
    """One model at its work: the text so far, how fast it came and what it took."""

    def __init__(self, ready: ReadyModel, prompt: str, length: int, sampling: Sampling, note: str) -> None:
        self.ready = ready
        self.prompt = prompt
        self.note = note
        self.text = ""
        self.tokens = 0
        self.seconds = 0.0
        self.first_seconds: float | None = None
        self._tokens: EngineStream | None = None
        self._pieces: Iterator[str] = iter(())
        try:
            ids = torch.tensor([ready.tokenizer.encode(prompt)])
            self._tokens = ready.engine.stream(ids, max_new_tokens=length, **asdict(sampling))
            self._pieces = ready.tokenizer.decode_stream(self._tokens)
        except (ValueError, GenerationFailed) as error:  # of this model alone: the others write on
            self.note = sentence(error)

    def write_one(self) -> bool:
        """Add a token; returns whether there was one to add."""
        started = time.perf_counter()
        try:
            piece = next(self._pieces, None)
        except GenerationFailed as error:  # of this model alone, too
            self.note, piece = sentence(error), None
        if piece is None:
            return False
        self.seconds += time.perf_counter() - started
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


def readable(ready: ReadyModel, text: str, leave_out: bool) -> tuple[str, str]:
    """The text that a model gets to read, and a note: where it is from, and what was left out."""
    unknown = ready.tokenizer.unknown_characters(text)
    if not unknown or not leave_out:
        return text, ready.note
    shorter = "".join(character for character in text if character not in unknown)
    if not shorter:
        raise ValueError(f"{ready.label} knows none of these characters; give others")
    return shorter, f"{ready.note} · left out: {' '.join(repr(character) for character in unknown[:10])}"


def expectation(ready: ReadyModel, text: str, leave_out: bool) -> dict[str, Any]:
    """A model's logits for what comes after a text, the likeliest first, as `next_token` takes them."""
    view = {"label": ready.label, "note": ready.note, **variant_style(ready.variant), "error": "", "rest": None}
    try:
        own_text, view["note"] = readable(ready, text, leave_out)
        ids = torch.tensor([ready.tokenizer.encode(own_text)])[:, -ready.model.config.context_length :]
    except ValueError as error:
        return view | {"error": sentence(error), "tokens": [], "logits": []}
    with COMPUTING, evaluation_mode(ready.model):
        logits = ready.model(ids)[0, -1].double()
    ordered = logits.sort(descending=True)
    sent = len(logits) if len(logits) <= MOST_LOGITS else SENT_OF_MANY
    rest = None if sent == len(logits) else ordered.values[sent:].logsumexp(0).item()
    tokens = [ready.tokenizer.decode([index]) for index in ordered.indices[:sent].tolist()]
    return view | {
        "tokens": tokens,
        "logits": ordered.values[:sent].tolist(),
        "rest": rest,
        "vocab_size": len(logits),
    }


def reading_view(ready: ReadyModel, text: str, leave_out: bool) -> dict[str, Any]:
    """A model's surprise over a text, as `surprise_text` takes it.

    Models that share a vocabulary are compared in bits per token; bits per byte compare all.
    """
    view = {"label": ready.label, "note": ready.note, **variant_style(ready.variant), "error": ""}
    try:
        own_text, view["note"] = readable(ready, text, leave_out)
        ids = ready.tokenizer.encode(own_text)
        with COMPUTING:
            reading = read_text(ready.model, torch.tensor(ids))
    except ValueError as error:
        return view | {"error": sentence(error), "tokens": [], "bits": [], "alternatives": [], "totals": []}
    bits = reading.bits.double()
    spread = (bits.std() / math.sqrt(len(bits))).item() if len(bits) > 1 else 0.0
    tokens = list(ready.tokenizer.decode_stream(ids))
    read_bytes = len(own_text.encode("utf-8")) - len(tokens[0].encode("utf-8"))
    alternatives = [
        [[ready.tokenizer.decode([index]), round(probability, 4)] for index, probability in zip(*pair, strict=True)]
        for pair in zip(reading.alternatives.tolist(), reading.probabilities.tolist(), strict=True)
    ]
    return view | {
        "tokens": tokens,
        "bits": [None, *(round(value, 3) for value in bits.tolist())],
        "alternatives": [None, *alternatives],
        "totals": [
            ["loss, nats per token", f"{bits.mean().item() * math.log(2):.3f}"],
            ["bits per token", f"{bits.mean().item():.2f} ± {spread:.2f}"],
            ["perplexity", f"{2 ** bits.mean().item():.2f}"],
            ["bits per byte", f"{bits.sum().item() / max(1, read_bytes):.2f}"],
        ],
    }


def next_character_bars(ready: ReadyModel, prompt: str, most: int = 8) -> dict[str, Any]:
    """The likeliest next characters after a prompt: {"label", "colour", "bars": [[character, probability], ...]}."""
    if not prompt:
        raise ValueError("the prompt is empty; give at least one character")
    ids = torch.tensor([ready.tokenizer.encode(prompt)])[:, -ready.model.config.context_length :]
    with COMPUTING, evaluation_mode(ready.model):
        probabilities = next_token_probabilities(ready.model(ids)[:, -1])[0]
    likeliest = probabilities.topk(min(most, len(probabilities)))
    bars = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return {
        "label": ready.label,
        **variant_style(ready.variant),
        "bars": [[ready.tokenizer.decode([index]), round(probability, 4)] for index, probability in bars],
    }
