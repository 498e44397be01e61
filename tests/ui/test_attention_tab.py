"""Attention: what the page draws is what the model computes, and what cannot be drawn is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from served import CONTEXT, assert_same_weights, refuses, unpack_attention

from gpt import attention_maps
from gpt.run import Run
from gpt.runs import Runs
from gpt.ui.attention_tab import AttentionHandlers
from gpt.ui.catalogue import Catalogue

TEXT = "The lazy dog dreams, and runs."


@pytest.fixture
def attention_tab(catalogue: Catalogue) -> AttentionHandlers:
    """The Attention tab's handlers."""
    return AttentionHandlers(catalogue)


def assert_shows(value: dict[str, Any], catalogue: Catalogue, name: str, text: str) -> None:
    """Fail unless the value holds that model's attention over that text."""
    ready = catalogue.get(name)
    weights = attention_maps(ready.model, torch.tensor([ready.tokenizer.encode(text)]))[:, 0]
    assert_same_weights(unpack_attention(value), weights)
    assert value["tokens"] == list(text)
    assert value["label"] == ready.label
    assert value["colour"] == f"var(--variant-{ready.variant})"
    assert value["window"] == ready.model.config.window_size
    assert value["kv_heads"] == ready.model.config.kv_heads


@pytest.mark.parametrize("name", ["shipped/gpt2", "shipped/sliding-window"])
@pytest.mark.parametrize("text", ["T", TEXT, "fox\ndog", "dog " * (CONTEXT // 4)])
def test_the_map_is_the_models_attention(
    attention_tab: AttentionHandlers, catalogue: Catalogue, name: str, text: str
) -> None:
    assert_shows(attention_tab.look(name, text), catalogue, name, text)


def test_trained_models_are_drawn_too(
    attention_tab: AttentionHandlers, catalogue: Catalogue, finished: Callable[..., Run]
) -> None:
    run = finished(variants=["rotary", "grouped-query", "modern"], num_kv_heads=1, window_size=4)
    for number in range(3):
        name = f"run/{run.key}/{number}"
        assert_shows(attention_tab.look(name, TEXT), catalogue, name, TEXT)


def test_without_the_causal_mask_the_future_is_drawn(
    attention_tab: AttentionHandlers, finished: Callable[..., Run]
) -> None:
    run = finished(without_mask=True)
    values = [attention_tab.look(f"run/{run.key}/{number}", TEXT) for number in (0, 1)]
    assert [value["causal"] for value in values] == [True, False]
    assert unpack_attention(values[1]).triu(1).sum() > 0


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("shipped/gpt2", "", "The text is empty"),
        ("shipped/gpt2", None, "The text is missing"),
        ("shipped/gpt2", ["T"], "The text is missing"),
        ("shipped/gpt2", "o" * (CONTEXT + 1), "The text has 33 characters; gpt2 looks at 32 at most"),
        ("shipped/gpt2", "o" * 100_001, "The text has 100,001 characters"),
        ("shipped/gpt2", "dog \ud800", "half a character"),
        ("shipped/gpt2", "dog #7", "never seen '#' '7'"),
        ("shipped/gpt2", "<img src=x>", "never seen '<'"),
        ("shipped/mamba", TEXT, "This model is no longer here"),
        ("shipped/../../etc", TEXT, "This model is no longer here"),
        ("", TEXT, "This model is no longer here"),
        (None, TEXT, "This model is no longer here"),
        ([], TEXT, "This model is no longer here"),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_what_cannot_be_drawn_is_refused(attention_tab: AttentionHandlers, name: Any, text: Any, match: str) -> None:
    with refuses(match):
        attention_tab.look(name, text)


# --- Opening the tab ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [("shipped/sliding-window", "shipped/sliding-window"), (None, "shipped/gpt2"), ("run/gone/0", "shipped/gpt2")],
)
def test_opening_shows_the_chosen_model_or_the_first(
    attention_tab: AttentionHandlers, catalogue: Catalogue, chosen: Any, shown: str
) -> None:
    update, value = attention_tab.opened([], chosen, TEXT)
    assert update.value == shown
    assert_shows(value, catalogue, shown, TEXT)


def test_opening_offers_what_was_trained(attention_tab: AttentionHandlers, finished: Callable[..., Run]) -> None:
    run = finished()
    update, _ = attention_tab.opened([run.key], "shipped/gpt2", TEXT)
    assert f"run/{run.key}/0" in [name for _, name in update.choices]
    assert update.value == "shipped/gpt2"


def test_opening_without_models_draws_nothing(tmp_path: Path, runs: Runs) -> None:
    update, _ = AttentionHandlers(Catalogue(tmp_path, runs)).opened([], None, TEXT)
    assert update.choices == []


def test_a_text_that_does_not_fit_does_not_hide_what_was_trained(
    attention_tab: AttentionHandlers, finished: Callable[..., Run]
) -> None:
    """A visitor with too long a text in the box trains a model and comes back: it has to be in the list."""
    run = finished()
    update, _ = attention_tab.opened([run.key], "shipped/gpt2", "o" * (CONTEXT + 1))
    assert f"run/{run.key}/0" in [name for _, name in update.choices]
