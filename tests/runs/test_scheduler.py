"""Runs shared by all viewers: joined, limited, paused, stepped, stopped, copied, and never different for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
import time
import weakref

import pytest
import torch

import gpt.runs.lease
from gpt import GPT2, Corpus, Trainer, train
from gpt.runs.limits import Limits
from gpt.runs.request import NotYourRun, RunRefused, is_snapshot_step
from gpt.runs.scheduler import Runs
from gpt.runs.states import RunState
from gpt.runs.trainer_process import tensor_digests
from gpt.runs.workers import shared_digests

LONG = 20_000  # steps that no test waits for


@pytest.fixture
def corpus(corpus):
    """As a text that everybody may have: a run on a visitor's own is theirs alone, see `test_privacy.py`."""
    return dataclasses.replace(corpus, name="python-docs")


def build(config, seed):
    model = GPT2.from_config(config)
    model.initialize(seed)
    return model


def losses(events):
    return [(event.step, event.train_loss, event.validation_loss) for event in events]


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def present_weights(member):
    """Those that its training would go on with, once no worker holds it."""
    tensors = member.saved.state.tensors.items()
    return {path.removeprefix("present/"): tensor for path, tensor in tensors if path.startswith("present/")}


# --- Asking ---------------------------------------------------------------------------------------------------------


def test_equal_requests_have_equal_keys(request_for):
    assert request_for("gpt2", "modern").key == request_for("gpt2", "modern").key
    keys = {
        request_for("gpt2").key,
        request_for("rotary").key,
        request_for("gpt2", "rotary").key,
        request_for("gpt2", seeds=2).key,
        request_for("gpt2", seed=5).key,
        request_for("gpt2", max_steps=9).key,
        dataclasses.replace(request_for("gpt2"), corpus_sha256="0").key,
        dataclasses.replace(request_for("gpt2"), copy_of="x").key,
        dataclasses.replace(request_for("gpt2"), tokenizer_sha256="0").key,
    }
    assert len(keys) == 9


def test_a_key_without_byte_pairs_is_that_of_an_earlier_version(request_for):
    """So that links to its runs, and what it saved of them, are found."""
    asked = request_for("gpt2")
    said = dataclasses.asdict(asked)
    del said["tokenizer_sha256"], said["begins_from"]
    assert asked.key == hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def test_one_text_in_characters_and_in_byte_pairs_is_two_texts_to_a_trainer(lab, corpus, request_for, wait_until):
    """The process that has just trained on the one is given the other."""
    text = corpus.tokenizer.decode([*corpus.train_ids.tolist(), *corpus.validation_ids.tolist()])
    runs, asked = lab(), request_for("gpt2", max_steps=3)
    for tokens in (corpus, Corpus.from_text(corpus.name, text, 300), corpus):
        models = tuple((n, dataclasses.replace(c, vocab_size=tokens.tokenizer.vocab_size)) for n, c in asked.models)
        request = dataclasses.replace(asked, models=models, tokenizer_sha256=tokens.tokenizer_sha256)
        with pytest.raises(ValueError, match="is for another text than 'python-docs'"):
            runs.submit(dataclasses.replace(request, tokenizer_sha256="0"), tokens, "ada")
        run = runs.submit(request, tokens, "ada", restart=runs.find(request.key) is not None)
        wait_until(lambda run=run: run.is_over, "the run")
        assert run.state == "done", run.message
        model = build(run.members[0].config, request.training.seed)
        assert losses(run.members[0].events) == losses(train(model, tokens, request.training))


def test_requests_equal_in_python_have_equal_keys(request_for):
    """A slider may send 0 where another sends 0.0."""
    assert request_for(weight_decay=0) == request_for(weight_decay=0.0)
    assert request_for(weight_decay=0).key == request_for(weight_decay=0.0).key


def test_the_same_request_joins_the_run(lab, request_for, corpus, wait_until):
    runs = lab()
    first = runs.submit(request_for(), corpus, "ada")
    assert runs.submit(request_for(), corpus, "bob") is first
    assert first.owner == "ada"
    assert runs.find(first.key) is first
    assert runs.find("nothing") is None
    wait_until(lambda: first.is_over, "the end")
    assert first.state == "done"
    assert runs.submit(request_for(), corpus, "bob") is first
    again = runs.submit(request_for(), corpus, "ada", restart=True)
    assert again is not first
    assert again.owner == "ada"


