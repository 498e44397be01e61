"""A server stopped at every kind of moment: the next one restores its runs and finishes them as if nothing had been."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

import pytest
import torch
from trainer_threads import TrainerThread

import gpt.training.evaluation
import gpt.training.trainer
from gpt import GPT2, Trainer
from gpt.runs.request import RunRefused
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.runs.trainers import Trainers
from gpt.runs.turns import Turns

STEPS = {"max_steps": 8, "eval_interval": 4, "sample_length": 3, "ema_decay": 0.9}
LONG = 20_000


@pytest.fixture(scope="module")
def undisturbed():
    """`undisturbed(run)`: the trainers, and the histories, of the same models trained without a server."""
    known = {}

    def train(run):
        for member in run.members:
            if member.label not in known:
                model = GPT2.from_config(member.config)
                model.initialize(member.seed)
                training = replace(run.request.training, seed=member.seed)
                trainer = Trainer(model, run.corpus, training, is_snapshot_step=lambda step: step in (0, 1, 3))
                known[member.label] = trainer, list(trainer.events())
        return [known[member.label] for member in run.members]

    return train


def told(events):
    """What does not depend on the clock."""
    return [(e.step, e.tokens, e.train_loss, e.validation_loss, e.learning_rate, e.sample) for e in events]


def assert_as_undisturbed(run, expected, wait_until):
    for member, (trainer, events) in zip(run.members, expected, strict=True):
        assert told(member.events) == told(events)
        assert member.best.step == trainer.best_step
        wait_until(lambda member=member: member.saved, "the worker to hand it back")
        tensors = member.saved.state.tensors.items()
        present, average = (
            {path.removeprefix(kind): tensor for path, tensor in tensors if path.startswith(kind)}
            for kind in ("present/", "average/")
        )
        pairs = [(member.best.weights, trainer.best_weights), (average, trainer.average)]
        pairs.append((present, dict(trainer.model.named_parameters())))
        for mine, theirs in pairs:
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
        assert member.batches_digest == member.saved.state.batches_digest == trainer.batches_digest
        assert set(member.snapshots) == set(trainer.snapshots)


@pytest.fixture
def hold_at(monkeypatch):
    """`hold_at(owner, name, number)`: the given call of a function waits until it is let go.

    Returns the event that the call has come, and the one that lets it go.
    """

    def hold(owner, name, number):
        function, calls = getattr(owner, name), []
        reached, released = threading.Event(), threading.Event()

        def held(*arguments, **options):
            calls.append(1)
            if len(calls) == number:
                reached.set()
                assert released.wait(30)
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, held)
        return reached, released

    return hold


def close_in_the_middle(runs, folder, released):
    """Close the server; what is held goes on once the server has begun to."""
    closing = threading.Thread(target=runs.close, args=(folder,))
    closing.start()
    with runs._lock:
        assert runs._lock.wait_for(lambda: runs._turns.is_closing, timeout=30)
    time.sleep(0.2)  # so that whoever trains has heard of it
    released.set()
    closing.join(30)
    assert not closing.is_alive()


# Two models are trained, in turn, and evaluated at steps 0, 4 and 8.
MOMENTS = {
    "in the first evaluation": (gpt.training.trainer, "token_scores", 1),
    "in the first evaluation of the second model": (gpt.training.trainer, "token_scores", 2),
    "in a middle evaluation": (gpt.training.trainer, "token_scores", 4),
    "in the last evaluation": (gpt.training.trainer, "token_scores", 5),
    "in the very last evaluation": (gpt.training.trainer, "token_scores", 6),
    "in a sample": (gpt.training.evaluation, "stream_tokens", 3),
    "in the last sample": (gpt.training.evaluation, "stream_tokens", 6),
    "in the first step": (Trainer, "_learn", 1),
    "in a step": (Trainer, "_learn", 8),
    "in the last step": (Trainer, "_learn", 16),
    "when weights have moved": (Trainer, "_follow_with_average", 7),
    "between the models of a step": (Turns, "goes_on", 9),
    "between two steps": (Turns, "goes_on", 10),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_in_training(moment, lab, request_for, corpus, hold_at, undisturbed, wait_until, tmp_path, caplog):
    runs, request = lab(), request_for("gpt2", "modern", **STEPS)
    expected = undisturbed(Run(request, corpus, ""))
    reached, released = hold_at(*MOMENTS[moment])
    run = runs.submit(request, corpus, "ada")
    assert reached.wait(30)
    close_in_the_middle(runs, tmp_path, released)
    assert run.state == "paused"
    later = lab()
    later.restore(tmp_path)
    again = later.find(run.key)
    behind = later.submit(request_for(max_steps=2, seed=5), corpus, "bob")
    wait_until(lambda: again.is_over and behind.is_over, "the run, and the one behind it")
    assert (again.state, behind.state) == ("done", "done")
    assert_as_undisturbed(again, expected, wait_until)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_queue_and_what_is_paused(lab, request_for, corpus, hold_at, undisturbed, wait_until, tmp_path):
    """Paused before and after its first step, in training, and waiting, in the order in which they came."""
    runs, request = lab(), request_for("gpt2", "modern", **STEPS)
    expected = undisturbed(Run(request, corpus, ""))
    paused = runs.submit(request, corpus, "ada")
    runs.pause(paused, "ada")
    wait_until(lambda: paused.state == "paused", "the pause")
    step = paused.step
    reached, released = hold_at(Trainer, "_learn", 3)
    running = runs.submit(request_for(seed=2, max_steps=LONG), corpus, "bob")
    assert reached.wait(30)
    waiting = [runs.submit(request_for(seed=seed), corpus, f"visitor {seed}") for seed in (9, 3, 7, 5)]
    runs.pause(waiting[1], "visitor 3")
    close_in_the_middle(runs, tmp_path, released)
    later = lab()
    later.restore(tmp_path)
    again = later.find(paused.key)
    assert (again.state, again.step, again.owner) == ("paused", step, "ada")
    places = [later.place_in_queue(later.find(waiting[number].key))[0] for number in (0, 2, 3)]
    assert places == sorted(places)
    assert later.find(waiting[1].key).state == "paused"
    assert later.find(running.key).goal == LONG
    later.stop(later.find(running.key), "bob")
    later.play(again, "ada")
    others = [later.find(waiting[number].key) for number in (0, 2, 3)]
    wait_until(lambda: again.is_over and all(run.is_over for run in others), "those that waited")
    assert {again.state, *(run.state for run in others)} == {"done"}
    assert_as_undisturbed(again, expected, wait_until)


def test_while_a_copy_waits(lab, request_for, corpus, hold_at, undisturbed, wait_until, tmp_path):
    runs, request = lab(), request_for("gpt2", "modern", **STEPS)
    expected = undisturbed(Run(request, corpus, ""))
    reached, released = hold_at(Trainer, "_learn", 8)
    run = runs.submit(request, corpus, "ada")
    run.readers.add("bob")
    assert reached.wait(30)
    answers = []

    def copy():
        try:
            answers.append(runs.copy(run, "bob"))
        except RunRefused as refused:
            answers.append(str(refused))

    copying = threading.Thread(target=copy)
    copying.start()
    wait_until(lambda: runs._turns._questions, "the copy to be asked for")
    close_in_the_middle(runs, tmp_path, released)
    copying.join(30)
    assert answers == ["the lab is closing; it makes no copies"]
    later = lab()
    later.restore(tmp_path)
    again = later.find(run.key)
    wait_until(lambda: again.is_over, "the end")
    assert_as_undisturbed(again, expected, wait_until)


def test_a_run_whose_step_does_not_end_is_left_alone_and_said(lab, request_for, corpus, hold_at, tmp_path, caplog):
    """What is half done is not saved."""
    runs = lab()
    reached, released = hold_at(Trainer, "_follow_with_average", 2)
    run = runs.submit(request_for(**STEPS), corpus, "ada")
    assert reached.wait(30)
    runs.close(tmp_path)
    assert caplog.messages == [f"run {run.key} was not saved, because a step of it did not end in time"]
    assert list(tmp_path.iterdir()) == []
    released.set()


def test_a_server_that_ends_while_its_processes_start_keeps_what_was_saved(
    lab, request_for, corpus, undisturbed, wait_until, tmp_path, caplog
):
    request = request_for("gpt2", "modern", **STEPS)
    expected = undisturbed(Run(request, corpus, ""))
    first = lab()
    run = first.submit(request, corpus, "ada")
    wait_until(lambda: run.step >= 2, "some steps")
    first.close(tmp_path / "1")
    begins = threading.Event()
    slow = Runs(first.limits, Trainers(lambda: TrainerThread(begins)))
    slow.restore(tmp_path / "1")
    fresh = slow.submit(request_for(seed=3, **STEPS), corpus, "bob")
    wait_until(lambda: slow._turns.held, "the process to be hired")
    slow.close(tmp_path / "2")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    later = lab()
    later.restore(tmp_path / "2")
    begins.set()
    again, behind = later.find(run.key), later.find(fresh.key)
    wait_until(lambda: again.is_over and behind.is_over, "both ends")
    assert (again.state, behind.state) == ("done", "done")
    assert_as_undisturbed(again, expected, wait_until)


def test_what_a_closing_server_has_not_restored_yet_stays_for_the_next(lab, request_for, corpus, hold_at, tmp_path):
    runs = lab()
    reached, released = hold_at(Trainer, "_learn", 2)
    run = runs.submit(request_for(**STEPS), corpus, "ada")
    assert reached.wait(30)
    close_in_the_middle(runs, tmp_path, released)
    runs.restore(tmp_path)  # it is closing
    assert [path.name for path in tmp_path.iterdir()] == [run.key]
