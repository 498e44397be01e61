"""One run: what was asked for, the models in it, and what is known of their training so far.

Within a run every model sees the same batches and starts from the same values wherever it has the same tensors; digests
prove it. `gpt.runs.scheduler` trains runs and says who may touch them.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from gpt.costs.formulas import flops_per_token, parameter_count, training_bytes
from gpt.model.config import GPTConfig, check_whole_number
from gpt.runs.limits import Limits
from gpt.training.recipes import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from gpt.data.corpus import Corpus
    from gpt.model.gpt2 import GPT2
    from gpt.training.state import TrainEvent
    from gpt.training.trainer import Trainer


class RunRefused(ValueError):
    """The server does not take this run; the message says why."""


class NotYourRun(ValueError):
    """Another visitor started this run, so this one may only watch it, or copy it."""


@dataclass(frozen=True)
class RunRequest:
    """All that decides the outcome of a run.

    Attributes:
        models: (label, configuration) of each model, trained side by side.
        corpus_sha256: of the text they learn.
        training: the same for all.
        seeds: how many times, with seeds `training.seed`, + 1, ...
        copy_of: for a copy that goes on from another run: whose, at which step, and by whom; else empty.
    """

    models: tuple[tuple[str, GPTConfig], ...]
    corpus_sha256: str
    training: TrainConfig
    seeds: int = 1
    copy_of: str = ""

    @property
    def key(self) -> str:
        """A short name of the run: equal requests have equal keys."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def held_bytes(self) -> int:
        """Memory the run's models take as long as it is remembered, about.

        Float32 weights, the best and the average ones, gradients, optimizer, snapshots.
        """
        copies = 1 + 2 + 1 + 2 + sum(is_snapshot_step(step) for step in range(self.training.max_steps + 1))
        return self.seeds * sum(4 * copies * parameter_count(config) for _, config in self.models)

    @cached_property
    def working_bytes(self) -> int:
        """Memory that training takes beside that, about: the step of one model at a time."""
        from gpt.training.devices import learns_in_bfloat16, pick_device

        in_bfloat16 = learns_in_bfloat16(self.training, pick_device("cpu"))
        batch = self.training.batch_size
        return max(
            training_bytes(config, batch * config.context_length, in_bfloat16=in_bfloat16) for _, config in self.models
        )

    def check(self, limits: Limits) -> None:
        """Raise RunRefused unless this is within the limits."""
        check_whole_number("seeds", self.seeds)
        if not self.models:
            raise RunRefused("no model is chosen; choose at least one variant")
        if len(self.models) * self.seeds > limits.most_models:
            count = len(self.models) * self.seeds
            raise RunRefused(
                f"{len(self.models)} variants with {self.seeds} seeds each make {count} models, and at most "
                f"{limits.most_models} are trained in one run; choose fewer"
            )
        if self.training.max_steps > limits.most_steps:
            raise RunRefused(
                f"{self.training.max_steps:,} steps are too many; at most {limits.most_steps:,} are allowed"
            )
        for label, config in self.models:
            if config.num_layers * config.embed_size > limits.most_parameters:  # before counting what cannot be
                raise RunRefused(f"{label} is too large; at most {limits.most_parameters:,} parameters are allowed")
            parameters = parameter_count(config)
            if parameters > limits.most_parameters:
                raise RunRefused(
                    f"{label} would have {parameters:,} parameters; at most {limits.most_parameters:,} are allowed"
                )
            tokens = self.training.batch_size * config.context_length
            if tokens > limits.most_tokens_per_step:
                raise RunRefused(
                    f"a batch of {self.training.batch_size} texts of {config.context_length} is {tokens:,} tokens; "
                    f"at most {limits.most_tokens_per_step:,} are allowed"
                )
        if self.held_bytes + self.working_bytes > limits.most_bytes:
            raise RunRefused(
                f"this run would take {(self.held_bytes + self.working_bytes) / 1e6:,.0f} MB of memory, and at most "
                f"{limits.most_bytes / 1e6:,.0f} MB are allowed; choose fewer models or a smaller batch"
            )


@dataclass
class Member:
    """One model of a run, and what is known of its training so far.

    Attributes:
        label: its name in the run, unique together with the seed.
        config: what it is.
        seed: of its weights, its batches and its samples.
        events: all so far.
        snapshots: weights by step, at 0, 1, 3, 10, 30, ... steps.
        shared_digest: of the starting values of the tensors that all models of this seed have in common.
    """

    label: str
    config: GPTConfig
    seed: int
    events: list[TrainEvent] = field(default_factory=list)
    snapshots: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    shared_digest: str = ""
    trainer: Trainer | None = None

    @property
    def best_loss(self) -> float | None:
        """Lowest validation loss so far."""
        losses = [event.validation_loss for event in self.events if event.validation_loss is not None]
        return min(losses, default=None)

    @property
    def kept_steps(self) -> list[int]:
        """The steps at which `model_at` can show the model: the snapshots, and the best evaluation so far."""
        best = [] if self.trainer is None else [self.trainer.best_step]
        return sorted({*self.snapshots, *best})

    def model_at(self, step: int | None = None) -> GPT2:
        """A copy of the model as it was at one of the `kept_steps`, by default at its best evaluation so far."""
        from gpt.model.gpt2 import GPT2

        if self.trainer is not None and step in (None, self.trainer.best_step):
            weights = self.trainer.best_weights
        elif step in self.snapshots:
            weights = self.snapshots[step]
        else:
            raise ValueError(f"no weights were kept at step {step}; choose one of {self.kept_steps}")
        model = GPT2.from_config(self.config).eval()
        model.load_weights(weights)
        return model


