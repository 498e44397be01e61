"""Over-fitting and committees: the losses are those of a plain computation, and what is said follows from them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from running import finished

from gpt.data.corpus import Corpus
from gpt.experiments import over_fitting
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.over_fitting import Setup, over_models_and_windows, window_losses
from gpt.experiments.result import Measure, Result
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2

TINY = Setup(characters=600, steps=6, interval=3, seeds=2, windows=3, embed_size=8, num_layers=1)


@pytest.fixture(autouse=True)
def small_text(monkeypatch, tiny_text):
    """A text of some thousand characters in the place of Tiny Shakespeare."""
    letters = torch.randint(len(tiny_text) - 7, (900,), generator=torch.Generator().manual_seed(0)).tolist()
    corpus = Corpus.from_text("small", "".join(tiny_text[place : place + 7] for place in letters))
    monkeypatch.setattr(over_fitting, "text_to_learn", lambda: corpus)
    return corpus


def planted(dropout: float, decay: float, committee: float, *, rise: float = 0.3) -> Result:
    """A result with these gains on the plain model's loss of 2."""
    gains = {"stopping": 0.0, "dropout": dropout, "decay": decay, "committee": committee}
    names = list(gains)
    measures = [Measure(f"{name}/loss", 2 - gain, 0.1) for name, gain in gains.items()]
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            measures.append(Measure(f"{one}-minus-{other}", gains[other] - gains[one], 0.01, "", "9 windows"))
    measures += [Measure(f"{kind}/best-step", 90.0, 5.0) for kind in ("plain", "dropout", "decay")]
    measures += [
        Measure("committee/gain-on-its-mean-member", committee, 0.001, "", "9 windows"),
        Measure("plain/rise-on-unseen-text", rise, 0.05, "", "3 seeds"),
        Measure("plain/last-loss-on-unseen-text", 2.3, 0.05),
        Measure("plain/last-loss-on-its-own-text", 1.3, 0.05),
    ]
    return Result("over-fitting", vars(Setup()), tuple(measures), ())


def test_the_loss_of_a_committee_is_that_of_the_mean_logits(small_text):
    config = make_config("rotary", small_text.tokenizer.vocab_size, embed_size=8, num_heads=2, num_layers=1)
    models = []
    for seed in (1, 2):
        models.append(GPT2.from_config(replace(config, context_length=64)).eval())
        models[-1].initialize(seed)
    ids = small_text.validation_ids[: 2 * 64 + 30]  # two windows, and a rest that is left out
    losses = torch.cat([*window_losses(models, ids, most=5)])
    expected = []
    for window in range(2):
        text = ids[window * 64 : window * 64 + 65]
        with torch.no_grad():
            logits = sum(model(text[None, :-1])[0] for model in models) / 2
        terms = [-math.log(torch.softmax(row, 0)[target]) for row, target in zip(logits, text[1:], strict=True)]
        expected.append(sum(terms) / 64)
    assert losses.tolist() == pytest.approx(expected, abs=1e-5)


def test_an_error_has_the_spread_of_windows_and_of_models():
    measure = over_models_and_windows("x", torch.tensor([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]]))
    assert measure.value == 4.0
    over_windows = math.sqrt(((2 - 4) ** 2 + (3 - 4) ** 2 + (7 - 4) ** 2) / 2 / 3)
    over_models = math.sqrt(((3 - 4) ** 2 + (5 - 4) ** 2) / 1 / 2)
    assert measure.error == pytest.approx(math.hypot(over_windows, over_models))
    assert over_models_and_windows("x", torch.tensor([[2.0, 3.0, 7.0]])).error == pytest.approx(over_windows)


def test_the_same_seed_gives_the_same_result_and_leaves_other_random_streams_alone():
    before = torch.get_rng_state()
    result, told = finished(conduct("over-fitting", TINY))
    assert torch.equal(torch.get_rng_state(), before)
    assert [progress.share for progress in told] == sorted(progress.share for progress in told)
    for one, other in (("stopping", "decay"), ("dropout", "committee")):
        gap = result[f"{one}/loss"].value - result[f"{other}/loss"].value
        assert result[f"{one}-minus-{other}"].value == pytest.approx(gap, abs=1e-6)
    gain = result["committee/gain-on-its-mean-member"]
    assert gain.value == pytest.approx(result["stopping-minus-committee"].value)
    assert gain.value >= 0  # the cross-entropy is convex in the logits
    assert gain.error < result["stopping-minus-committee"].error
    unseen = result.charts[0].curves[0]
    assert unseen.label == "plain, unseen text"
    assert unseen.x == (0.0, 3.0, 6.0)
    again, _ = finished(conduct("over-fitting", TINY))
    assert again.measures == result.measures
    other, _ = finished(conduct("over-fitting", replace(TINY, seed=8)))
    assert other["stopping/loss"] != result["stopping/loss"]


@pytest.mark.parametrize(
    ("gains", "answer", "words"),
    [
        ((0.0, 0.01, 0.1), "committee", "The committee is better than each"),
        ((0.1, 0.01, 0.0), "dropout", "Dropout is better than each"),
        ((0.01, 0.1, 0.0), "decay", "Weight decay is better than each"),
        ((0.01, -0.1, 0.0), "stopping", "Nothing here is measurably better"),
        ((0.1, 0.0, 0.101), "", "do not decide"),
    ],
)
def test_what_is_said_follows_from_the_numbers(gains, answer, words):
    result = planted(*gains)
    assert over_fitting.answer(result) == answer
    assert words in over_fitting.sentences(result)[-1]


def test_each_remedy_is_compared_in_words():
    said = over_fitting.sentences(planted(0.1, -0.1, 0.01))
    assert "dropout is better by 0.100 ± 0.010; weight decay is worse by 0.100 ± 0.010" in said[2]
    assert "the committee cannot be told apart from it" in said[2]
    assert "mean member by 0.0100 ± 0.0010" in said[3]
    assert "rose by 0.30 ± 0.05" in said[0]
    assert "did not measurably rise" in over_fitting.sentences(planted(0.1, 0.1, 0.1, rise=0.05))[0]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"dropout": 1.0}, "below 1"),
        ({"weight_decay": math.nan}, "finite"),
        ({"weight_decay": 0}, "more than 0"),
        ({"characters": 10**12}, "at most 200,000"),
        ({"steps": 0}, "give 1 or more"),
        ({"seeds": 1}, "give 2 or more"),
        ({"embed_size": 20}, "multiple of 8"),
        ({"steps": 400, "interval": 1}, "more than 50 looks"),
        ({"seed": -1}, "give 0 or more"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("over-fitting", setting)


def test_it_can_be_closed_in_the_middle():
    running = conduct("over-fitting", TINY)
    next(running)
    assert 0 < [next(running) for _ in range(10)][-1].share < 1
    running.close()
    with pytest.raises(StopIteration):
        next(running)
