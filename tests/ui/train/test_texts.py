"""Texts to learn from: named, pasted or uploaded, shown before they are learned; what is none is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from served import (
    ANNA,
    BEN,
    STORY,
    assert_sentence,
    controls,
    refuses,
)

from gpt import CorpusUnavailable
from gpt.runs.exports import corpus_text
from gpt.runs.limits import LARGEST_OWN_TEXT
from gpt.runs.run import Run
from gpt.ui.train import texts
from gpt.ui.train.handlers import TrainHandlers
from gpt.ui.train.settings import OWN_TEXT
from gpt.ui.train.texts import preview_text, read_upload


def test_windows_line_ends_make_no_other_run(start: Callable[..., Run]) -> None:
    assert start(ANNA) is start(BEN, own_text=STORY.replace("\n", "\r\n"))


@pytest.mark.parametrize(
    ("own_text", "match"),
    [
        ("", "holds no text"),
        ("a", "only the character 'a'"),
        ("a" * 5000, "only the character 'a'"),
        ("ab", "has 2 characters; give at least 20"),
        ("ab" * 12, "a context of 32 needs at least 33"),
        (STORY + "\ud800", "half a character"),
        ("ab" * (LARGEST_OWN_TEXT // 2) + "c", "2,000,001 characters; at most 2,000,000"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 12_000))), "12,000 different characters"),
        (None, "Your own text is missing"),
        (7, "Your own text is missing"),
        (["a"], "Your own text is missing"),
    ],
    ids=lambda value: f"{value!r:.50}",
)
def test_an_own_text_that_cannot_be_learned_is_refused(train_tab: TrainHandlers, own_text: Any, match: str) -> None:
    with refuses(match):
        train_tab.train(ANNA, [], *controls(own_text=own_text))


# --- Texts that have a name -------------------------------------------------------------------------------------------


@pytest.fixture
def no_shakespeare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny Shakespeare cannot be had."""
    load = texts.load_corpus

    def unavailable(name: str) -> Any:
        if name == "shakespeare":
            raise CorpusUnavailable("Tiny Shakespeare could not be fetched")
        return load(name)

    monkeypatch.setattr(texts, "load_corpus", unavailable)
    texts._named_corpus.cache_clear()


@pytest.mark.usefixtures("no_shakespeare")
def test_without_shakespeare_the_built_in_text_is_taken_and_said(start: Callable[..., Run], notices: list[str]) -> None:
    run = start(text="shakespeare")
    assert run.corpus.name == "python-docs"
    assert notices == ["Tiny Shakespeare could not be fetched. Training on python-docs instead."]


@pytest.mark.usefixtures("no_shakespeare")
def test_other_texts_need_no_notice(start: Callable[..., Run], notices: list[str]) -> None:
    assert start(ANNA, text="python-docs").corpus.name == "python-docs"
    assert start(BEN, text=OWN_TEXT).corpus.name == OWN_TEXT
    assert notices == []


# --- How a text begins ------------------------------------------------------------------------------------------------


def test_a_text_is_shown_before_it_is_learned() -> None:
    shown = preview_text(OWN_TEXT, STORY)
    assert shown.value == STORY[:600]
    split = int(0.9 * len(STORY))
    assert f"{len(STORY):,} characters" in shown.info
    assert f"the first {split:,} are learned from, the last {len(STORY) - split:,} tested on" in shown.info


def test_what_is_shown_of_a_paste_is_what_is_learned(start: Callable[..., Run]) -> None:
    """However its lines end, and with the mark that Notepad writes before a text."""
    for pasted in ("\ufeff" + STORY, STORY.replace("\n", "\r"), STORY.replace("\n", "\r\n").replace("t", "t\r", 1)):
        shown, corpus = preview_text(OWN_TEXT, pasted), start(ANNA, own_text=pasted).corpus
        ids = len(corpus.train_ids) + len(corpus.validation_ids)
        assert shown.info.startswith(f"{ids:,} characters, {corpus.tokenizer.vocab_size} different ones; ")
        assert corpus_text(corpus).startswith(shown.value)
        assert not set("\r\ufeff") & set(corpus.tokenizer.itos)
    assert_sentence(preview_text(OWN_TEXT, STORY + "\0").info, "holds NUL bytes, so it is not a text")


@pytest.mark.parametrize(
    ("choice", "own", "match"),
    [
        (OWN_TEXT, "", "holds no text"),
        (OWN_TEXT, None, "holds no text"),
        (OWN_TEXT, "a", "only the character 'a'"),
        (OWN_TEXT, "ab\ud800" * 20, "half a character"),
        (OWN_TEXT, 7, "is missing"),
        ("bible", "", "Text is 'bible'"),
        (None, "", "Text is None"),
        ([], "", "Text is"),
    ],
    ids=repr,
)
def test_a_text_that_cannot_be_learned_is_said(choice: Any, own: Any, match: str) -> None:
    shown = preview_text(choice, own)
    assert shown.value == ""
    assert_sentence(shown.info, match)


@pytest.mark.usefixtures("no_shakespeare")
def test_a_text_that_cannot_be_had_is_said() -> None:
    assert_sentence(preview_text("shakespeare", "").info, "could not be fetched")


# --- Any text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "שלום עולם, מה שלומך? " * 30,
        "🙂🙃 faces 👩‍🚀 and é combined " * 30,
        "a\u202eb\u200dc ${x} {{y}} <b>z</b>\t" * 30,
    ],
    ids=["right-to-left", "emoji", "controls and markup"],
)
def test_any_text_trains_and_comes_back_unchanged(finished: Callable[..., Run], text: str) -> None:
    run = finished(own_text=text)
    assert corpus_text(run.corpus) == text
    for member in run.members:
        samples = [event.sample for event in member.events if event.sample is not None]
        assert samples
        assert set("".join(samples)) <= set(text)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("héllo".encode("utf-16"), "not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text"),
        (b"text\0text", "NUL bytes"),
        (b"x" * (LARGEST_OWN_TEXT + 1), "at most 2,000,000"),
        (None, "not a text file"),
        ("a name", "not a text file"),
    ],
    ids=["UTF-16", "a picture", "NUL", "too large", "nothing", "no bytes"],
)
def test_a_file_that_is_no_text_is_refused(content: Any, match: str) -> None:
    with refuses(match):
        read_upload(content)


def test_a_text_file_is_read() -> None:
    assert read_upload("\ufeffhéllo\r\nworld".encode()) == "héllo\nworld"
