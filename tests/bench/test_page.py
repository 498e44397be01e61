"""What is measured of a page: pages that are small programs, and once the lab's own."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import measured
from served import STORY, serve

from gpt import GPT2, TrainConfig, Trainer
from gpt.bench import page, served, start
from gpt.bench.visitor import PageChanged, Sight, Visitor
from gpt.model.config import adjusted_config
from gpt.ui import create_demo

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
    return start.Setting(repeats=2, most_seconds=60.0, program=program)


def test_start(pages):
    row = measured(start.rows(pages))["start"]
    assert row.ours > 0
    assert row.peer > 0
    assert (row.goal, row.aim) == (1.3, "at most")


def test_start_says_what_is_missing(pages, monkeypatch):
    row = measured(start.rows(replace(pages, program=pages.program.parent / "none.py")))["start"]
    assert (row.ours, row.peer, row.ratio) == (None, None, None)
    assert "The page is missing" in row.measured
    monkeypatch.setattr(served, "find_spec", lambda name: None)
    assert "gradio is not installed" in measured(start.rows(pages))["start"].measured


def test_a_page_that_does_not_come_is_an_error(pages):
    pages.program.write_text("raise SystemExit(3)")
    with pytest.raises(OSError, match=r"demo\.py ended with status 3 before its page answered"):
        list(start.rows(pages))
    pages.program.write_text("import time; time.sleep(60)")
    with pytest.raises(TimeoutError, match=r"demo\.py has not answered on port \d+ for 0 seconds"):
        list(start.rows(replace(pages, most_seconds=0.3)))


# --- page -----------------------------------------------------------------------------------------------------------

# Serves one run of two models: a first point, then a step of each every few milliseconds, as Gradio tells of it.
LAB = """
import http.server, json, sys, time
CONTROLS = {
    "Variants": ["gpt2", "sliding-window"], "also without the causal mask": False, "Size": "tiny: 1 layers, 32 wide",
    "Text": "a text", "Steps": 4, "Recipe": "fast", "Batch size": 2, "Learning rate": 1, "Context": 16, "Window": 4,
    "KV heads": 1, "Seed": 1337,
}
NAMES = ("train", "watch", "stop")
LABELS = [None, None, *CONTROLS]
components = [{"id": n, "props": {"label": l, "value": CONTROLS.get(l)}} for n, l in enumerate(LABELS)]
components.append({"id": 99, "props": {"elem_id": "run-panel"}})
CONFIG = {
    "components": components,
    "dependencies": [{"id": n, "api_name": name, "inputs": list(range(len(LABELS)))} for n, name in enumerate(NAMES)],
}
joined, seeds = {}, []
class Page(http.server.BaseHTTPRequestHandler):
    def answer(self, text=""):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "queue/join" in self.path:
            name = NAMES[body["fn_index"]]
            joined[body["session_hash"]] = name
            if name == "train":
                seeds.append(body["data"][LABELS.index("Seed")])
        self.answer('{"event_id": "mine"}')
    def tell(self, msg, data, **more):
        message = {"msg": msg, "event_id": "mine", "output": {"data": data}, "success": True} | more
        self.wfile.write(f"data: {json.dumps(message)}\\n\\n".encode())
    def do_GET(self):
        if "queue/data" not in self.path:
            return self.answer(json.dumps(CONFIG) if "config" in self.path else "<html>")
        self.answer(": a comment\\n\\n")
        name = joined[self.path.partition("=")[2]]
        if name != "watch":
            return self.tell("process_completed", ["run 1", None, "secret"])
        curve = {"losses": "", "validation_losses": ""}
        chart = {"series": [curve | {"label": label} for label in CONTROLS["Variants"]]}
        self.tell("process_generating", [chart, {"sentence": "Starting"}])
        self.tell("process_generating", [], event_id="another's")
        begin = LOSSES.get(seeds[-1], ())
        points = [["append", ["series", n, "validation_losses"], f"{loss} "] for n, loss in enumerate(begin)]
        self.tell("process_generating", [points, []])
        for step in range(STEPS):
            time.sleep(0.01)
            losses = [["append", ["series", n, "losses"], "4.1 "] for n in range(2)]
            self.tell("process_generating", [losses, [["replace", ["sentence"], f"step {step + 1}"]]])
            self.tell("process_generating", [[], []])  # nothing new on the chart
        self.tell("process_completed", [])
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Page).serve_forever()
"""


@pytest.fixture
def lab(tmp_path, corpus, monkeypatch):
    """`lab(losses, steps)`: the setting of a page whose models begin at these losses and make so many steps."""
    monkeypatch.setattr(page, "load_corpus", lambda name: corpus)

    def setting(losses, steps=4, **changes):
        program = tmp_path / "demo.py"
        program.write_text(f"LOSSES, STEPS = {losses}, {steps}\n{LAB}")
        return page.Setting(
            **{"servers": 1, "repeats": 2, "sessions": 3, "reading_seconds": 0.0, "program": program, **changes}
        )

    return setting


@pytest.fixture
def first_losses(corpus):
    """What the two models of `LAB` begin at, by seed, in the command line's own training."""
    size = {"num_layers": 1, "num_heads": 1, "embed_size": 32, "context_length": 16}
    losses = {}
    for seed in range(1337, 1341):
        losses[seed] = []
        for variant in ("gpt2", "sliding-window"):
            vocab_size = corpus.tokenizer.vocab_size
            model = GPT2.from_config(adjusted_config(variant, vocab_size, window_size=4, num_kv_heads=1, **size))
            model.initialize(seed)
            event = next(Trainer(model, corpus, TrainConfig(seed=seed, device="cpu")).events())
            losses[seed].append(round(event.validation_loss, 4))
    return losses


