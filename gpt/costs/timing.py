"""Time, measured on this machine: how long attention takes, and how that grows with the text."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gpt.model.attention import MultiHeadSelfAttention
from gpt.model.seeds import seeded_generator


def seconds_of(work: Callable[[], object], repeats: int = 5) -> list[float]:
    """How long some work takes, each time; once before is not counted, because caches and kernels warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a share of the median: 0.1 is "plus or minus a tenth"."""
    if len(values) < 2:
        return math.nan
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle


def attention_seconds(
    length: int,
    window_size: int | None = None,
    *,
    embed_size: int = 128,
    num_heads: int = 4,
    num_kv_heads: int | None = None,
    backward: bool = True,
    repeats: int = 5,
) -> list[float]:
    """How long one attention layer takes for one text, each of `repeats` times.

    Args:
        length: T, tokens in the text.
        window_size: W, or None for full attention.
        embed_size: width of the layer.
        num_heads: query heads.
        num_kv_heads: key/value heads, as in `MultiHeadSelfAttention`.
        backward: whether gradients of the input and all weights are computed, too.
        repeats: how often it is measured.
    """
    layer = MultiHeadSelfAttention(embed_size, num_heads, num_kv_heads=num_kv_heads, window_size=window_size)
    text = torch.randn(1, length, embed_size, generator=seeded_generator(1337, "text to time"))

    if backward:
        return seconds_of(forward_and_backward(layer, text), repeats)

    def work() -> None:
        with torch.inference_mode():
            layer(text)

    return seconds_of(work, repeats)


def forward_and_backward(
    layer: nn.Module, text: Tensor, call: Callable[[Tensor], Tensor] | None = None
) -> Callable[[], None]:
    """The output of a layer and the gradients of its input and of all its weights, which are then forgotten."""
    read = layer if call is None else call
    text = text.clone().requires_grad_()

    def work() -> None:
        read(text).sum().backward()
        layer.zero_grad(set_to_none=True)
        text.grad = None

    return work


def fitted_exponent(lengths: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """The p of values ~ length^p, by least squares on a doubly logarithmic scale, and its standard error.

    Raises:
        ValueError: fewer than two different lengths, or a value that is not above 0.
    """
    if len(set(lengths)) < 2 or len(lengths) != len(values) or min(*lengths, *values) <= 0:
        raise ValueError("an exponent needs values above 0 at two different lengths or more")
    x, y = [math.log(length) for length in lengths], [math.log(value) for value in values]
    slope, intercept = statistics.linear_regression(x, y)
    if len(x) == 2:
        return slope, math.nan
    left = sum((b - slope * a - intercept) ** 2 for a, b in zip(x, y, strict=True))
    return slope, math.sqrt(left / (len(x) - 2) / sum((a - statistics.fmean(x)) ** 2 for a in x))
