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


# --- Byte pairs, and losses that can be compared between vocabularies ------------------------------------------------

FOREIGN = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. 🙂 日本\n" * 4


@pytest.mark.parametrize("byte_pairs", [None, 257, 320])
@pytest.mark.parametrize("text", [TEXT, FOREIGN], ids=["ASCII", "more bytes than characters"])
def test_bits_per_character_are_those_of_a_plain_computation(text, byte_pairs):
    """Of all tokens but the first: their surprise in bits, over the characters that begin in them."""
    corpus = Corpus.from_text("mine", text, byte_pairs)
    both = torch.cat((corpus.train_ids, corpus.validation_ids)).tolist()
    assert corpus.tokenizer.decode(both) == text
    ids = corpus.validation_ids.tolist()
    nats = [0.5 + 0.1 * (number % 7) for number in range(len(ids) - 1)]  # whatever a model says of each
    characters = len(text) - len(corpus.tokenizer.decode(both[: 1 - len(ids)]))  # half a character has begun, too
    plain = sum(loss / math.log(2) for loss in nats) / characters
    assert corpus.bits_per_character(sum(nats) / len(nats)) == pytest.approx(plain, rel=1e-12)
    assert byte_pairs or corpus.tokens_per_character == 1


def test_byte_pairs_are_learned_alike_from_the_same_text():
    one, other = (Corpus.from_text("mine", TEXT.replace("\n", end), 300) for end in ("\n", "\r\n"))
    assert one.tokenizer_sha256 == other.tokenizer_sha256 != ""
    assert one.validation_ids.equal(other.validation_ids)
    again = Corpus.from_text("mine", TEXT, one.tokenizer)
    assert again.validation_ids.equal(one.validation_ids)
    assert Corpus.from_text("mine", TEXT).tokenizer_sha256 == ""


def test_a_long_text_is_learned_from_in_parts(monkeypatch):
    """All of it is encoded, and what only its end holds can be, too."""
    monkeypatch.setattr("gpt.data.byte_pairs._SAMPLE", 1000)
    text = "the cat sat on the mat. " * 200 + "Ω"
    corpus = Corpus.from_text("mine", text, 280)
    ids = torch.cat((corpus.train_ids, corpus.validation_ids)).tolist()
    assert corpus.tokenizer.decode(ids) == text
    assert len(ids) < len(text) / 2


@pytest.mark.parametrize("byte_pairs", [0, 256, 10**6])
def test_byte_pairs_need_room(byte_pairs):
    with pytest.raises(ValueError, match="give 257 to 200,000 tokens"):
        Corpus.from_text("mine", TEXT, byte_pairs)


def test_a_text_of_too_few_tokens_is_refused():
    with pytest.raises(ValueError, match=r"'mine' has \d+ tokens; give a text of at least 20"):
        Corpus.from_text("mine", "ab" * 15, 257)
