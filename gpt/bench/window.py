"""Attention over a window of W keys: against full attention, against Mistral's in transformers, and how it grows."""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from gpt.bench.peers import MISSING, mistral_peer
from gpt.bench.rows import Row, in_pairs, timed_row
from gpt.bench.turns import Budget, Sizes, in_fitting_turns, in_turns, progress
from gpt.costs.machine import threads_text
from gpt.costs.timing import fitted_exponent, forward_and_backward, seconds_of, spread
from gpt.model.attention import MultiHeadSelfAttention
from gpt.model.banded import banded_attention
from gpt.model.positions import RotaryPositionalEncoding


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        embed_size, num_heads: of the attention layer.
        window_size: W.
        length: T, the tokens of the one text that both peers read, at most.
        repeats: against full attention and against Mistral's, at most.
        lengths: from which the exponent is fitted.
        full_lengths: from which that of full attention is, which takes longer.
        exponent_repeats: how often all these lengths are read, at most.
        seconds: that all of it may take; texts are halved until they fit.
    """

    embed_size: int = 128
    num_heads: int = 4
    window_size: int = 128
    length: int = 8192
    repeats: int = 5
    lengths: tuple[int, ...] = (1024, 2048, 4096, 8192, 16384)
    full_lengths: tuple[int, ...] = (1024, 2048, 4096, 8192)
    exponent_repeats: int = 5
    seconds: float = math.inf


FULL = Setting()
QUICK = Setting(repeats=3, exponent_repeats=3, seconds=10)


def rows(setting: Setting) -> Iterator[Row]:
    """The rows `window.full`, `window.mistral` and `window.exponent`."""
    budget = Budget(setting.seconds)
    yield _against_full(setting, budget.part(1 / 4))
    yield _against_mistral(setting, budget.part(1 / 2))  # which takes long
    yield _growth(setting, budget)


def _against_full(setting: Setting, budget: Budget) -> Row:
    def reading(length: int) -> dict[str, Callable[[], object]]:
        one = replace(setting, length=length)
        return {
            "ours": _attending(one, partial(banded_attention, window_size=setting.window_size)),
            "peer": _attending(one, partial(F.scaled_dot_product_attention, is_causal=True)),
            "our layer": forward_and_backward(_layer(setting, setting.window_size), _text(one)),
            "peer's layer": forward_and_backward(_layer(setting, None), _text(one)),
        }

    length, seconds = in_fitting_turns(reading, _sizes(setting), setting.repeats, "window.full", budget)
    measured = f"{_what(setting, length)} The peer is PyTorch's scaled_dot_product_attention without a window."
    return _row("window.full", measured, seconds, goal=10, is_smaller=length < FULL.length)


def _against_mistral(setting: Setting, budget: Budget) -> Row:
    rotary = RotaryPositionalEncoding(setting.embed_size // setting.num_heads)

    def reading(length: int) -> dict[str, Callable[[], object]]:
        one = replace(setting, length=length)
        works: dict[str, Callable[[], object]] = {
            "ours": _attending(one, partial(banded_attention, window_size=setting.window_size)),
            "our layer": forward_and_backward(_layer(setting, setting.window_size, rotary), _text(one)),
        }
        peer = mistral_peer(setting.embed_size, setting.num_heads, setting.window_size, length)
        if peer is not None:
            works["peer"] = _attending(one, peer.attend)
            works["peer's layer"] = forward_and_backward(peer.layer, _text(one), peer.call)
        return works

    length, seconds = in_fitting_turns(reading, _sizes(setting), setting.repeats, "window.mistral", budget)
    measured = (
        f"{_what(setting, length)} The peer is what transformers' MistralAttention calls: PyTorch's "
        f"scaled_dot_product_attention with the dense mask that transformers makes for it; making the mask is not "
        f"counted."
    )
    measured = measured if "peer" in seconds else f"{measured}\n{MISSING}"
    return _row("window.mistral", measured, seconds, goal=30, is_smaller=length < FULL.length)


def _sizes(setting: Setting) -> Sizes:
    """Lengths of a text that full attention reads, in steps of an eighth of the longest."""
    eighth = setting.length // 8
    return Sizes(tried=eighth, least=eighth, most=setting.length, step=eighth, power=2)


def _row(name: str, measured: str, seconds: dict[str, list[float]], goal: float, *, is_smaller: bool) -> Row:
    layers = in_pairs(seconds.get("peer's layer", []), seconds["our layer"])
    return timed_row(
        name,
        measured,
        ours=seconds["ours"],
        peer=seconds.get("peer", []),
        goal=goal,
        is_smaller=is_smaller,
        more={"ratio_of_whole_layers": statistics.median(layers) if layers else None},
    )


def _attending(setting: Setting, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[], None]:
    """Attention from queries, keys and values (1, num_heads, T, head_dim) to what is read, and their gradients."""
    shape = (1, setting.num_heads, setting.length, setting.embed_size // setting.num_heads)
    read = [torch.randn(shape).requires_grad_() for _ in range(3)]

    def work() -> None:
        attend(*read).sum().backward()
        for tensor in read:
            tensor.grad = None

    return work


def _layer(
    setting: Setting, window_size: int | None, rotary: RotaryPositionalEncoding | None = None
) -> MultiHeadSelfAttention:
    return MultiHeadSelfAttention(setting.embed_size, setting.num_heads, window_size=window_size, rotary=rotary)


def _text(setting: Setting, length: int | None = None) -> Tensor:
    return torch.randn(1, setting.length if length is None else length, setting.embed_size)


def _what(setting: Setting, length: int) -> str:
    return (
        f"Forward and backward of attention, W = {setting.window_size}, from queries, keys and values of one text of "
        f"{length} tokens, {setting.num_heads} heads of {setting.embed_size // setting.num_heads}, float32, "
        f"{threads_text()}. A whole layer has linear maps beside it, the same for both."
        + ("" if length == FULL.length else f" (The goal is for {FULL.length} tokens.)")
    )


# --- How it grows ---------------------------------------------------------------------------------------------------


def _growth(setting: Setting, budget: Budget) -> Row:
    lengths, full_lengths = _lengths_that_fit(setting, budget)
    windowed = {str(length): _reading(setting, length, setting.window_size) for length in lengths}
    full = {f"full {length}": _reading(setting, length, None) for length in full_lengths}
    seconds = in_turns(windowed | full, setting.exponent_repeats, "window.exponent", budget)
    ours = _exponents(lengths, [seconds[name] for name in windowed])
    peer = _exponents(full_lengths, [seconds[name] for name in full])
    progress("window.exponent: memory")
    memory, _ = fitted_exponent(lengths, [peak_bytes(work) for work in windowed.values()])
    time = statistics.median(ours)
    measured = (
        f"p of time ~ T^p for forward and backward of the layer with W = {setting.window_size}, from T = "
        f"{lengths[0]} to {lengths[-1]}; memory is p for the most bytes that it holds at once beside "
        f"input and weights, as PyTorch's allocator counts them. The peer is full attention, up to T = "
        f"{full_lengths[-1]}. The ratio is the larger of our two exponents over 1, that of growth with the "
        f"length; lower is better. {threads_text()}."
    )
    return Row(
        "window.exponent",
        measured,
        ours=time,
        peer=statistics.median(peer),
        unit="",
        ratio=max(time, memory),
        spread=spread(ours),
        goal=1.15,
        aim="at most",
        more={"memory": memory},
    )


def _lengths_that_fit(setting: Setting, budget: Budget) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Our lengths and full attention's, without the longest where these would take too long; three of each are kept."""
    lengths, full_lengths = setting.lengths, setting.full_lengths
    ours = statistics.median(seconds_of(_reading(setting, lengths[0], setting.window_size), 2)) / lengths[0]
    full = statistics.median(seconds_of(_reading(setting, full_lengths[0], None), 2)) / full_lengths[0] ** 2
    room = budget.left / (2 + setting.exponent_repeats)  # once to warm up, and once more for the memory
    while ours * sum(lengths) + full * sum(length**2 for length in full_lengths) > room:
        if max(len(lengths), len(full_lengths)) <= 3:
            break
        lengths, full_lengths = (some[: max(3, len(some) - 1)] for some in (lengths, full_lengths))
    return lengths, full_lengths


def _reading(setting: Setting, length: int, window_size: int | None) -> Callable[[], None]:
    return forward_and_backward(_layer(setting, window_size), _text(setting, length))


def _exponents(lengths: tuple[int, ...], seconds: list[list[float]]) -> list[float]:
    """The exponent of each repeat, from the seconds of all lengths in it."""
    return [fitted_exponent(lengths, once)[0] for once in zip(*seconds, strict=True)]


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes that some work holds at once beyond what was held before: tensors, and what kernels set aside.

    PyTorch's profiler hears of every allocation on the CPU; the sum of these, at its highest.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would announce itself on standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    held = most = 0
    for event in sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]  # below 0 where memory is given back
        most = max(most, held)
    return most