def test_a_restart_that_is_refused_leaves_the_run_as_it_was(lab, request_for, corpus, wait_until, monkeypatch):
    runs = lab(most_waiting=1)
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.step > 0, "a step")
    waiting = runs.submit(request_for(max_steps=LONG, seed=1), corpus, "bob")
    waiting.lease.open_page()
    with pytest.raises(RunRefused, match="1 runs are already waiting"):
        runs.submit(request_for(max_steps=LONG), corpus, "ada", restart=True)
    assert (run.state, runs.find(run.key), run.goal) == (RunState.RUNNING, run, LONG)
    again = runs.submit(request_for(max_steps=LONG, seed=1), corpus, "bob", restart=True)  # its own place is free
    assert (waiting.state, again.state) == (RunState.STOPPED, RunState.WAITING)


def test_a_large_run_can_be_restarted(lab, request_for, corpus, wait_until):
    """It takes the memory of the one whose place it takes."""
    request = request_for("gpt2", "rotary", max_steps=LONG)
    runs = lab(most_bytes=request.held_bytes + request.working_bytes)
    run = runs.submit(request, corpus, "ada")
    wait_until(lambda: run.step > 0, "a step")
    again = runs.submit(request, corpus, "ada", restart=True)
    wait_until(lambda: again.step > 0, "it to train")


def test_another_visitor_cannot_restart_a_run_under_way(lab, request_for, corpus):
    runs = lab()
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    with pytest.raises(NotYourRun, match="another visitor started this run"):
        runs.submit(request_for(max_steps=LONG), corpus, "bob", restart=True)
    assert runs.submit(request_for(max_steps=LONG), corpus, "ada", restart=True) is not run
    assert run.state == "stopped"


@pytest.mark.parametrize(
    ("limits", "changes", "message"),
    [
        (
            {"most_models": 1},
            {"kinds": ("gpt2", "modern")},
            "2 variants with 1 seeds each make 2 models, and at most 1",
        ),
        ({}, {"seeds": 7}, "1 variants with 7 seeds each make 7 models, and at most 6"),
        ({"most_steps": 5000}, {"max_steps": 5001}, "5,001 steps are too many; at most 5,000"),
        ({"most_parameters": 100}, {}, "gpt2 would have .* parameters; at most 100 are allowed"),
        ({"most_parameters": 10}, {}, "gpt2 is too large; at most 10 parameters"),
        ({}, {"batch_size": 10_000}, "a batch of 10000 texts of 16 is 160,000 tokens; at most 16,384"),
        ({"most_bytes": 1000}, {}, "this run would take .* MB of memory, and at most 0 MB are allowed"),
        ({"most_waiting": 0}, {}, "0 runs are already waiting"),
    ],
)
def test_what_is_outside_the_limits_is_refused_before_anything_is_built(
    lab, request_for, corpus, monkeypatch, limits, changes, message
):
    monkeypatch.setattr(gpt.model.gpt2, "GPT2", None)
    request = request_for(*changes.pop("kinds", ()), **changes)
    runs = lab(**limits)
    with pytest.raises(RunRefused, match=message):
        runs.submit(request, corpus, "ada")
    assert runs.find(request.key) is None


def test_giant_models_are_refused_by_arithmetic_alone(lab, request_for, corpus):
    for changes in ({"embed_size": 2 * 10**12}, {"num_layers": 10**12}, {"hidden_size": 10**15}):
        request = request_for()
        config = dataclasses.replace(request.models[0][1], **changes)
        with pytest.raises(RunRefused, match=r"is too large|would have"):
            lab().submit(dataclasses.replace(request, models=(("giant", config),)), corpus, "ada")


