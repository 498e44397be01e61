"""How soon something is learned, and what each choice of the recipe gains, on the smallest models there are."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
from benchmarks import SIZE, TINY_TRAINING, measured

import gpt.training.optimizers
from gpt import Corpus, TrainConfig
from gpt.bench import choices, learn
from gpt.training.recipes import RECIPES


@pytest.fixture
def race(corpus):
    """`race(ours, peer, **changes)`: the rows of a tiny race, given what changes in both recipes."""

    def run(ours, peer, **changes):
        setting = learn.Setting(
            size=SIZE,
            ours=replace(TINY_TRAINING, **ours),
            steps=dict.fromkeys(learn.GOALS, TINY_TRAINING.max_steps),
            peer=replace(TINY_TRAINING, **{"max_steps": 4, **peer}),
            **{"look_every": 2, "repeats": 2, "turns": 2, "corpus": corpus, **changes},
        )
        return measured(learn.rows(setting))

    return run


STANDING_STILL = {"learning_rate": 0.0, "matrix_learning_rate": 0.0}


def test_learn(race):
    rows = race({}, STANDING_STILL)
    assert list(rows) == ["learn.gpt2", "learn.rotary"]
    for row in rows.values():
        assert row.ours > 0
        assert row.peer > 0
        assert row.ratio > 0
        assert "Ours: reached after " in row.measured
        assert "Peer: trained to its end." in row.measured
        assert "4 steps of batch 2" in row.measured
        assert "over 2 races" in row.measured
        assert "EXTRAPOLATED" not in row.measured
    assert (rows["learn.gpt2"].goal, rows["learn.rotary"].goal) == (6, 8)


def test_learn_says_what_was_not_reached(race):
    fast = {"learning_rate": 0.05, "matrix_learning_rate": None}
    row = race(STANDING_STILL, fast)["learn.gpt2"]
    assert (row.ours, row.ratio, row.verdict) == (None, None, "")
    assert row.peer > 0
    assert "Ours: not within 6 steps; not within 6 steps." in row.measured


@pytest.mark.parametrize(("name", "target"), [("shakespeare", "1.880"), ("a text nobody has measured", "nan")])
def test_where_whole_trainings_do_not_fit_their_first_steps_are_timed(race, tiny_text, name, target):
    """There is a figure however little time there is, and it says from how many steps it is extrapolated."""
    rows = race({}, {"max_steps": 1000}, seconds=0.0, repeats=1, corpus=Corpus.from_text(name, tiny_text))
    for row in rows.values():
        assert row.ours > 0
        assert row.ratio > 0
        assert f"Loss to reach: {target}. Ours: EXTRAPOLATED to 6 steps from 4, made in " in row.measured
        assert "Peer: EXTRAPOLATED to 1000 steps from 4, made in " in row.measured
        assert (
            "over the turns of one race. Whether ours reaches that loss by then is measured in a whole" in row.measured
        )


def test_learn_hears_a_changed_recipe():
    """The default recipe and nanoGPT's are those of the recipes, not copies."""
    assert learn.FULL.ours == TrainConfig()
    assert learn.FULL.peer == TrainConfig(**RECIPES["nanogpt"])
    assert learn.FULL.steps is learn.STEPS


@pytest.fixture
def tiny_choices(corpus):
    return choices.Setting(size=SIZE, recipe=TINY_TRAINING, repeats=2, turns=2, most_windows=2, corpus=corpus)


def test_choices(tiny_choices):
    rows = measured(choices.rows(tiny_choices))
    assert list(rows) == [f"choices.{name}" for name in choices.CHOICES]
    for row in rows.values():
        assert row.goal is None
        assert row.verdict == ""
        assert row.ratio > 0
        assert row.more["nats_gained"] == pytest.approx(row.peer - row.ours)
        assert "over 2 seeds" in row.measured
    for name in ("precision", "stack"):  # the same computation, so about the same loss
        assert rows[f"choices.{name}"].peer == pytest.approx(rows["choices.muon"].ours, abs=0.02)
    assert rows["choices.momentum"].peer != rows["choices.momentum"].ours


def test_choices_in_a_few_steps_compare_times_alone(tiny_choices):
    few = replace(tiny_choices, seconds=0.0, repeats=1, choices=("precision", "stack"))
    rows = measured(choices.rows(few))
    assert list(rows) == ["choices.precision", "choices.stack"]
    for row in rows.values():
        assert (row.ours, row.peer, row.more["nats_gained"]) == (None, None, None)
        assert row.ratio > 0
        assert "not compared in so few steps" in row.measured


def test_choices_put_back_what_they_replace(tiny_choices, monkeypatch):
    before = gpt.training.optimizers.StackedMuon
    used = []

    def noting(matrices, *arguments):
        used.append("one by one")
        return choices.one_by_one(matrices, *arguments)

    monkeypatch.setitem(
        choices.CHOICES,
        "stack",
        replace(choices.CHOICES["stack"], instead=lambda: patch("gpt.training.optimizers.StackedMuon", noting)),
    )
    list(choices.rows(replace(tiny_choices, choices=("stack",), repeats=1)))
    assert used
    assert gpt.training.optimizers.StackedMuon is before
