"""Seconds of training until the loss that nanoGPT's CPU recipe ends at: our default recipe against nanoGPT's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from gpt.bench.corpus import shakespeare_or_docs
from gpt.bench.nanogpt import NanoGPT
from gpt.bench.rows import Row, in_pairs
from gpt.bench.steps import PeerTraining
from gpt.bench.turns import Budget, Sizes, progress
from gpt.costs.machine import threads_text
from gpt.costs.timing import spread
from gpt.data.corpus import Corpus
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2
from gpt.training.evaluation import evaluate
from gpt.training.optimizers import build_optimizers
from gpt.training.recipes import RECIPES, TrainConfig
from gpt.training.trainer import Trainer

# What nanoGPT's README gives for its CPU recipe on Tiny Shakespeare, and what a run of it here on Python 3.11's own
# documentation ended at: the targets where there is no time to wait for the recipe's end.
KNOWN_LOSSES = {"shakespeare": 1.88, "python-docs": 1.41}
GOALS = {"gpt2": 6.0, "rotary": 8.0}
# The person who starts a run chooses its length. Rates that have not fallen yet cost loss, so the quickest way
# to a loss is a run that ends soon after it.
STEPS = {"gpt2": 184, "rotary": 140}
FAST, NANOGPT = TrainConfig(), TrainConfig(**RECIPES["nanogpt"])


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        size: of the models, as `make_config` takes it.
        ours: the recipe that both of our variants are trained with, but for its steps.
        steps: those of each variant.
        peer: nanoGPT's recipe.
        look_every: our steps between two looks at the loss.
        look_from: share of our steps after which looking begins.
        most_windows: validation windows that a look reads; None is the whole validation text.
        seconds: that all of it may take. Where a training does not fit, its first steps are timed.
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
    look_every: int = 5
    look_from: float = 0.3
    most_windows: int | None = None
    seconds: float = math.inf
    repeats: int = 3
    turns: int = 30
    corpus: Corpus | None = None


FULL = Setting()
QUICK = Setting(look_every=10, most_windows=256, seconds=17, repeats=1, turns=6)

_TRIED = 2  # steps, to see how long one takes
_NOT_LOOKED_AT = " Whether ours reaches that loss by then is measured in a whole run, without --quick."
_WINDOWS_SO_FAR = 64  # that are read for the loss of a training that is not at its end


@dataclass(frozen=True)
class Look:
    """Our model at one moment of its training: after how many steps and seconds, and its weights."""

    step: int
    seconds: float
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Outcome:
    """What came of one of our trainings in a race.

    Attributes:
        seconds: of training until the target; infinite where it was not reached.
        ratios: how many times as long the peer takes for its recipe, in each turn of the race.
        said: how far it came, in words.
    """

    seconds: float
    ratios: list[float]
    said: str


@dataclass(frozen=True)
class Race:
    """What came of one: the loss to reach, how long the peer takes for its whole recipe, and our trainings."""

    target: float
    peer_seconds: float
    peer_said: str
    ours: dict[str, Outcome]


def rows(setting: Setting) -> Iterator[Row]:
    """The rows `learn.gpt2` and `learn.rotary`."""
    budget = Budget(setting.seconds)
    corpus, which = shakespeare_or_docs(setting.corpus)
    _warm_up(corpus, setting)
    races = [_race(corpus, setting, repeat, budget) for repeat in range(setting.repeats)]
    for variant, goal in GOALS.items():
        yield _row(variant, goal, races, f"{_measured(setting, variant)} {which}")


def _row(variant: str, goal: float, races: list[Race], measured: str) -> Row:
    outcomes, peer_seconds = [race.ours[variant] for race in races], [race.peer_seconds for race in races]
    seconds = [outcome.seconds for outcome in outcomes]
    ratios = in_pairs(peer_seconds, seconds)  # 0 where the target was not reached
    if len(races) == 1:
        ratios = outcomes[0].ratios
    middle = statistics.median(seconds)
    targets = ", ".join(f"{race.target:.3f}" for race in races)
    return Row(
        f"learn.{variant}",
        f"{measured}\nLoss to reach: {targets}. Ours: {'; '.join(outcome.said for outcome in outcomes)}. Peer: "
        f"{'; '.join(dict.fromkeys(race.peer_said for race in races))}. The spread is over "
        f"{'the turns of one race' if len(races) == 1 else f'{len(races)} races'}."
        + (_NOT_LOOKED_AT if any("EXTRA" in outcome.said for outcome in outcomes) else ""),
        ours=middle if math.isfinite(middle) else None,
        peer=statistics.median(peer_seconds),
        unit="s",
        ratio=statistics.median(ratios) if math.isfinite(middle) else None,
        spread=spread(ratios) if math.isfinite(middle) else None,
        goal=goal,
    )


def _measured(setting: Setting, variant: str) -> str:
    size = "{num_layers} layers of {num_heads} heads, {embed_size} wide, T = {context_length}".format(**setting.size)
    windows = "the whole validation text" if setting.most_windows is None else f"{setting.most_windows} windows of it"
    return (
        f"Seconds of training, evaluations not counted, until the loss over {windows} is what the peer ends at; "
        f"{size}; {threads_text()}. Ours is the default recipe on a run of {setting.steps[variant]} steps, looked at "
        f"every {setting.look_every}. The peer is nanoGPT's own step and CPU recipe ({setting.peer.max_steps} "
        f"steps of batch {setting.peer.batch_size}, fused AdamW, float32)."
    )


# --- A race ---------------------------------------------------------------------------------------------------------


def _race(corpus: Corpus, setting: Setting, repeat: int, budget: Budget) -> Race:
    """Train the peer and our variants in turns of about a second, then look when ours had reached the peer's loss."""
    seed = setting.ours.seed + repeat
    peer = Peer(corpus, setting.size, replace(setting.peer, seed=seed))
    ours = {
        variant: Runner(
            variant, corpus, setting.size, replace(setting.ours, seed=seed, max_steps=setting.steps[variant])
        )
        for variant in GOALS
    }
    runners: dict[str, Runner | Peer] = {"peer": peer, **ours}
    goals = {
        name: _steps_that_fit(runner, setting.turns, budget.left / len(runners)) for name, runner in runners.items()
    }
    begun = {name: runner.step for name, runner in runners.items()}
    laps: dict[str, list[float]] = {name: [] for name in goals}  # seconds of a step, in each turn
    for turn in range(1, setting.turns + 1):
        progress(f"learn: race {repeat + 1} of {setting.repeats}, turn {turn} of {setting.turns}")
        for name, runner in runners.items():
            step, seconds = runner.step, runner.seconds
            until = begun[name] + (goals[name] - begun[name]) * turn // setting.turns
            runner.go_on(until, look_every=setting.look_every, look_from=setting.look_from)
            if runner.step > step:
                laps[name].append((runner.seconds - seconds) / (runner.step - step))
    target = _target(peer, setting)
    peer_step = peer.seconds / peer.step
    return Race(
        target,
        peer_step * setting.peer.max_steps,
        _said(peer) if peer.is_unfinished else "trained to its end",
        {variant: _outcome(runner, target, setting, laps["peer"], laps[variant]) for variant, runner in ours.items()},
    )


