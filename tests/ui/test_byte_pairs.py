"""A model that reads and writes byte pairs can do on the page whatever one of characters can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from served import ANNA, BEN, STORY, collect, press, unpack_attention

from gpt import attention_maps, evaluate
from gpt.runs.run import Run
from gpt.ui.attention.handlers import AttentionHandlers
from gpt.ui.catalogue import Catalogue
from gpt.ui.compare.handlers import CompareHandlers
from gpt.ui.door.files import Files
from gpt.ui.train.handlers import TrainHandlers
from gpt.ui.train.views import run_chart, run_panel_value

PAIRS = {"tokens": "byte pairs, 320 tokens", "own_text": STORY * 2 + "Grüße, 日本!\n" * 9}
TEXT = "The lazy fox: 日!"


@pytest.fixture
def run(finished: Callable[..., Run]) -> Run:
    """A run of two models on a text in byte pairs, at its end."""
    return finished(variants=["gpt2", "modern"], **PAIRS)


def test_its_chart_can_be_read_in_bits_per_character(run: Run, train_tab: TrainHandlers) -> None:
    corpus = run.corpus
    chart, panel = run_chart(run), run_panel_value(run, train_tab.runs)
    assert chart["tokens_per_character"] == corpus.tokens_per_character != 1
    assert {line["label"]: line["loss"] for line in chart["references"]}["bigram model"] == corpus.bigram_loss
    for member, model in zip(run.members, panel["models"], strict=True):
        assert member.best_loss is not None
        bits = f"{corpus.bits_per_character(member.best_loss):.3f}"
        assert dict(model["facts"])["bits per character"].startswith(bits)
    assert panel["predicts"] == "token"
    bars = train_tab.next_characters(run.key, "The lazy")["models"]
    assert [len(model["bars"]) for model in bars] == [8, 8]


def test_it_goes_on_in_a_copy_and_again_from_the_start(
    run: Run, train_tab: TrainHandlers, wait_until: Callable[..., None]
) -> None:
    for button in ("pause", "restart"):  # "Go on" for more steps, and "Train again from the start"
        watched = press(train_tab, button, ANNA, run.key, **PAIRS)[0]
        other = train_tab.runs.find(watched.partition(" ")[0])
        assert other is not None
        wait_until(lambda other=other: other.is_over, "the end of the run")
        assert other.state == "done", other.message
        assert other.corpus.tokenizer_sha256 == run.corpus.tokenizer_sha256
        for before, after in zip(run.members, other.members, strict=True):
            assert [event.train_loss for event in after.events[:11]] == [event.train_loss for event in before.events]


def test_it_is_compared_and_its_surprise_read(run: Run, catalogue: Catalogue) -> None:
    tab, names = CompareHandlers(catalogue), [f"run/{run.key}/0", f"run/{run.key}/1", "shipped/gpt2"]
    own, _, shipped = asyncio.run(collect(tab.generate(names, "The fox", False, 30, "", 0.8, 0, 1, 7)))[-1]["columns"]
    assert own["prompt"] == shipped["prompt"] == "The fox"
    assert own["text"]
    readings = json.loads(tab.read(names, TEXT[:12], False))["models"]
    for reading in readings:
        assert "".join(reading["tokens"]) == TEXT[:12]
        assert len(reading["bits"]) == len(reading["tokens"])
    assert len(readings[0]["tokens"]) < len(readings[2]["tokens"])
    value, _ = tab.expect(names[:2], "The fox", False, 0.8, 0, 1)
    assert [model["error"] for model in value["models"]] == ["", ""]


def test_its_attention_is_that_over_its_tokens(run: Run, catalogue: Catalogue, files: Files) -> None:
    tab, name = AttentionHandlers(catalogue, files), f"run/{run.key}/0"
    value, _, looked = tab.look(name, "", TEXT)
    (pack,) = value["models"]
    ready = catalogue.get(name)
    ids = ready.tokenizer.encode(TEXT)
    assert "".join(pack["tokens"]) == TEXT
    assert len(pack["tokens"]) == len(ids)
    expected = attention_maps(ready.model, torch.tensor([ids]))[:, 0]
    assert torch.allclose(torch.as_tensor(unpack_attention(pack)), expected, atol=0.01)
    assert all(tab.measure(looked))
    assert tab.ablate(looked, SimpleNamespace(heads=[[0, 0]], kv_heads=[]))[0]
    assert tab.export(looked, [0, 0])


def test_what_is_taken_home_comes_back_as_an_upload(
    run: Run, train_tab: TrainHandlers, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_tab.visitors, "here", lambda: ANNA)
    (place,) = (Path(path) for path in train_tab.export(run.key) if path.endswith("gpt2-seed-1337.zip"))
    mine, theirs = catalogue.get(f"run/{run.key}/0"), catalogue.get(catalogue.upload(place.read_bytes()))
    assert theirs.tokenizer.encode(TEXT) == mine.tokenizer.encode(TEXT)
    assert evaluate(theirs.model, run.corpus) == pytest.approx(evaluate(mine.model, run.corpus))


def test_who_hands_in_the_same_text_in_the_same_tokens_joins_the_run(run: Run, start: Callable[..., Run]) -> None:
    assert start(BEN, variants=["gpt2", "modern"], **PAIRS) is run
    assert start(BEN, variants=["gpt2", "modern"], **PAIRS | {"tokens": "characters"}) is not run
