"""What each choice of the default recipe gains: the same training with that one choice taken back."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from gpt.bench.corpus import shakespeare_or_docs
from gpt.bench.learn import Runner
from gpt.bench.peers import pytorchs_muon
from gpt.bench.rows import Row
from gpt.bench.turns import progress
from gpt.costs.machine import threads_text
from gpt.data.corpus import Corpus
from gpt.training.recipes import TrainConfig

FAST = TrainConfig()


@dataclass(frozen=True)
class Choice:
    """One choice, and how to do without it.

    Attributes:
        meaning: what is done, and what else would be.
        without: the settings that differ without it.
        instead: replaces code of ours for as long as it lasts.
    """

    meaning: str
    without: Mapping[str, Any] = field(default_factory=dict)
    instead: Callable[[], AbstractContextManager[object]] = nullcontext


_SAME_TOKENS = {"batch_size": FAST.batch_size // 2, "max_steps": 2 * FAST.max_steps}

CHOICES = {
    "muon": Choice("Muon for the matrices inside the blocks, instead of AdamW for all", {"matrix_learning_rate": None}),
    "momentum": Choice(f"Muon's momentum at {FAST.momentum} instead of its usual 0.95", {"momentum": 0.95}),
    "batch": Choice(
        f"batches of {FAST.batch_size} instead of half as many in twice as many steps, so of equally much text",
        _SAME_TOKENS,
    ),
    "decay": Choice(
        f"rates that fall over the last {FAST.decay_share:.0%} of the run, instead of over all of it",
        {"decay_share": 1.0},
    ),
    "linear": Choice("rates that fall in a line instead of along a cosine", {"schedule": "cosine"}),
    "precision": Choice(
        "products in bfloat16 where this processor is faster with it, instead of in float32", {"precision": "float32"}
    ),
    "stack": Choice(
        "equal matrices go through Muon's iteration together, instead of torch.optim.Muon's one after another",
        instead=lambda: patch("gpt.training.optimizers.StackedMuon", pytorchs_muon),
    ),
}


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        size: of the gpt2 that is trained, as `make_config` takes it.
        recipe: with all choices.
        share: of the recipe's steps that are made; below 1 only times are compared.
        repeats: trainings of each, with another seed.
        turns: in how many turns the trainings are run.
        choices: names of those measured.
        most_windows: validation windows for the loss at the end; None is all.
        corpus: a text to learn from; None is Tiny Shakespeare.
    """

    size: dict[str, int] = field(
        default_factory=lambda: {"num_layers": 4, "num_heads": 4, "embed_size": 128, "context_length": 64}
    )
    recipe: TrainConfig = FAST
    share: float = 1.0
    repeats: int = 3
    turns: int = 44
    choices: tuple[str, ...] = tuple(CHOICES)
    most_windows: int | None = None
    corpus: Corpus | None = None


FULL = Setting()
# How soon something is learned cannot be seen in a few steps: those choices that make a step quicker.
QUICK = Setting(share=0.05, repeats=1, turns=3, choices=("precision", "stack"))


def rows(setting: Setting) -> Iterator[Row]:
    """The rows `choices.<name>`: validation losses with and without, and how much quicker a step is with it."""
    corpus, which = shakespeare_or_docs(setting.corpus)
    repeats = [_repeat(corpus, setting, repeat) for repeat in range(setting.repeats)]
    for name in setting.choices:
        yield _row(name, repeats, setting, f"{threads_text()}. {which}")


@dataclass(frozen=True)
class Outcome:
    """What came of one training: validation loss at its end, None if it was not trained to the end, and its seconds."""

    loss: float | None
    seconds: float


def _repeat(corpus: Corpus, setting: Setting, repeat: int) -> dict[str, Outcome]:
    """One training of each kind, in turns: by the name of the choice that is taken back, "" where none is."""
    recipe = replace(setting.recipe, seed=setting.recipe.seed + repeat)
    runners: dict[str, Runner] = {}
    for name in ("", *setting.choices):
        without = replace(recipe, **CHOICES[name].without) if name else recipe
        with CHOICES[name].instead() if name else nullcontext():
            runners[name] = Runner("gpt2", corpus, setting.size, without)
            runners[name].go_on(1)
    warm = {name: runner.trainer.seconds for name, runner in runners.items()}
    for turn in range(1, setting.turns + 1):
        progress(f"choices: training {repeat + 1} of {setting.repeats}, turn {turn} of {setting.turns}")
        for name, runner in runners.items():
            with CHOICES[name].instead() if name else nullcontext():
                steps = max(2, round(setting.share * runner.trainer.config.max_steps))
                runner.go_on(max(2, steps * turn // setting.turns))
    return {
        name: Outcome(
            runner.loss(setting.most_windows) if setting.share == 1 else None, runner.trainer.seconds - warm[name]
        )
        for name, runner in runners.items()
    }


def _row(name: str, repeats: list[dict[str, Outcome]], setting: Setting, where: str) -> Row:
    faster = [repeat[name].seconds / repeat[""].seconds for repeat in repeats]
    losses, without = ([repeat[key].loss for repeat in repeats] for key in ("", name))
    gains = [theirs - ours for ours, theirs in zip(losses, without, strict=True) if ours is not None and theirs]
    gained = f"{statistics.fmean(gains):+.3f} nats" if gains else "not compared in so few steps"
    if len(gains) > 1:
        gained += f" (standard deviation {statistics.stdev(gains):.3f} over {len(gains)} seeds)"
    return Row(
        f"choices.{name}",
        f"{CHOICES[name].meaning}: validation loss lower by {gained}, the training {statistics.median(faster):.2f} "
        f"times as fast. {setting.recipe.max_steps} steps, {where}",
        ours=statistics.fmean(loss for loss in losses if loss is not None) if gains else None,
        peer=statistics.fmean(loss for loss in without if loss is not None) if gains else None,
        unit="nats",
        ratio=statistics.median(faster),
        spread=None,
        goal=None,
        more={"nats_gained": statistics.fmean(gains) if gains else None},
    )
