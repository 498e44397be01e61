"""How the next token is drawn from a model's logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gpt.model.config import check_number, check_whole_number
from gpt.model.seeds import seeded_generator


def choose(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, generator: torch.Generator
) -> Tensor:
    """Draw one token for each row of logits (B, vocab_size); returns (B,) on the logits' device.

    The draw is made on the CPU, so that a seed means the same on every device.

    Raises:
        ValueError: a logit is not a number.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = next_token_probabilities(logits, temperature, top_k, top_p).cpu()
    times = torch.empty_like(probabilities).exponential_(generator=generator)
    return _first_to_arrive(probabilities, times).to(logits.device)


def choose_in_each(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """As `choose`, each row with a generator of its own: what `choose` draws for that row alone."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = next_token_probabilities(logits, temperature, top_k, top_p).cpu()
    times = torch.empty_like(probabilities)
    for row, generator in zip(times, generators, strict=True):
        row.exponential_(generator=generator)
    return _first_to_arrive(probabilities, times).to(logits.device)


def _first_to_arrive(probabilities: Tensor, times: Tensor) -> Tensor:
    """The winner of a race in which each token arrives at its random time divided by its probability: (B,).

    For exponential times a token wins as often as it is probable. `torch.multinomial` draws in the same way and so the
    same tokens, but looks three times through the probabilities first.
    """
    haste = probabilities / times
    if math.isnan(haste.sum()):
        raise ValueError("the model's logits are not numbers: its training has diverged; go back to earlier weights")
    return haste.argmax(dim=-1)


def next_token_probabilities(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """The distribution that is sampled from: softmax(logits / temperature), cut to top k, then to top p.

    Args:
        logits: (B, vocab_size).
        temperature: above 0.
        top_k: as in `stream_tokens`.
        top_p: as in `stream_tokens`.

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


def sampling_generator(seed: int | None) -> torch.Generator:
    """The random stream that tokens are drawn from; a new one for None.

    Raises:
        ValueError, TypeError: the seed is not a whole number of at least 0.
    """
    if seed is None:
        generator = torch.Generator()
        generator.seed()
        return generator
    check_whole_number("seed", seed, minimum=0)
    return seeded_generator(seed, "sampling")


def check_sampling(max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ValueError or TypeError, in a sentence, unless these are choices one can sample with."""
    check_whole_number("max_new_tokens", max_new_tokens)
    check_number("temperature", temperature)
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}; give 0 (always the likeliest token) or more")
    if top_k is not None:
        check_whole_number("top_k", top_k)
    if top_p is not None:
        check_number("top_p", top_p)
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p is {top_p}; it is a probability: give more than 0 and at most 1")
