"""Anything may arrive from a page: it is taken as what it should be, or refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from served import NO_NUMBERS, assert_sentence, refuses

from gpt.data.corpora import CorpusUnavailable
from gpt.ui.requests import (
    one_sentence,
    require_choice,
    require_choices,
    require_number,
    require_text,
    require_whole,
    sentence,
)

CHOICES = {"gpt2": 1, "rotary": 2}


@pytest.mark.parametrize(
    "error", [ValueError("seed is bad"), TypeError("seed is bad"), CorpusUnavailable("seed is bad")]
)
def test_what_a_person_can_set_right_becomes_one_sentence(error: Exception) -> None:
    with refuses(r"^Seed is bad\.$"), one_sentence():
        raise error


def test_faults_of_ours_stay_faults() -> None:
    with pytest.raises(KeyError), one_sentence():
        raise KeyError("ours")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("seed is 3"), "Seed is 3."),
        (ValueError("Is it a text?"), "Is it a text?"),
        (ValueError("Already whole."), "Already whole."),
        (ValueError(""), "ValueError."),
        (ValueError("'x' is not there"), "'x' is not there."),
    ],
)
def test_sentence(error: Exception, words: str) -> None:
    assert sentence(error) == words


@pytest.mark.parametrize(("value", "taken"), [(3, 3), (8.0, 8), (1, 1), (9, 9)])
def test_whole_numbers_are_taken(value: Any, taken: int) -> None:
    got = require_whole("seed", value, 1, 9)
    assert got == taken
    assert type(got) is int


@pytest.mark.parametrize("value", [*NO_NUMBERS.values(), 8.5, 0, 10], ids=[*NO_NUMBERS, "half", "below", "above"])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with refuses("Seed"), one_sentence():
        require_whole("seed", value, 1, 9)


@pytest.mark.parametrize("value", [0, 0.0, 1.5, 5])
def test_numbers_are_taken(value: Any) -> None:
    assert require_number("temperature", value, 0, 5) == value


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused(value: Any) -> None:
    with refuses("Temperature"), one_sentence():
        require_number("temperature", value, 0, 5)


@pytest.mark.parametrize("value", ["", "ROMEO:", "x" * 9, "ünïcödé", "😀"])
def test_texts_are_taken_as_they_are(value: str) -> None:
    assert require_text("the prompt", value, 9) == value


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "The prompt is missing"),
        (3, "The prompt is missing"),
        (["text"], "The prompt is missing"),
        ("x" * 10, "has 10 characters; at most 9 are allowed"),
        ("ab\ud800", r"half a character \('\\ud800'\)"),
    ],
    ids=["nothing", "a number", "a list", "too long", "a lone surrogate"],
)
def test_what_is_no_text_is_refused(value: Any, match: str) -> None:
    with refuses(match), one_sentence():
        require_text("the prompt", value, 9)


@pytest.mark.parametrize(
    "value",
    ["mamba", None, "", 1, True, float("nan"), [], ["gpt2"], {}, "x" * 100_000],
    ids=lambda value: f"{value!r:.9}",
)
def test_what_is_no_choice_is_refused(value: Any) -> None:
    with refuses("Variant is .*; choose one of gpt2, rotary"), one_sentence():
        require_choice("variant", value, CHOICES)


def test_choices_are_taken_once_each_in_their_order() -> None:
    assert require_choices("variants", ["rotary", "gpt2", "rotary"], CHOICES) == ["rotary", "gpt2"]


@pytest.mark.parametrize("value", [None, "gpt2", 3, {"gpt2": 1}, ["gpt2", "mamba"], [["gpt2"]], [None]], ids=repr)
def test_what_are_no_choices_is_refused(value: Any) -> None:
    with refuses("Variants"), one_sentence():
        require_choices("variants", value, CHOICES)


def test_no_sentence_repeats_a_whole_novel() -> None:
    with pytest.raises(ValueError, match="variant is") as caught:
        require_choice("variant", "x" * 100_000, CHOICES)
    assert_sentence(sentence(caught.value), "Variant")
