"""What can be asked for: all that decides the outcome of a run, and whether this server takes it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gpt.costs.cores import spread, usable_cores
from gpt.costs.formulas import parameter_count, training_bytes
from gpt.model.config import GPTConfig, check_whole_number
from gpt.runs.limits import Limits
from gpt.training.recipes import TrainConfig

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus


class RunRefused(ValueError):
    """The server does not take this run; the message says why."""


class NotYourRun(ValueError):
    """Another visitor started this run, so this one may only watch it, or copy it."""


class NotYourText(ValueError):
    """The run learns from another visitor's own text, or goes on from their model, which nobody else is to have."""

    def __init__(self) -> None:
        super().__init__(
            "this run learns from somebody's own text or model, so its models, what they write and its files are "
            "theirs alone; the curves are for everyone with the link"
        )


@dataclass(frozen=True)
class RunRequest:
    """All that decides the outcome of a run.

    Attributes:
        models: (label, configuration) of each model, trained side by side.
        corpus_sha256: of the text they learn.
        training: the same for all.
        seeds: how many times, with seeds `training.seed`, + 1, ...
        copy_of: for a copy that goes on from another run: whose, at which step, and by whom; else empty.
        tokenizer_sha256: of the byte pairs that the text is cut into; empty where its characters are the tokens.
        begins_from: the name of the model whose weights they begin from, and the SHA-256 of these; empty where they
            are new.
    """

    models: tuple[tuple[str, GPTConfig], ...]
    corpus_sha256: str
    training: TrainConfig
    seeds: int = 1
    copy_of: str = ""
    tokenizer_sha256: str = ""
    begins_from: str = ""

    @property
    def key(self) -> str:
        """A short name of the run: equal requests have equal keys."""
        said = asdict(self)
        for later in ("tokenizer_sha256", "begins_from"):
            if not said[later]:  # so that links to runs of an earlier version stay what they were
                del said[later]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def origin(self) -> dict[str, str] | None:
        """{"name", "sha256"} of the weights that its models begin from, as a checkpoint has it; None for new ones."""
        name, _, sha256 = self.begins_from.rpartition(" ")
        return {"name": name, "sha256": sha256} if sha256 else None

    @cached_property
    def held_bytes(self) -> int:
        """Memory the run's models take as long as it is remembered, about.

        Float32 weights, the best and the average ones, gradients, optimizer, the best ones here, snapshots.
        """
        copies = 1 + 2 + 1 + 2 + 1 + sum(is_snapshot_step(step) for step in range(self.training.max_steps + 1))
        return self.seeds * sum(4 * copies * parameter_count(config) for _, config in self.models)

    @cached_property
    def working_bytes(self) -> int:
        """Memory that training takes beside that, about: a step of as many models as are trained side by side."""
        from gpt.training.devices import learns_in_bfloat16, pick_device  # with PyTorch, as below

        in_bfloat16 = learns_in_bfloat16(self.training, pick_device("cpu"))
        batch = self.training.batch_size
        steps = [
            training_bytes(config, batch * config.context_length, in_bfloat16=in_bfloat16) for _, config in self.models
        ]
        side_by_side, _ = spread(self.seeds * len(steps), usable_cores())
        return sum(sorted(self.seeds * steps, reverse=True)[:side_by_side])

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
        labels = Counter(label for label, _ in self.models)
        twice = [label for label, count in labels.items() if count > 1]
        if twice:
            raise RunRefused(f"{twice[0]!r} is there {labels[twice[0]]} times; choose each model once")
        if self.training.max_steps > limits.most_steps:
            raise RunRefused(
                f"{self.training.max_steps:,} steps are too many; at most {limits.most_steps:,} are allowed"
            )
        for label, config in self.models:
            self._check_model(label, config, limits)
        if self.held_bytes + self.working_bytes > limits.most_bytes:
            raise RunRefused(
                f"this run would take {(self.held_bytes + self.working_bytes) / 1e6:,.0f} MB of memory, and at most "
                f"{limits.most_bytes / 1e6:,.0f} MB are allowed; choose fewer models or a smaller batch"
            )

    def _check_model(self, label: str, config: GPTConfig, limits: Limits) -> None:
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


def check_fit(config: GPTConfig, corpus: Corpus, training: TrainConfig) -> None:
    """Raise ValueError unless a model of this configuration can be trained on this corpus; allocates nothing."""
    from gpt.data.batches import BatchStream  # with PyTorch, for which the page does not wait

    BatchStream(corpus.train_ids, training.batch_size, config.context_length, training.seed)
    if config.vocab_size != corpus.tokenizer.vocab_size:
        raise ValueError(f"the model knows {config.vocab_size} tokens and the text has {corpus.tokenizer.vocab_size}")


def is_snapshot_step(step: int) -> bool:
    """Whether weights are kept at this step: 0, 1, 3, 10, 30, 100, ..."""
    return step == 0 or str(step).rstrip("0") in ("1", "3")
