"""The cache: what models hold while they write is what the formula says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from served import BOTH, CONTEXT, collect

from gpt import GPT2
from gpt.costs.formulas import cache_bytes
from gpt.runs.run import Run
from gpt.ui.catalogue import Catalogue
from gpt.ui.cost import cache_view
from gpt.ui.cost.cache_view import CacheMeasurement, formula_bytes
from gpt.ui.cost.handlers import CostHandlers


def test_what_is_held_is_what_the_formula_says(
    cost: CostHandlers, catalogue: Catalogue, finished: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_view, "MOST_CACHED_TOKENS", 3 * CONTEXT)
    run = finished(variants=["rotary", "grouped-query", "sliding-window", "modern"], num_kv_heads=1, window_size=4)
    names = [f"run/{run.key}/{number}" for number in range(4)]
    value = json.loads(asyncio.run(collect(cost.measure_cache(names)))[-1])
    assert value["status"].startswith("Done")
    for curve, name in zip(value["curves"], names, strict=True):
        config = catalogue.get(name).model.config
        for length, kibibytes in curve["measured"]:
            held = formula_bytes(config, length)
            assert 1024 * kibibytes == (0 if held is None else held)
        assert curve["measured_words"].startswith("equal at ")
        equal, of = (int(word) for word in curve["measured_words"].split() if word.isdecimal())
        assert equal == of == len(curve["computed"])
    assert "no" not in [row[4] for row in value["rows"]]


def test_the_formula_ends_where_nothing_is_kept(small_config: Callable[..., Any]) -> None:
    learned, rolling = small_config("sliding-window"), small_config("modern")
    assert formula_bytes(learned, learned.context_length) == cache_bytes(learned, learned.context_length)
    assert formula_bytes(learned, learned.context_length + 1) is None
    assert rolling.receptive_field <= rolling.context_length
    assert formula_bytes(rolling, 10 * rolling.context_length) == cache_bytes(rolling, rolling.window_size)
    assert formula_bytes(small_config("gpt2", causal=False), 2) is None


def test_without_the_causal_mask_nothing_is_computed_or_held(cost: CostHandlers, finished: Callable[..., Run]) -> None:
    run = finished(without_mask=True)
    value = json.loads(asyncio.run(collect(cost.measure_cache([f"run/{run.key}/1"])))[-1])
    (curve,) = value["curves"]
    assert curve["computed"] == []
    assert {count for _, count in curve["measured"]} == {0}
    assert "Without the causal mask" in value["sentences"][-1]
    assert value["rows"] == [[curve["label"], "300", "–", "0", "–"]]


def test_a_model_that_cannot_write_does_not_stop_the_others(catalogue: Catalogue) -> None:
    good, bad = (catalogue.get(name) for name in BOTH)
    broken = GPT2.from_config(bad.model.config)
    with torch.no_grad():
        broken.token_embedding.weight.fill_(float("nan"))
    cache = CacheMeasurement([good, SimpleNamespace(**{**vars(bad), "model": broken})])  # type: ignore[list-item]
    while not cache.is_over:
        cache.write_for(1.0)
    first, second = json.loads(cache.view())["curves"]
    assert first["measured_words"].startswith("equal at")
    assert second["measured_words"].startswith("The model's logits are not numbers")


def test_before_it_is_measured_the_formula_is_drawn(cost: CostHandlers) -> None:
    value = json.loads(cost.preview_cache(BOTH))
    assert all(curve["computed"] and not curve["measured"] for curve in value["curves"])
    assert {row[3] for row in value["rows"]} == {"–"}
