"""How many tokens per second are written: ours, transformers' `generate`, and the bare linear layers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt.bench.peers import MISSING, gpt2_peer
from gpt.bench.rows import Row, in_pairs, timed_row
from gpt.bench.turns import Budget, Sizes, in_fitting_turns, threads
from gpt.generation.stream import stream_tokens
from gpt.model.config import GPTConfig, make_config
from gpt.model.gpt2 import GPT2

GOAL_BARE_SHARE = 1 / 3


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        sizes: layers, heads and width of each model.
        vocab_size: of all models; Tiny Shakespeare has 65 characters.
        new_tokens: written in one repeat at most, from a prompt of one token, within a context of one more.
        repeats: of all in turns, at most.
        seconds: that all of it may take.
    """

    sizes: tuple[tuple[int, int, int], ...] = ((4, 4, 128), (6, 6, 384))
    vocab_size: int = 65
    new_tokens: int = 200
    repeats: int = 9
    seconds: float = math.inf


FULL = Setting()
QUICK = Setting(repeats=3, seconds=8)


def rows(setting: Setting) -> Iterator[Row]:
    """The rows `generate.4x128` and `generate.6x384`, of one thread: small products are slower on two."""
    budget = Budget(setting.seconds)
    with threads(1):
        for number, size in enumerate(setting.sizes):
            yield _row(*size, setting, budget.part(1 / (len(setting.sizes) - number)))


def _row(num_layers: int, num_heads: int, width: int, setting: Setting, budget: Budget) -> Row:
    name = f"generate.{num_layers}x{width}"
    config = make_config(
        "gpt2",
        setting.vocab_size,
        num_layers=num_layers,
        num_heads=num_heads,
        embed_size=width,
        context_length=setting.new_tokens + 1,
    )
    ours, theirs = GPT2.from_config(config), gpt2_peer(config)

    def writing(new_tokens: int) -> dict[str, Callable[[], object]]:
        works: dict[str, Callable[[], object]] = {"ours": _ours(ours, new_tokens), "bare": _bare(config, new_tokens)}
        return works if theirs is None else works | {"peer": _peer(theirs, new_tokens)}

    most = setting.new_tokens
    sizes = Sizes(tried=min(10, most), least=min(20, most), most=most)
    new_tokens, seconds = in_fitting_turns(writing, sizes, setting.repeats, name, budget)
    measured = (
        f"{new_tokens} tokens, the likeliest each time, after a prompt of one; one text, float32, 1 thread; "
        f"{num_layers} layers of {num_heads} heads, {width} wide. The peer is transformers' generate with its cache. "
        f"The bare linear layers are the products with GPT-2's matrices alone, one token at a time, on as many tokens; "
        f"ours is to reach a third of their speed."
        + (f" (The goal is for {FULL.new_tokens} tokens.)" if new_tokens < FULL.new_tokens else "")
    )
    return timed_row(
        name,
        measured if theirs is not None else f"{measured}\n{MISSING}",
        ours=seconds["ours"],
        peer=seconds.get("peer", []),
        goal=3,
        tokens=new_tokens,
        is_smaller=new_tokens < FULL.new_tokens,
        more={
            "bare_share": statistics.median(in_pairs(seconds["bare"], seconds["ours"])),
            "bare_share_goal": GOAL_BARE_SHARE,
        },
    )


def _ours(model: GPT2, new_tokens: int) -> Callable[[], None]:
    prompt = torch.zeros(1, 1, dtype=torch.long)

    def work() -> None:
        for token in stream_tokens(model, prompt, max_new_tokens=new_tokens, temperature=0):
            token.item()  # a reader looks at each

    return work


def _peer(theirs: Any, new_tokens: int) -> Callable[[], None]:
    prompt = torch.zeros(1, 1, dtype=torch.long)
    seen = torch.ones_like(prompt)
    theirs.eval()

    def work() -> None:
        with torch.inference_mode():
            theirs.generate(
                prompt,
                attention_mask=seen,
                do_sample=False,
                use_cache=True,
                min_new_tokens=new_tokens,
                max_new_tokens=new_tokens,
            )

    return work


def _bare(config: GPTConfig, new_tokens: int) -> Callable[[], None]:
    """One text's products with the matrices of GPT-2 and nothing else: four in each block, and the output layer."""
    width, inner = config.embed_size, config.hidden_size
    shapes = [(3 * width, width), (width, width), (inner, width), (width, inner)] * config.num_layers
    weights = [torch.randn(shape) / 100 for shape in (*shapes, (config.vocab_size, width))]
    biases = [torch.zeros(len(weight)) for weight in weights[:-1]]
    inputs: dict[int, Tensor] = {width: torch.randn(1, width), inner: torch.randn(1, inner)}

    def work() -> None:
        with torch.inference_mode():
            for _ in range(new_tokens):
                for weight, bias in zip(weights, biases, strict=False):
                    F.linear(inputs[weight.shape[1]], weight, bias)
                F.linear(inputs[width], weights[-1])

    return work