def test_no_model_no_seeds_and_models_that_do_not_fit(lab, request_for, corpus):
    runs, request = lab(), request_for()
    with pytest.raises(RunRefused, match="no model is chosen; choose at least one variant"):
        runs.submit(dataclasses.replace(request, models=()), corpus, "ada")
    with pytest.raises(RunRefused, match="'gpt2' is there 2 times; choose each model once"):
        runs.submit(dataclasses.replace(request, models=2 * request.models), corpus, "ada")
    with pytest.raises(ValueError, match="seeds is 0; give 1 or more"):
        runs.submit(dataclasses.replace(request, seeds=0), corpus, "ada")
    for changes, message in (
        ({"vocab_size": 5}, "the model knows 5 tokens and the text has"),
        ({"context_length": 2000}, "a context of 2000 needs at least 2001"),
    ):
        config = dataclasses.replace(request.models[0][1], **changes)
        with pytest.raises(ValueError, match=message):
            runs.submit(dataclasses.replace(request, models=(("x", config),)), corpus, "ada")


def test_the_queue_is_bounded_and_tells_places(lab, request_for, corpus, wait_until):
    runs = lab(most_waiting=2)
    first = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: first.state == "running", "the first to run")
    second = runs.submit(request_for(max_steps=LONG, seed=1), corpus, "bob")
    third = runs.submit(request_for(max_steps=LONG, seed=2), corpus, "cleo")
    for run in (second, third):
        run.lease.open_page()
    assert [runs.place_in_queue(run)[0] for run in (first, second, third)] == [0, 1, 2]
    with pytest.raises(RunRefused, match="2 runs are already waiting; try again when some have finished"):
        runs.submit(request_for(max_steps=LONG, seed=3), corpus, "dan")
    runs.stop(second, "bob")
    assert runs.place_in_queue(third)[0] == 1
    runs.stop(first, "ada")
    wait_until(lambda: third.state == "running", "the third to run")
    assert second.state == "stopped"


def test_a_visitor_has_one_run_at_a_time(lab, request_for, corpus):
    runs = lab()
    first = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    runs.submit(request_for(max_steps=LONG, seed=1), corpus, "ada")
    assert first.state == "stopped"
    assert first.message == "Stopped, because the person who started it has started another."


def test_a_refused_run_does_not_cost_the_visitor_the_one_under_way(lab, request_for, corpus, wait_until):
    runs = lab(most_waiting=1)
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.step > 0, "the run to train")
    runs.submit(request_for(max_steps=LONG, seed=1), corpus, "bob").lease.open_page()
    with pytest.raises(RunRefused, match="1 runs are already waiting"):
        runs.submit(request_for(max_steps=LONG, seed=2), corpus, "ada")
    assert run.state == "running"


def test_a_run_in_line_takes_no_memory_until_its_turn(lab, request_for, corpus, wait_until):
    small, large = request_for(max_steps=LONG), request_for("gpt2", "rotary", "modern", max_steps=LONG)
    runs = lab(most_bytes=large.held_bytes + large.working_bytes)
    first = runs.submit(small, corpus, "ada")
    wait_until(lambda: first.step > 0, "the run to train")
    second = runs.submit(large, corpus, "bob")
    assert second.state == "waiting"
    runs.stop(first, "ada")
    wait_until(lambda: second.step > 0, "the other to train, once the first is forgotten")
    assert runs.find(first.key) is None


def test_old_runs_are_forgotten_for_new_ones(lab, request_for, corpus, wait_until):
    runs = lab(most_kept=2)
    done = []
    for seed in range(3):
        done.append(runs.submit(request_for(seed=seed, max_steps=2), corpus, f"visitor {seed}"))
        wait_until(lambda: done[-1].is_over, "the end")
    assert runs.find(done[0].key) is None
    assert runs.find(done[2].key) is done[2]


# --- What is learned ------------------------------------------------------------------------------------------------


def test_a_run_is_what_train_makes(lab, request_for, corpus, wait_until):
    request = request_for("gpt2", "modern", seeds=2, sample_length=4)
    run = lab().submit(request, corpus, "ada")
    wait_until(lambda: run.is_over, "the end")
    assert run.state == "done"
    assert [(member.label, member.seed) for member in run.members] == [
        *(("gpt2", 1337), ("modern", 1337), ("gpt2", 1338), ("modern", 1338))
    ]
    for member in run.members:
        model = build(member.config, member.seed)
        events = list(train(model, corpus, dataclasses.replace(request.training, seed=member.seed)))
        assert losses(member.events) == losses(events)
        assert [event.sample for event in member.events] == [event.sample for event in events]
        assert_equal_weights(dict(member.model_at().named_parameters()), dict(model.named_parameters()))
        assert member.best_loss == min(e.validation_loss for e in events if e.validation_loss is not None)


