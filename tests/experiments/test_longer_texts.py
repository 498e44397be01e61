"""Every position's loss is that of a plain computation, and what is said follows from the losses."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from running import finished

from gpt import Corpus
from gpt.experiments import longer_texts
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.longer_texts import MODELS, Setup, make_model
from gpt.experiments.result import Measure, Result

TINY = Setup(window_size=5, steps=2, batch_size=2, num_layers=1, embed_size=8, windows=3)


@pytest.fixture(autouse=True)
def text(monkeypatch, tiny_text):
    """A text of which three windows of 256 characters are not learned from."""
    corpus = Corpus.from_text("foxes", tiny_text * 8)
    monkeypatch.setattr(longer_texts, "text_to_learn", lambda: corpus)
    return corpus


def test_losses_are_those_of_a_plain_computation(monkeypatch, text):
    models = {}
    monkeypatch.setattr(
        longer_texts, "make_model", lambda name, *given: models.setdefault(name, make_model(name, *given))
    )
    result = finished(conduct("longer-texts", TINY))[0]
    ids = text.validation_ids.tolist()
    count = math.ceil((len(ids) - 1) / 256)
    losses = {}
    for name, model in models.items():
        for window, start in enumerate(256 * (number * count // 3) for number in range(3)):
            read = ids[start : start + (64 if name == "learned" else 256)]
            logits = model(torch.tensor([read]))[0]
            for place in range(len(read)):
                losses[name, window, place + 1] = -logits[place].log_softmax(dim=0)[ids[start + place + 1]].item()

    def mean(name, first, last, window):
        return statistics.fmean(losses[name, window, position] for position in range(first, last + 1))

    def check(measure, values):
        assert result[measure].value == pytest.approx(statistics.fmean(values), abs=1e-5)
        assert result[measure].error == pytest.approx(statistics.stdev(values) / math.sqrt(3), rel=1e-2, abs=1e-6)

    on = [name for name in MODELS if name != "learned"]
    within = {name: [mean(name, 33, 64, window) for window in range(3)] for name in MODELS}
    beyond = {name: [mean(name, 193, 256, window) for window in range(3)] for name in on}
    for name in MODELS:
        check(f"{name}/within", within[name])
    for name in on:
        check(f"{name}/beyond", beyond[name])
        check(f"{name}/change", [far - near for far, near in zip(beyond[name], within[name], strict=True)])
    for one, other in combinations(on, 2):
        check(f"{one}-minus-{other}/beyond", [a - b for a, b in zip(beyond[one], beyond[other], strict=True)])
    curves = {curve.label: curve for curve in result.charts[0].curves}
    assert curves["rotary"].x[-1] == 252.5
    assert curves["rotary"].y[-1] == pytest.approx(
        statistics.fmean(mean("rotary", 249, 256, window) for window in range(3)), abs=1e-5
    )
    assert curves["learned positions"].x[-1] == 60.5


def test_the_models_differ_in_positions_only():
    models = {name: make_model(name, 13, TINY) for name in MODELS}
    assert {name: (model.config.positions, model.config.window_size) for name, model in models.items()} == {
        "learned": ("learned", None),
        "rotary": ("rotary", None),
        "alibi": ("alibi", None),
        "none": ("none", None),
        "window": ("rotary", 5),
    }
    shared = dict(models["none"].named_parameters())
    for model in models.values():
        assert all(torch.equal(dict(model.named_parameters())[name], weight) for name, weight in shared.items())


def test_the_seed_decides():
    first, again, other = (finished(conduct("longer-texts", replace(TINY, seed=seed)))[0] for seed in (1, 1, 2))
    assert first.measures == again.measures
    assert first["rotary/beyond"] != other["rotary/beyond"]


def test_it_can_be_left_in_the_middle():
    running = conduct("longer-texts", TINY)
    for _ in range(8):
        next(running)
    running.close()


def planted(beyond: dict[str, float], error: float = 0.01) -> Result:
    """A result with these losses beyond the trained length and this error of their differences."""
    measures = [Measure("learned/within", 2.2, 0.01)]
    for name, loss in beyond.items():
        measures.append(Measure(f"{name}/beyond", loss, 0.1, of="9 windows"))
        measures.append(Measure(f"{name}/change", loss - 2.0, 0.05))
    for one, other in combinations(beyond, 2):
        measures.append(Measure(f"{one}-minus-{other}/beyond", beyond[one] - beyond[other], error))
    return Result("longer-texts", vars(Setup()), tuple(measures), ())


@pytest.mark.parametrize(
    ("beyond", "error", "answer", "words"),
    [
        ((3.0, 1.5, 2.0, 2.1), 0.01, "alibi", "lowest loss is that of ALiBi: 1.50 ± 0.10"),
        ((3.0, 2.2, 2.0, 2.1), 0.01, "none", "Next comes rotary with window with 2.10 ± 0.10, 0.100 ± 0.010 higher"),
        ((1.9, 2.2, 2.0, 2.1), 0.01, "rotary", "Next comes no positions with 2.00 ± 0.10, 0.100 ± 0.010 higher"),
        ((1.9, 2.2, 2.0, 1.7), 0.01, "window", "Next comes rotary with 1.90 ± 0.10, 0.200 ± 0.010 higher"),
        ((1.9, 2.2, 2.0, 1.89), 0.01, "", "are not told apart: rotary with window has 1.89 ± 0.10"),
        ((1.9, 2.2, 2.0, 2.1), 0.09, "", "the difference on the same windows is 0.10 ± 0.09"),
        ((math.nan, 2.2, 2.0, 2.1), 0.01, "", "not that of rotary."),
    ],
)
def test_what_is_said_follows_from_the_losses(beyond, error, answer, words):
    result = planted(dict(zip(("rotary", "alibi", "none", "window"), beyond, strict=True)), error)
    assert longer_texts.answer(result) == answer
    assert words in longer_texts.sentences(result)[0]


def test_each_change_has_its_word():
    said = longer_texts.sentences(planted({"rotary": 3.0, "alibi": 1.8, "none": 2.05, "window": math.nan}))[1]
    assert "rotary: up by 1.00 ± 0.05; ALiBi: down by 0.20 ± 0.05" in said
    assert "no positions: not measurably changed (0.05 ± 0.05); rotary with window: not measured" in said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"window_size": 65}, "at most 64"),
        ({"window_size": 0}, "1 or more"),
        ({"steps": 10**9}, "at most 300"),
        ({"windows": 10**9}, "at most 400"),
        ({"embed_size": 36}, "multiple of 8"),
        ({"seed": -1}, "0 or more"),
        ({"steps": "many"}, "give a number"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("longer-texts", setting)
