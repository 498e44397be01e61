"""Runs trained in real processes: the same numbers, side by side, and what becomes of a run whose process is lost."""

from __future__ import annotations

import io
import math
import os
import random
import signal
import time
from dataclasses import replace

import pytest
import torch

from gpt import GPT2, Trainer
from gpt.costs import cores
from gpt.costs.cores import spread, usable_cores
from gpt.runs import trainers as trainers_module
from gpt.runs import workers
from gpt.runs.limits import Limits
from gpt.runs.messages import Message, read_message, write_message
from gpt.runs.run import News, Run
from gpt.runs.scheduler import Runs
from gpt.runs.states import RunState
from gpt.runs.trainers import TrainerProcess, Trainers
from gpt.training.state import TrainEvent

LONG = 20_000


@pytest.fixture
def corpus(corpus):
    return replace(corpus, name="python-docs")  # a text that everybody may have


@pytest.fixture(scope="module")
def processes():
    """The trainer processes of all tests here, and a list of those that were started."""
    started = []

    def start():
        started.append(TrainerProcess())
        return started[-1]

    trainers = Trainers(start)
    yield trainers, started
    trainers.close()
    assert not any(process.is_alive() for process in started)


@pytest.fixture
def server(processes):
    """`server(**limits)`: runs trained in real processes, on two cores."""
    opened = []

    def make(**limits):
        allowed = Limits(**({"cores": 2, "workers": 1, "most_steps": LONG, "unwatched_seconds": 60.0} | limits))
        opened.append(Runs(allowed, processes[0]))
        return opened[-1]

    yield make
    for runs in opened:
        runs.close()


def alone(member, corpus, training):
    model = GPT2.from_config(member.config)
    model.initialize(member.seed)
    return list(Trainer(model, corpus, replace(training, seed=member.seed)).events())


def at_work(processes):
    """The numbers of the processes that train something."""
    trainers, started = processes
    idle = [hired.trainer for hired in trainers._idle]
    return [process._process.pid for process in started if process.is_alive() and process not in idle]


def told(events):
    return [(e.step, e.tokens, e.train_loss, e.validation_loss, e.learning_rate, e.sample) for e in events]


def test_models_trained_side_by_side_are_as_if_trained_alone(server, request_for, corpus, wait_until):
    """Paused, stepped, copied, and handed from one server to another's processes on the way."""
    runs, request = server(), request_for("gpt2", "modern", max_steps=30, ema_decay=0.9, eval_interval=7)
    run = runs.submit(request, corpus, "ada")
    wait_until(lambda: run.step >= 3, "some steps")
    copy = runs.copy(run, "bob", play=False)
    runs.pause(run, "ada")
    wait_until(lambda: run.state is RunState.PAUSED and not runs._turns.held, "the pause")
    assert run.is_level
    before = run.step
    runs.step_once(run, "ada")
    wait_until(lambda: run.step == before + 1 and run.state is RunState.PAUSED, "one step")
    runs.play(run, "ada")
    runs.play(copy, "bob")
    wait_until(lambda: run.is_over and copy.is_over, "both ends", seconds=60)
    assert (run.state, run.message, copy.state, run.layout) == (RunState.DONE, "", RunState.DONE, (2, 1))
    for one in (run, copy):
        for member in one.members:
            assert told(member.events) == told(alone(member, corpus, request.training))
    assert len({member.shared_digest for member in run.members}) == 1


def test_a_run_outlasts_a_server_that_ends_at_any_moment(server, request_for, corpus, wait_until, tmp_path):
    draw, corpus = random.Random(7), replace(corpus, name="mine")
    request = request_for("gpt2", "modern", max_steps=60, eval_interval=5, sample_length=5)
    runs = server()
    run = runs.submit(request, corpus, "ada")
    for stop in range(6):
        time.sleep(draw.uniform(0, 0.3))
        started = time.monotonic()
        runs.close(tmp_path / str(stop))
        assert time.monotonic() - started < 3
        if run.is_over:
            break
        runs = server()
        runs.restore(tmp_path / str(stop))
        run = runs.find(run.key)
    wait_until(lambda: run.is_over, "the end", seconds=60)
    assert (run.state, run.message) == (RunState.DONE, "")
    for member in run.members:
        assert told(member.events) == told(alone(member, corpus, request.training))


