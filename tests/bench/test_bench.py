"""The benchmarks, as small as they can be made: what they give, and what they say where something is missing.

No time is asserted anywhere; that is what the benchmarks themselves are for.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

import gpt.training.optimizers
from gpt import GPT2, Corpus, TrainConfig
from gpt.bench import BENCHMARKS, cache, choices, generate, learn, many, measure, start, train, window
from gpt.bench.peers import gpt2_peer, mistral_peer, pytorchs_muon
from gpt.bench.rows import Row, as_json_line, as_text, in_pairs, table_head, timed_row
from gpt.bench.turns import in_turns, threads
from gpt.costs.machine import installed, machine_text
from gpt.model.banded import banded_attention
from gpt.training.optimizers import build_optimizers

FIGURES = ["ours", "peer", "ratio", "spread", "goal"]
SIZE = {"num_layers": 1, "num_heads": 2, "embed_size": 8, "context_length": 16}
TINY_TRAINING = TrainConfig(max_steps=6, batch_size=2, warmup_steps=1, device="cpu")


def measured(rows) -> dict[str, Row]:
    """The rows by name, after what holds for all: they can be read as a table and as JSON."""
    rows = list(rows)
    figures = json.loads(as_json_line(rows))
    for row in rows:
        assert list(figures[row.name])[:5] == FIGURES
        assert figures[row.name]["goal"] == row.goal
        first, *below = as_text(row).splitlines()
        assert first.startswith(row.name)
        assert below
        assert all(line.startswith("    ") and len(line) <= 120 for line in below)
    assert len(figures) == len(rows)
    return {row.name: row for row in rows}


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


# --- Statistics and tables ------------------------------------------------------------------------------------------


def test_turns_are_taken_one_after_the_other():
    done = []
    works = {name: lambda name=name: done.append(name) for name in ("ours", "peer")}
    seconds = in_turns(works, 3, "a test")
    assert done == ["ours", "peer"] * 4  # the first is to warm up
    assert {name: len(times) for name, times in seconds.items()} == {"ours": 3, "peer": 3}
    assert all(second >= 0 for times in seconds.values() for second in times)
    assert {len(times) for times in in_turns(works, 3, "a test", most_seconds=0).values()} == {1}


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_the_ratio_is_the_median_over_neighbours():
    """A slow moment that hits a whole pair changes neither the ratio nor its spread."""
    row = timed_row("a", "what", ours=[1.0, 10.0, 2.0], peer=[4.0, 40.0, 8.0], goal=3)
    assert (row.ours, row.peer, row.ratio, row.spread, row.verdict) == (2.0, 8.0, 4.0, 0.0, "met")
    rates = timed_row("a", "what", ours=[1.0, 2.0, 4.0], peer=[2.0, 2.0, 2.0], goal=3, tokens=100)
    assert (rates.ours, rates.peer, rates.ratio, rates.unit, rates.verdict) == (50, 50, 1, "tokens/s", "not met")
    assert in_pairs([], [1.0]) == []
    alone = timed_row("a", "what", ours=[1.0, 2.0], peer=[], goal=3)
    assert (alone.ours, alone.peer, alone.ratio, alone.verdict) == (1.5, None, None, "")


@pytest.mark.parametrize(
    ("aim", "ratio", "verdict"),
    [
        ("at least", 2.0, "met"),
        ("at least", 1.9, "not met"),
        ("at most", 2.0, "met"),
        ("at most", 2.1, "not met"),
        ("exactly", 2.0, "met"),
        ("exactly", 2.1, "not met"),
        ("at most", None, ""),
        ("at most", math.inf, ""),
    ],
)
def test_verdicts(aim, ratio, verdict):
    row = Row("a", "what", 1.0, 2.0, "s", ratio, 0.1, goal=2.0, aim=aim)
    assert row.verdict == verdict
    assert as_text(row).splitlines()[0].endswith(verdict or "2")


def test_what_is_no_number_becomes_null():
    row = Row("a", "what", math.inf, None, "s", math.nan, math.nan, goal=2.0, more={"share": 0.5})
    line = as_json_line([row])
    assert json.loads(line) == {
        "a": {"ours": None, "peer": None, "ratio": None, "spread": None, "goal": 2.0, "share": 0.5}
    }
    assert "\n" not in line
    assert "nan" not in as_text(row)
    assert "inf" not in as_text(row)


def test_a_row_reads_as_a_line_and_what_was_measured():
    row = Row("train", "Steps.\nPeer missing.", 12345.6, 6000.0, "tokens/s", 2.0576, 0.031, 2.0, more={"a_share": 0.5})
    head, *below = as_text(row).splitlines()
    assert " ".join(head.split()) == "train 12,346 tokens/s 6,000 tokens/s 2.06 ± 3% >= 2 met"
    assert [line.strip() for line in below] == ["Steps.", "Peer missing.", "a share: 0.5"]
    assert table_head().split()[:4] == ["ours", "peer", "ratio", "goal"]


def test_the_machine_is_named():
    text = machine_text()
    for part in (
        "CPU ",
        " cores",
        f"PyTorch with {torch.get_num_threads()} thread",
        "Python 3.",
        f"torch {torch.__version__}",
    ):
        assert part in text
    assert installed("no-such-package-of-ours") == "missing"


# --- learn ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def race(corpus):
    """`race(ours, peer, **changes)`: the rows of a tiny race, given what changes in both recipes."""

    def run(ours, peer, **changes):
        setting = learn.Setting(
            size=SIZE,
            ours=replace(TINY_TRAINING, **ours),
            steps=dict.fromkeys(learn.GOALS, TINY_TRAINING.max_steps),
            peer=replace(TINY_TRAINING, max_steps=4, **peer),
            **{"peer_steps": 4, "look_every": 2, "repeats": 2, "turns": 2, "corpus": corpus, **changes},
        )
        return measured(learn.rows(setting))

    return run


STANDING_STILL = {"learning_rate": 0.0, "matrix_learning_rate": 0.0}


def test_learn(race):
    rows = race({}, STANDING_STILL)
    assert list(rows) == ["learn.gpt2", "learn.rotary"]
    for row in rows.values():
        assert row.ours > 0
        assert row.peer > 0
        assert row.ratio > 0
        assert "Reached in 2 of 2: after " in row.measured
        assert "4 steps of batch 2" in row.measured
        assert "EXTRAPOLATED" not in row.measured
    assert (rows["learn.gpt2"].goal, rows["learn.rotary"].goal) == (6, 8)


def test_learn_says_what_was_not_reached(race):
    fast = {"learning_rate": 0.05, "matrix_learning_rate": None}
    row = race(STANDING_STILL, fast)["learn.gpt2"]
    assert (row.ours, row.ratio, row.verdict) == (None, None, "")
    assert row.peer > 0
    assert "Reached in 0 of 2: not within 6 steps, not within 6 steps." in row.measured


def test_learn_extrapolates_only_where_it_says_so(race, tiny_text):
    row = race({}, {}, peer_steps=2, corpus=Corpus.from_text("shakespeare", tiny_text), most_windows=4)["learn.gpt2"]
    assert "EXTRAPOLATED from 2 steps" in row.measured
    assert "Loss to reach: 1.880, 1.880." in row.measured
    assert learn.FULL.peer_steps == learn.FULL.peer.max_steps == 2000
    assert learn.QUICK.peer_steps < 2000


def test_learn_breaks_off(race):
    row = race({}, {}, most_seconds=-1.0, repeats=1)["learn.rotary"]
    assert (row.ours, row.ratio) == (None, None)
    assert "not within 0 steps" in row.measured


# --- choices --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_choices(corpus):
    return choices.Setting(size=SIZE, recipe=TINY_TRAINING, repeats=2, turns=2, most_windows=2, corpus=corpus)


def test_choices(tiny_choices):
    rows = measured(choices.rows(tiny_choices))
    assert list(rows) == [f"choices.{name}" for name in choices.CHOICES]
    for row in rows.values():
        assert row.goal is None
        assert row.verdict == ""
        assert row.ratio > 0
        assert row.more["nats_gained"] == pytest.approx(row.peer - row.ours)
        assert "over 2 seeds" in row.measured
    for name in ("precision", "stack"):  # the same computation, so about the same loss
        assert rows[f"choices.{name}"].peer == pytest.approx(rows["choices.muon"].ours, abs=0.02)
    assert rows["choices.momentum"].peer != rows["choices.momentum"].ours


def test_choices_in_a_few_steps_compare_times_alone(tiny_choices):
    rows = measured(choices.rows(replace(tiny_choices, share=0.5, choices=("precision", "stack"))))
    assert list(rows) == ["choices.precision", "choices.stack"]
    for row in rows.values():
        assert (row.ours, row.peer, row.more["nats_gained"]) == (None, None, None)
        assert row.ratio > 0
        assert "not compared in so few steps" in row.measured


def test_choices_put_back_what_they_replace(tiny_choices, monkeypatch):
    before = gpt.training.optimizers.StackedMuon
    used = []

    def noting(*arguments, **options):
        used.append("torch.optim.Muon")
        return pytorchs_muon(*arguments, **options)

    monkeypatch.setattr(choices, "pytorchs_muon", noting)
    list(choices.rows(replace(tiny_choices, choices=("stack",), repeats=1)))
    assert used
    assert gpt.training.optimizers.StackedMuon is before


# --- The others -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_train(corpus):
    return train.Setting(size=SIZE, training=replace(train.ENDLESS, batch_size=2), steps=2, repeats=2, corpus=corpus)


def test_train(tiny_train):
    row = measured(train.rows(tiny_train))["train"]
    assert row.ours > 0
    assert row.peer > 0
    assert row.ratio > 0
    assert row.spread >= 0
    assert (row.unit, row.goal) == ("tokens/s", 2)
    assert "2 x 16 tokens, 1 layers of 2 heads, 8 wide" in row.measured


def test_train_gives_both_the_same_optimizers(corpus, small_config):
    """Muon moves the matrices of the blocks, AdamW the rest, and nothing is left out."""
    theirs = gpt2_peer(small_config("gpt2"))
    adamw, muon = build_optimizers(train.NamedAsOurs(theirs), TrainConfig())
    by_muon = [parameter for group in muon.param_groups for parameter in group["params"]]
    by_adamw = [parameter for group in adamw.param_groups for parameter in group["params"]]
    assert len(by_muon) == 4 * 2  # four matrices in each of two blocks
    assert {id(parameter) for parameter in by_muon + by_adamw} == {id(parameter) for parameter in theirs.parameters()}
    ours = GPT2.from_config(small_config("gpt2"))
    assert sum(p.numel() for p in by_muon) == sum(
        p.numel() for p in build_optimizers(ours, TrainConfig())[1].param_groups[0]["params"]
    )


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
        mistral_repeats=2,
        lengths=(512, 1024, 2048),  # long enough for blocks
        full_lengths=(64, 128),
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


def test_missing_peers_are_named(no_transformers, tiny_train, tiny_generate, tiny_window):
    rows = measured([*train.rows(tiny_train), *generate.rows(tiny_generate), *window.rows(tiny_window)])
    for name in ("train", "generate.1x8", "window.mistral"):
        row = rows[name]
        assert row.ours > 0
        assert (row.peer, row.ratio, row.verdict) == (None, None, "")
        assert "The peer is missing: transformers is not installed" in row.measured
    assert rows["window.full"].peer > 0


# --- start ----------------------------------------------------------------------------------------------------------

ANSWERS = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Page).serve_forever()
"""


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A setting in which both pages are small programs that answer at once."""
    program = tmp_path / "demo.py"
    program.write_text(ANSWERS)
    monkeypatch.setattr(start, "ONE_BUTTON", ANSWERS)
    return start.Setting(repeats=2, reading_seconds=0.0, most_seconds=60.0, program=program, presses=0)


def test_start(pages):
    row = measured(start.rows(pages))["start"]
    assert row.ours > 0
    assert row.peer > 0
    assert (row.goal, row.aim) == (1.3, "at most")
    assert row.as_json()["seconds_to_first_point"] is None


def test_start_says_what_is_missing(pages, monkeypatch):
    row = measured(start.rows(replace(pages, program=pages.program.parent / "none.py")))["start"]
    assert (row.ours, row.peer, row.ratio) == (None, None, None)
    assert "The page is missing" in row.measured
    monkeypatch.setattr(start, "find_spec", lambda name: None)
    assert "gradio is not installed" in measured(start.rows(pages))["start"].measured


def test_a_page_that_does_not_come_is_an_error(pages):
    pages.program.write_text("raise SystemExit(3)")
    with pytest.raises(OSError, match=r"demo\.py ended with status 3 before its page answered"):
        list(start.rows(pages))
    pages.program.write_text("import time; time.sleep(60)")
    with pytest.raises(TimeoutError, match=r"demo\.py has not answered on port \d+ for 0 seconds"):
        list(start.rows(replace(pages, most_seconds=0.3)))


def test_the_first_point_is_waited_for(pages, monkeypatch):
    """A client that gives a chart without a point, then one with the first."""
    empty = {"series": [{"losses": "", "validation_losses": ""}]}
    point = {"series": [{"losses": "", "validation_losses": "4.2 "}]}
    pressed = []

    class Job(list):
        def cancel(self):
            pressed.append("cancelled")

    class Client:
        def __init__(self, address, verbose):
            assert address == "http://127.0.0.1:1"

        def view_api(self, **_):
            parameters = [
                {"parameter_name": "secret", "parameter_has_default": False},
                {"parameter_name": "param_2", "parameter_has_default": True},
            ]
            return {"named_endpoints": {"/train": {"parameters": parameters}}}

        def predict(self, **given):
            pressed.append(given)
            return "key", "secret"

        def submit(self, key, api_name):
            assert (key, api_name) == ("key", "/watch")
            return Job([(empty, {}), (point, {})])

    monkeypatch.setitem(sys.modules, "gradio_client", SimpleNamespace(Client=Client))
    assert start.first_point(1, pages) > 0
    assert pressed == [{"secret": "", "api_name": "/train"}, "cancelled"]
