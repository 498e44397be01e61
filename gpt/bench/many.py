"""Thirty readers who wait for their texts: all at once through one `GenerationEngine`, or one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt.bench.rows import Row, timed_row
from gpt.bench.turns import Budget, Sizes, in_fitting_turns, threads
from gpt.generation.engine import GenerationEngine
from gpt.generation.stream import stream_tokens
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        num_layers, num_heads, embed_size: of the model.
        readers: how many wait.
        new_tokens: that each waits for, at most.
        repeats: of both ways in turns, at most.
        seconds: that all of it may take.
    """

    num_layers: int = 4
    num_heads: int = 4
    embed_size: int = 128
    readers: int = 30
    new_tokens: int = 200
    repeats: int = 7
    seconds: float = math.inf


FULL = Setting()
QUICK = Setting(new_tokens=100, repeats=3, seconds=6)


def rows(setting: Setting) -> Iterator[Row]:
    """The row `many`, of one thread, as the page writes."""
    config = make_config(
        "gpt2",
        65,
        num_layers=setting.num_layers,
        num_heads=setting.num_heads,
        embed_size=setting.embed_size,
        context_length=setting.readers + setting.new_tokens,
    )
    model = GPT2.from_config(config)
    prompts = [torch.arange(1 + reader)[None] % config.vocab_size for reader in range(setting.readers)]  # (1, T) each

    def waiting_for(new_tokens: int) -> dict[str, Callable[[], object]]:
        return {
            "ours": lambda: together(model, prompts, new_tokens),
            "peer": lambda: one_after_another(model, prompts, new_tokens),
        }

    with threads(1):
        sizes = Sizes(tried=3, least=min(10, setting.new_tokens), most=setting.new_tokens)
        new_tokens, seconds = in_fitting_turns(waiting_for, sizes, setting.repeats, "many", Budget(setting.seconds))
    measured = (
        f"Tokens per second, all readers together: {setting.readers} readers with prompts of 1 to {setting.readers} "
        f"tokens, each waiting for {new_tokens} at temperature 0.8; {setting.num_layers} layers of "
        f"{setting.num_heads} heads, {setting.embed_size} wide, float32, 1 thread. Ours is GenerationEngine with a "
        f"thread for each reader; the peer is stream_tokens for one reader after another."
        + (f" (The goal is for {FULL.new_tokens} tokens.)" if new_tokens < FULL.new_tokens else "")
    )
    yield timed_row(
        "many",
        measured,
        ours=seconds["ours"],
        peer=seconds["peer"],
        goal=4,
        tokens=setting.readers * new_tokens,
        is_smaller=new_tokens < FULL.new_tokens,
    )


def together(model: GPT2, prompts: list[Tensor], new_tokens: int) -> list[list[int]]:
    """What each reader gets from one new `GenerationEngine`."""
    engine = GenerationEngine(model)

    def read(numbered: tuple[int, Tensor]) -> list[int]:
        seed, prompt = numbered
        stream = engine.stream(prompt, max_new_tokens=new_tokens, temperature=0.8, seed=seed)
        return list(stream)

    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(read, enumerate(prompts)))


def one_after_another(model: GPT2, prompts: list[Tensor], new_tokens: int) -> list[list[int]]:
    """What each reader gets from a stream of their own, begun when the one before has ended."""
    return [
        [int(token) for token in stream_tokens(model, prompt, max_new_tokens=new_tokens, temperature=0.8, seed=seed)]
        for seed, prompt in enumerate(prompts)
    ]
