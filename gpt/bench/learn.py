"""Seconds of training until the loss that nanoGPT's CPU recipe ends at: our default recipe against that recipe."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from gpt.bench.corpus import shakespeare_or_docs
from gpt.bench.rows import Row, in_pairs
from gpt.bench.turns import progress
from gpt.costs.machine import threads_text
from gpt.costs.timing import spread
from gpt.data.corpus import Corpus
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2
from gpt.training.evaluation import evaluate
from gpt.training.recipes import RECIPES, TrainConfig
from gpt.training.trainer import Trainer

# What nanoGPT's README gives for its CPU recipe on Tiny Shakespeare, and what a run of it here on Python 3.11's own
# documentation ended at: the targets of --quick, which does not wait for the recipe's end.
KNOWN_LOSSES = {"shakespeare": 1.88, "python-docs": 1.41}
GOALS = {"gpt2": 6.0, "rotary": 8.0}
# The person who starts a run chooses its length. Rates that have not fallen yet cost loss, so the quickest way
# to a loss is a run that ends soon after it.
STEPS = {"gpt2": 200, "rotary": 140}
FAST, NANOGPT = TrainConfig(), TrainConfig(**RECIPES["nanogpt"])


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        size: of the models, as `make_config` takes it.
        ours: the recipe that both of our variants are trained with, but for its steps.
        steps: those of each variant.
        peer: the recipe that "gpt2" is trained with for comparison.
        peer_steps: how many of its steps are made. If not all, its time is extrapolated and its loss taken from
            `KNOWN_LOSSES`.
        look_every: our steps between two looks at the loss.
        look_from: share of our steps after which looking begins.
        most_windows: validation windows that a look reads; None is the whole validation text.
        most_seconds: after which a race is broken off.
        repeats: races, each of another seed.
        turns: in how many turns a race is run.
        corpus: a text to learn from; None is Tiny Shakespeare.
    """

    size: dict[str, int] = field(
        default_factory=lambda: {"num_layers": 4, "num_heads": 4, "embed_size": 128, "context_length": 64}
    )
    ours: TrainConfig = FAST
    steps: Mapping[str, int] = field(default_factory=lambda: STEPS)
    peer: TrainConfig = NANOGPT
    peer_steps: int = NANOGPT.max_steps
    look_every: int = 5
    look_from: float = 0.3
    most_windows: int | None = None
    most_seconds: float = math.inf
    repeats: int = 3
    turns: int = 30
    corpus: Corpus | None = None


FULL = Setting()
QUICK = Setting(peer_steps=100, look_every=10, most_windows=256, most_seconds=45, repeats=1, turns=50)


@dataclass(frozen=True)
class Look:
    """Our model at one moment of its training: after how many steps and seconds, and its weights."""

    step: int
    seconds: float
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Race:
    """What came of one: the loss to reach, what the peer needed, and what each of our variants did.

    Attributes:
        target: validation loss of the peer's recipe at its end.
        peer_seconds: of training, to its end.
        seconds: of training until the target, by variant; infinite where it was not reached.
        steps: as many updates, in words; where it was not reached, how many were made in vain.
    """

    target: float
    peer_seconds: float
    seconds: dict[str, float]
    steps: dict[str, str]


def rows(setting: Setting) -> Iterator[Row]:
    """The rows `learn.gpt2` and `learn.rotary`."""
    corpus, which = shakespeare_or_docs(setting.corpus)
    _warm_up(corpus, setting)
    races = [_race(corpus, setting, repeat) for repeat in range(setting.repeats)]
    for variant, goal in GOALS.items():
        yield _row(variant, goal, races, f"{_measured(setting, variant)} {which}")


def _row(variant: str, goal: float, races: list[Race], measured: str) -> Row:
    seconds, peer_seconds = [race.seconds[variant] for race in races], [race.peer_seconds for race in races]
    ratios = in_pairs(peer_seconds, seconds)  # 0 where the target was not reached
    middle, reached = statistics.median(seconds), [one for one in seconds if math.isfinite(one)]
    steps = ", ".join(race.steps[variant] for race in races)
    targets = ", ".join(f"{race.target:.3f}" for race in races)
    return Row(
        f"learn.{variant}",
        f"{measured}\nLoss to reach: {targets}. Reached in {len(reached)} of {len(races)}: {steps}.",
        ours=middle if math.isfinite(middle) else None,
        peer=statistics.median(peer_seconds),
        unit="s",
        ratio=statistics.median(ratios) if math.isfinite(middle) else None,
        spread=spread(ratios) if math.isfinite(middle) else None,
        goal=goal,
    )


