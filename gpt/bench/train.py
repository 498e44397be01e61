"""How many tokens per second are learned from: our step against Hugging Face's GPT-2 with the same optimizers."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import nn

from gpt.bench.corpus import shakespeare_or_docs
from gpt.bench.peers import MISSING, gpt2_peer, pytorchs_muon
from gpt.bench.rows import Row, in_pairs, timed_row
from gpt.bench.turns import in_turns
from gpt.costs.machine import threads_text
from gpt.data.batches import BatchStream
from gpt.data.corpus import Corpus
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2
from gpt.training.optimizers import build_optimizers
from gpt.training.recipes import TrainConfig
from gpt.training.trainer import Trainer

# The default recipe on a run so long that its rates do not fall and nothing is evaluated while it is timed.
ENDLESS = TrainConfig(max_steps=10**6, eval_interval=10**6, eval_windows=1, sample_length=0, device="cpu")


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        size: of the model, as `make_config` takes it.
        training: the optimizers and the batch, of both.
        steps: training steps in one repeat.
        repeats: of ours and the peer in turns.
        most_seconds: after which no further repeat is begun.
        corpus: a text to learn from; None is Tiny Shakespeare.
    """

    size: dict[str, int] = field(
        default_factory=lambda: {"num_layers": 4, "num_heads": 4, "embed_size": 128, "context_length": 64}
    )
    training: TrainConfig = ENDLESS
    steps: int = 20
    repeats: int = 9
    most_seconds: float = math.inf
    corpus: Corpus | None = None


FULL = Setting()
QUICK = Setting(steps=10, repeats=5, most_seconds=8)


def rows(setting: Setting) -> Iterator[Row]:
    """The row `train`."""
    corpus, _ = shakespeare_or_docs(setting.corpus)
    config = make_config("gpt2", corpus.tokenizer.vocab_size, **setting.size)
    works: dict[str, Callable[[], object]] = {"ours": _ours(GPT2.from_config(config), corpus, setting)}
    theirs = gpt2_peer(config)
    if theirs is not None:
        with patch("gpt.training.optimizers.StackedMuon", pytorchs_muon):
            works["peer"] = _peer(theirs, corpus, setting)
        works["peer with our Muon"] = _peer(gpt2_peer(config), corpus, setting)
    seconds = in_turns(works, setting.repeats, "train", setting.most_seconds)
    batch_size, length = setting.training.batch_size, config.context_length
    measured = (
        f"Training steps of {batch_size} x {length} tokens, {_size(setting)}, {threads_text()}: batch, "
        f"forward, backward, clipping, optimizers. Ours is Trainer, in its own precision. The peer is transformers' "
        f"GPT2LMHeadModel in float32, its block matrices given to torch.optim.Muon and the rest to fused AdamW (query, "
        f"key and value are one matrix there)."
    )
    with_our_muon = in_pairs(seconds.get("peer with our Muon", []), seconds["ours"])
    yield timed_row(
        "train",
        measured if theirs is not None else f"{measured}\n{MISSING}",
        ours=seconds["ours"],
        peer=seconds.get("peer", []),
        goal=2,
        tokens=setting.steps * batch_size * length,
        more={"ratio_where_the_peer_has_our_Muon": statistics.median(with_our_muon) if with_our_muon else None},
    )


def _ours(model: GPT2, corpus: Corpus, setting: Setting) -> Callable[[], None]:
    """The next `steps` steps of a `Trainer`."""
    events = Trainer(model, corpus, setting.training).events()
    next(events)  # the state before the first step

    def work() -> None:
        for _ in range(setting.steps):
            next(events)

    return work


def _peer(theirs: Any, corpus: Corpus, setting: Setting) -> Callable[[], None]:
    """The next `steps` steps of Hugging Face's model, as `Trainer` makes them, in plain float32."""
    training, length = setting.training, theirs.config.n_positions
    batches = BatchStream(corpus.train_ids, training.batch_size, length, training.seed)
    optimizers = build_optimizers(NamedAsOurs(theirs), training)
    theirs.train()
    numbers = itertools.count()

    def work() -> None:
        for number in itertools.islice(numbers, setting.steps):
            inputs, targets = batches[number]
            logits = theirs(input_ids=inputs, use_cache=False).logits  # (B, T, vocab_size)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            loss.backward()
            loss.item()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), training.gradient_clip)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

    return work


class NamedAsOurs(nn.Module):
    """Hugging Face's GPT-2 with its blocks under the name by which `build_optimizers` knows what is inside them."""

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        self.blocks = theirs.transformer.h
        self.others = nn.ModuleList((theirs.transformer.wte, theirs.transformer.wpe, theirs.transformer.ln_f))


def _size(setting: Setting) -> str:
    return "{num_layers} layers of {num_heads} heads, {embed_size} wide".format(**setting.size)