def test_paused_stepped_and_continued_is_the_same_as_uninterrupted(lab, request_for, corpus, wait_until):
    runs, request = lab(), request_for("gpt2", "modern", max_steps=40)
    run = runs.submit(request, corpus, "ada")
    runs.pause(run, "ada")
    wait_until(lambda: run.state == "paused", "the pause")
    for _ in range(3):
        before = run.step
        runs.step_once(run, "ada")
        wait_until(lambda before=before: run.state == "paused" and run.step == before + 1, "one step more")
        assert {member.events[-1].step for member in run.members} == {before + 1}
    runs.play(run, "ada")
    wait_until(lambda: run.is_over, "the end")
    assert run.state == "done"
    for member in run.members:
        trainer = Trainer(build(member.config, member.seed), corpus, request.training)
        events = list(trainer.events())
        assert losses(member.events) == losses(events)
        wait_until(lambda member=member: member.saved, "the worker to hand it back")
        assert_equal_weights(present_weights(member), trainer.copy_of_weights())
        assert_equal_weights(member.best.weights, trainer.best_weights)


def test_every_model_sees_the_same_batches_and_starts_from_the_same_tensors(lab, request_for, corpus, wait_until):
    kinds = ("gpt2", "rotary", "grouped-query")
    run = lab().submit(request_for(*kinds, seeds=2), corpus, "ada")
    wait_until(lambda: run.is_over, "the end")
    batches, shared = run.batches_digests(), [member.shared_digest for member in run.members]
    assert len(batches) == len(shared) == 6
    for digests in (batches, shared):
        assert len(set(digests[:3])) == len(set(digests[3:])) == 1
        assert digests[0] != digests[3]
        assert "" not in digests


def test_shared_digests_are_of_what_is_shared(trainable):
    models = [trainable("gpt2"), trainable("modern", num_kv_heads=1)]
    first, second = shared_digests([tensor_digests(model) for model in models])
    assert first == second
    with torch.no_grad():
        models[1].blocks[0].attention.key.weight[0, 0] += 1  # narrower in one of them, so not shared
    assert shared_digests([tensor_digests(model) for model in models]) == [first, first]
    with torch.no_grad():
        models[1].final_norm.bias[0] += 1
    changed = shared_digests([tensor_digests(model) for model in models])
    assert changed[0] == first != changed[1]


def test_snapshots_show_the_model_as_it_was(lab, request_for, corpus, wait_until):
    assert [step for step in range(400) if is_snapshot_step(step)] == [0, 1, 3, 10, 30, 100, 300]
    run = lab().submit(request_for(max_steps=12), corpus, "ada")
    wait_until(lambda: run.is_over, "the end")
    (member,) = run.members
    assert set(member.snapshots) == {0, 1, 3, 10}
    assert set(member.kept_steps) == {0, 1, 3, 10, member.best.step}
    trainer = Trainer(build(member.config, member.seed), corpus, run.request.training, is_snapshot_step=lambda _: True)
    list(trainer.events())
    for step in member.snapshots:
        assert_equal_weights(dict(member.model_at(step).named_parameters()), trainer.snapshots[step])
    with pytest.raises(ValueError, match=r"no weights were kept at step 7; choose one of \[0, 1, 3, 10"):
        member.model_at(7)


def test_a_loss_that_is_no_number_fails_the_run_and_not_the_worker(lab, request_for, corpus, wait_until):
    runs = lab()
    settings = {"learning_rate": 1e9, "matrix_learning_rate": 1e9, "warmup_steps": 0, "eval_interval": 1}
    run = runs.submit(request_for(max_steps=200, **settings), corpus, "ada")
    wait_until(lambda: run.is_over, "the failure")
    assert run.state == "failed"
    assert run.message.startswith("Stopped: the loss became ")
    assert all(weight.isfinite().all() for weight in run.members[0].model_at().parameters())
    after = runs.submit(request_for(), corpus, "bob")
    wait_until(lambda: after.state == "done", "the next run")


# --- A hand on it ---------------------------------------------------------------------------------------------------


