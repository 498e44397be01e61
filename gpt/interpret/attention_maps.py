"""Looking inside a model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt.data.corpus import validation_windows
from gpt.generation.stream import evaluation_mode
from gpt.model.gpt2 import GPT2
from gpt.model.layers import GPT2Block


def attention_maps(model: GPT2, input_ids: Tensor) -> Tensor:
    """How much each position reads from each other one, in every layer and head.

    The weights come from an explicit softmax over the same queries, keys and mask that the model computes with.

    Args:
        model: the model to look into.
        input_ids: (B, T) token ids.

    Returns:
        (num_layers, B, num_heads, T queries, T keys); each row sums to 1 over the keys that the query may see, and
        all others are exactly 0.
    """
    weights = []
    with evaluation_mode(model):
        x = model.embed(input_ids.to(model.device))
        for block in model.blocks:
            assert isinstance(block, GPT2Block)  # tells the type checker what a ModuleList holds
            weights.append(block.attention.attention_weights(block.attention_norm(x)))
            x = block(x)
    return torch.stack(weights)


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
