"""What a visitor takes home from a run is what the run was."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gpt.checkpoints.upload import load_checkpoint_zip, open_model
from gpt.data.corpora import load_corpus
from gpt.data.corpus import Corpus
from gpt.model.config import make_config
from gpt.runs.exports import export_for_transformers, export_run, reproduction_script
from gpt.runs.limits import Limits
from gpt.runs.request import RunRequest
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.training.recipes import TrainConfig

PROJECT = Path(__file__).parents[2]


def _finished(corpus: Corpus, seeds: int = 1) -> Run:
    size = {"embed_size": 16, "num_heads": 2, "num_layers": 1, "context_length": 16}
    models = tuple((name, make_config(name, corpus.tokenizer.vocab_size, **size)) for name in ("gpt2", "rotary"))
    training = TrainConfig(max_steps=12, batch_size=4, eval_interval=6, eval_windows=4, sample_length=10, device="cpu")
    runs = Runs(Limits(unwatched_seconds=600.0))
    asked = RunRequest(models, corpus.sha256, training, seeds, tokenizer_sha256=corpus.tokenizer_sha256)
    run = runs.submit(asked, corpus, "visitor")
    deadline = time.monotonic() + 300
    while not run.is_over and time.monotonic() < deadline:
        time.sleep(0.02)  # until the worker is done
    runs.close()
    assert run.state == "done", run.message
    return run


@pytest.fixture(scope="module")
def finished() -> Run:
    return _finished(load_corpus("python-docs"))


def test_history_is_the_trainers_own_log(finished: Run, tmp_path: Path) -> None:
    export_run(finished, tmp_path)
    with open(tmp_path / "history.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    logged = [(member, event) for member in finished.members for event in member.events]
    assert len(rows) == len(logged)
    for row, (member, event) in zip(rows, logged, strict=True):
        assert (row["model"], int(row["seed"]), int(row["step"])) == (member.label, member.seed, event.step)
        assert row["train_loss"] == ("" if event.train_loss is None else repr(event.train_loss))
        assert row["gradient_norm"] == ("" if event.gradient_norm is None else repr(event.gradient_norm))
        accuracy = event.validation_accuracy
        assert row["validation_accuracy"] == ("" if accuracy is None else repr(accuracy))
        assert row["validation_loss"] == ("" if event.validation_loss is None else repr(event.validation_loss))


def test_each_model_is_an_archive_of_its_best_weights_that_compare_opens(finished: Run, tmp_path: Path) -> None:
    export_run(finished, tmp_path)
    for member in finished.members:
        place = tmp_path / f"{member.label}-seed-{member.seed}.zip"
        loaded = load_checkpoint_zip(place.read_bytes())
        opened, tokenizer = open_model(place)  # as `python -m gpt generate --model` does
        assert tokenizer.decode(tokenizer.encode("To be")) == "To be"
        for mine, theirs in zip(member.model_at().parameters(), opened.parameters(), strict=True):
            assert torch.equal(mine, theirs)
        for mine, theirs in zip(member.model_at().parameters(), loaded.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)
        assert list(loaded.history) == member.events


def test_each_model_opens_in_transformers(finished: Run, tmp_path: Path) -> None:
    files, refused = export_for_transformers(finished, tmp_path)
    assert [path.name for path in files] == ["gpt2-seed-1337-transformers.zip", "rotary-seed-1337-transformers.zip"]
    assert refused == []
    for path, member in zip(files, finished.members, strict=True):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path)
        folder = tmp_path / path.stem
        theirs = AutoModelForCausalLM.from_pretrained(folder)
        ids = AutoTokenizer.from_pretrained(folder)("a short text", return_tensors="pt")["input_ids"]
        assert ids[0].tolist() == finished.corpus.tokenizer.encode("a short text")
        with torch.no_grad():
            torch.testing.assert_close(theirs(ids).logits, member.model_at()(ids), atol=1e-4, rtol=1e-4)
        card = (folder / "README.md").read_text(encoding="utf-8")
        best = min(event.validation_loss for event in member.events if event.validation_loss is not None)
        assert f"| best validation loss | {best:.3f} ± " in card
        assert "| corpus | python-docs (SHA-256 of the text" in card


def test_charts_are_pictures(finished: Run, tmp_path: Path) -> None:
    export_run(finished, tmp_path)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(tmp_path / "chart.svg").getroot().tag.endswith("svg")


def test_script_prints_the_losses_of_the_chart(finished: Run, tmp_path: Path) -> None:
    assert _printed(finished, tmp_path, PROJECT) == _first_losses(finished)


@pytest.mark.parametrize("byte_pairs", [None, 300])
def test_script_for_an_own_text_brings_the_text(tmp_path: Path, byte_pairs: int | None) -> None:
    """As it was learned: with a byte order mark and line ends of all kinds, a paste is not what its file would be."""
    text = "".join(f"line {number}: héllo → wörld\n" for number in range(60))
    pasted = "\ufeff" + text.replace("1:", "1:\r").replace("2:", "2:\r\n")
    text = text.replace("1:", "1:\n").replace("2:", "2:\n")
    run = _finished(Corpus.from_text("your own text", pasted, byte_pairs), seeds=2)
    names = {path.name for path in export_run(run, tmp_path)}
    assert {"reproduce.py", "text.txt"} <= names
    assert (tmp_path / "text.txt").read_bytes() == text.encode()
    assert _printed(run, tmp_path, tmp_path) == _first_losses(run)


def _first_losses(run: Run) -> list[tuple[str, int, int, float]]:
    return [
        (member.label, member.seed, event.step, event.train_loss)
        for member in run.members
        for event in member.events[1:11]
        if event.train_loss is not None
    ]


def _printed(run: Run, folder: Path, workplace: Path) -> list[tuple[str, int, int, float]]:
    script = folder / "script.py"
    script.write_text(reproduction_script(run), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=workplace,
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(label, int(seed), int(step), float(loss)) for label, seed, step, loss in lines]


def test_a_runs_name_is_in_the_files_and_can_be_anything(finished: Run, tmp_path: Path) -> None:
    names = [path.name for path in export_run(finished, tmp_path, "_../$x_{$ <b>Ada")]
    assert {"x-b-ada-chart.png", "x-b-ada-chart.svg", "x-b-ada-history.csv"} <= set(names)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    drawn = (tmp_path / "x-b-ada-chart.svg").read_text(encoding="utf-8")
    assert "<b>" not in drawn
