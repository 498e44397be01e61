"""Runs over a restart: bit for bit, whoever owned them, and whatever lies in the folder."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
from dataclasses import replace

import pytest
import torch

from gpt import Corpus
from gpt.runs.archive import restored_runs, save_runs
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs

LONG = 20_000


def losses(run):
    return [[(event.step, event.train_loss, event.validation_loss) for event in m.events] for m in run.members]


@pytest.fixture
def stopped_lab(lab, corpus, request_for, wait_until, tmp_path):
    """`stopped_lab(*kinds, **training)`: a run, and the folder in which its server saved it in the middle."""

    def make(*kinds, text=corpus, **training):
        runs = lab()
        request = request_for(*kinds, **training)
        run = runs.submit(request, text, "ada")
        wait_until(lambda: run.step >= 3, "three steps")
        runs.close(tmp_path / "archive")
        return run, tmp_path / "archive"

    return make


def test_a_run_goes_on_bit_for_bit(stopped_lab, lab, corpus, request_for, wait_until):
    through = lab().submit(request_for("gpt2", "modern", max_steps=60), corpus, "ada")
    run, folder = stopped_lab("gpt2", "modern", max_steps=60)
    assert (run.state, run.step < 60) == ("paused", True)
    assert "The lab is restarting" in run.message
    runs = lab()
    runs.restore(folder)
    again = runs.find(run.key)
    assert again is not run
    assert again.owner == "ada"
    wait_until(lambda: again.is_over and through.is_over, "both runs")
    assert again.state == "done"
    assert losses(again) == losses(through)
    assert again.batches_digests() == through.batches_digests()
    for member, other in zip(again.members, through.members, strict=True):
        assert member.kept_steps == other.kept_steps
        assert member.shared_digest == other.shared_digest
        for name, weight in other.best.weights.items():
            assert torch.equal(member.best.weights[name], weight)
    assert list(folder.iterdir()) == []


def test_paused_runs_stay_paused_and_waiting_ones_wait(lab, corpus, request_for, wait_until, tmp_path):
    runs = lab()
    paused = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: paused.step >= 2, "two steps")
    runs.pause(paused, "ada")
    wait_until(lambda: paused.state == "paused", "the pause")
    running = runs.submit(request_for(max_steps=LONG, seed=2), corpus, "bob")
    waiting = runs.submit(request_for(max_steps=40, seed=3), corpus, "cleo")
    done_before = runs.submit(request_for(max_steps=LONG, seed=4), corpus, "dan")
    runs.stop(done_before, "dan")
    wait_until(lambda: running.step >= 1, "a step")
    runs.close(tmp_path)
    later = lab()
    later.restore(tmp_path)
    assert later.find(paused.key).state == "paused"
    assert later.find(paused.key).step == paused.step
    assert later.find(done_before.key) is None
    assert later.find(running.key).goal == LONG
    later.stop(later.find(running.key), "bob")
    wait_until(lambda: later.find(waiting.key).state == "done", "the one that waited")


def test_a_text_of_ones_own_is_kept_with_the_run_and_removed_with_it(lab, request_for, tiny_text, tmp_path):
    own = Corpus.from_text("my.txt", tiny_text + "Grüße,\r\nand an odd end\r")
    asked = request_for(max_steps=LONG)
    models = tuple((label, replace(config, vocab_size=own.tokenizer.vocab_size)) for label, config in asked.models)
    run = Run(replace(asked, models=models, corpus_sha256=own.sha256), own, "ada")
    folder = tmp_path / "archive"
    assert save_runs([run], folder, most_seconds=5) == 1
    assert (folder / run.key / "text.txt").is_file()
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (again,) = restored_runs(folder)
    assert again.corpus.sha256 == own.sha256
    assert list(folder.iterdir()) == []


def test_what_an_earlier_version_saved_goes_on(stopped_lab, lab, corpus, request_for, wait_until):
    """It knew neither places nor digests nor every setting, and had evaluated the step of its state."""
    former = {"max_steps": 40, "feed_forward_rate_multiple": 1.0}
    through = lab().submit(request_for("gpt2", "modern", **former), corpus, "ada")
    run, folder = stopped_lab("gpt2", "modern", **former)

    def edit(path, change):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def age(settings):
        settings["accumulation"] = settings.pop("gradient_accumulation_steps")
        del settings["feed_forward_rate_multiple"]

    def forget(description):
        age(description["training"])
        for name in ("place", "batches_digests", "is_left_alone"):
            del description[name]

    edit(folder / run.key / "run.json", forget)
    for number in range(2):
        saved = folder / run.key / str(number)
        edit(saved / "config.json", lambda content: age(content["training"]))
        for name in ("train_loss", "learning_rate"):
            edit(saved / "config.json", lambda content, name=name: content["progress"].pop(name))
        step = json.loads((saved / "config.json").read_text())["progress"]["step"]
        wait_until(lambda: through.is_over, "the other run")
        lines = [json.dumps(dataclasses.asdict(event)) for event in through.members[number].events[: step + 1]]
        (saved / "history.jsonl").write_text("\n".join(lines))
    runs = lab()
    runs.restore(folder)
    (again,) = runs.all_runs()
    wait_until(lambda: again.is_over, "the end")
    assert losses(again) == losses(through)
    assert again.batches_digests() == through.batches_digests()


def test_what_is_damaged_is_left_out_and_removed(stopped_lab, lab):
    run, folder = stopped_lab(max_steps=LONG)
    whole = folder.parent / "whole"
    shutil.copytree(folder, whole)
    place = folder / run.key

    def edit(change):
        description = json.loads((place / "run.json").read_text())
        change(description)
        (place / "run.json").write_text(json.dumps(description))

    damages = {
        "no description": lambda: (place / "run.json").unlink(),
        "half a description": lambda: (place / "run.json").write_text("{"),
        "another kind of value": lambda: (place / "run.json").write_text("[1]"),
        "no model": lambda: edit(lambda d: d["models"][0].__setitem__(1, {})),
        "an unknown setting": lambda: edit(lambda d: d["training"].update(colour="red")),
        "no goal": lambda: edit(lambda d: d.update(goal="far")),
        "another text": lambda: edit(lambda d: d["corpus"].update(sha256="0")),
        "no weights": lambda: (place / "0" / "model.safetensors").write_bytes(b""),
        "no state": lambda: (place / "0" / "training.safetensors").unlink(),
        "a file": lambda: (folder / "stray").write_text("?"),
    }
    for what, damage in damages.items():
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        damage()
        found = list(restored_runs(folder))
        assert len(found) == (what == "a file"), what
        assert [path.name for path in folder.iterdir()] == [], what


def test_a_full_disk_loses_a_run_and_not_the_server(stopped_lab, lab, monkeypatch, tmp_path):
    run, _ = stopped_lab(max_steps=LONG)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt.runs.archive.save_checkpoint", full)
    assert save_runs([run], tmp_path / "full", most_seconds=5) == 0
    assert list((tmp_path / "full").iterdir()) == []


def test_there_is_only_so_much_time(stopped_lab, tmp_path):
    run, _ = stopped_lab(max_steps=LONG)
    assert save_runs([run, run], tmp_path / "late", most_seconds=-1) == 0


def test_an_archive_that_is_not_there_is_empty(tmp_path):
    assert list(restored_runs(tmp_path / "nowhere")) == []


def test_a_server_restores_what_it_finds_when_it_warms_up(stopped_lab, lab, wait_until):
    run, folder = stopped_lab(max_steps=LONG)
    runs: Runs = lab()
    runs.warm_up(folder)
    wait_until(lambda: runs.find(run.key) is not None, "the run")
    wait_until(lambda: runs.find(run.key).step > run.step, "it to go on")