def test_another_visitor_may_watch_and_not_control(lab, request_for, corpus):
    runs = lab()
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    for control in (runs.play, runs.pause, runs.step_once, runs.stop):
        for visitor in ("bob", ""):
            with pytest.raises(NotYourRun, match="another visitor started this run; watch it, or make a copy"):
                control(run, visitor)
    runs.watched(run)
    assert not run.is_over


def test_a_run_of_nobody_is_controlled_by_nobody(lab, request_for, corpus):
    runs = lab()
    run = runs.submit(request_for(max_steps=LONG), corpus, "")
    with pytest.raises(NotYourRun, match="another visitor started"):
        runs.stop(run, "")


def test_stop_keeps_the_models_so_far(lab, request_for, corpus, wait_until):
    runs = lab()
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.step >= 3, "three steps")
    runs.stop(run, "ada")
    assert (run.state, run.message) == ("stopped", "Stopped.")
    assert run.members[0].model_at() is not None
    version = run.version
    runs.play(run, "ada")
    runs.pause(run, "ada")
    runs.stop(run, "ada")
    assert run.state == "stopped"
    again = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    assert again is not run
    assert run.version - version <= 1  # at most the step that was under way


def test_a_run_that_nobody_watches_pauses_and_goes_on(lab, request_for, corpus, wait_until):
    runs = lab(lease_seconds=0.2)
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.state == "paused", "the lease to end")
    assert run.message == "Paused, because nobody was watching."
    before = run.step
    assert before < LONG
    runs.play(run, "ada")
    wait_until(lambda: run.step > before, "it to go on")
    wait_until(lambda: run.state == "paused", "the lease to end again")


def test_a_run_goes_on_when_somebody_watches_again(lab, request_for, corpus, wait_until):
    runs = lab(lease_seconds=0.2)
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.state == "paused", "the lease to end")
    before = run.step
    runs.watched(run)
    wait_until(lambda: run.step > before, "it to go on by itself")
    wait_until(lambda: run.state == "paused", "the lease to end again")
    runs.pause(run, "ada")  # by hand: now it waits for its owner
    before = run.step
    runs.watched(run)
    assert (run.state, run.goal) == ("paused", before)


def test_a_run_pauses_soon_after_the_last_page_that_shows_it_is_gone(lab, request_for, corpus, wait_until):
    runs = lab(lease_seconds=60)
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    with runs.watching(run):
        with runs.watching(run):
            wait_until(lambda: run.step > 0, "it to start")
        assert run.lease.watchers == 1
        assert run.lease.last_sign > time.monotonic() - 10  # one page is still there
    left = time.monotonic()
    wait_until(lambda: run.state == "paused", "it to pause")
    assert time.monotonic() - left < 30  # half of the lease; tests/reliability/leaving.py measures it
    before = run.step
    with runs.watching(run):
        wait_until(lambda: run.step > before, "it to go on")


def test_a_run_whose_visitor_left_the_queue_takes_no_worker(lab, request_for, corpus, wait_until, monkeypatch):
    monkeypatch.setattr(gpt.runs.lease, "_SECONDS_TO_COME_BACK", -1.0)
    runs = lab(lease_seconds=60)
    first = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    with runs.watching(first):
        waiting = runs.submit(request_for(max_steps=LONG, seed=2), corpus, "bob")
        with runs.watching(waiting):
            assert waiting.state == "waiting"
        runs.stop(first, "ada")
        wait_until(lambda: waiting.state == "paused", "its turn to come")
    assert waiting.layout == (0, 0)
    runs.watched(waiting)
    wait_until(lambda: waiting.step > 0, "it to be trained after all")


def test_a_run_that_is_watched_goes_on(lab, request_for, corpus, wait_until):
    runs = lab(lease_seconds=0.5)
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    started = run.lease.last_sign

    def outlived() -> bool:
        runs.watched(run)
        return run.lease.last_sign - started > 1.0

    wait_until(outlived, "two leases to pass")
    assert run.state == "running"


def test_a_run_may_not_train_for_ever(lab, request_for, corpus, wait_until):
    run = lab(most_seconds=0.05).submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.is_over, "the limit")
    assert run.state == "stopped"
    assert "the most allowed" in run.message


