"""Bytes that a generation holds: a rolling, grouped cache against that of full multi-head attention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gpt.bench.rows import Row
from gpt.bench.turns import Budget, Sizes, progress, seconds_of_once, threads
from gpt.costs.formulas import cache_bytes
from gpt.generation.stream import stream_tokens
from gpt.model.config import GPTConfig, make_config
from gpt.model.gpt2 import GPT2


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        num_layers, num_heads, embed_size: of both models.
        num_kv_heads, window_size: of ours.
        length: tokens that are read at most.
        seconds: that it may take; fewer tokens are read where they would not fit, but twice the window at least.
    """

    num_layers: int = 4
    num_heads: int = 4
    embed_size: int = 128
    num_kv_heads: int = 2
    window_size: int = 64
    length: int = 1024
    seconds: float = math.inf


FULL = Setting()
QUICK = Setting(seconds=2)

_TRIED = 16  # tokens, to see how long one takes


def rows(setting: Setting) -> Iterator[Row]:
    """The row `cache`, of one thread, on which a single text is read soonest."""
    with threads(1):
        yield _row(setting, Budget(setting.seconds))


def _row(setting: Setting, budget: Budget) -> Row:
    ours, peer = _configs(setting, _TRIED)
    held_bytes(ours)  # caches and kernels warm up
    tried = seconds_of_once(lambda: held_bytes(ours)) + seconds_of_once(lambda: held_bytes(peer))
    length = Sizes(_TRIED, 2 * setting.window_size, setting.length).fitting(tried, budget.left)
    ours, peer = _configs(setting, length)
    progress("cache: reading on, token by token")
    our_bytes, peer_bytes = held_bytes(ours), held_bytes(peer)
    formula = cache_bytes(peer, length) / cache_bytes(ours, length)
    is_constant = len(set(our_bytes[setting.window_size - 1 :])) == 1
    measured = (
        f"Keys and values held after {length} tokens of one text, in float32: {setting.num_kv_heads} "
        f"key/value heads of {setting.num_heads} and a window of {setting.window_size}, against all heads and no "
        f"window. The goal is the ratio of the formula 2 x layers x min(T, W) x key/value heads x head width x 4; "
        f"from token {setting.window_size} on, ours "
        + ("stays the same." if is_constant else "DOES NOT stay the same.")
    )
    return Row(
        "cache",
        measured,
        ours=our_bytes[-1],
        peer=peer_bytes[-1],
        unit="bytes",
        ratio=peer_bytes[-1] / our_bytes[-1],
        spread=0.0,  # nothing here is drawn or timed
        goal=formula,
        aim="exactly",
        more={"most_past_the_window": max(our_bytes[setting.window_size - 1 :])},
    )


def _configs(setting: Setting, length: int) -> tuple[GPTConfig, GPTConfig]:
    """Our model and the peer's, for texts of so many tokens."""
    size = {
        "num_layers": setting.num_layers,
        "num_heads": setting.num_heads,
        "embed_size": setting.embed_size,
        "context_length": length,
        "positions": "rotary",
    }
    ours = make_config("gpt2", 65, **size, num_kv_heads=setting.num_kv_heads, window_size=setting.window_size)
    return ours, make_config("gpt2", 65, **size)


def held_bytes(config: GPTConfig) -> list[int]:
    """What a generation of this model holds after its first token, its second, and so on to the end of the context."""
    prompt = torch.zeros(1, 1, dtype=torch.long)
    stream = stream_tokens(GPT2.from_config(config), prompt, max_new_tokens=config.context_length, temperature=0)
    return [stream.cache_bytes for _ in stream]
