"""One run: the models in it, and what is known of their training so far.

Within a run every model sees the same batches and starts from the same values wherever it has the same tensors; digests
prove it. `gpt.runs.scheduler` decides what becomes of runs, and `gpt.runs.workers` trains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gpt.costs.cores import spread
from gpt.costs.formulas import flops_per_token
from gpt.data.corpora import CORPORA
from gpt.model.config import GPTConfig
from gpt.runs.job import Job
from gpt.runs.limits import Limits
from gpt.runs.request import RunRequest
from gpt.runs.states import RunState

if TYPE_CHECKING:
    from torch import Tensor

    from gpt.data.corpus import Corpus
    from gpt.model.gpt2 import GPT2
    from gpt.training.state import TrainEvent, TrainingState

RESTARTING = "The lab is restarting. This run is kept, and goes on when you open its page again in a moment."


@dataclass(frozen=True, eq=False)
class SavedMember:
    """All that a model's training goes on from. Whoever restores it makes copies, so it may be shared.

    Attributes:
        state: about to evaluate a step.
        events: those told before.
        snapshots: weights by step.
        batches_digest: of all batches learned from before the last of these events.
    """

    state: TrainingState
    events: list[TrainEvent]
    snapshots: Mapping[int, dict[str, Tensor]]
    batches_digest: str


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """The weights that a run's models begin from, where these are not new. Nobody changes them, so they are shared.

    Attributes:
        tensors: float32, by name, as `named_parameters` gives them.
        is_private: whether they are not for everyone: of a model that has learned a visitor's own text, or is theirs.
    """

    tensors: Mapping[str, Tensor]
    is_private: bool = False


@dataclass(frozen=True, eq=False)
class BestWeights:
    """The weights of the lowest validation loss so far, by name, and the step they had it at."""

    step: int
    weights: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class News:
    """What is new of a model after a step.

    Attributes:
        event: of the step.
        batches_digest: of all batches learned from before it.
        snapshots: new ones, by step.
        best: where the step was the best so far.
    """

    event: TrainEvent
    batches_digest: str
    snapshots: Mapping[int, dict[str, Tensor]]
    best: BestWeights | None


@dataclass
class Member:
    """One model of a run, and what is known of its training so far.

    What is known is replaced as a whole after each step, under the scheduler's lock, so anyone may read it at any time.

    Attributes:
        label: its name in the run, unique together with the seed.
        config: what it is.
        seed: of its weights, its batches and its samples.
        events: all so far.
        snapshots: weights by step, at 0, 1, 3, 10, 30, ... steps.
        best: the weights of its best evaluation; None before the first.
        batches_digest: of all batches it had learned from at its last event.
        shared_digest: of the starting values of the tensors that all models of this seed have in common.
        saved: what its training goes on from, until a process has gone on from it.
    """

    label: str
    config: GPTConfig
    seed: int
    events: list[TrainEvent] = field(default_factory=list)
    snapshots: Mapping[int, dict[str, Tensor]] = field(default_factory=dict)
    best: BestWeights | None = None
    batches_digest: str = ""
    shared_digest: str = ""
    saved: SavedMember | None = None

    @property
    def last_step(self) -> int:
        """The step of its last event; -1 before the first."""
        return self.events[-1].step if self.events else -1

    @property
    def best_loss(self) -> float | None:
        """Lowest validation loss so far."""
        losses = [event.validation_loss for event in self.events if event.validation_loss is not None]
        return min(losses, default=None)

    @property
    def kept_steps(self) -> list[int]:
        """The steps at which `model_at` can show the model: the snapshots, and the best evaluation so far."""
        best = [] if self.best is None else [self.best.step]
        return sorted({*self.snapshots, *best})

    def model_at(self, step: int | None = None) -> GPT2:
        """A copy of the model as it was at one of the `kept_steps`, by default at its best evaluation so far."""
        from gpt.model.gpt2 import GPT2  # with PyTorch, for which the page does not wait

        best = self.best
        if best is not None and step in (None, best.step):
            weights = best.weights
        elif step is not None and step in self.snapshots:
            weights = self.snapshots[step]
        else:
            raise ValueError(f"no weights were kept at step {step}; choose one of {self.kept_steps}")
        model = GPT2.from_config(self.config).eval()
        model.load_weights(weights)
        return model

    def go_on_from(self, saved: SavedMember) -> None:
        """Know all that was known then, and train on from there. For a run that nobody else knows yet."""
        step = saved.state.step
        events = [event for event in saved.events if event.step <= step]
        snapshots = {kept: weights for kept, weights in saved.snapshots.items() if kept <= step}
        self.saved = replace(saved, events=events, snapshots=snapshots)
        self.events, self.snapshots = list(events), snapshots
        if saved.events:
            tensors = saved.state.tensors.items()
            best = {name.removeprefix("best/"): weight for name, weight in tensors if name.startswith("best/")}
            self.best = BestWeights(saved.state.best_step, best)
            self.batches_digest = saved.batches_digest

    def tell(self, news: News) -> None:
        """Make known what its training has come to; under the scheduler's lock, by the thread that holds the run."""
        before = self.events[:-1] if self.last_step == news.event.step else self.events
        self.events = [*before, news.event]
        if news.snapshots:
            self.snapshots = {**self.snapshots, **news.snapshots}
        self.best = news.best or self.best
        self.batches_digest = news.batches_digest
        self.saved = None  # not before: a process that still starts may be lost, or its server told to end


