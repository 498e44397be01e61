"""What each attention head does on a text, as numbers with a definition each; no head is given a name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt.model.seeds import seeded_generator


@dataclass(frozen=True)
class Measure:
    """One number about a head.

    Attributes:
        name: what it is called.
        definition: how it is computed, in a sentence.
        unit: of the number; empty for a share between 0 and 1.
        counted: from token ids (T,) to a matrix (T queries, T keys): what a weight in each cell counts. None is for
            entropy, which is no weighted sum.
        every_query: whether all queries count; else only those that may read a key with something to count.
    """

    name: str
    definition: str
    unit: str
    counted: Callable[[Tensor], Tensor] | None
    every_query: bool = False


def _distance(ids: Tensor) -> Tensor:
    positions = torch.arange(len(ids))
    return (positions[:, None] - positions).abs().float()


def _previous(ids: Tensor) -> Tensor:
    return torch.diag(torch.ones(len(ids) - 1), -1)


def _first(ids: Tensor) -> Tensor:
    first = torch.zeros(len(ids), len(ids))
    first[1:, 0] = 1
    return first


def _same_earlier(ids: Tensor) -> Tensor:
    return (ids[:, None] == ids).float().tril(-1)


def _after_same(ids: Tensor) -> Tensor:
    """Cell (i, j) counts if token j - 1 is token i: what followed an earlier occurrence, i itself left out."""
    follows = torch.zeros(len(ids), len(ids))
    follows[:, 1:] = (ids[:, None] == ids[None, :-1]).float()
    return follows.tril(-1)


MEASURES: dict[str, Measure] = {
    "distance": Measure(
        "mean distance",
        "tokens between a query and what it reads, weighted by attention",
        "tokens",
        _distance,
        every_query=True,
    ),
    "entropy": Measure(
        "entropy",
        "−Σ w log₂ w over a query's weights w: 0 if it reads a single key",
        "bits",
        None,
        every_query=True,
    ),
    "previous": Measure("previous token", "weight on the token just before the query", "", _previous),
    "first": Measure("first token", "weight on the text's first token, where a later query may read it", "", _first),
    "same": Measure("same token", "weight on earlier occurrences of the query's own token", "", _same_earlier),
    "prefix": Measure(
        "prefix match", "weight on tokens that followed an earlier occurrence of the query's token", "", _after_same
    ),
}


@dataclass(frozen=True, eq=False)
class HeadScores:
    """One measure of all heads.

    Attributes:
        means, errors: (num_layers, num_heads) mean over the queries, and its standard error, from how much they differ.
        even: the score of a head whose attention is spread evenly over all keys that a query may read.
        queries: how many queries counted; with 0 the means are NaN, with 1 the errors are.
    """

    means: Tensor
    errors: Tensor
    even: float
    queries: int


def score_heads(
    weights: Tensor, allowed: Tensor, ids: Tensor, keys: Iterable[str] = tuple(MEASURES)
) -> dict[str, HeadScores]:
    """Score every head by all of `MEASURES`, or by some.

    Args:
        weights: (num_layers, num_heads, T, T) attention weights of one text, as `attention_maps` gives them.
        allowed: (T, T) bool, the mask they were made with.
        ids: (T,) the text's token ids.
        keys: of the measures wanted.
    """
    even = allowed.float() / allowed.sum(dim=-1, keepdim=True)  # (T, T)
    scored = {}
    for key in keys:
        measure = MEASURES[key]
        chosen = torch.ones(len(ids), dtype=torch.bool)
        if measure.counted is None:
            scores, even_scores = _entropy(weights), _entropy(even)  # (L, H, T) and (T,)
        else:
            cells = measure.counted(ids)
            scores, even_scores = (weights * cells).sum(dim=-1), (even * cells).sum(dim=-1)
            if not measure.every_query:
                chosen = (allowed & (cells > 0)).any(dim=-1)
        means, errors = _means_and_errors(scores[..., chosen].double())
        scored[key] = HeadScores(means, errors, even_scores[chosen].double().mean().item(), int(chosen.sum()))
    return scored


def _means_and_errors(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard error over the last dimension; NaN where there are too few."""
    count = scores.shape[-1]
    unknown = scores.new_full(scores.shape[:-1], math.nan)
    return (
        scores.mean(dim=-1) if count else unknown,
        scores.std(dim=-1) / math.sqrt(count) if count > 1 else unknown,
    )


def _entropy(weights: Tensor) -> Tensor:
    """Entropy in bits of each row of (..., T, T)."""
    return -(weights * weights.clamp(min=torch.finfo(weights.dtype).tiny).log2()).sum(dim=-1)


def repeated_tokens(vocab_size: int, period: int, length: int, seed: int = 0) -> Tensor:
    """Random tokens said again and again, (length,): what comes next, only what came before can tell.

    On such a text a high prefix match shows an induction head (Olsson et al., 2022, https://arxiv.org/abs/2209.11895).

    Args:
        vocab_size: how many tokens there are to draw from; each is drawn once where these are enough.
        period: after how many tokens they are said again.
        length: of the text.
        seed: of the draw.
    """
    generator = seeded_generator(seed, "repeated tokens")
    passes = -(-period // vocab_size)
    drawn = torch.cat([torch.randperm(vocab_size, generator=generator) for _ in range(passes)])[:period]
    return drawn.repeat(-(-length // period))[:length]