def test_a_play_that_meets_the_worker_as_it_pauses_is_not_lost(lab, request_for, corpus, wait_until):
    """Whenever it is pressed: the worker's last look at the goal and its pause are one."""
    runs = lab()
    run = runs.submit(request_for(max_steps=60), corpus, "ada")
    for _ in range(30):
        runs.pause(run, "ada")
        runs.play(run, "ada")
    wait_until(lambda: run.is_over, "it to go on to the end")
    assert run.state is RunState.DONE


# --- Copies ---------------------------------------------------------------------------------------------------------


def test_a_copy_goes_on_from_the_present_state(lab, request_for, corpus, wait_until):
    runs, request = lab(), request_for("gpt2", "modern", max_steps=6)
    run = runs.submit(request, corpus, "ada")
    wait_until(lambda: run.is_over, "the end")
    copy = runs.copy(run, "bob", training=dataclasses.replace(request.training, max_steps=10))
    assert copy is not run
    assert (copy.owner, copy.request.training.max_steps) == ("bob", 10)
    wait_until(lambda: copy.is_over, "the copy's end")
    assert copy.state == "done"
    assert run.step == 6
    for member, original in zip(copy.members, run.members, strict=True):
        assert losses(member.events[:7]) == losses(original.events)
        assert [event.step for event in member.events] == list(range(11))
        first = Trainer(build(member.config, member.seed), corpus, request.training)
        list(first.events())
        second = Trainer(build(member.config, member.seed), corpus, copy.request.training)
        second.load_state(first.state())
        list(second.events())
        wait_until(lambda member=member: member.saved, "the worker to hand it back")
        assert_equal_weights(present_weights(member), second.copy_of_weights())
        assert_equal_weights(present_weights(original), first.copy_of_weights())


def test_a_copy_goes_on_in_another_way(lab, request_for, corpus, wait_until):
    """Other rates from here on; the seed stays, and so do the batches."""
    runs, request = lab(), request_for(max_steps=6)
    run = runs.submit(request, corpus, "ada")
    wait_until(lambda: run.is_over, "the end")
    changes = {"learning_rate": 1e-4, "feed_forward_rate_multiple": 1.0}
    training = dataclasses.replace(request.training, **changes, max_steps=9, seed=99)
    copy = runs.copy(run, "bob", training=training)
    wait_until(lambda: copy.is_over, "the copy's end")
    assert copy.request.training == dataclasses.replace(training, seed=request.training.seed)
    longer = Trainer(build(request.models[0][1], 1337), corpus, dataclasses.replace(request.training, max_steps=9))
    list(longer.events())
    assert copy.batches_digests() == [longer.batches_digest]
    assert copy.members[0].events[-1].learning_rate < 1e-4
    with pytest.raises(RunRefused, match="cannot change its recipe half-way; keep the recipe, or train from"):
        runs.copy(run, "cleo", training=dataclasses.replace(training, matrix_learning_rate=None))
    with pytest.raises(RunRefused, match="this run has already made all its 6 steps; ask for more steps"):
        runs.copy(run, "cleo")


def test_a_copy_of_a_paused_run_waits_if_asked_to(lab, request_for, corpus, wait_until):
    runs = lab()
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.step >= 2, "two steps")
    runs.pause(run, "ada")
    wait_until(lambda: run.state == "paused", "the pause")
    copy = runs.copy(run, "bob", play=False)
    wait_until(lambda: copy.state == "paused", "the copy to wait")
    assert copy.step == run.step
    assert runs.copy(run, "bob", play=False) is copy
    runs.step_once(copy, "bob")
    wait_until(lambda: copy.step == run.step + 1, "a step of the copy")
    assert run.state == "paused"


def test_a_copy_that_was_stopped_is_made_again(lab, request_for, corpus, wait_until):
    runs = lab()
    run = _paused(runs, request_for, corpus, wait_until)
    copy = runs.copy(run, "bob")
    assert runs.copy(run, "bob") is copy
    runs.stop(copy, "bob")
    again = runs.copy(run, "bob")
    assert again is not copy
    wait_until(lambda: again.step > run.step, "it to train")


def test_a_copy_that_was_paused_goes_on(lab, request_for, corpus, wait_until):
    runs = lab()
    run = _paused(runs, request_for, corpus, wait_until)
    copy = runs.copy(run, "bob", play=False)
    assert runs.copy(run, "bob", play=True) is copy
    wait_until(lambda: copy.step > run.step, "it to train")


