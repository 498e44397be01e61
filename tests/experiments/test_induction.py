"""Induction: texts, losses and prefix matches by a plain reading, and that what is said follows from the numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from running import finished

from gpt.experiments import induction
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.result import Measure, Result
from gpt.interpret import attention_maps

TINY = induction.Setup(
    copy_length=6, tokens=8, embed_size=12, steps=4, batch_size=3, evaluations=2, texts=4, mapped=2, seeds=2
)


def planted(one: Measure, two: Measure, lower: Measure, match: float = 0.7, **setting: str) -> Result:
    """A result with these shares foreseen, and this much lower a loss with two layers."""
    measures = [
        Measure("uniform", 4.16),
        replace(one, name="one/right"),
        replace(two, name="two/right", of="3 seeds"),
        Measure("one/loss", 3.8, 0.01),
        Measure("two/loss", 3.8 - lower.value, 0.01),
        replace(lower, name="difference/loss"),
        Measure("two/layer-2/prefix-match", match, 0.01),
        Measure("two/layer-1/prefix-match", 0.05, 0.01),
        Measure("one/layer-1/prefix-match", 0.05, 0.01),
        Measure("even/prefix-match", 0.05, 0.001),
    ]
    return Result("induction", vars(replace(induction.Setup(), **setting)), tuple(measures), ())


@pytest.mark.parametrize("lengths", ["vary", "same"])
def test_texts_end_in_two_copies(lengths):
    ids, targets = induction.draw_texts(replace(TINY, lengths=lengths), 200, torch.Generator().manual_seed(0))
    seen = set()
    for text, wanted in zip(ids.tolist(), targets.tolist(), strict=True):
        assert len(text) == 12
        counted = [place for place, token in enumerate(wanted) if token != -100]
        copied = len(counted) + 1  # the first of a copy is not foreseen
        seen.add(copied)
        assert text[12 - copied :] == text[12 - 2 * copied : 12 - copied]
        assert counted == list(range(12 - copied, 11))
        assert [wanted[place] for place in counted] == text[13 - copied :]
    assert seen == ({3, 4, 5, 6} if lengths == "vary" else {6})


def test_numbers_are_those_of_a_plain_reading(monkeypatch):
    """Loss, share foreseen and prefix match of one model, in loops."""
    read = []
    plain = induction._evaluated

    def watched(model, ids, targets, setup, trace):
        read.append((model, ids, targets))
        yield from plain(model, ids, targets, setup, trace)

    monkeypatch.setattr(induction, "_evaluated", watched)
    result, told = finished(conduct("induction", replace(TINY, seeds=1)))
    assert [progress.share for progress in told] == sorted(progress.share for progress in told)
    model, ids, targets = read[-1]  # two layers, as it ended
    losses, shares = [], []
    for text, wanted in zip(ids, targets.tolist(), strict=True):
        with torch.no_grad():
            logits = model(text[None])[0].double().tolist()
        token_losses, right = [], []
        for row, target in zip(logits, wanted, strict=True):
            if target != -100:
                token_losses.append(math.log(sum(math.exp(logit) for logit in row)) - row[target])
                right.append(row.index(max(row)) == target)
        losses.append(sum(token_losses) / len(token_losses))
        shares.append(sum(right) / len(right))
    assert result["two/loss"].value == pytest.approx(sum(losses) / 4, abs=1e-5)
    assert result["two/loss"].of == "4 texts"
    assert result["two/right"].value == pytest.approx(sum(shares) / 4)
    assert result["difference/loss"].value == pytest.approx(
        result["one/loss"].value - result["two/loss"].value, abs=1e-6
    )
    assert result["uniform"].value == pytest.approx(math.log(8))

    weights = attention_maps(model, ids[:2])[1]  # the second layer: (texts, heads, T, T)
    heads = []
    for head in range(3):
        of_texts = []
        for text in range(2):
            of_queries = []
            for query in range(12):
                followed = [key for key in range(1, query) if ids[text, key - 1] == ids[text, query]]
                if followed:
                    of_queries.append(sum(weights[text, head, query, key].item() for key in followed))
            of_texts.append(sum(of_queries) / len(of_queries))
        heads.append(sum(of_texts) / 2)
    assert result["two/layer-2/prefix-match"].value == pytest.approx(max(heads), abs=1e-5)
    assert [len(curve.x) for chart in result.charts for curve in chart.curves] == [3] * 8
    assert result.charts[1].curves[3].y[-1] == pytest.approx(heads[0], abs=1e-5)


def test_one_seed_gives_one_result():
    one, again, other = (finished(conduct("induction", replace(TINY, seed=seed)))[0] for seed in (1, 1, 2))
    assert repr(one.measures) == repr(again.measures)
    assert one["two/loss"].of == "2 seeds"
    assert one["two/loss"] != other["two/loss"]
    running = conduct("induction", TINY)
    next(running)
    running.close()


LITTLE, MUCH, UNSURE = (Measure("", value, error) for value, error in ((0.1, 0.01), (0.9, 0.01), (0.45, 0.1)))
LOWER, EQUAL, HIGHER = (Measure("", value, 0.1) for value in (3.0, 0.1, -3.0))


@pytest.mark.parametrize(
    ("one", "two", "lower", "answer", "words"),
    [
        (LITTLE, MUCH, LOWER, "two", ["two layers predict more than half", "lower by 3.00 ± 0.10"]),
        (MUCH, MUCH, EQUAL, "one", ["both predict more", "too close to tell apart"]),
        (MUCH, MUCH, Measure("", 1e-5, 1e-6), "one", ["both predict more", "less than 0.001 apart"]),
        (MUCH, LITTLE, HIGHER, "one", ["one layer predicts more than half", "higher by 3.00 ± 0.10"]),
        (LITTLE, LITTLE, EQUAL, "neither", ["both predict less", "too close to tell apart"]),
        (UNSURE, MUCH, LOWER, "", ["not certain", "lower by"]),
        (LITTLE, UNSURE, LOWER, "", ["not certain", "lower by"]),
    ],
)
def test_what_is_said_follows_from_the_numbers(one, two, lower, answer, words):
    result = planted(one, two, lower)
    assert induction.answer(result) == answer
    said = induction.sentences(result)
    assert len(said) == 3
    for word, sentence in zip(words, said, strict=False):
        assert word in sentence
    assert "second of two layers (above even" in said[2]
    assert "in the first (not above even" in said[2]
    assert "second of two layers (not above even" in induction.sentences(planted(one, two, lower, match=0.05))[2]


def test_one_length_is_named_as_a_shortcut():
    assert "fixed distance" in induction.sentences(planted(MUCH, MUCH, EQUAL, lengths="same"))[-1]
    assert "fixed distance" not in induction.sentences(planted(LITTLE, MUCH, LOWER, lengths="same"))[-1]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"positions": "none"}, "choose one of alibi"),
        ({"lengths": "long"}, "choose one of vary"),
        ({"copy_length": 10**9}, "at most 48"),
        ({"embed_size": 64}, "multiple of 6"),
        ({"steps": 10}, "as many steps"),
        ({"mapped": 16, "texts": 8}, "as many texts"),
        ({"tokens": "many"}, "give a number"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("induction", setting)
