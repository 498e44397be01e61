"""How well a model predicts a text, by its loss over windows that do not overlap, and what it writes itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt.data.batches import validation_windows
from gpt.data.corpus import Corpus
from gpt.generation.decoder import rolls_forever
from gpt.generation.stream import stream_tokens
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.seeds import derived_seed
from gpt.training.recipes import TrainConfig


def evaluate(model: GPT2, corpus: Corpus, *, most_windows: int | None = None) -> float:
    """Mean loss, in nats per token, over the validation text.

    It is cut into windows as long as the model's context, which do not overlap, so each token is predicted once, from
    what stands before it in its window. The result does not depend on any random stream and changes none.

    Args:
        model: the model to test.
        corpus: whose validation text to predict.
        most_windows: use only this many windows, evenly spaced; None uses all.
    """
    return mean_and_error(token_losses(model, corpus.validation_ids, most_windows=most_windows))[0]


def token_losses(model: GPT2, ids: Tensor, *, most_windows: int | None = None) -> list[Tensor]:
    """The loss of every token of a text (N,), in nats, in the windows of `evaluate`: tensors of (windows, T)."""
    return token_scores(model, ids, most_windows=most_windows)[0]


def token_scores(model: GPT2, ids: Tensor, *, most_windows: int | None = None) -> tuple[list[Tensor], list[Tensor]]:
    """As `token_losses`, and of the same predictions whether no other token was likelier: bool, in the same shapes."""
    losses, hits = [], []
    with evaluation_mode(model):
        config = model.config
        windows = validation_windows(ids, config.context_length, most_windows, vocab_size=config.vocab_size)
        for inputs, targets in windows:
            logits = model(inputs.to(model.device)).flatten(0, 1)  # (B * T, vocab_size)
            following = targets.to(model.device).flatten()
            losses.append(F.cross_entropy(logits, following, reduction="none").view(targets.shape).cpu())
            hits.append((logits.argmax(dim=-1) == following).view(targets.shape).cpu())
    return losses, hits


def mean_and_error(losses: list[Tensor]) -> tuple[float, float]:
    """Mean of token losses, and its standard error from how much windows differ (0 for a single window)."""
    mean = torch.cat([loss.flatten() for loss in losses]).double().mean().item()
    windows = torch.cat([loss.double().mean(dim=1) for loss in losses])
    error = (windows.std() / math.sqrt(len(windows))).item() if len(windows) > 1 else 0.0
    return mean, error


def accuracy(hits: list[Tensor]) -> float:
    """The share of hits among all tokens, from 0 to 1."""
    return torch.cat([hit.flatten() for hit in hits]).double().mean().item()


def sample(model: GPT2, corpus: Corpus, config: TrainConfig, after_each: Callable[[], None] = lambda: None) -> str:
    """What a model writes at an evaluation; from the same stream each time, so that only learning changes the text.

    A text that has filled the context of a model with learned positions goes on from its last half.

    Args:
        model: who writes.
        corpus: whose tokens it knows; its validation text begins the sample where the model does not know the prompt.
        config: the prompt, the length and the seed.
        after_each: called after each token; what it raises ends the sample.
    """
    tokenizer = corpus.tokenizer
    prompt = config.sample_prompt
    if not prompt or tokenizer.unknown_characters(prompt):
        prompt = tokenizer.decode(corpus.validation_ids[:1].tolist())
    text = tokenizer.encode(prompt)
    until = len(text) + config.sample_length
    while len(text) < until:
        read, some = text, until - len(text)
        if not rolls_forever(model.config):  # reading it again for each token would take longer than learning
            context = model.config.context_length
            read = text if len(text) < context else text[-max(1, context // 2) :]
            some = min(some, max(1, context - len(read)))
        seed = derived_seed(config.seed, "sample", len(text))
        for token in stream_tokens(model, torch.tensor([read]), max_new_tokens=some, temperature=0.8, seed=seed):
            text.append(int(token))
            after_each()
    return tokenizer.decode(text)