def _measured(setting: Setting, variant: str) -> str:
    is_whole = setting.peer_steps == setting.peer.max_steps
    size = "{num_layers} layers of {num_heads} heads, {embed_size} wide, T = {context_length}".format(**setting.size)
    windows = "the whole validation text" if setting.most_windows is None else f"{setting.most_windows} windows of it"
    peer = (
        "its loss is measured at its end"
        if is_whole
        else f"EXTRAPOLATED from {setting.peer_steps} steps, and its loss taken from what is known"
    )
    return (
        f"Seconds of training, evaluations not counted, until the loss over {windows} is what the peer ends at; "
        f"{size}; {threads_text()}. Ours is the default recipe on a run of {setting.steps[variant]} steps, looked at "
        f"every {setting.look_every}. The peer is nanoGPT's CPU recipe on gpt2 ({setting.peer.max_steps} "
        f"steps of batch {setting.peer.batch_size}, AdamW, float32), {peer}."
    )


# --- A race ---------------------------------------------------------------------------------------------------------


def _race(corpus: Corpus, setting: Setting, repeat: int) -> Race:
    """Train the peer and our variants in turns of about a second, then look when ours had reached the peer's loss."""
    seed = setting.ours.seed + repeat
    peer = Runner("gpt2", corpus, setting.size, replace(setting.peer, seed=seed))
    ours = {
        variant: Runner(
            variant, corpus, setting.size, replace(setting.ours, seed=seed, max_steps=setting.steps[variant])
        )
        for variant in GOALS
    }
    break_off = time.monotonic() + setting.most_seconds
    for turn in range(1, setting.turns + 1):
        if time.monotonic() > break_off:
            progress("learn: broken off, as it takes too long")
            break
        progress(f"learn: race {repeat + 1} of {setting.repeats}, turn {turn} of {setting.turns}")
        peer.go_on(setting.peer_steps * turn // setting.turns)
        for runner in ours.values():
            until = runner.trainer.config.max_steps * turn // setting.turns
            runner.go_on(until, look_every=setting.look_every, look_from=setting.look_from)
    target = _target(peer, setting)
    looks = {variant: runner.first_look(target, setting.most_windows) for variant, runner in ours.items()}
    return Race(
        target,
        peer.trainer.seconds * setting.peer.max_steps / max(1, peer.trainer.step),
        {variant: math.inf if look is None else look.seconds for variant, look in looks.items()},
        {
            variant: f"not within {ours[variant].trainer.step} steps" if look is None else f"after {look.step} steps"
            for variant, look in looks.items()
        },
    )


def _target(peer: Runner, setting: Setting) -> float:
    if peer.trainer.step == setting.peer.max_steps:
        progress("learn: the peer's loss over the whole validation text")
        return peer.loss(setting.most_windows)
    return KNOWN_LOSSES.get(peer.corpus.name, math.nan)


class Runner:
    """One training that is paused and continued, and whose weights are kept now and then."""

    def __init__(self, variant: str, corpus: Corpus, size: dict[str, int], training: TrainConfig) -> None:
        model = GPT2.from_config(make_config(variant, corpus.tokenizer.vocab_size, **size))
        model.initialize(training.seed)
        training = replace(training, eval_interval=training.max_steps, eval_windows=1, sample_length=0, device="cpu")
        self.variant, self.corpus = variant, corpus
        self.trainer = Trainer(model, corpus, training)
        self.looks: list[Look] = []
        self._events = self.trainer.events()

    def go_on(self, until: int, *, look_every: int = 1, look_from: float = math.inf) -> None:
        """Train up to a step; from the share `look_from` of all steps on, keep the weights every `look_every`."""
        trainer = self.trainer
        while trainer.step < until:
            next(self._events)
            is_late = trainer.step >= look_from * trainer.config.max_steps
            if is_late and trainer.step % look_every == 0:
                self.looks.append(Look(trainer.step, trainer.seconds, trainer.copy_of_weights()))

    def first_look(self, target: float, most_windows: int | None) -> Look | None:
        """When the loss was at the target for the first time, or None."""
        progress(f"learn: when {self.variant} reached {target:.3f}")
        for look in self.looks:
            self.trainer.model.load_weights(look.weights)
            # The whole text takes long to read. A part of it shows whether the loss is near.
            if self.loss(64) <= target + 0.15 and self.loss(most_windows) <= target:
                return look
        return None

    def loss(self, most_windows: int | None) -> float:
        """Validation loss with the present weights."""
        return evaluate(self.trainer.model, self.corpus, most_windows=most_windows)


def _warm_up(corpus: Corpus, setting: Setting) -> None:
    """Two steps of everything, which count for nothing: kernels and memory are made ready."""
    for variant, training in (("gpt2", setting.peer), *((variant, setting.ours) for variant in GOALS)):
        Runner(variant, corpus, setting.size, training).go_on(2)
