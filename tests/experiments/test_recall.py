"""Recall at a distance: the texts, the counts by a plain reading, and that what is said follows from the numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from running import finished

from gpt.experiments import recall
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.result import Measure, Result

TINY = recall.Setup(window_size=3, longest=8, values=4, embed_size=16, steps=6, batch_size=4, texts=9, seeds=2)


def planted(full_to: int, window_to: int, between: float, beyond: float) -> Result:
    """A result of the default setup (window 8, reach 15, longest 32) with these ends and shares."""
    measures = [Measure("chance", 1 / 16)]
    for kind, to in (("full", full_to), ("window", window_to)):
        measures += [
            Measure(f"{kind}/within-window", 0.95, 0.01),
            Measure(f"{kind}/within-reach", between if kind == "window" else 0.95, 0.01),
            Measure(f"{kind}/beyond-reach", beyond if kind == "window" else 0.95, 0.01),
            Measure(f"{kind}/worst", 0.5, 0.01, of="600 texts of 3 seeds"),
            Measure(f"{kind}/found-to", to),
        ]
    measures.append(Measure("difference/within-window", 0.0, 0.01))
    measures.append(Measure("difference/beyond-reach", 0.95 - beyond, 0.01))
    return Result("recall", vars(recall.Setup()), tuple(measures), ())


def test_texts_hold_one_pair_at_its_distance():
    distances = torch.tensor([2, 3, 8, 8])
    ids, values = recall.draw_texts(TINY, distances, torch.Generator().manual_seed(0))
    fill, keys = 16, 8
    for text, value, distance in zip(ids.tolist(), values.tolist(), distances.tolist(), strict=True):
        assert len(text) == 9
        special = [place for place, token in enumerate(text) if token >= fill]
        assert special == sorted({8 - distance, 9 - distance, 8})
        assert text[8] == text[8 - distance] < fill + keys <= text[9 - distance] == value < fill + keys + 4


def test_the_value_arrives_up_to_the_reach_and_not_from_beyond():
    """Another value changes the last logits from nowhere farther than the reach."""
    setup = replace(TINY, longest=12)
    model = recall.GPT2.from_config(setup.config("window"))
    for distance in setup.distances:
        ids, _ = recall.draw_texts(setup, torch.tensor([distance]), torch.Generator().manual_seed(1))
        other = ids.clone()
        other[0, setup.longest - distance + 1] = 24 + (ids[0, setup.longest - distance + 1] - 24 + 1) % 4
        changed = not torch.equal(model(ids)[0, -1], model(other)[0, -1])
        assert changed == (distance <= setup.reach == 5)


def test_shares_are_those_of_a_plain_count(monkeypatch):
    """Every model's guess on every text, counted in loops."""
    guesses: list[tuple[int, torch.Tensor]] = []  # (distance, whether each text's value was found)
    plain = recall._tested

    def watched(model, setup, seed):
        for distance in setup.distances:
            generator = recall.seeded_generator(seed, "texts to be tested on", distance)
            ids, values = recall.draw_texts(setup, torch.full((setup.texts,), distance), generator)
            for text, value in zip(ids, values.tolist(), strict=True):
                with torch.no_grad():
                    logits = model(text[None])[0, -1].tolist()
                guesses.append((distance, logits.index(max(logits)) == value))
        yield from plain(model, setup, seed)

    monkeypatch.setattr(recall, "_tested", watched)
    result, told = finished(conduct("recall", TINY))
    assert [progress.share for progress in told] == sorted(progress.share for progress in told)
    per_model = TINY.texts * len(TINY.distances)
    by_kind = {"full": [], "window": []}
    for number in range(4):  # two seeds, each full and window in turn
        by_kind["full" if number % 2 == 0 else "window"] += guesses[number * per_model : (number + 1) * per_model]
    for kind, all_of in by_kind.items():
        for part, lowest, highest in (("within-window", 2, 3), ("within-reach", 4, 5), ("beyond-reach", 6, 8)):
            right = [found for distance, found in all_of if lowest <= distance <= highest]
            assert result[f"{kind}/{part}"].value == pytest.approx(sum(right) / len(right))
            assert result[f"{kind}/{part}"].of == f"{len(right)} texts of 2 seeds"
            binomial = math.sqrt((sum(right) + 1) * (len(right) - sum(right) + 1)) / (len(right) + 2) ** 1.5
            assert result[f"{kind}/{part}"].error >= binomial - 1e-9
    points = result.charts[0].curves[1]
    first = [found for distance, found in by_kind["window"] if distance == 2]
    assert points.y[0] == pytest.approx(sum(first) / len(first))


def test_one_seed_gives_one_result():
    small = replace(TINY, seeds=1, steps=2)
    one, again, other = (finished(conduct("recall", replace(small, seed=seed)))[0] for seed in (1, 1, 2))
    assert repr(one.measures) == repr(again.measures)
    assert one.charts[1] != other.charts[1]
    running = conduct("recall", small)
    next(running)
    running.close()


@pytest.mark.parametrize(
    ("ends", "between", "beyond", "answer", "words"),
    [
        ((32, 15), 0.95, 0.06, "reach", ["every distance", "hand the value on.", "cannot be told from chance"]),
        ((32, 12), 0.70, 0.06, "part", ["every distance", "not reliably", "cannot be told from chance"]),
        ((32, 8), 0.50, 0.06, "part", ["every distance", "not reliably", "cannot be told from chance"]),
        ((32, 8), 0.07, 0.20, "window", ["every distance", "not learned to hand", "more than chance"]),
        ((32, 32), 0.95, 0.95, "both", ["every distance", "hand the value on.", "more than chance"]),
        ((32, 4), 0.07, 0.01, "", ["every distance", "not learned to hand", "less than chance"]),
        ((20, 4), 0.07, 0.06, "neither", ["only up to a distance of 20", "not learned to hand", "cannot be told from"]),
        ((0, 15), 0.95, 0.06, "", ["at no distance", "hand the value on.", "cannot be told from chance"]),
    ],
)
def test_what_is_said_follows_from_the_numbers(ends, between, beyond, answer, words):
    result = planted(*ends, between, beyond)
    assert recall.answer(result) == answer
    said = recall.sentences(result)
    assert "cannot be told apart" in said[1]
    for word, sentence in zip(words, (said[0], said[2], said[3]), strict=True):
        assert word in sentence
    assert ("more with full attention" in said[3]) == (beyond < 0.9)


def test_a_setting_without_farther_distances_says_so():
    for changes in ({"num_layers": 1}, {"window_size": 8}, {"window_size": 1}):
        result, _ = finished(conduct("recall", replace(TINY, seeds=1, steps=1, texts=2, **changes)))
        said = " ".join(result.sentences)
        assert "not measured" not in said
        assert "nan" not in said
    assert "too short" in said  # the last of them


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"window_size": 0}, "window_size"),
        ({"longest": 10**9}, "at most 64"),
        ({"embed_size": 30}, "multiple of 4"),
        ({"texts": 2.5}, "whole number"),
        ({"seeds": 9}, "at most 3"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("recall", setting)
