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
from gpt.runs.limits import LARGEST_OWN_TEXT, MOST_OWN_FILES
from gpt.runs.run import Run
from gpt.ui.train import texts
from gpt.ui.train.handlers import TrainHandlers
from gpt.ui.train.settings import OWN_TEXT, TOKENS
from gpt.ui.train.texts import join_files, preview_text, read_files

import gradio as gr  # isort: skip


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


CHARACTERS, PAIRS, *_ = TOKENS


# --- Texts that have a name -------------------------------------------------------------------------------------------


@pytest.fixture
def no_shakespeare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny Shakespeare cannot be had."""
    load = texts.load_corpus

    def unavailable(name: str, *byte_pairs: int) -> Any:
        if name == "shakespeare":
            raise CorpusUnavailable("Tiny Shakespeare could not be fetched")
        return load(name, *byte_pairs)

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
    shown = preview_text(OWN_TEXT, STORY, CHARACTERS)
    assert shown["tokens"] == list(STORY[:600])
    split = int(0.9 * len(STORY))
    assert f"{len(STORY):,} characters" in shown["sentence"]
    assert f"the first {split:,} are for training, the last {len(STORY) - split:,} for validation" in shown["sentence"]


def test_a_text_is_shown_in_its_byte_pairs(start: Callable[..., Run]) -> None:
    shown, corpus = preview_text(OWN_TEXT, STORY, PAIRS), start(ANNA, tokens=PAIRS).corpus
    assert STORY.startswith("".join(shown["tokens"]))
    assert 500 < len("".join(shown["tokens"])) <= 600
    assert "\nA" not in shown["tokens"]  # a line's end is a token of its own
    assert max(map(len, shown["tokens"])) > 3
    ids = len(corpus.train_ids) + len(corpus.validation_ids)
    assert shown["sentence"].startswith(f"{ids:,} tokens of {1 / corpus.tokens_per_character:.2f} characters each")
    assert f"{corpus.tokenizer.vocab_size} different ones" in shown["sentence"]


def test_characters_of_several_tokens_are_shown_once() -> None:
    shown = preview_text(OWN_TEXT, "".join(chr(0x4E00 + 7 * n) for n in range(1000)), PAIRS)
    assert "" in shown["tokens"]
    assert "\ufffd" not in "".join(shown["tokens"])


def test_what_is_shown_of_a_paste_is_what_is_learned(start: Callable[..., Run]) -> None:
    """However its lines end, and with the mark that Notepad writes before a text."""
    for pasted in ("\ufeff" + STORY, STORY.replace("\n", "\r"), STORY.replace("\n", "\r\n").replace("t", "t\r", 1)):
        shown, corpus = preview_text(OWN_TEXT, pasted, CHARACTERS), start(ANNA, own_text=pasted).corpus
        ids = len(corpus.train_ids) + len(corpus.validation_ids)
        assert shown["sentence"].startswith(f"{ids:,} characters, {corpus.tokenizer.vocab_size} different ones; ")
        assert corpus_text(corpus).startswith("".join(shown["tokens"]))
        assert not set("\r\ufeff") & set(corpus.tokenizer.itos)
    assert_sentence(
        preview_text(OWN_TEXT, STORY + "\0", CHARACTERS)["sentence"], "holds NUL bytes, so it is not a text"
    )


@pytest.mark.parametrize(
    ("choice", "own", "tokens", "match"),
    [
        (OWN_TEXT, STORY, "words", "Tokens is 'words'; choose one of characters, byte pairs"),
        (OWN_TEXT, STORY, None, "Tokens is None"),
        (OWN_TEXT, STORY, [], "Tokens is"),
        (OWN_TEXT, STORY, True, "Tokens is True"),
        (OWN_TEXT, "ab" * 10, "byte pairs, 320 tokens", "tokens; give a text of at least 20"),
        (OWN_TEXT, "", "characters", "holds no text"),
        (OWN_TEXT, None, "characters", "holds no text"),
        (OWN_TEXT, "a", "characters", "only the character 'a'"),
        (OWN_TEXT, "ab\ud800" * 20, "characters", "half a character"),
        (OWN_TEXT, 7, "characters", "is missing"),
        ("bible", "", "characters", "Text is 'bible'"),
        (None, "", "characters", "Text is None"),
        ([], "", "characters", "Text is"),
    ],
    ids=repr,
)
def test_a_text_that_cannot_be_learned_is_said(choice: Any, own: Any, tokens: Any, match: str) -> None:
    shown = preview_text(choice, own, tokens)
    assert shown["tokens"] == []
    assert shown["is_error"]
    assert_sentence(shown["sentence"], match)


@pytest.mark.usefixtures("no_shakespeare")
def test_a_text_that_cannot_be_had_is_said() -> None:
    assert_sentence(preview_text("shakespeare", "", CHARACTERS)["sentence"], "could not be fetched")


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
@pytest.mark.parametrize("tokens", [CHARACTERS, PAIRS])
def test_any_text_trains_and_comes_back_unchanged(finished: Callable[..., Run], text: str, tokens: str) -> None:
    text *= 1 if tokens == CHARACTERS else 5  # which have fewer tokens
    run = finished(own_text=text, tokens=tokens)
    assert corpus_text(run.corpus) == text
    for member in run.members:
        samples = [event.sample for event in member.events if event.sample is not None]
        assert samples
        assert set("".join(samples)) <= set(text) or tokens == PAIRS  # which write any bytes


# --- Files ------------------------------------------------------------------------------------------------------------


def sent(**texts: str | None) -> list[dict[str, Any]]:
    return [{"name": name, "text": text} for name, text in texts.items()]


def test_files_are_one_text_in_the_order_of_their_names() -> None:
    files = [
        {"name": "b/2.TXT", "text": "\ufeffsecond\r\n"},
        {"name": "b/10.txt", "text": "first"},
        {"name": "c.txt", "text": "third"},
        {"name": "b/.hidden.txt", "text": "no"},
        {"name": ".git/x.txt", "text": "no"},
        {"name": "d.md", "text": None},
        {"name": "e.txt", "text": None, "problem": "encoding"},
        {"name": "f.txt", "text": ""},
        {"name": "g.txt", "text": "a\0b"},
        {"name": "h.txt", "text": "x" * LARGEST_OWN_TEXT},
        {"name": "i.txt", "text": None, "problem": "size"},
        {"name": "j.txt", "text": None},
    ]
    text, told = join_files(files, others=3)
    assert text == "first\nsecond\n\nthird"
    taken, left_out = told["sentences"]
    assert taken == "Taken, in this order: b/10.txt, b/2.TXT, c.txt; 19 characters in all."
    assert left_out.startswith("Left out: .git/x.txt (hidden), b/.hidden.txt (hidden), d.md (not a .txt file), ")
    for why in (
        "e.txt (not UTF-8 text)",
        "f.txt (empty)",
        "g.txt (not a text)",
        "h.txt (would make more than 2,000,000",
    ):
        assert why in left_out
    assert left_out.endswith(", 4 more.")  # j.txt, and three that were not sent


def test_as_much_is_taken_as_may_be_learned_from() -> None:
    half = "x" * (LARGEST_OWN_TEXT // 2)
    text, told = join_files([{"name": f"{n}.txt", "text": half} for n in "abc"])
    assert len(text) == LARGEST_OWN_TEXT // 2  # with the line end between them, two would be one character more
    assert "b.txt (would make more than" in told["sentences"][1]
    text, _ = join_files([{"name": "a.txt", "text": half}, {"name": "b.txt", "text": half[1:]}])
    assert len(text) == LARGEST_OWN_TEXT


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (None, "no files arrived"),
        ([], "no files arrived"),
        ("a.txt", "no files arrived"),
        ([{"name": "a.txt", "text": "x"}] * (2 * MOST_OWN_FILES + 1), "choose 1 to 200 text files"),
        ([None], "a file's name is missing"),
        ([{"name": 7, "text": "x"}], "a file's name is missing"),
        ([{"name": "x" * 1001, "text": "x"}], "1,001 characters"),
        ([{"name": "\ud800.txt", "text": "x"}], "half a character"),
        ([{"name": "a.txt", "text": ["x"]}], r"no text to learn from in these files: a.txt \(not read\)"),
        ([{"name": "a.txt", "problem": ["size"]}], r"a.txt \(not read\)"),
        ([{"name": "a.txt", "text": "\ud800"}], r"a.txt \(not a text\)"),
        ([{"name": "<img src=x>.png", "text": "x"}], r"\(not a .txt file\)"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_files_that_are_no_texts_are_refused(files: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        join_files(files)


@pytest.mark.parametrize("others", [None, -1, True, "7", 10**30, [1]], ids=repr)
def test_a_page_that_tells_nonsense_is_answered_in_a_sentence(others: Any) -> None:
    event = gr.EventData(None, {"files": sent(a="x"), "others": others})
    with refuses("The number of other files"):
        read_files(event)
