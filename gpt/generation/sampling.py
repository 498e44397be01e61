"""How the next token is drawn from a model's logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt.model.config import check_number, check_whole_number
from gpt.model.seeds import seeded_generator


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; checked when it is made, so that whoever holds one may rely on it.

    Attributes:
        temperature: divides the logits; 0 always takes the likeliest token.
        top_k: sample among the k likeliest tokens only.
        top_p: sample among the fewest tokens that together have probability p (https://arxiv.org/abs/1904.09751).
        seed: gives the same tokens again, on every device; None draws a new stream.

    Raises:
        ValueError, TypeError: in a sentence, if these are not choices one can sample with.
    """

    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature)
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}; give 0 (always the likeliest token) or more")
        if self.top_k is not None:
            check_whole_number("top_k", self.top_k)
        if self.top_p is not None:
            check_number("top_p", self.top_p)
            if not 0 < self.top_p <= 1:
                raise ValueError(f"top_p is {self.top_p}; it is a probability: give more than 0 and at most 1")
        if self.seed is not None:
            check_whole_number("seed", self.seed, minimum=0)

    def generator(self) -> torch.Generator:
        """The random stream that tokens are drawn from, at its beginning."""
        if self.seed is not None:
            return seeded_generator(self.seed, "sampling")
        generator = torch.Generator()
        generator.seed()
        return generator


def choose(logits: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw one token for each row of logits (B, vocab_size); returns (B,) on the logits' device.

    The draw is made on the CPU, so that a seed means the same on every device.

    Args:
        logits: numbers, every one; see `are_numbers`.
        sampling: for all rows; the seed plays no part here.
        generators: each serves B / len(generators) rows in succession, which get what they would get alone.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = next_token_probabilities(logits, sampling.temperature, sampling.top_k, sampling.top_p).cpu()
    times = torch.empty_like(probabilities)
    shares = (times,) if len(generators) == 1 else times.view(len(generators), -1).unbind()
    for share, generator in zip(shares, generators, strict=True):
        share.exponential_(generator=generator)
    # A race in which each token arrives at its random time divided by its probability. For exponential times a token
    # wins as often as it is probable. `torch.multinomial` draws in the same way and so the same tokens, but looks three
    # times through the probabilities first.
    return (probabilities / times).argmax(dim=-1).to(logits.device)


def are_numbers(logits: Tensor) -> bool:
    """Whether one can sample from every row of logits (B, vocab_size); -inf is a token that never comes."""
    largest = logits.max() if logits.shape[0] == 1 else logits.amax(dim=-1).sum(dtype=torch.float64)
    return math.isfinite(largest)


def next_token_probabilities(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """The distribution that is sampled from: softmax(logits / temperature), cut to top k, then to top p.

    Args:
        logits: (B, vocab_size).
        temperature: above 0.
        top_k: as in `Sampling`.
        top_p: as in `Sampling`.

    Returns:
        (B, vocab_size), each row summing to 1.
    """
    # Shifted first, and in double precision: the largest logit stays 0, however small the temperature.
    scaled = logits.double()
    scaled = (scaled - scaled.amax(dim=-1, keepdim=True)).div_(temperature)
    if top_k is not None and top_k < scaled.shape[-1]:
        smallest_kept = scaled.topk(top_k, dim=-1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < smallest_kept, -torch.inf)
    probabilities = scaled.softmax(dim=-1)
    if top_p is not None and top_p < 1:
        descending, order = probabilities.sort(dim=-1, descending=True)
        reached_before = descending.cumsum(dim=-1) - descending >= top_p  # the likeliest token always stays
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, descending.masked_fill(reached_before, 0.0))
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities.float()
