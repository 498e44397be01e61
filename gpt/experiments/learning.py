"""Training as experiments need it: on a text, or on batches that are made up as they go, step by step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

from gpt.data.corpora import CorpusUnavailable, load_corpus
from gpt.data.corpus import Corpus
from gpt.model.gpt2 import GPT2
from gpt.training.devices import learns_in_bfloat16, pick_device
from gpt.training.optimizers import build_optimizers
from gpt.training.recipes import TrainConfig, rate_factor
from gpt.training.trainer import Trainer

DrawBatch = Callable[[int], tuple[Tensor, Tensor]]  # number -> input ids and targets (B, T), -100 where none counts


def text_to_learn() -> Corpus:
    """Tiny Shakespeare, or where that is not to be had, what every Python brings along."""
    try:
        return load_corpus("shakespeare")
    except CorpusUnavailable:
        return load_corpus("python-docs")


def learn_text(model: GPT2, corpus: Corpus, config: TrainConfig) -> Generator[float, None, Trainer]:
    """Train on a text: yields the share of the steps that are made, returns the trainer after the last one.

    The model keeps its last weights; `Trainer.restore_best` gives it its best ones.

    Raises:
        TrainingDiverged: the loss is no longer a number.
    """
    trainer = Trainer(model, corpus, config)
    for event in trainer.events():
        yield event.step / config.max_steps
    return trainer


def learn_batches(model: GPT2, draw: DrawBatch, config: TrainConfig) -> Iterator[tuple[int, float]]:
    """Train on batches that are drawn by number; yields (steps made, training loss) after each.

    Rates, optimizers, clipping and precision are those of `config`; its batch, order and evaluations do not count.
    """
    model.train()
    device = pick_device("cpu")
    in_bfloat16 = learns_in_bfloat16(config, device)
    optimizers = build_optimizers(model, config, torch.bfloat16 if in_bfloat16 else torch.float32)
    for step in range(config.max_steps):
        inputs, targets = draw(step)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=in_bfloat16):
            _, loss = model(inputs, targets)
        loss.backward()
        if config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        factor = rate_factor(step, config)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield step + 1, loss.item()
    model.eval()


def text_of(corpus: str) -> str:
    """The text of a corpus by name, or nothing where it cannot be had."""
    try:
        learned = load_corpus(corpus)
    except (CorpusUnavailable, OSError, ValueError):
        return ""
    return learned.tokenizer.decode([*learned.train_ids.tolist(), *learned.validation_ids.tolist()])