def test_page(lab, first_losses):
    rows = measured(page.rows(lab(first_losses)))
    assert list(rows) == ["page.first_point", "page.run", "page.gap", "page.steps"]
    for row in rows.values():
        assert row.ours > 0
        assert row.verdict
        assert "EXTRAPOLATED" not in row.measured
    assert (rows["page.first_point"].goal, rows["page.first_point"].goal_for) == (2, "ours")
    assert (rows["page.run"].goal, rows["page.run"].aim) == (1.15, "at most")
    assert rows["page.run"].peer > 0
    assert (rows["page.gap"].goal, rows["page.gap"].goal_for) == (1, "ours")
    assert (rows["page.steps"].goal, rows["page.steps"].aim) == (0.8, "at least")
    assert "3 of 3 saw it move" in rows["page.steps"].measured


def test_where_a_whole_run_does_not_fit_its_beginning_is_timed(lab, first_losses, monkeypatch):
    monkeypatch.setattr(page, "FEWEST_SECONDS", 0.05)
    rows = measured(page.rows(lab(first_losses, steps=1000, seconds=0.0, changes={"Steps": 1000})))
    row = rows["page.run"]
    assert row.ours > 0
    assert row.peer > 0
    assert "EXTRAPOLATED to all 2000 steps of all models from the first " in row.measured


def test_models_that_begin_elsewhere_are_not_compared(lab):
    rows = measured(page.rows(lab({1337: [9.9, 9.9]})))
    assert rows["page.run"].ratio is None
    assert "Broken off: the page's run began at a loss of 9.9, ours at " in rows["page.run"].measured
    assert rows["page.first_point"].ours > 0  # what was measured before


def test_a_page_that_is_not_there_has_rows_without_figures(lab, tmp_path):
    rows = measured(page.rows(lab({}, program=tmp_path / "none.py")))
    assert {row.ours for row in rows.values()} == {None}
    assert all("The page is missing" in row.measured for row in rows.values())


def test_a_page_that_has_changed_says_so(lab, first_losses):
    rows = measured(page.rows(lab(first_losses, changes={"Paint": "red"})))
    assert "Broken off: the Train tab has no control Paint; it has Variants" in rows["page.run"].measured


def test_gaps_and_speed_are_counted_from_the_first_point():
    sight = Sight(changes=[(10.0, 0), (10.5, 2), (12.0, 10)])
    assert sight.longest_gap == 1.5
    assert sight.steps_per_second == 5
    assert (Sight().longest_gap, Sight().steps_per_second) == (0, 0)
    assert math.isnan(page._whole(0.0, Sight(changes=[(1.0, 0)]), 100))
    assert page._whole(9.0, sight, 100) == 1 + 100 / 5


# --- The lab itself -------------------------------------------------------------------------------------------------


def test_the_visitor_knows_the_lab(page_of_the_lab):
    """What the benchmark asks for and reads is what the lab's page has: its functions, labels and charts."""
    visitor = Visitor(page_of_the_lab)
    read = {"Variants", "Size", "Text", "Steps", "Recipe", "Batch size", "Context", "Window", "KV heads", "Seed"}
    assert read <= visitor.controls().keys()
    small = {"Variants": ["gpt2"], "Size": "tiny: 2 layers, 64 wide", "Batch size": 2, "Context": 32, "Steps": 150}
    watched = visitor.press_train(**{"Text": "your own text", "Your own text": STORY}, **small)
    sight = visitor.watch(watched)
    assert sight.ended is not None
    assert sight.said.startswith("Done: 150 steps")
    assert len(sight.changes) > 1
    assert sight.changes[-1][1] == 150
    assert sight.chart["series"][0]["validation_losses"]
    long = visitor.press_train(**{"Text": "your own text", "Your own text": STORY}, **small | {"Steps": 5000})
    assert visitor.watch(long, most_seconds=0.0).ended is None
    visitor.give_sign(long)
    visitor.press_stop(long)
    with pytest.raises(PageChanged, match="has no control Colour"):
        visitor.press_train(Colour="red")


@pytest.fixture
def page_of_the_lab(tmp_path):
    """The port of the lab's own page, without models."""
    with serve(create_demo(models_folder=Path(tmp_path))) as address:
        yield int(address.rstrip("/").rpartition(":")[2])
