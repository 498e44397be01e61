"""What each choice of the default recipe gains: the same training with that one choice taken back."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from torch import nn

from gpt.bench.corpus import shakespeare_or_docs
from gpt.bench.learn import Runner
from gpt.bench.rows import Row, in_pairs
from gpt.bench.turns import Budget, Sizes, progress
from gpt.costs.machine import threads_text
from gpt.costs.timing import spread
from gpt.data.corpus import Corpus
from gpt.training.optimizers import StackedMuon
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


def one_by_one(matrices: Iterable[nn.Parameter], *arguments: Any) -> StackedMuon:
    """Our Muon, called as it is, with each matrix in a group and so in a stack of its own."""
    groups: Any = [{"params": [matrix]} for matrix in matrices]
    return StackedMuon(groups, *arguments)


_SAME_TOKENS = {"batch_size": FAST.batch_size // 2, "max_steps": 2 * FAST.max_steps}

CHOICES = {
    "muon": Choice("Muon for the matrices inside the blocks, instead of AdamW for all", {"matrix_learning_rate": None}),
    "feed_forward": Choice(
        f"feed-forward matrices at {FAST.feed_forward_rate_multiple:g} times Muon's rate, instead of at it",
        {"feed_forward_rate_multiple": 1.0},
    ),
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
        "equal matrices go through Muon's iteration together, instead of one after another",
        instead=lambda: patch("gpt.training.optimizers.StackedMuon", one_by_one),
    ),
}


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        size: of the gpt2 that is trained, as `make_config` takes it.
        recipe: with all choices.
        repeats: trainings of each, with another seed.
        turns: in how many turns the trainings are run.
        seconds: that all of it may take. Where the trainings do not fit, only the times of their first steps are
            compared.
        choices: names of those measured.
        most_windows: validation windows for the loss at the end; None is all.
        corpus: a text to learn from; None is Tiny Shakespeare.
    """

    size: dict[str, int] = field(
        default_factory=lambda: {"num_layers": 4, "num_heads": 4, "embed_size": 128, "context_length": 64}
    )
    recipe: TrainConfig = FAST
    repeats: int = 3
    turns: int = 44
    seconds: float = math.inf
    choices: tuple[str, ...] = tuple(CHOICES)
    most_windows: int | None = None
    corpus: Corpus | None = None


FULL = Setting()
# How soon something is learned cannot be seen in a few steps: those choices that make a step quicker.
QUICK = Setting(repeats=1, turns=4, seconds=6, choices=("precision", "stack"))

_TRIED = 2  # steps, to see how long one takes


def rows(setting: Setting) -> Iterator[Row]:
    """The rows `choices.<name>`: validation losses with and without, and how much quicker a step is with it."""
    budget = Budget(setting.seconds)
    corpus, which = shakespeare_or_docs(setting.corpus)
    repeats = [_repeat(corpus, setting, repeat, budget) for repeat in range(setting.repeats)]
    for name in setting.choices:
        yield _row(name, repeats, setting, f"{threads_text()}. {which}")


@dataclass(frozen=True)
class Outcome:
    """What came of one training.

    Attributes:
        loss: validation loss at its end, None if it was not trained to the end.
        step: how many steps were made.
        laps: seconds of each turn, in which every training of the repeat made the same share of its steps.
    """

    loss: float | None
    step: int
    laps: list[float]


def _repeat(corpus: Corpus, setting: Setting, repeat: int, budget: Budget) -> dict[str, Outcome]:
    """One training of each kind, in turns: by the name of the choice that is taken back, "" where none is."""
    recipe = replace(setting.recipe, seed=setting.recipe.seed + repeat)
    runners: dict[str, Runner] = {}
    tried = min(_TRIED, recipe.max_steps)
    for name in ("", *setting.choices):
        without = replace(recipe, **CHOICES[name].without) if name else recipe
        with _instead(name):
            runners[name] = Runner("gpt2", corpus, setting.size, without)
            runners[name].go_on(1)
    warm = sum(runner.seconds for runner in runners.values())
    for name, runner in runners.items():
        with _instead(name):
            runner.go_on(1 + tried)
    seconds = sum(runner.seconds for runner in runners.values()) - warm
    steps = Sizes(tried, 1 + tried + setting.turns, recipe.max_steps).fitting(seconds, budget.left)
    laps: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(1, setting.turns + 1):
        progress(f"choices: training {repeat + 1} of {setting.repeats}, turn {turn} of {setting.turns}")
        for name, runner in runners.items():
            before = runner.seconds
            left = steps * runner.config.max_steps // recipe.max_steps - 1 - tried
            with _instead(name):
                runner.go_on(1 + tried + left * turn // setting.turns)
            laps[name].append(runner.seconds - before)
    return {
        name: Outcome(None if runner.is_unfinished else runner.loss(setting.most_windows), runner.step, laps[name])
        for name, runner in runners.items()
    }


def _instead(name: str) -> AbstractContextManager[object]:
    return CHOICES[name].instead() if name else nullcontext()


def _row(name: str, repeats: list[dict[str, Outcome]], setting: Setting, where: str) -> Row:
    if len(repeats) > 1:
        faster = [sum(repeat[name].laps) / sum(repeat[""].laps) for repeat in repeats]
    else:
        (one,) = repeats
        faster = in_pairs(one[name].laps, one[""].laps)
    losses, without = ([repeat[key].loss for repeat in repeats] for key in ("", name))
    gains = [theirs - ours for ours, theirs in zip(losses, without, strict=True) if ours is not None and theirs]
    gained = f"lower by {statistics.fmean(gains):+.3f} nats" if gains else "not compared in so few steps"
    if len(gains) > 1:
        gained += f" (standard deviation {statistics.stdev(gains):.3f} over {len(gains)} seeds)"
    return Row(
        f"choices.{name}",
        f"{CHOICES[name].meaning}: validation loss {gained}, the training {statistics.median(faster):.2f} "
        f"times as fast. {repeats[0][''].step} of {setting.recipe.max_steps} steps, {where}",
        ours=statistics.fmean(loss for loss in losses if loss is not None) if gains else None,
        peer=statistics.fmean(loss for loss in without if loss is not None) if gains else None,
        unit="nats",
        ratio=statistics.median(faster),
        spread=spread(faster),
        goal=None,
        more={"nats_gained": statistics.fmean(gains) if gains else None},
    )
