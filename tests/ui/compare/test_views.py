"""What models expect next and what surprises them is what they compute."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
import torch
from served import BOTH, CONTEXT, STORY, refuses

from gpt import BPETokenizer, Corpus, evaluate
from gpt.runs.run import Run
from gpt.ui.catalogue import Catalogue
from gpt.ui.compare.handlers import CompareHandlers

READ = "The lazy dog jumps over the fox. " * 3


def test_bars_are_the_logits_of_a_forward_pass(compare_tab: CompareHandlers, catalogue: Catalogue) -> None:
    value, text = compare_tab.expect(BOTH, "The fox", False, 0.8, 0, 1)
    assert (value["text"], text) == ("The fox", "The fox")
    for name, model in zip(BOTH, value["models"], strict=True):
        ready = catalogue.get(name)
        with torch.no_grad():
            logits = ready.model(torch.tensor([ready.tokenizer.encode("The fox")]))[0, -1].double()
        assert model["rest"] is None
        assert len(model["tokens"]) == len(logits) == model["vocab_size"]
        assert model["logits"] == sorted(model["logits"], reverse=True)
        by_token = dict(zip(model["tokens"], model["logits"], strict=True))
        for index, logit in enumerate(logits.tolist()):
            assert by_token[ready.tokenizer.decode([index])] == pytest.approx(logit, abs=1e-5)


def test_a_text_longer_than_the_context_is_read_from_its_end(compare_tab: CompareHandlers) -> None:
    long, _ = compare_tab.expect(BOTH, "jumps. " * 10 + "The lazy dog " * 5, False, 0.8, 0, 1)
    end, _ = compare_tab.expect(BOTH, ("jumps. " * 10 + "The lazy dog " * 5)[-CONTEXT:], False, 0.8, 0, 1)
    assert [model["logits"] for model in long["models"]] == [model["logits"] for model in end["models"]]


def test_a_chosen_token_is_appended_and_taken_back(compare_tab: CompareHandlers) -> None:
    chosen = gr.EventData(None, {"token": "x"})
    value, text = compare_tab.choose(BOTH, "The fo", False, 0.8, 0, 1, chosen)
    assert value["text"] == text == "The fox"
    assert compare_tab.take_back(BOTH, text, False, 0.8, 0, 1)[1] == "The fo"
    assert compare_tab.take_back(BOTH, "T", False, 0.8, 0, 1)[1] == "T"


@pytest.mark.parametrize("text", ["The fox, the fox", "the quick 🙂", "é", "lazy"])
def test_what_is_taken_back_is_a_token_of_the_first_model(
    compare_tab: CompareHandlers, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """With a BPE a token is several characters, or a part of one, which then goes as a whole."""
    pairs = BPETokenizer.from_texts([STORY], vocab_size=300)
    known = catalogue.get
    ready = dataclasses.replace(known("shipped/gpt2"), tokenizer=pairs)
    monkeypatch.setattr(catalogue, "get", lambda name: ready if name == "pairs" else known(name))
    monkeypatch.setattr(compare_tab, "expect", lambda names, text, *_: text)
    shorter = compare_tab.take_back(["pairs", *BOTH], text, False, 0.8, 0, 1)
    ids = pairs.encode(text)
    assert text.startswith(shorter)
    assert shorter == text if len(text) == 1 else len(pairs.encode(shorter)) < len(ids)
    if text.isascii():
        assert shorter == (pairs.decode(ids[:-1]) or text)


@pytest.mark.parametrize("sent", [{}, {"token": None}, {"token": ["x"]}, {"token": "x" * 101}, {"token": "\udc80"}])
def test_a_choice_that_is_no_token_is_refused(compare_tab: CompareHandlers, sent: dict[str, Any]) -> None:
    with refuses("The token"):
        compare_tab.choose(BOTH, "The fo", False, 0.8, 0, 1, gr.EventData(None, sent))


def test_a_model_that_does_not_know_the_text_says_so_beside_the_others(
    compare_tab: CompareHandlers, finished: Callable[..., Run]
) -> None:
    run = finished(own_text="0123456789 #\n" * 40)
    value, _ = compare_tab.expect(["shipped/gpt2", f"run/{run.key}/0"], "#7", False, 0.8, 0, 1)
    assert "has never seen" in value["models"][0]["error"]
    assert value["models"][1]["error"] == ""


# --- Reading a text ---------------------------------------------------------------------------------------------------


def test_surprise_is_what_evaluate_measures(compare_tab: CompareHandlers, catalogue: Catalogue) -> None:
    value = json.loads(compare_tab.read(BOTH, READ, False))
    for name, model in zip(BOTH, value["models"], strict=True):
        ready = catalogue.get(name)
        ids = torch.tensor(ready.tokenizer.encode(READ))
        corpus = Corpus("read", ready.tokenizer, ids, ids, "")  # type: ignore[arg-type]
        assert dict(model["totals"])["loss, nats per token"] == f"{evaluate(ready.model, corpus):.3f}"
        assert "".join(model["tokens"]) == READ
        assert model["bits"][0] is None
        mean = sum(model["bits"][1:]) / (len(READ) - 1)
        assert mean * math.log(2) == pytest.approx(evaluate(ready.model, corpus), abs=1e-3)
        assert len(model["alternatives"]) == len(READ)
        assert all(len(five) == 5 for five in model["alternatives"][1:])


def test_models_with_other_tokens_are_compared_in_bits_per_byte_only(
    compare_tab: CompareHandlers, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer that gives two characters a token stands in for a BPE."""

    class Pairs:
        vocab_size = 2

        def unknown_characters(self, text: str) -> list[str]:
            return []

        def encode(self, text: str) -> list[int]:
            return [0] * (len(text) // 2)

        def decode(self, ids: Any) -> str:
            return "xy" * len(list(ids))

        def decode_stream(self, ids: Any) -> Any:
            return ("xy" for _ in ids)

    known = catalogue.get
    pairs = dataclasses.replace(known("shipped/gpt2"), tokenizer=Pairs())  # type: ignore[arg-type]
    monkeypatch.setattr(catalogue, "get", lambda name: pairs if name == "pairs" else known(name))
    value = json.loads(compare_tab.read(["shipped/gpt2", "pairs"], "The lazy dog", False))
    assert [[name for name, _ in model["totals"]] for model in value["models"]] == [["bits per byte"]] * 2


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "fewer than two"),
        ("T", "fewer than two"),
        (None, "missing"),
        ("x" * 5001, "at most 5,000"),
        ("a\ud800", "half"),
    ],
)
def test_what_cannot_be_read_is_refused(compare_tab: CompareHandlers, text: Any, match: str) -> None:
    with refuses(match):
        compare_tab.read(BOTH, text, False)
