"""The broken parts are broken as they say, and what is said of them follows from the losses."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from running import finished

from gpt import Corpus
from gpt.experiments import break_it
from gpt.experiments.break_it import CHANGES, Setup, make_model
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.result import Measure, Result

TINY = Setup(steps=2, batch_size=2, num_layers=2, embed_size=8, windows=3)


@pytest.fixture(autouse=True)
def text(monkeypatch, tiny_text):
    """A text of which three windows of 64 characters are not learned from."""
    corpus = Corpus.from_text("foxes", tiny_text * 3)
    monkeypatch.setattr(break_it, "text_to_learn", lambda: corpus)
    return corpus


def far_from_start(change):
    """A broken model whose every weight has been moved, so that no part of it is nearly nothing."""
    model = make_model(13, TINY, change).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def embedded(model, ids):
    """What the first block reads."""
    return model.token_embedding.weight[ids] + model.position_embedding.weight[: ids.shape[1]]


@torch.no_grad()
def test_post_norm_is_the_norm_of_each_sum():
    model, ids = far_from_start("post-norm"), torch.randint(13, (2, 9))
    x = embedded(model, ids)
    for block in model.blocks:
        norms = block.attention_norm, block.feed_forward_norm
        for norm, branch in zip(norms, (block.attention, block.feed_forward), strict=True):
            x = F.layer_norm(x + branch(x), (8,), norm.weight, norm.bias)
    torch.testing.assert_close(model(ids), x @ model.token_embedding.weight.T)
    assert not [name for name, _ in model.named_parameters() if name.startswith("final_norm")]


@torch.no_grad()
def test_without_norms_there_are_only_sums():
    model, ids = far_from_start("no-normalisation"), torch.randint(13, (2, 9))
    x = embedded(model, ids)
    for block in model.blocks:
        x = x + block.attention(x)
        x = x + block.feed_forward(x)
    torch.testing.assert_close(model(ids), x @ model.token_embedding.weight.T)


@pytest.mark.parametrize("change", CHANGES)
def test_shared_weights_start_equal(change):
    healthy = dict(make_model(13, TINY).named_parameters())
    broken = dict(make_model(13, TINY, change).named_parameters())
    assert {name for name in healthy if name not in broken} == {
        "no-positions": {"position_embedding.weight"},
        "no-normalisation": {name for name in healthy if "norm" in name},
        "post-norm": {"final_norm.weight", "final_norm.bias"},
    }.get(change, set())
    for name, weight in broken.items():
        is_larger = change == "no-residual-scaling" and name.endswith(("output.weight", "project.weight"))
        torch.testing.assert_close(weight, healthy[name] * (2.0 if is_larger else 1.0))  # sqrt(2 x 2 layers)


def test_the_rates_are_ten_times_as_high():
    healthy, broken = break_it.make_recipe(TINY), break_it.make_recipe(TINY, "rate-times-ten")
    assert broken == replace(healthy, learning_rate=0.05, matrix_learning_rate=0.5)
    assert healthy.position_learning_rate is None  # follows the others


def test_losses_are_those_of_a_plain_computation(monkeypatch, text):
    models = []
    monkeypatch.setattr(break_it, "make_model", lambda *given: models.append(make_model(*given)) or models[-1])
    result = finished(conduct("break-it", TINY))[0]
    ids = text.validation_ids.tolist()
    count = math.ceil((len(ids) - 1) / 64)
    whole, past = ([], []), ([], [])  # of the healthy and the broken model: a mean for each window
    for start in (64 * (number * count // 3) for number in range(3)):
        window = ids[start : start + 65]
        for place, model in enumerate(models):
            for seen, means in ((lambda end: 64, whole), (lambda end: end, past)):
                losses = []
                for end in range(1, 65):
                    logits = model(torch.tensor([window[: seen(end)]]))[0, end - 1]
                    losses.append(-logits.log_softmax(dim=0)[window[end]].item())
                means[place].append(statistics.fmean(losses))
    assert whole[0] == pytest.approx(past[0], abs=1e-5)  # the healthy model sees no more in a whole window
    assert whole[1] != pytest.approx(past[1], abs=1e-5)
    for name, losses in (("healthy/loss", whole[0]), ("broken/loss", whole[1]), ("broken/loss-from-past", past[1])):
        assert result[name].value == pytest.approx(statistics.fmean(losses), abs=1e-5)
        assert result[name].error == pytest.approx(statistics.stdev(losses) / math.sqrt(3), rel=1e-3)
    for name, losses in (("difference/loss", whole[1]), ("difference/loss-from-past", past[1])):
        differences = [broken - healthy for broken, healthy in zip(losses, whole[0], strict=True)]
        assert result[name].value == pytest.approx(statistics.fmean(differences), abs=1e-5)
        assert result[name].error == pytest.approx(statistics.stdev(differences) / math.sqrt(3), rel=1e-2)
    assert result["broken/steps"].value == 2


def test_both_models_learn_from_the_same_batches():
    """Of equal models, the first loss is equal, and the second is not once the rates were different."""
    healthy, broken = finished(conduct("break-it", replace(TINY, change="rate-times-ten")))[0].charts[2].curves
    assert healthy.y[0] == broken.y[0]
    assert healthy.y[1] != broken.y[1]


def test_the_seed_decides():
    first = finished(conduct("break-it", replace(TINY, change="no-positions")))[0]
    again = finished(conduct("break-it", replace(TINY, change="no-positions")))[0]
    other = finished(conduct("break-it", replace(TINY, change="no-positions", seed=7)))[0]
    assert first.measures == again.measures
    assert first["healthy/loss"] != other["healthy/loss"]


def test_divergence_is_an_outcome(monkeypatch):
    hot = replace(break_it.make_recipe(TINY), max_steps=5, learning_rate=1e38)
    monkeypatch.setattr(
        break_it, "make_recipe", lambda setup, change="": hot if change else replace(hot, learning_rate=0)
    )
    result = finished(conduct("break-it", replace(TINY, steps=5)))[0]
    assert result.answer == "fails"
    assert result["broken/steps"].value < 5
    assert math.isnan(result["broken/loss"].value)
    assert "diverged" in result.sentences[1]
    assert result.charts[1].rows == ("healthy GPT-2", "frequencies of characters")


def test_it_can_be_left_in_the_middle():
    running = conduct("break-it", TINY)
    for _ in range(30):
        next(running)
    running.close()


def planted(loss: tuple[float, float], past: tuple[float, float] | None = None) -> Result:
    """A result with (loss of the broken model, standard error of the difference), a healthy one of 2.0."""
    measures = [
        Measure("healthy/loss", 2.0, 0.01, of="9 windows"),
        Measure("broken/steps", 120),
        Measure("guess/frequencies", 3.3, 0.02),
        Measure("guess/uniform", 4.2),
    ]
    for name, given in (("loss", loss), ("loss-from-past", past)):
        if given:
            measures.append(Measure(f"broken/{name}", given[0], 0.01))
            measures.append(Measure(f"difference/{name}", given[0] - 2.0, given[1]))
    change = "no-mask" if past else "post-norm"
    return Result("break-it", vars(replace(TINY, change=change, steps=120)), tuple(measures), ())


@pytest.mark.parametrize(
    ("losses", "answer", "words"),
    [
        ([(2.3, 0.01)], "worse", ["0.300 ± 0.010 higher", "learned more than that"]),
        ([(2.04, 0.01)], "same", ["0.040 ± 0.010 higher", "about as well"]),
        ([(1.96, 0.01)], "same", ["0.040 ± 0.010 lower", "about as well"]),
        ([(1.5, 0.01)], "same", ["0.500 ± 0.010 lower"]),
        ([(2.04, 0.03)], "same", ["too close to the healthy one's to tell apart"]),
        ([(2.2, 0.15)], "", ["too close to the healthy one's to tell apart"]),
        ([(3.31, 0.01)], "fails", ["about the same"]),
        ([(3.5, 0.01)], "fails", ["worse than knowing only how frequent"]),
        ([(7.0, 0.01)], "fails", ["higher", "equally likely (4.20)"]),
        ([(0.1, 0.01), (6.0, 0.01)], "cheats", ["1.900 ± 0.010 lower", "4.000 ± 0.010 higher", "equally likely"]),
        ([(0.1, 0.01), (2.5, 0.01)], "cheats", ["0.500 ± 0.010 higher", "learned more than that"]),
        ([(0.1, 0.01), (1.9, 0.01)], "same", ["0.100 ± 0.010 lower"]),
        ([(1.97, 0.01), (2.5, 0.01)], "worse", ["0.030 ± 0.010 lower", "about as well", "0.500 ± 0.010 higher"]),
        ([(2.0, 0.01), (2.5, 0.01)], "worse", ["too close to the healthy one's to tell apart", "0.500 ± 0.010 higher"]),
        ([(2.0, 0.01), (5.0, 0.01)], "fails", ["too close to the healthy one's to tell apart", "3.000 ± 0.010 higher"]),
    ],
)
def test_what_is_said_follows_from_the_losses(losses, answer, words):
    result = planted(*losses)
    assert break_it.answer(result) == answer
    said = " ".join(break_it.sentences(result))
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"change": "nothing"}, "choose one of no-mask"),
        ({"steps": 10**9}, "at most 300"),
        ({"steps": 0}, "1 or more"),
        ({"windows": 1}, "2 or more"),
        ({"embed_size": 66}, "multiple of 4"),
        ({"seed": -1}, "0 or more"),
        ({"batch_size": 2.5}, "whole number"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("break-it", setting)
