"""A model that goes on with another text: its batches, its losses, and what is said of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from running import finished

from gpt import CharTokenizer, Corpus, save_checkpoint
from gpt.data.corpora import CorpusUnavailable
from gpt.experiments import another_text
from gpt.experiments.another_text import Setup, drawn_batches, in_known_characters, window_losses
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.result import Measure, Result
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2

TINY = Setup(steps=3, batch_size=4, windows=2)


@pytest.fixture
def small_texts(monkeypatch, tiny_text, tmp_path):
    """A tiny model that ships, with a text that it knows and another that it does not know all characters of."""
    corpus = Corpus.from_text("shakespeare", tiny_text)
    config = make_config(
        "gpt2", corpus.tokenizer.vocab_size, embed_size=8, num_heads=2, num_layers=1, context_length=64
    )
    save_checkpoint(tmp_path / "gpt2", GPT2.from_config(config), corpus.tokenizer)
    monkeypatch.setattr(another_text, "TRAINED_MODELS", tmp_path)
    monkeypatch.setattr(another_text, "load_corpus", lambda name: corpus)
    monkeypatch.setattr(another_text, "text_of", lambda name: tiny_text[::-1].replace("x", "{") * 2)
    return corpus


def planted(
    forgotten: float, ahead: float, learned: float = 2.0, *, passed: float = 9.0, error: float = 0.01
) -> Result:
    """A result with these differences of loss."""
    values = {
        "shakespeare/before": 1.5,
        "shakespeare/after": 1.5 + forgotten,
        "shakespeare/forgotten": forgotten,
        "new-text/before": 3.5,
        "new-text/after": 3.5 - learned,
        "new-text/learned": learned,
        "new-model/after": 3.5 - learned + ahead,
        "new-text/ahead-of-new-model": ahead,
    }
    measures = [Measure(name, value, 0.01, "", "48 windows") for name, value in values.items()]
    measures += [
        Measure("new-text/steps-to-pass-new-model", passed),
        Measure("new-text/replaced-characters", 0.04),
        Measure("new-text/left-out-characters", 0.03),
    ]
    return Result("another-text", vars(Setup()), tuple(measures), ())


def test_a_text_is_written_in_the_characters_that_a_model_knows():
    corpus, (replaced, left_out) = in_known_characters('a"b_“{7a…', CharTokenizer("ab'-3"))
    ids = [*corpus.train_ids.tolist(), *corpus.validation_ids.tolist()]
    assert corpus.tokenizer.decode(ids) == "a'b-'3a"  # a full stop is unknown, too
    assert (replaced.value, left_out.value) == (4 / 9, 2 / 9)


def test_kept_rows_come_from_the_old_text_and_the_others_stay_the_same(small_texts):
    new = Corpus.from_ids("new", small_texts.tokenizer, torch.zeros(200, dtype=torch.long), "")
    setup = Setup(batch_size=4, kept_share=0.25)
    inputs, targets = drawn_batches(setup, new, small_texts)(5)
    alone = drawn_batches(setup, new)(5)
    assert inputs.shape == targets.shape == (4, 64)
    assert torch.equal(inputs[:3], alone[0])
    row = small_texts.tokenizer.decode(inputs[3].tolist())
    assert row in small_texts.tokenizer.decode(small_texts.train_ids.tolist())
    assert torch.equal(inputs[3, 1:], targets[3, :-1])


def test_the_loss_of_a_window_is_that_of_a_plain_computation(small_texts):
    model = GPT2(small_texts.tokenizer.vocab_size, 8, 2, 16, 1, context_length=256).eval()
    ids = small_texts.train_ids[: 2 * 64 + 9]
    measured = torch.cat([*window_losses(model, ids, most=5)])
    for window, loss in enumerate(measured.tolist()):
        text = ids[64 * window : 64 * window + 65]
        with torch.no_grad():
            chances = model(text[None, :-1])[0].softmax(dim=-1)
        assert loss == pytest.approx(-sum(math.log(chances[i, text[i + 1]]) for i in range(64)) / 64, abs=1e-5)
    assert len(measured) == 2


def test_the_same_seed_gives_the_same_result(small_texts):
    result, told = finished(conduct("another-text", TINY))
    assert [progress.share for progress in told] == sorted(progress.share for progress in told)
    before, after = result["shakespeare/before"].value, result["shakespeare/after"].value
    assert result["shakespeare/forgotten"].value == pytest.approx(after - before)
    assert result["new-text/left-out-characters"].value > 0
    assert result.charts[0].curves[0].x == (0.0, 1.0, 2.0, 3.0)
    again, _ = finished(conduct("another-text", TINY))
    assert repr(again.measures) == repr(result.measures)  # one of them may be NaN
    other, _ = finished(conduct("another-text", replace(TINY, seed=8)))
    assert other["new-text/after"] != result["new-text/after"]


def test_without_shakespeare_it_says_so(small_texts, monkeypatch):
    def unavailable(name):
        raise CorpusUnavailable("Tiny Shakespeare could not be fetched")

    monkeypatch.setattr(another_text, "load_corpus", unavailable)
    with pytest.raises(CorpusUnavailable, match="could not be fetched"):
        finished(conduct("another-text", TINY))


@pytest.mark.parametrize(
    ("numbers", "answer", "words"),
    [
        ((0.5, 0.4), "forgets", ("it forgets", "is ahead by 0.400")),
        ((0.5, 0.0), "no-gain", ("it forgets", "cannot be told apart")),
        ((0.5, -0.3), "no-gain", ("it forgets", "is behind by 0.300")),
        ((0.02, 0.4), "keeps", ("keeps Shakespeare", "is ahead by 0.400")),
        ((0.02, 0.4, 0.0), "", ("keeps Shakespeare", "no measurable gain")),
        ((0.21, 0.4), "", ("cannot be told", "is ahead by 0.400")),
    ],
)
def test_what_is_said_follows_from_the_numbers(numbers, answer, words):
    result = planted(*numbers)
    assert another_text.answer(result) == answer
    said = " ".join(another_text.sentences(result))
    assert all(word in said for word in words)


def test_a_new_model_that_was_never_passed_is_not_said_to_be():
    assert any("had after 9" in sentence for sentence in another_text.sentences(planted(0.5, 0.4)))
    assert not any("had after" in sentence for sentence in another_text.sentences(planted(0.5, -0.3, passed=math.nan)))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"model": "nobody"}, "choose one of"),
        ({"rate_multiple": 0}, "more than 0 and at most 2"),
        ({"rate_multiple": math.inf}, "finite"),
        ({"kept_share": 0.95}, "leave at least one of the 8 rows"),
        ({"kept_share": -0.1}, "give 0 or more"),
        ({"steps": 10**9}, "at most 300"),
        ({"windows": 1}, "give 2 or more"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("another-text", setting)


def test_it_can_be_closed_in_the_middle(small_texts):
    running = conduct("another-text", TINY)
    assert 0 < [next(running) for _ in range(9)][-1].share < 1
    running.close()
    with pytest.raises(StopIteration):
        next(running)
