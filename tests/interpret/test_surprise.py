"""Surprise over a text is the loss that `evaluate` gives, token by token."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from gpt import evaluate
from gpt.interpret import read_text


@pytest.mark.parametrize("length", [2, 5, 16, 17, 33, 40])
def test_mean_surprise_is_the_loss_that_evaluate_gives(kind, trainable, corpus, length):
    model = trainable(kind).eval()
    text = dataclasses.replace(corpus, validation_ids=corpus.train_ids[:length])
    reading = read_text(model, text.validation_ids)
    assert len(reading.bits) == length - 1
    assert reading.bits.mean().item() * math.log(2) == pytest.approx(evaluate(model, text), rel=1e-5)


def test_alternatives_are_the_likeliest_tokens_in_their_order(trainable, corpus):
    model = trainable("gpt2").eval()
    ids = corpus.train_ids[:10]
    reading = read_text(model, ids, alternatives=3)
    with torch.no_grad():
        probabilities = model(ids[None, :-1])[0].softmax(dim=-1)
    best = probabilities.topk(3)
    assert torch.equal(reading.alternatives, best.indices)
    torch.testing.assert_close(reading.probabilities, best.values)
    for place, (bits, target) in enumerate(zip(reading.bits, ids[1:], strict=True)):
        assert bits.item() == pytest.approx(-math.log2(probabilities[place, target]), rel=1e-4)


def test_a_text_of_one_token_cannot_surprise(trainable):
    with pytest.raises(ValueError, match="needs at least 2"):
        read_text(trainable("gpt2"), torch.tensor([1]))