class Run:
    """Models in training, side by side. Its fields are written by `Runs` alone, and read by anyone.

    Attributes:
        key: names it in links.
        status: "waiting", "running", "paused", "done", "stopped" or "failed".
        message: a sentence on why it paused, stopped or failed; else empty.
        owner: the visitor who may control it; empty if nobody may.
        goal: the step up to which it is to be trained now.
        watchers: how many pages show it.
        is_left: whether it was paused because nobody was watching, and goes on when somebody is.
        is_cut_short: whether the step under way is to be given up, because the server ends.
        version: grows whenever there is something new to see.
    """

    def __init__(self, request: RunRequest, corpus: Corpus, owner: str) -> None:
        self.key = request.key
        self.request = request
        self.corpus = corpus
        self.owner = owner
        self.status = "waiting"
        self.message = ""
        self.goal = request.training.max_steps
        self.version = 0
        self.watchers = 0
        self.is_left = False
        self.is_cut_short = False
        self.last_watched = time.monotonic()
        self.learning = threading.Lock()  # held during a step, so that nobody copies half of one
        self.copiers = 0  # how many wait to copy: the worker lets them in between two steps
        self.members = [
            Member(label, config, request.training.seed + offset)
            for offset in range(request.seeds)
            for label, config in request.models
        ]

    @property
    def is_over(self) -> bool:
        """Whether no more will come unless somebody asks for more."""
        return self.status in ("done", "stopped", "failed")

    @property
    def step(self) -> int:
        """Steps that all models have made."""
        return min((member.events[-1].step if member.events else 0) for member in self.members)

    @property
    def seconds(self) -> float:
        """Time all models together have spent learning."""
        return sum(member.events[-1].seconds for member in self.members if member.events)

    def flops_left(self) -> float:
        """Arithmetic until the goal, by formula."""
        training = self.request.training
        steps = max(0, self.goal - self.step)
        tokens = [steps * training.batch_size * member.config.context_length for member in self.members]
        return sum(3 * flops_per_token(m.config) * count for m, count in zip(self.members, tokens, strict=True))

    def batches_digests(self) -> list[str]:
        """For each model, the digest of every batch it has learned from; equal at equal steps and seeds."""
        return ["" if member.trainer is None else member.trainer.batches_digest for member in self.members]


def check_fit(config: GPTConfig, corpus: Corpus, training: TrainConfig) -> None:
    """Raise ValueError unless a model of this configuration can be trained on this corpus; allocates nothing."""
    from gpt.data.batches import BatchStream  # with PyTorch, for which the page does not wait

    BatchStream(corpus.train_ids, training.batch_size, config.context_length, training.seed)
    if config.vocab_size != corpus.tokenizer.vocab_size:
        raise ValueError(f"the model knows {config.vocab_size} tokens and the corpus has {corpus.tokenizer.vocab_size}")


def is_snapshot_step(step: int) -> bool:
    """Whether weights are kept at this step: 0, 1, 3, 10, 30, 100, ..."""
    return step == 0 or str(step).rstrip("0") in ("1", "3")


def new_trainer(member: Member, run: Run) -> Trainer:
    from gpt.model.gpt2 import GPT2
    from gpt.training.trainer import Trainer

    model = GPT2.from_config(member.config)
    model.initialize(member.seed)
    trainer = Trainer(model, run.corpus, replace(run.request.training, seed=member.seed, device="cpu"))
    trainer.interrupt_when(lambda: run.is_over or run.is_cut_short)
    return trainer


def make_trainers(run: Run) -> None:
    for member in run.members:
        member.trainer = new_trainer(member, run)
    for seed in {member.seed for member in run.members}:
        same_seed = [member for member in run.members if member.seed == seed]
        models = [member.trainer.model for member in same_seed if member.trainer is not None]
        for member, digest in zip(same_seed, shared_digests(models), strict=True):
            member.shared_digest = digest


def shared_digests(models: Sequence[GPT2]) -> list[str]:
    """For each model, the digest of the tensors that all of them have, by name and shape."""
    tensors = [dict(model.named_parameters()) for model in models]
    shared = [
        name
        for name, tensor in tensors[0].items()
        if all(name in other and other[name].shape == tensor.shape for other in tensors)
    ]
    return [_digest(model_tensors, shared) for model_tensors in tensors]


def _digest(tensors: Mapping[str, Tensor], names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def recorded_events(member: Member) -> Iterator[TrainEvent]:
    """The events of a member's training, each noted down with its snapshot, and none twice after a pause."""
    assert member.trainer is not None  # made before the stream is
    for event in member.trainer.events():
        if member.events and event.step <= member.events[-1].step:
            continue
        if is_snapshot_step(event.step):
            member.snapshots[event.step] = member.trainer.copy_of_weights()
        member.events.append(event)
        yield event