def test_a_run_that_has_not_begun_cannot_be_copied(lab, request_for, corpus, wait_until):
    runs = lab()
    first = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: first.state == "running", "the first to run")
    waiting = runs.submit(request_for(max_steps=LONG, seed=1), corpus, "bob")
    with pytest.raises(RunRefused, match="has not started to train"):
        runs.copy(waiting, "cleo")


def test_a_copy_is_never_of_half_a_step(lab, request_for, corpus, wait_until):
    runs = lab()
    run = runs.submit(request_for("gpt2", "modern", max_steps=LONG), corpus, "ada")
    for number in range(5):
        wait_until(lambda number=number: run.step > 3 * number, "some steps")
        copy = runs.copy(run, f"visitor {number}", play=False)
        assert len({member.saved.state.step for member in copy.members}) == 1


def test_a_copy_of_a_run_stopped_between_its_models_goes_on_to_the_end(
    lab, request_for, corpus, wait_until, monkeypatch
):
    """Stop takes effect after the model whose turn it is, which leaves the others a step behind."""
    runs, begun, event_of = lab(), threading.Event(), Trainer._event

    def stop_after_the_first_model(trainer, *arguments, **options):
        event = event_of(trainer, *arguments, **options)
        if trainer.model.config == run.members[0].config and trainer.step == 3:
            runs.stop(run, "ada")
        return event

    monkeypatch.setattr(Trainer, "_event", lambda *a, **o: begun.wait(30) and stop_after_the_first_model(*a, **o))
    run = runs.submit(request_for("gpt2", "modern", max_steps=6), corpus, "ada")
    begun.set()
    wait_until(lambda: run.is_over, "the stop")
    assert run.state == "stopped"
    copy = runs.copy(run, "bob")
    wait_until(lambda: copy.is_over, "the copy's end")
    assert (copy.state, copy.message) == ("done", "")
    assert [member.last_step for member in copy.members] == [6, 6]


# --- Closing --------------------------------------------------------------------------------------------------------


def test_closing_sends_the_workers_home(request_for, corpus, wait_until):
    runs = Runs(Limits(workers=2, most_steps=LONG))
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.step > 0, "a step")
    runs.close()
    assert not any(thread.is_alive() for thread in runs._turns._threads)
    with pytest.raises(RunRefused, match="the lab is closing"):
        runs.submit(request_for(seed=1), corpus, "bob")


# --- Asking for a run that is paused --------------------------------------------------------------------------------


def _paused(runs, request_for, corpus, wait_until):
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.step >= 2, "two steps")
    runs.pause(run, "ada")
    wait_until(lambda: run.state == "paused", "the pause")
    return run


def test_its_owner_asks_for_a_paused_run_and_it_goes_on(lab, request_for, corpus, wait_until):
    runs = lab()
    run = _paused(runs, request_for, corpus, wait_until)
    before = run.step
    assert runs.submit(request_for(max_steps=LONG), corpus, "ada") is run
    wait_until(lambda: run.step > before, "more steps")


def test_others_who_ask_for_a_paused_run_get_a_copy_that_goes_on(lab, request_for, corpus, wait_until):
    runs = lab()
    run = _paused(runs, request_for, corpus, wait_until)
    before = run.step
    copied = runs.submit(request_for(max_steps=LONG), corpus, "bob")
    assert copied is not run
    assert copied.owner == "bob"
    wait_until(lambda: copied.step > before, "more steps")
    assert (run.state, run.step, run.owner) == ("paused", before, "ada")


def test_a_paused_run_that_its_owner_has_left_passes_to_whoever_asks(lab, request_for, corpus, wait_until):
    runs = lab()
    run = _paused(runs, request_for, corpus, wait_until)
    run.lease.last_sign -= runs.limits.lease_seconds + 1
    before = run.step
    assert runs.submit(request_for(max_steps=LONG), corpus, "bob") is run
    assert run.owner == "bob"
    wait_until(lambda: run.step > before, "more steps")


# --- Those that nobody watches give way, also in line ---


