"""What models expect after a text, and how much a text surprises them, as the components of the Compare tab draw it."""

from __future__ import annotations

import math
from typing import Any

import torch

from gpt.interpret import read_text
from gpt.ui.catalogue import ReadyModel
from gpt.ui.expectation import next_logits
from gpt.ui.limiter import COMPUTING
from gpt.ui.requests import sentence
from gpt.ui.theme import variant_style

MOST_LOGITS = 512  # of a larger vocabulary the likeliest 200 are sent, and the rest as one number
SENT_OF_MANY = 200


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
        logits = next_logits(ready, own_text).double()
    except ValueError as error:
        return view | {"error": sentence(error), "tokens": [], "logits": []}
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
