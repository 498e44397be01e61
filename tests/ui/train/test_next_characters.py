"""What is expected next: by the models of a run, or by those that ship."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from served import (
    BEN,
    FOREVER,
    assert_sentence,
)

from gpt.runs.run import Run
from gpt.ui.train.handlers import TrainHandlers


def test_the_likeliest_next_characters(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    run = finished(variants=["gpt2", "rotary"])
    for key, labels in ((run.key, ["gpt2", "rotary"]), ("", ["gpt2", "sliding-window"])):
        models = train_tab.next_characters(key, "The fo")["models"]
        assert [model["label"] for model in models] == labels
        for model in models:
            shares = [share for _, share in model["bars"]]
            assert shares == sorted(shares, reverse=True)
            assert 0 < sum(shares) <= 1.001
            assert len({character for character, _ in model["bars"]}) == len(shares)


@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        ("", "The prompt is empty"),
        ("#", "never seen '#'"),
        ("o" * 201, "at most 200"),
        ("\ud800", "half a character"),
        (None, "The prompt is missing"),
        (["x"], "The prompt is missing"),
    ],
    ids=repr,
)
def test_what_nothing_can_follow_is_said(train_tab: TrainHandlers, prompt: Any, match: str) -> None:
    assert_sentence(train_tab.next_characters("", prompt)["error"], match)


@pytest.mark.parametrize("key", [None, 7, [], {"run": 1}, "0123456789ab", "../.."], ids=repr)
def test_next_characters_of_no_run_are_the_shipped_models(train_tab: TrainHandlers, key: Any) -> None:
    assert len(train_tab.next_characters(key, "The")["models"]) == 2


def test_next_characters_of_a_run_in_the_queue_are_awaited(
    train_tab: TrainHandlers, running: Run, start: Callable[..., Run]
) -> None:
    waiting = start(BEN, steps=FOREVER - 1)
    assert not running.is_over
    assert_sentence(train_tab.next_characters(waiting.key, "The")["error"], "has not started to learn")