def test_a_run_in_line_that_nobody_watches_is_passed_over_and_goes_on_when_watched(
    lab, request_for, corpus, wait_until
):
    runs = lab(unwatched_seconds=0.3)
    first = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    left = runs.submit(request_for(max_steps=LONG, seed=1), corpus, "bob")
    watched = runs.submit(request_for(max_steps=LONG, seed=2), corpus, "cleo")
    with runs.watching(watched):
        wait_until(lambda: watched.state == "running", "the watched one to be trained")
        assert (first.state, left.state) == ("paused", "paused")
        with runs.watching(left):
            assert left.state == "waiting"


def test_the_unwatched_give_way_to_a_newcomer_where_the_line_is_full(lab, request_for, corpus, wait_until):
    runs = lab(most_waiting=3)
    runs.submit(request_for(max_steps=LONG), corpus, "ada").lease.open_page()
    wait_until(lambda: not runs._turns.queue, "the first to be trained")
    line = [runs.submit(request_for(max_steps=LONG, seed=n), corpus, f"visitor {n}") for n in range(1, 4)]
    line[0].lease.open_page()
    newcomer = runs.submit(request_for(max_steps=LONG, seed=4), corpus, "dan")
    assert [run.state for run in (*line, newcomer)] == ["waiting", "paused", "waiting", "waiting"]


def test_one_address_cannot_fill_the_line_and_turns_go_round_by_address(lab, request_for, corpus, wait_until):
    runs = lab(most_waiting_of_address=3)
    runs.submit(request_for(max_steps=LONG), corpus, "ada").lease.open_page()
    wait_until(lambda: not runs._turns.queue, "the first to be trained")
    for number in range(1, 4):
        run = runs.submit(request_for(max_steps=LONG, seed=number), corpus, f"{number}", address="192.0.2.1")
        run.lease.open_page()
    with pytest.raises(RunRefused, match="3 runs are already waiting"):
        runs.submit(request_for(max_steps=LONG, seed=9), corpus, "9", address="192.0.2.1")
    other = runs.submit(request_for(max_steps=LONG, seed=5), corpus, "dan", address="192.0.2.2")
    assert [run.address for run in runs._turns.queue] == [f"192.0.2.{n}" for n in (1, 2, 1, 1)]
    assert runs.place_in_queue(other)[0] == 2


def test_what_nobody_looks_at_is_forgotten_first(lab, request_for, corpus, wait_until):
    runs = lab(most_kept=2)
    done = [runs.submit(request_for(seed=seed, max_steps=2), corpus, f"visitor {seed}") for seed in range(2)]
    wait_until(lambda: all(run.is_over for run in done), "both to end")
    for run in done:
        run.lease.last_sign -= 1000  # nobody has looked for that long
    runs.watched(done[0])
    newest = runs.submit(request_for(seed=3, max_steps=2), corpus, "visitor 3")
    assert runs.all_runs() == [done[0], newest]


def test_what_nobody_has_ever_watched_is_forgotten_and_what_somebody_has_is_kept(lab, request_for, corpus, wait_until):
    runs = lab(unwatched_seconds=0.1, lease_seconds=0.3)
    made_up = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    seen = runs.submit(request_for(max_steps=LONG, seed=1), corpus, "bob")
    with runs.watching(seen):
        pass
    wait_until(lambda: (runs.tidy(), runs.all_runs() == [seen])[1], "the other to be forgotten")
    assert made_up.state == "stopped"
    wait_until(lambda: seen.state == "paused", "the one that was left to be paused")
    time.sleep(0.5)
    runs.tidy()
    assert runs.all_runs() == [seen]


def test_a_run_that_is_forgotten_leaves_no_memory(lab, request_for, corpus, wait_until):
    runs = lab(most_kept=2)
    key = runs.submit(request_for(max_steps=LONG), corpus, "ada").key
    wait_until(lambda: runs.find(key).step > 0, "a step")
    runs.stop(runs.find(key), "ada")
    wait_until(lambda: not runs._turns.held, "its worker to let it go")
    (member,) = runs.find(key).members
    kept = [weakref.ref(member.saved), weakref.ref(next(iter(member.best.weights.values())))]
    runs._forget([runs.find(key)])
    del member
    wait_until(lambda: not any(one() is not None for one in kept), "its models to go, without Python's collector")
