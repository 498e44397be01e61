"""The benchmarks, as small as they can be made: what they give, and what they say where something is missing.

No time is asserted anywhere; that is what the benchmarks themselves are for.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from benchmarks import SIZE, TINY_TRAINING, measured

from gpt.bench import BENCHMARKS, cache, generate, many, measure, train, window
from gpt.bench.peers import mistral_peer
from gpt.model.banded import banded_attention


@pytest.fixture
def no_transformers(monkeypatch):
    """As if it were not installed."""
    monkeypatch.setitem(sys.modules, "transformers", None)


def test_every_benchmark_has_its_settings():
    for name in BENCHMARKS:
        module = import_module(f"gpt.bench.{name}")
        assert module.FULL != module.QUICK
        assert callable(module.rows)


def test_benchmarks_are_run_by_name_in_this_order(monkeypatch):
    for module in (cache, many):
        monkeypatch.setattr(module, "rows", lambda setting: iter([setting]))
    assert list(measure(["many", "cache"])) == [many.FULL, cache.FULL]
    assert list(measure(["cache"], quick=True)) == [cache.QUICK]
    with pytest.raises(ValueError, match="no benchmark 'cash'; choose one of learn, choices, train"):
        list(measure(["cache", "cash"]))


@pytest.fixture
def tiny_generate():
    return generate.Setting(sizes=((1, 2, 8), (2, 1, 4)), new_tokens=3, repeats=2)


def test_generate(tiny_generate):
    rows = measured(generate.rows(tiny_generate))
    assert list(rows) == ["generate.1x8", "generate.2x4"]
    for row in rows.values():
        assert row.ours > 0
        assert row.peer > 0
        assert row.more["bare_share"] > 0
        assert row.as_json()["bare_share_goal"] == 1 / 3
        assert "3 tokens" in row.measured
    assert [f"generate.{layers}x{width}" for layers, _, width in generate.FULL.sizes] == [
        "generate.4x128",
        "generate.6x384",
    ]


@pytest.fixture
def tiny_window():
    return window.Setting(
        embed_size=8,
        num_heads=2,
        window_size=8,
        length=128,
        repeats=2,
        lengths=(512, 1024, 2048),  # long enough for blocks
        full_lengths=(64, 96, 128),
        exponent_repeats=2,
    )


def test_window(tiny_window):
    rows = measured(window.rows(tiny_window))
    assert list(rows) == ["window.full", "window.mistral", "window.exponent"]
    for row in rows.values():
        assert row.ours is not None
        assert row.peer is not None
    for name in ("window.full", "window.mistral"):
        assert rows[name].more["ratio_of_whole_layers"] > 0
    growth = rows["window.exponent"]
    assert growth.aim == "at most"
    assert growth.ratio == max(growth.ours, growth.more["memory"])
    assert 0.8 < growth.more["memory"] < 1.2  # bytes, not seconds: the same on every machine


def test_the_mistral_layer_has_its_window():
    """What lies further back than the window does not reach the output, and what lies within does."""
    torch.manual_seed(0)
    call = mistral_peer(8, 2, window_size=4, length=12).call
    text = torch.randn(1, 12, 8)
    changed = text.clone()
    changed[:, 5] += 1
    differs = (call(text) - call(changed)).abs().amax(dim=(0, 2)) > 1e-6
    assert differs.nonzero().flatten().tolist() == [5, 6, 7, 8]


def test_what_the_mistral_layer_attends_to_is_what_ours_does():
    read = [torch.randn(1, 2, 300, 4) for _ in range(3)]
    theirs = mistral_peer(8, 2, window_size=9, length=300).attend(*read)  # (1, T, heads, head_dim)
    torch.testing.assert_close(theirs.transpose(1, 2), banded_attention(*read, window_size=9), atol=1e-5, rtol=1e-5)


def test_peak_bytes_counts_what_is_held_at_once():
    size = 1 << 20
    apart = window.peak_bytes(lambda: [torch.empty(size, dtype=torch.uint8) is None for _ in range(3)])
    together = window.peak_bytes(lambda: torch.cat([torch.empty(size, dtype=torch.uint8) for _ in range(3)]))
    assert size <= apart < 1.1 * size
    assert 6 * size <= together < 6.1 * size  # the three, and the one made of them


def test_cache():
    setting = cache.Setting(num_layers=1, num_heads=4, embed_size=16, num_kv_heads=2, window_size=4, length=20)
    row = measured(cache.rows(setting))["cache"]
    assert (row.ours, row.peer) == (2 * 4 * 2 * 4 * 4, 2 * 20 * 4 * 4 * 4)
    assert (row.ratio, row.goal, row.verdict) == (10, 10, "met")
    assert row.more["most_past_the_window"] == row.ours
    assert "ours stays the same" in row.measured


def test_many():
    setting = many.Setting(num_layers=1, num_heads=2, embed_size=8, readers=3, new_tokens=4, repeats=2)
    row = measured(many.rows(setting))["many"]
    assert row.ours > 0
    assert row.peer > 0
    assert (row.unit, row.goal) == ("tokens/s", 4)


def test_many_readers_get_the_same_texts_either_way(small_model, ids):
    model, prompts = small_model("gpt2"), [ids(1, length) for length in (1, 4, 2)]
    texts = many.together(model, prompts, 8)
    assert texts == many.one_after_another(model, prompts, 8)
    assert [len(text) for text in texts] == [8, 8, 8]


def test_missing_peers_are_named(no_transformers, tiny_generate, tiny_window, corpus):
    tiny_train = train.Setting(size=SIZE, training=TINY_TRAINING, steps=1, repeats=2, corpus=corpus)
    rows = measured([*train.rows(tiny_train), *generate.rows(tiny_generate), *window.rows(tiny_window)])
    for name in ("train.transformers", "generate.1x8", "window.mistral"):
        row = rows[name]
        assert row.ours > 0
        assert (row.peer, row.ratio, row.verdict) == (None, None, "")
        assert "The peer is missing: transformers is not installed" in row.measured
    for name in ("train.nanogpt", "window.full"):  # which need no package
        assert rows[name].peer > 0


def test_all_in_a_hurry_is_over_within_two_minutes():
    """Each keeps about to its part; the rest is for what Python has to load."""
    assert sum(import_module(f"gpt.bench.{name}").QUICK.seconds for name in BENCHMARKS) <= 110


def test_in_no_time_at_all_there_is_still_a_figure_of_each(tiny_generate, tiny_window):
    """What is measured is smaller then, and not held to the goal."""
    reading = cache.Setting(num_layers=1, num_heads=2, embed_size=8, num_kv_heads=1, window_size=16, length=1000)
    waiting = many.Setting(num_layers=1, num_heads=2, embed_size=8, readers=3, new_tokens=12, repeats=9)
    rows = measured(
        [
            *cache.rows(replace(reading, seconds=0.0)),
            *many.rows(replace(waiting, seconds=0.0)),
            *generate.rows(replace(tiny_generate, new_tokens=30, seconds=0.0)),
            *window.rows(replace(tiny_window, lengths=(256, 512, 1024, 2048, 4096), seconds=0.0)),
        ]
    )
    assert "after 32 tokens" in rows["cache"].measured
    assert rows["cache"].verdict == "met"
    assert "each waiting for 10 at" in rows["many"].measured
    assert "20 tokens, the likeliest" in rows["generate.1x8"].measured
    assert "one text of 16 tokens" in rows["window.full"].measured
    assert "from T = 256 to 1024" in rows["window.exponent"].measured
    for name in ("many", "generate.1x8", "window.full", "window.mistral"):
        assert rows[name].ratio > 0
        assert rows[name].verdict == "not judged"