def _steps_that_fit(runner: Runner | Peer, turns: int, room: float) -> int:
    """All steps of a training, or as many as about fit into the room, in seconds, by the first few; some each turn."""
    tried = min(_TRIED, runner.config.max_steps)
    runner.go_on(tried)
    sizes = Sizes(tried, tried + turns, runner.config.max_steps)
    return sizes.fitting(runner.seconds, 0.9 * room)


def _outcome(runner: Runner, target: float, setting: Setting, peer: list[float], ours: list[float]) -> Outcome:
    """When our training had reached the target; or, where it is not at its end, how long all its steps take."""
    steps, said, seconds = float(runner.config.max_steps), "", math.inf
    if runner.is_unfinished or math.isnan(target):
        seconds = runner.seconds / runner.step * steps
        said = _said(runner)
    elif (look := runner.first_look(target, setting.most_windows)) is not None:
        steps, seconds, said = look.step, look.seconds, f"reached after {look.step} steps"
    else:
        steps, said = math.inf, f"not within {runner.step} steps"
    turns = min(len(peer), len(ours))
    return Outcome(
        seconds,
        in_pairs([setting.peer.max_steps * lap for lap in peer[:turns]], [steps * lap for lap in ours[:turns]]),
        said,
    )


def _said(runner: Runner | Peer) -> str:
    """How far a training came that is not at its end."""
    return (
        f"EXTRAPOLATED to {runner.config.max_steps} steps from {runner.step}, made in {runner.seconds:.1f} s (loss now "
        f"{runner.loss(_WINDOWS_SO_FAR):.3f}, over {_WINDOWS_SO_FAR} windows)"
    )


def _target(peer: Peer, setting: Setting) -> float:
    if peer.is_unfinished:
        return KNOWN_LOSSES.get(peer.corpus.name, math.nan)
    progress("learn: the peer's loss at its end")
    return peer.loss(setting.most_windows)


class Peer:
    """nanoGPT's training, which is paused and continued."""

    def __init__(self, corpus: Corpus, size: dict[str, int], config: TrainConfig) -> None:
        self.model = NanoGPT(make_config("gpt2", corpus.tokenizer.vocab_size, **size))
        self.model.initialize(config.seed)
        self.corpus, self.config = corpus, config
        optimizers = build_optimizers(self.model, config)
        context_length = self.model.config.context_length
        self._training = PeerTraining(self.model, self.model, optimizers, corpus, context_length, config)

    @property
    def step(self) -> int:
        """Steps made."""
        return self._training.step

    @property
    def seconds(self) -> float:
        """That these took."""
        return self._training.seconds

    @property
    def is_unfinished(self) -> bool:
        """Whether steps are left."""
        return self.step < self.config.max_steps

    def go_on(self, until: int, **_: Any) -> None:
        """Train up to a step; nobody looks at the loss on the way."""
        self._training.go_on(until)

    def loss(self, most_windows: int | None) -> float:
        """Validation loss with the present weights."""
        model: Any = self.model  # no GPT2, but all that `evaluate` asks for
        return evaluate(model, self.corpus, most_windows=most_windows)


class Runner:
    """One training of ours that is paused and continued, and whose weights are kept now and then."""

    def __init__(self, variant: str, corpus: Corpus, size: dict[str, int], training: TrainConfig) -> None:
        model = GPT2.from_config(make_config(variant, corpus.tokenizer.vocab_size, **size))
        model.initialize(training.seed)
        training = replace(training, eval_interval=training.max_steps, eval_windows=1, sample_length=0, device="cpu")
        self.variant, self.corpus, self.config = variant, corpus, training
        self.trainer = Trainer(model, corpus, training)
        self.looks: list[Look] = []
        self._events = self.trainer.events()

    @property
    def step(self) -> int:
        """Steps made."""
        return self.trainer.step

    @property
    def seconds(self) -> float:
        """That these took, evaluations not counted."""
        return self.trainer.seconds

    @property
    def is_unfinished(self) -> bool:
        """Whether steps are left."""
        return self.step < self.config.max_steps

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
    Peer(corpus, setting.size, setting.peer).go_on(2)
    for variant in GOALS:
        Runner(variant, corpus, setting.size, setting.ours).go_on(2)
