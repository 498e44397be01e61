"""What temperature does to words, and that the counts are those of a plain computation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from running import finished

from gpt.experiments import sampling
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.result import Measure, Result


def planted(low: tuple[float, float], high: tuple[float, float]) -> Result:
    """A result with these (different words, share of real ones) at both temperatures."""
    setup = vars(sampling.Setup())
    measures = []
    for way, (words, real) in (("temperature 0.5", low), ("temperature 1", low), ("temperature 1.3", high)):
        measures += [
            Measure(f"{way}/different-words", words, 5.0, "words", "20 texts"),
            Measure(f"{way}/real-words", real, 0.01, "", "20 texts"),
            Measure(f"{way}/repeated", 0.0),
            Measure(f"{way}/entropy", 3.0, unit="bits"),
        ]
    return Result("sampling", setup, tuple(measures), ())


def test_counts_are_those_of_a_plain_computation():
    result, told = finished(conduct("sampling", replace(sampling.QUICK, texts=2, length=40)))
    assert [progress.share for progress in told] == sorted(progress.share for progress in told)
    counted = result["temperature 0.5/different-words"]
    again, _ = finished(conduct("sampling", replace(sampling.QUICK, texts=2, length=40)))
    assert again["temperature 0.5/different-words"] == counted
    other, _ = finished(conduct("sampling", replace(sampling.QUICK, texts=2, length=40, seed=8)))
    assert other.measures != result.measures


def test_words_repetition_and_entropy_by_hand():
    assert sampling.words_of("To be, or not to be; that") == ["to", "be", "or", "not", "to", "be"]
    assert sampling.repeated_share("a" * 22) == pytest.approx(2 / 3)  # three places, the first of which is new
    assert sampling.repeated_share("short") == 0.0
    assert sampling.entropy(torch.tensor([0.5, 0.25, 0.25, 0.0])) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("low", "high", "answer", "word"),
    [
        ((100, 0.99), (200, 0.80), "higher", "more"),
        ((100, 0.99), (200, 0.99), "higher-real", "more"),
        ((200, 0.99), (100, 0.99), "lower", "fewer"),
        ((100, 0.99), (105, 0.99), "same", "not measurably"),
    ],
)
def test_what_is_said_follows_from_the_numbers(low, high, answer, word):
    result = planted(low, high)
    assert sampling.answer(result) == answer
    assert word in sampling.sentences(result)[0]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"model": "nobody"}, "choose one of"),
        ({"low": 1.0, "high": 0.5}, "the lower first"),
        ({"high": math.nan}, "high"),
        ({"texts": 10**9}, "at most 400"),
        ({"texts": "many"}, "give a number"),
        ({"prompt": ""}, "1 to 200"),
        ({"unknown": 1}, "no setting"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("sampling", setting)
