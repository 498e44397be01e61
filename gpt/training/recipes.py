"""How to train: the settings of a run, named sets of them, and how the learning rate changes over a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from gpt.model.config import check_number, check_whole_number

SCHEDULES = ("linear", "cosine")
DEVICES = ("auto", "cuda", "mps", "cpu")
RATES = ("learning_rate", "matrix_learning_rate", "position_learning_rate")
PRECISIONS = ("auto", "float32", "bfloat16")
BATCH_ORDERS = ("passes", "random")

_CHOICES = {"batch_order": BATCH_ORDERS, "schedule": SCHEDULES, "device": DEVICES, "precision": PRECISIONS}


@dataclass(frozen=True)
class TrainConfig:
    """How to train; the defaults are the "fast" recipe.

    Attributes:
        max_steps: updates to make.
        batch_size: rows in a batch, each as long as the model's context.
        gradient_accumulation_steps: equal parts in which a batch is learned from, one after another, to save memory;
            the sum of their gradients is the batch's.
        checkpoint_activations: whether the backward pass computes each block again instead of having kept all of it:
            less memory for about a third more arithmetic, and the same result.
        batch_order: "passes" or "random", which windows of the text these rows are (see `BatchStream`).
        learning_rate: of AdamW.
        matrix_learning_rate: of Muon, for the matrices inside the blocks; None gives them to AdamW too.
        feed_forward_rate_multiple: how many times that rate the matrices of the feed-forward layers have; without
            Muon it is not used.
        position_learning_rate: of AdamW, for learned positions, which each see a small share of the tokens; None is
            `learning_rate`.
        warmup_steps: updates over which the rates rise.
        schedule: "linear" or "cosine", the shape of their fall.
        decay_share: the last share of the run, over which they fall.
        final_rate: what they fall to, as a share of the full rate.
        weight_decay: pull of matrices towards zero.
        beta1, beta2: AdamW's averaging.
        momentum: Muon's averaging.
        ema_decay: share that each update leaves of a running average of the weights, which is then what is evaluated,
            sampled from and saved; 0 averages nothing.
        gradient_clip: longest gradient, over all weights; 0 does not clip.
        eval_interval: updates between evaluations; there is also one before the first and one after the last.
        eval_windows: validation windows used at these evaluations, evenly spaced; None uses all.
        sample_length: characters written at each evaluation; 0 writes none.
        sample_prompt: what they continue.
        seed: of the batches, the samples and dropout. The weights have their own (`GPT2.initialize`).
        device: "auto" takes cuda or mps where there is one, else cpu.
        precision: of the products in linear layers: "float32", "bfloat16", or "auto", which takes bfloat16 where the
            device is faster with it. Weights, optimizers and evaluations are in float32.
    """

    max_steps: int = 220
    batch_size: int = 32
    gradient_accumulation_steps: int = 1
    checkpoint_activations: bool = False
    batch_order: str = "random"
    learning_rate: float = 5e-3
    matrix_learning_rate: float | None = 0.05
    feed_forward_rate_multiple: float = 2.0
    position_learning_rate: float | None = None
    warmup_steps: int = 10
    schedule: str = "linear"
    decay_share: float = 0.6
    final_rate: float = 0.0
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    momentum: float = 0.85
    ema_decay: float = 0.0
    gradient_clip: float = 1.0
    eval_interval: int = 25
    eval_windows: int | None = 64
    sample_length: int = 160
    sample_prompt: str = "\n"
    seed: int = 1337
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size", "gradient_accumulation_steps", "eval_interval"):
            check_whole_number(name, getattr(self, name))
        for name in ("warmup_steps", "sample_length", "seed"):
            check_whole_number(name, getattr(self, name), minimum=0)
        if self.eval_windows is not None:
            check_whole_number("eval_windows", self.eval_windows)
        for name in ("learning_rate", "feed_forward_rate_multiple", "weight_decay", "gradient_clip"):
            _check_range(name, getattr(self, name), 0, math.inf)
        for name in RATES[1:]:
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), 0, math.inf)
        for name in ("decay_share", "final_rate"):
            _check_range(name, getattr(self, name), 0, 1)
        for name in ("beta1", "beta2", "momentum", "ema_decay"):
            _check_range(name, getattr(self, name), 0, 1)
            if getattr(self, name) == 1:
                raise ValueError(f"{name} is 1, which would never forget; give less, such as 0.9")
        if not isinstance(self.checkpoint_activations, bool):
            raise TypeError(f"checkpoint_activations is {self.checkpoint_activations!r}; give True or False")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}")
        for field_ in fields(self):
            if "float" in str(field_.type) and getattr(self, field_.name) is not None:
                # So that 0 and 0.0 are the same to everyone, a run's key included.
                object.__setattr__(self, field_.name, float(getattr(self, field_.name)))


_FORMER_NAMES = {"accumulation": "gradient_accumulation_steps"}  # in what was saved before they were renamed
_FORMER_WAYS = {"feed_forward_rate_multiple": 1.0}  # of what was trained before there was a setting for it


def training_config(**saved: Any) -> TrainConfig:
    """The configuration that was saved as these fields, also by an earlier version; raises as `TrainConfig`."""
    renamed = {_FORMER_NAMES.get(name, name): value for name, value in saved.items()}
    return TrainConfig(**{**_FORMER_WAYS, **renamed})


def _check_range(name: str, value: Any, lowest: float, highest: float) -> None:
    check_number(name, value)
    if not lowest <= value <= highest:
        allowed = f"{lowest} or more" if highest == math.inf else f"{lowest} to {highest}"
        raise ValueError(f"{name} is {value}; give {allowed}")


# Settings of `TrainConfig` by name: `TrainConfig(**RECIPES["nanogpt"])`.
RECIPES: dict[str, dict[str, Any]] = {
    # The defaults of TrainConfig: Muon for the matrices inside the blocks, AdamW for the rest.
    "fast": {},
    # How the models that ship were trained (`gpt.checkpoints.shipped`).
    "showcase": {
        "max_steps": 1100,
        "batch_size": 16,
        "batch_order": "passes",
        "learning_rate": 4e-3,
        "matrix_learning_rate": 0.03,
        "feed_forward_rate_multiple": 1.0,
        "position_learning_rate": 0.02,
        "warmup_steps": 20,
        "decay_share": 1.0,
        "momentum": 0.9,
        "ema_decay": 0.99,
        "eval_interval": 50,
        "eval_windows": 128,
        "sample_length": 200,
    },
    # nanoGPT's published CPU recipe (github.com/karpathy/nanoGPT, README), for a model of 4 layers of 4 heads, 128
    # wide, context 64: validation loss 1.88.
    "nanogpt": {
        "max_steps": 2000,
        "batch_size": 12,
        "learning_rate": 1e-3,
        "matrix_learning_rate": None,
        "feed_forward_rate_multiple": 1.0,
        "warmup_steps": 100,
        "schedule": "cosine",
        "decay_share": 0.95,
        "final_rate": 0.1,
        "weight_decay": 0.1,
        "beta2": 0.99,
        "precision": "float32",
    },
}


def rate_factor(step: int, config: TrainConfig) -> float:
    """What the learning rates are multiplied by in the update numbered `step` (0 is the first), between 0 and 1.

    Up in a line over `warmup_steps`, level, then down to `final_rate` over the last `decay_share` of the run.
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    decay_steps = config.decay_share * config.max_steps
    if decay_steps == 0:
        return warmup
    progress = min(1.0, max(0.0, 1 - (config.max_steps - step) / decay_steps))
    fall = progress if config.schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return warmup * (1 - (1 - config.final_rate) * fall)
