"""Diagnostics of a run: gradient norms and accuracies as they grow, and what the heads did at each kept step."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable

import pytest
import torch
from served import ANNA, BEN, FOREVER, assert_sentence

from gpt import attention_maps, attention_mask
from gpt.interpret import MEASURES, repeated_tokens, score_heads
from gpt.runs.run import Run
from gpt.ui.door.asking import answering
from gpt.ui.train import head_history
from gpt.ui.train.handlers import TrainHandlers


@pytest.fixture
def run(finished: Callable[..., Run]) -> Run:
    """Two variants after twelve steps; weights were kept at 0, 1, 3, 10 and where they were best."""
    return finished(variants=["gpt2", "sliding-window"], window_size=4, steps=12)


# --- Gradient norms and accuracies ----------------------------------------------------------------------------------


def test_every_norm_and_accuracy_is_told(train_tab: TrainHandlers, run: Run) -> None:
    told = train_tab.diagnostics(run.key, -1)
    assert (told["run"], told["since"], told["told"], told["max_steps"]) == (run.key, -1, 12, 12)
    assert told["clip"] == run.request.training.gradient_clip > 0
    for curve, member in zip(told["series"], run.members, strict=True):
        assert (curve["label"], curve["colour"]) == (member.label, f"var(--variant-{member.label})")
        assert curve["steps"] == list(range(1, 13))
        assert curve["norms"] == pytest.approx([event.gradient_norm for event in member.events[1:]], rel=1e-3)
        assert curve["evaluated"] == [0, 10, 12]
        shares = [member.events[step].validation_accuracy for step in (0, 10, 12)]
        assert curve["shares"] == pytest.approx(shares, rel=1e-3)
    assert [model["kept"] for model in told["models"]] == [member.kept_steps for member in run.members]
    assert [score["key"] for score in told["scores"]] == list(MEASURES)
    json.dumps(told, allow_nan=False)


def test_what_a_page_knows_is_not_told_again(train_tab: TrainHandlers, run: Run) -> None:
    whole = train_tab.diagnostics(run.key, -1)
    for known in (0, 1, 9, 10, 11, 12):
        news = train_tab.diagnostics(run.key, known)
        assert (news["since"], news["told"]) == (known, 12)
        for all_of_it, some in zip(whole["series"], news["series"], strict=True):
            for steps, numbers in (("steps", "norms"), ("evaluated", "shares")):
                later = [place for place, step in enumerate(all_of_it[steps]) if step > known]
                assert some[steps] == [all_of_it[steps][place] for place in later]
                assert some[numbers] == [all_of_it[numbers][place] for place in later]
    for impossible in (13, 10**400, -2, None, True, "3", 2.5, [1]):
        assert train_tab.diagnostics(run.key, impossible) == whole


def test_repeats_are_told_as_their_mean(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    run = finished(seeds=2)
    told = train_tab.diagnostics(run.key, -1)
    (curve,) = told["series"]
    one, other = (member.events[-1] for member in run.members)
    assert curve["norms"][-1] == pytest.approx((one.gradient_norm + other.gradient_norm) / 2, rel=1e-3)
    assert len(told["models"]) == 2


def test_a_run_in_the_queue_has_nothing_to_tell_yet(
    train_tab: TrainHandlers, running: Run, start: Callable[..., Run]
) -> None:
    waiting = start(BEN, steps=FOREVER - 1)
    assert waiting.state == "waiting"
    told = train_tab.diagnostics(waiting.key, -1)
    assert (told["told"], told["series"][0]["norms"], told["models"][0]["kept"]) == (-1, [], [])
    assert_sentence(train_tab.head_scores(waiting.key, 0, "previous")["error"], "has not started to learn")


def test_the_more_watch_the_less_often_each_page_asks(train_tab: TrainHandlers, run: Run) -> None:
    assert train_tab.diagnostics(run.key, -1)["rest"] == 1
    run.lease.watchers = 30
    assert train_tab.diagnostics(run.key, -1)["rest"] == 2.5


def test_a_run_that_is_not_there(train_tab: TrainHandlers) -> None:
    for key in ("", "0123456789ab", None, 7, [], {"run": 1}):
        assert train_tab.diagnostics(key, -1) == {"run": ""}
        assert_sentence(train_tab.head_scores(key, 0, "previous")["error"], "no longer here")


# --- Heads, as they learned -----------------------------------------------------------------------------------------


def test_heads_are_scored_as_on_the_attention_tab(train_tab: TrainHandlers, run: Run) -> None:
    """On the beginning of the validation text; the prefix match on tokens that come again within the window of 4."""
    for (number, member), score in itertools.product(enumerate(run.members), MEASURES):
        told = train_tab.head_scores(run.key, number, score)
        assert (told["layers"], told["heads"]) == (member.config.num_layers, member.config.num_heads)
        assert told["steps"] == member.kept_steps
        assert told["steps"][:4] == [0, 1, 3, 10]
        ids = run.corpus.validation_ids[:32]
        if score == "prefix":
            period = 4 if member.config.window_size else 16
            assert told["text"] == f"32 random tokens, said again after {period}"
            ids = repeated_tokens(member.config.vocab_size, period, 32)
        positions = torch.arange(len(ids))
        allowed = attention_mask(positions, positions, member.config.window_size)
        for step, values in zip(told["steps"], told["values"], strict=True):
            weights = attention_maps(member.model_at(step), ids[None])[:, 0]
            means = score_heads(weights, allowed, ids)[score].means.flatten().tolist()
            assert values == [pytest.approx(mean, abs=1e-4) if math.isfinite(mean) else None for mean in means]
        assert score == "same" or None not in told["values"][0]  # within four letters hardly one comes twice
        json.dumps(told, allow_nan=False)


def test_a_score_that_no_query_can_have_is_left_open(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    """In a window of 1 there is no earlier token to read."""
    run = finished(variants=["sliding-window"], window_size=1)
    assert set(train_tab.head_scores(run.key, 0, "prefix")["values"][0]) == {None}


def test_weights_are_scored_once(train_tab: TrainHandlers, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[int] = []
    monkeypatch.setattr(
        head_history,
        "_scores",
        lambda member, step, score, ids, real=head_history._scores: (
            scored.append(step) or real(member, step, score, ids)
        ),
    )
    first, again = (train_tab.head_scores(run.key, 0, "first") for _ in range(2))
    assert first == again
    assert scored == first["steps"]


def test_best_weights_that_were_replaced_meanwhile_are_left_out(
    train_tab: TrainHandlers, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [*run.members[0].kept_steps, 99]
    monkeypatch.setattr(type(run.members[0]), "kept_steps", kept)
    assert train_tab.head_scores(run.key, 0, "previous")["steps"] == kept[:-1]


def test_what_cannot_be_scored(train_tab: TrainHandlers, run: Run) -> None:
    for number, score, match in (
        (2, "previous", "at most 1"),
        (-1, "previous", "The model is -1"),
        (None, "previous", "The model is None"),
        ("0", "previous", "The model is '0'"),
        (0, "", "choose one of distance"),
        (0, None, "choose one of distance"),
        (0, ["previous"], "choose one of distance"),
    ):
        assert_sentence(train_tab.head_scores(run.key, number, score)["error"], match)


def test_heads_that_have_learned_somebodys_own_text_are_nobody_elses(train_tab: TrainHandlers, run: Run) -> None:
    """Its curves are for everyone who has the link."""
    train_tab.visitors.recognise(ANNA)
    assert "error" not in train_tab.head_scores(run.key, 0, "previous")
    with answering("another page", "192.0.2.1"):
        told = train_tab.head_scores(run.key, 0, "previous")
        assert set(told) == {"error"}
        assert_sentence(told["error"], "somebody's own text")
        assert train_tab.diagnostics(run.key, -1)["told"] == 12
