"""Runs that go on from a model: from its very weights, in its vocabulary, over copies and restarts, and for whom."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
import torch

from gpt import Corpus, evaluate
from gpt.checkpoints.files import weights_digest
from gpt.checkpoints.upload import load_checkpoint_zip
from gpt.costs.formulas import parameter_count
from gpt.runs.archive import restored_runs, save_runs
from gpt.runs.exports import export_run
from gpt.runs.request import NotYourText
from gpt.runs.run import InitialWeights, Run
from gpt.runs.scheduler import Runs

LONG = 20_000  # steps that no test waits for
OTHER = "The lazy fox runs over the hills.\n" * 30  # fewer characters than the model knows


@pytest.fixture
def before(trainable):
    """The model to go on from, whose weights no seed of a run gives."""
    model = trainable()
    model.initialize(4321)
    return model


@pytest.fixture
def asked(before, corpus, request_for):
    """`asked(is_private, **training)`: all that `Runs.submit` needs to go on from it with another text."""
    text = Corpus.from_text("other", OTHER).written_with(corpus.tokenizer)
    weights = {name: weight.detach() for name, weight in before.named_parameters()}

    def make(*, is_private=False, seeds=1, **training):
        request = replace(
            request_for(seeds=seeds, **training),
            corpus_sha256=text.sha256,
            begins_from=f"an old one {weights_digest(weights)}",
        )
        return request, text, InitialWeights(weights, is_private)

    return make


def submit(runs: Runs, visitor, asked, **options) -> Run:
    request, text, weights = asked
    return runs.submit(request, text, visitor, initial_weights=weights, **options)


def test_the_weights_are_part_of_the_key(request_for):
    new = request_for()
    one, two = (replace(new, begins_from=f"gpt2 {digest}") for digest in ("a" * 64, "b" * 64))
    assert len({new.key, one.key, two.key}) == 3
    assert (new.origin, one.origin) == (None, {"name": "gpt2", "sha256": "a" * 64})


def test_its_first_evaluation_is_the_models_own(lab, asked, before, wait_until):
    run = submit(lab(), "ada", asked(seeds=2))
    wait_until(lambda: run.is_over, "the end")
    assert run.state == "done", run.message
    for member in run.members:
        assert member.events[0].validation_loss == evaluate(before, run.corpus, most_windows=4)
        assert torch.equal(member.snapshots[0]["token_embedding.weight"], before.token_embedding.weight)


@pytest.mark.parametrize("named", [True, False])
def test_a_name_without_weights_is_refused_and_so_are_weights_without_a_name(lab, asked, named):
    request, text, weights = asked()
    part = (request, text, None) if named else (replace(request, begins_from=""), text, weights)
    with pytest.raises(ValueError, match="give both, or neither"):
        submit(lab(), "ada", part)


def test_what_waits_is_restored_with_its_weights(lab, asked, before, wait_until, tmp_path):
    request, text, weights = asked()
    waiting = Run(request, text, "ada", initial_weights=weights)
    assert waiting.brought_bytes == 4 * parameter_count(before.config) + 8 * len(OTHER)  # float32, int64
    assert save_runs([waiting], tmp_path, most_seconds=5) == 1
    runs = lab()
    runs.restore(tmp_path)
    run = runs.find(waiting.key)
    wait_until(lambda: run.is_over, "the end")
    assert run.corpus.train_ids.equal(text.train_ids)
    assert run.members[0].events[0].validation_loss == evaluate(before, text, most_windows=4)


def test_weights_that_are_others_are_not_begun_from(asked, tmp_path):
    request, text, weights = asked()
    other = InitialWeights({name: weight + 1 for name, weight in weights.tensors.items()})
    save_runs([Run(request, text, "ada", initial_weights=other)], tmp_path, most_seconds=5)
    assert list(restored_runs(tmp_path)) == []


def test_copies_and_another_start_keep_the_weights(lab, asked, wait_until, tmp_path):
    first = lab()
    run = submit(first, "ada", asked(max_steps=LONG))
    wait_until(lambda: run.step >= 1, "a step")
    first.close(tmp_path)
    later = lab()
    later.restore(tmp_path)
    copy = later.copy(later.find(run.key), "ada", training=replace(run.request.training, max_steps=LONG - 1))
    again = later.again(copy, "ada")
    wait_until(lambda: again.has_begun, "its first point")
    assert copy.request.begins_from == again.request.begins_from == run.request.begins_from
    assert again.members[0].events[0].validation_loss == run.members[0].events[0].validation_loss


def test_a_model_that_is_not_for_everyone_makes_a_run_that_is_not(lab, asked, wait_until, tmp_path, monkeypatch):
    monkeypatch.setattr("gpt.runs.run.CORPORA", ["other"])  # a text for everyone
    runs = lab()
    run = submit(runs, "ada", asked(is_private=True, max_steps=LONG))
    wait_until(lambda: run.has_begun, "its first point")
    with pytest.raises(NotYourText):
        runs.copy(run, "bob")
    runs.close(tmp_path)
    (restored,) = restored_runs(tmp_path)
    assert [restored.may_read(visitor) for visitor in ("ada", "bob")] == [True, False]
    assert Run(run.request, run.corpus, "ada", initial_weights=InitialWeights({})).may_read("bob")


def test_what_is_taken_home_names_the_model_and_has_no_script(lab, asked, wait_until, tmp_path):
    run = submit(lab(), "ada", asked())
    wait_until(lambda: run.is_over, "the end")
    names = [path.name for path in export_run(run, tmp_path)]
    assert "reproduce.py" not in names
    assert load_checkpoint_zip((tmp_path / "gpt2-seed-1337.zip").read_bytes()).begins_from == run.request.origin
    with open(tmp_path / "history.csv", encoding="utf-8", newline="") as file:
        assert {row["begins_from"] for row in csv.DictReader(file)} == {run.request.begins_from}
    assert "goes on from an old one" in (tmp_path / "chart.svg").read_text(encoding="utf-8")