def test_a_stop_is_heard_within_half_a_second(server, request_for, corpus, wait_until):
    """At random moments, in evaluations and samples too."""
    draw, runs, waited = random.Random(3), server(), []
    for seed in range(6):
        run = runs.submit(request_for(seed=seed, max_steps=LONG, eval_interval=3, sample_length=40), corpus, "ada")
        wait_until(lambda run=run: run.step > 0, "it to train")
        time.sleep(draw.uniform(0, 0.2))
        runs.stop(run, "ada")
        started = time.monotonic()
        wait_until(lambda: not runs._turns.held, "the processes to be free")
        waited.append(time.monotonic() - started)
    assert sorted(waited)[len(waited) // 2] < 0.5


@pytest.mark.skipif(os.name != "posix", reason="it sends signals")
def test_a_process_that_is_killed_fails_its_run_and_is_replaced(server, processes, request_for, corpus, wait_until):
    runs = server()
    for kill_after in (0.0, 0.2):
        run = runs.submit(request_for("gpt2", "modern", max_steps=LONG, seed=int(100 * kill_after)), corpus, "ada")
        wait_until(lambda run=run: run.step > 0, "it to train")
        time.sleep(kill_after)
        os.kill(at_work(processes)[-1], signal.SIGKILL)
        wait_until(lambda run=run: run.is_over, "the run to end")
        assert run.state is RunState.FAILED
        assert run.message == (
            "Stopped: the process that trained it was ended from outside, perhaps because memory ran out; "
            "train it again, or smaller models."
        )
        assert run.members[0].events  # what was told stays, and can be taken home
        assert run.members[0].model_at()
    after = runs.submit(request_for("gpt2", "modern", max_steps=3), corpus, "ada")
    wait_until(lambda: after.is_over, "the next run")
    assert after.state is RunState.DONE


@pytest.mark.skipif(os.name != "posix", reason="it sends signals")
def test_a_process_that_answers_no_more_does_not_keep_the_server(
    server, processes, request_for, corpus, wait_until, monkeypatch
):
    monkeypatch.setattr(workers, "_LONGEST_GOODBYE", 0.5)
    monkeypatch.setattr(workers, "_LONGEST_SILENCE", 8.0)  # longer than a process takes to load
    runs = server()
    for press in (runs.pause, lambda *_: None):
        run = runs.submit(request_for(max_steps=LONG), corpus, "ada", restart=True)
        wait_until(lambda run=run: run.step > 0, "it to train")
        for process in at_work(processes):
            os.kill(process, signal.SIGSTOP)
        press(run, "ada")
        wait_until(lambda run=run: run.is_over and not runs._turns.held, "the server to give it up")
        assert run.state in (RunState.STOPPED, RunState.FAILED)
    after = runs.submit(request_for(max_steps=3, seed=4), corpus, "ada")
    wait_until(lambda: after.is_over, "the next run")
    assert after.state is RunState.DONE


def test_a_process_that_cannot_be_started_is_one_sentence(lab, request_for, corpus, wait_until, monkeypatch):
    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(trainers_module.subprocess, "Popen", refuse)
    runs = Runs(Limits(cores=1, workers=1))
    run = runs.submit(request_for(), corpus, "ada")
    wait_until(lambda: run.is_over, "it to fail")
    said = (
        "Stopped: no process could be started to train it (Cannot allocate memory); train it again, or smaller models."
    )
    assert run.message == said
    runs.close()


# --- What they stand on ---------------------------------------------------------------------------------------------


def test_messages_come_back_as_they_were_said():
    stream = io.BytesIO()
    ids = torch.arange(10)
    said = [
        Message("state", {"best": math.inf, "loss": 0.1 + 0.2, "text": "\ud800\n\x00"}, {"a/b": torch.randn(2, 3).T}),
        Message("corpus", {}, {"train": ids[:9], "validation": ids[9:], "none": torch.empty(0, dtype=torch.bfloat16)}),
        Message("leave"),
    ]
    for message in said:
        write_message(stream, message)
    whole = stream.getvalue()
    stream.seek(0)
    for message in said:
        heard = read_message(stream)
        assert (heard.kind, heard.fields) == (message.kind, message.fields)
        assert heard.tensors.keys() == message.tensors.keys()
        assert all(torch.equal(heard.tensors[name], tensor) for name, tensor in message.tensors.items())
    assert read_message(stream) is None
    first = io.BytesIO()
    write_message(first, said[0])
    for length in range(len(first.getvalue())):
        assert read_message(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize(
    ("models", "given", "layout"),
    [
        (1, 1, (1, 1)),
        (6, 1, (1, 1)),
        (1, 2, (1, 2)),
        (2, 2, (2, 1)),
        (3, 2, (1, 2)),
        (4, 2, (2, 1)),
        (2, 8, (2, 4)),
        (3, 8, (3, 2)),
        (1, 64, (1, 8)),
    ],
)
def test_models_are_spread_over_the_cores(models, given, layout):
    assert spread(models, given) == layout


def test_a_training_stays_with_its_number_of_threads():
    assert [spread(4, given, 2) for given in (1, 2, 4, 16)] == [(1, 2), (1, 2), (2, 2), (4, 2)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu.max": "nonsense"}, 64),
    ],
)
def test_a_container_has_as_many_cores_as_it_may_use(tmp_path, monkeypatch, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(cores, "_CGROUP", tmp_path)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert usable_cores() == expected


def test_the_slowest_process_sets_the_pace(request_for, corpus):
    run = Run(request_for("gpt2", "modern", "rotary", batch_size=2), corpus, "ada")
    tokens = 2 * run.members[0].config.context_length
    assert run.seconds_per_step() is None
    for member, seconds in zip(run.members, (1.0, 2.0, 4.0), strict=True):
        event = TrainEvent(1, tokens, seconds, 1.0, None, None, 0.1, tokens / seconds, None)
        member.tell(News(event, "", {}, None))
    paces = {}
    for processes in (1, 2, 3):
        run.layout = (processes, 1)
        paces[processes] = run.seconds_per_step()
    assert paces == {1: 7.0, 2: 5.0, 3: 4.0}  # model n in process n modulo their number