class Run(Job):
    """Models in training, side by side. Anyone may read its fields; `Runs` writes them, under its lock.

    Attributes:
        readers: the visitors who handed in the text it learns from; see `may_read`.
        goal: the step up to which it is to be trained now; -1 where it is to wait before it has begun.
        allowed: the step up to which its processes train without asking, as long as a worker holds it.
        initial_weights: what its models begin from, here as long as the run is, so that it can be trained again.

    For the rest see `Job`.
    """

    def __init__(
        self,
        request: RunRequest,
        corpus: Corpus,
        owner: str,
        *,
        address: str = "",
        initial_weights: InitialWeights | None = None,
    ) -> None:
        super().__init__(request.key, owner, address)
        self.request = request
        self.corpus = corpus
        self.initial_weights = initial_weights
        self.readers = {owner}
        self.goal = request.training.max_steps
        self.allowed = -1
        self.members = [
            Member(label, config, request.training.seed + offset)
            for offset in range(request.seeds)
            for label, config in request.models
        ]

    @property
    def is_private(self) -> bool:
        """Whether it learns from a text of a visitor's own, or goes on from a model that is not for everyone."""
        return self._has_own_text or (self.initial_weights is not None and self.initial_weights.is_private)

    @property
    def _has_own_text(self) -> bool:
        return self.corpus.name not in CORPORA

    def may_read(self, visitor: str) -> bool:
        """Whether a visitor may have what would tell of the text: the text itself, the models, and what they write."""
        return not self.is_private or (visitor != "" and visitor in self.readers)

    @property
    def brought_bytes(self) -> int:
        """Memory that its text takes, and the weights that its models begin from.

        Texts that are not a visitor's own are there once for all, unless in the tokens of a model to go on from.
        """
        brought: list[Tensor] = []
        if self._has_own_text or self.initial_weights is not None:
            brought += [self.corpus.train_ids, self.corpus.validation_ids]
        if self.initial_weights is not None:
            brought += self.initial_weights.tensors.values()
        return sum(tensor.numel() * tensor.element_size() for tensor in brought)

    @property
    def held_bytes(self) -> int:
        """Memory its models take as long as they are remembered, by the request's formula."""
        return self.request.held_bytes

    @property
    def working_bytes(self) -> int:
        """Memory that training takes beside that."""
        return self.request.working_bytes

    @property
    def has_models(self) -> bool:
        """Whether its models are in memory: not as long as it waits for its first turn."""
        made = any(member.events or member.saved for member in self.members)
        return made or self.state is RunState.RUNNING

    @property
    def is_at_hand(self) -> bool:
        """Whether all is here that its training goes on from, and nothing of it in a process alone."""
        return all(member.saved is not None or not member.events for member in self.members)

    @property
    def told_step(self) -> int:
        """The last step that all models have told of; -1 before the first."""
        return min(member.last_step for member in self.members)

    @property
    def has_begun(self) -> bool:
        """Whether all models have told something."""
        return self.told_step >= 0

    @property
    def step(self) -> int:
        """Steps that all models have made."""
        return max(0, self.told_step)

    @property
    def is_level(self) -> bool:
        """Whether all models have made equally many steps."""
        return len({member.last_step for member in self.members}) == 1

    @property
    def is_at_end(self) -> bool:
        """Whether every model has made all its steps."""
        return self.step >= self.request.training.max_steps

    @property
    def is_at_goal(self) -> bool:
        """Whether there is nothing to train now."""
        return self.told_step >= max(self.goal, self.allowed)

    @property
    def seconds(self) -> float:
        """Time all models together have spent learning."""
        return sum(member.events[-1].seconds for member in self.members if member.events)

    def lay_out(self, cores: int) -> None:
        """As many models side by side as cores allow; the threads of each stay those of its first turn."""
        self.layout = spread(len(self.members), cores, self.layout[1])

    def end_of_turn(self, limits: Limits, *, is_closing: bool) -> tuple[RunState, str] | None:
        """The state, and why, in which a run that is trained now is to be left before its next step, if it is."""
        if self.is_at_end:
            return RunState.DONE, ""
        if is_closing:
            return RunState.PAUSED, RESTARTING
        if self.is_at_goal:
            return RunState.PAUSED, ""
        if self.lease.has_run_out(limits):
            self.lease.has_ended = True
            return RunState.PAUSED, "Paused, because nobody was watching."
        if self.seconds > limits.most_seconds:
            return RunState.STOPPED, f"Stopped after {limits.most_seconds:,.0f} s, the most allowed."
        return None

    def seconds_left(self, flops_per_second: float | None) -> float | None:
        """By its arithmetic, where it is known how fast this machine is."""
        return self.flops_left() / flops_per_second if flops_per_second else None

    def in_the_log(self) -> str:
        """How many models, and how far they are."""
        return f"models={len(self.members)} step={self.step} of={self.request.training.max_steps}"

    def flops_left(self) -> float:
        """Arithmetic until the goal, by formula."""
        training = self.request.training
        tokens = max(0, self.goal - self.step) * training.batch_size
        return sum(3 * flops_per_token(m.config) * tokens * m.config.context_length for m in self.members)

    def seconds_per_step(self) -> float | None:
        """How long a step of each of its models takes in all; None before all have told.

        Some may take turns in a process. Processes work side by side, and none gets far ahead of the others, so the
        slowest sets the pace.
        """
        speeds = [member.events[-1].tokens_per_second if member.events else 0.0 for member in self.members]
        processes = self.layout[0]
        if not processes or not all(speeds):
            return None
        tokens = [self.request.training.batch_size * member.config.context_length for member in self.members]
        seconds = [some / speed for some, speed in zip(tokens, speeds, strict=True)]
        return max(sum(seconds[number::processes]) for number in range(processes))

    def flops_per_second(self) -> float | None:
        """How much arithmetic its models make on this machine, all processes together; None before all have told."""
        speeds = [(m.config, m.events[-1].tokens_per_second) for m in self.members if m.events]
        if len(speeds) < len(self.members) or not all(speed for _, speed in speeds):
            return None
        average = sum(3 * flops_per_token(config) * speed for config, speed in speeds) / len(speeds)
        return average * max(1, self.layout[0])

    def batches_digests(self) -> list[str]:
        """For each model, the digest of every batch it has learned from; equal at equal steps and seeds."""
        return [member.batches_digest for member in self.members]
