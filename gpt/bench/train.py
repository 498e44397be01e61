"""How many tokens are learned from per second: our step against nanoGPT's and Hugging Face's, with equal optimizers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from gpt.bench.corpus import shakespeare_or_docs
from gpt.bench.nanogpt import NanoGPT
from gpt.bench.peers import MISSING, gpt2_peer
from gpt.bench.rows import Row, in_pairs, timed_row
from gpt.bench.steps import MUONS, NamedAsOurs, PeerTraining, quickest_muon
from gpt.bench.turns import Budget, Sizes, in_fitting_turns
from gpt.costs.machine import threads_text
from gpt.costs.timing import spread
from gpt.data.corpus import Corpus
from gpt.model.config import GPTConfig, make_config
from gpt.model.gpt2 import GPT2
from gpt.training.devices import learns_in_bfloat16
from gpt.training.optimizers import build_optimizers
from gpt.training.recipes import TrainConfig
from gpt.training.trainer import Trainer

# What our step is to be ahead by, at equal batch and optimizer; the peers compute in float32.
GOAL_IN_FLOAT32, GOAL_IN_BFLOAT16 = 1.25, 2.0

# The default recipe on a run so long that its rates do not fall and nothing is evaluated while it is timed.
ENDLESS = TrainConfig(max_steps=10**6, eval_interval=10**6, eval_windows=1, sample_length=0, device="cpu")


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        size: of the models, as `make_config` takes it.
        training: the optimizers and the batch, of all.
        steps: training steps in one repeat, at most.
        repeats: of all in turns, at most.
        seconds: that all of it may take.
        corpus: a text to learn from; None is Tiny Shakespeare.
    """

    size: dict[str, int] = field(
        default_factory=lambda: {"num_layers": 4, "num_heads": 4, "embed_size": 128, "context_length": 64}
    )
    training: TrainConfig = ENDLESS
    steps: int = 20
    repeats: int = 9
    seconds: float = math.inf
    corpus: Corpus | None = None


FULL = Setting()
QUICK = Setting(repeats=5, seconds=12)

_PEERS = {
    "nanogpt": "nanoGPT's step: fused query, key and value, exact GELU, no biases",
    "transformers": "transformers' GPT2LMHeadModel",
}


def rows(setting: Setting) -> Iterator[Row]:
    """The rows `train.nanogpt` and `train.transformers`."""
    budget = Budget(setting.seconds)
    corpus, _ = shakespeare_or_docs(setting.corpus)
    config = make_config("gpt2", corpus.tokenizer.vocab_size, **setting.size)
    with_adamw = replace(setting.training, matrix_learning_rate=None, learning_rate=1e-3)
    muon = quickest_muon(lambda: NanoGPT(config), setting.training)
    trainings: dict[str, Callable[[int], None]] = {
        "ours": _ours(config, corpus, setting.training),
        "ours, AdamW": _ours(config, corpus, with_adamw),
    }
    for peer in _PEERS:
        for name, training in ((peer, setting.training), (f"{peer}, AdamW", with_adamw)):
            made = _peer(peer, config)
            if made is not None:
                trainings[name] = _trained(*made, corpus, config, training, muon)

    def works(steps: int) -> dict[str, Callable[[], object]]:
        return {name: lambda go_on=go_on: go_on(steps) for name, go_on in trainings.items()}  # type: ignore[misc]

    sizes = Sizes(tried=1, least=1, most=setting.steps)
    steps, seconds = in_fitting_turns(works, sizes, setting.repeats, "train", budget)
    for peer in _PEERS:
        yield _row(peer, steps, seconds, setting, muon)


def _row(peer: str, steps: int, seconds: dict[str, list[float]], setting: Setting, muon: str) -> Row:
    batch_size, length = setting.training.batch_size, setting.size["context_length"]
    in_bfloat16 = learns_in_bfloat16(setting.training, torch.device("cpu"))
    measured = (
        f"Training steps of {batch_size} x {length} tokens, {_size(setting)}, {threads_text()}: batch, "
        f"forward, backward, clipping, optimizers; {steps} in each repeat. Ours is Trainer, in "
        f"{'bfloat16, which is fast here' if in_bfloat16 else 'float32, as nothing is faster here'}. The peer is "
        f"{_PEERS[peer]}, in float32. Both give their blocks' matrices to Muon and the rest to fused AdamW; the peer's "
        f"is {muon}, the quickest for its matrices on this machine. Below it, both with fused AdamW for all."
    )
    with_adamw = in_pairs(seconds.get(f"{peer}, AdamW", []), seconds["ours, AdamW"])
    return timed_row(
        f"train.{peer}",
        measured if peer in seconds else f"{measured}\n{MISSING}",
        ours=seconds["ours"],
        peer=seconds.get(peer, []),
        goal=GOAL_IN_BFLOAT16 if in_bfloat16 else GOAL_IN_FLOAT32,
        tokens=steps * batch_size * length,
        more={
            "ratio_with_AdamW": statistics.median(with_adamw) if with_adamw else None,
            "ratio_with_AdamW_spread": spread(with_adamw),
        },
    )


def _ours(config: GPTConfig, corpus: Corpus, training: TrainConfig) -> Callable[[int], None]:
    """The next steps of a `Trainer`."""
    events = Trainer(GPT2.from_config(config), corpus, training).events()
    next(events)  # the state before the first step

    def go_on(steps: int) -> None:
        for _ in range(steps):
            next(events)

    return go_on


def _peer(name: str, config: GPTConfig) -> tuple[nn.Module, Callable[..., Any], nn.Module] | None:
    """A new peer, what gives its logits, and itself as `build_optimizers` knows it; None where it is not installed."""
    if name == "nanogpt":
        model = NanoGPT(config)
        return model, model, model
    theirs = gpt2_peer(config)
    if theirs is None:
        return None
    return theirs, lambda input_ids: theirs(input_ids=input_ids, use_cache=False).logits, NamedAsOurs(theirs)


def _trained(
    model: nn.Module,
    logits_of: Callable[..., Any],
    named_as_ours: nn.Module,
    corpus: Corpus,
    config: GPTConfig,
    training: TrainConfig,
    muon: str,
) -> Callable[[int], None]:
    """The next steps of a peer; `muon` moves the matrices of its blocks where the recipe has a rate for them."""
    build = build_optimizers if training.matrix_learning_rate is None else MUONS[muon]
    trained = PeerTraining(model, logits_of, build(named_as_ours, training), corpus, config.context_length, training)
    return lambda steps: trained.go_on(trained.step + steps)


def _size(setting: Setting) -> str:
    return "{num_layers} layers of {num_heads} heads, {embed_size} wide".format(**setting.size)
