"""A text as token ids: its split, its vocabulary, its bigram loss."""

from __future__ import annotations

import hashlib
import itertools
import math

import pytest
import torch

from gpt import Corpus

TEXT = "To be, or not to be: that is the question.\n" * 3


def test_a_text_is_split_nine_to_one():
    corpus = Corpus.from_text("mine", TEXT)
    assert len(corpus.train_ids) == int(0.9 * len(TEXT))
    both = torch.cat((corpus.train_ids, corpus.validation_ids))
    assert corpus.tokenizer.decode(both.tolist()) == TEXT
    assert corpus.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


def test_the_vocabulary_is_of_the_whole_text():
    """Else the validation part could hold characters that the model has no token for."""
    corpus = Corpus.from_text("mine", "ab" * 50 + "xyz")
    assert corpus.tokenizer.itos == list("abxyz")
    assert "x" not in corpus.tokenizer.decode(corpus.train_ids.tolist())


def test_bigram_loss_by_hand():
    corpus = Corpus.from_text("mine", "abcab" * 20)
    train, validation = corpus.train_ids.tolist(), corpus.validation_ids.tolist()
    losses = []
    for previous, following in itertools.pairwise(validation):
        pairs = [pair for pair in itertools.pairwise(train) if pair[0] == previous]
        losses.append(-math.log((pairs.count((previous, following)) + 1) / (len(pairs) + 3)))
    assert corpus.bigram_loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
