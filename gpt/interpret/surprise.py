"""How surprised a model is by each token of a text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt.data.batches import validation_windows
from gpt.model.gpt2 import GPT2, evaluation_mode


@dataclass(frozen=True, eq=False)
class Reading:
    """How surprised a model was by each token of a text but the first.

    Attributes:
        bits: (N - 1,) surprise, -log2 of the probability the token had.
        alternatives: (N - 1, K) ids of the likeliest tokens at that place.
        probabilities: (N - 1, K) theirs.
    """

    bits: Tensor
    alternatives: Tensor
    probabilities: Tensor


def read_text(model: GPT2, ids: Tensor, *, alternatives: int = 5) -> Reading:
    """Let a model read a text and note its surprise.

    The text is cut into the windows of `evaluate`, so that the mean of the bits, times ln 2, is the loss that
    `evaluate` gives for the same text.

    Args:
        model: the reader.
        ids: (N,) token ids, at least two.
        alternatives: how many of the likeliest tokens to note at each place.

    Raises:
        ValueError: the text has fewer than two tokens.
    """
    bits, likeliest, chances = [], [], []
    with evaluation_mode(model):
        for inputs, targets in validation_windows(ids, model.config.context_length):
            log_probabilities = model(inputs.to(model.device)).float().log_softmax(dim=-1).cpu()  # (B, T, vocab)
            nats = -log_probabilities.gather(-1, targets[..., None])[..., 0]
            top = log_probabilities.topk(min(alternatives, log_probabilities.shape[-1]), dim=-1)
            bits.append(nats.flatten() / math.log(2))
            likeliest.append(top.indices.flatten(0, 1))
            chances.append(top.values.exp().flatten(0, 1))
    return Reading(torch.cat(bits), torch.cat(likeliest), torch.cat(chances))
