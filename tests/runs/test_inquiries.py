"""Experiments in the line: shared, stopped, left, lost and refused; in real processes where that matters."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest

from gpt.experiments import sampling
from gpt.experiments.result import Result
from gpt.runs.experiment_run import ExperimentRequest, ExperimentRun
from gpt.runs.limits import Limits
from gpt.runs.request import RunRefused
from gpt.runs.scheduler import Runs
from gpt.runs.states import RunState
from gpt.runs.trainers import TrainerProcess, Trainers


def request(**changes: object) -> ExperimentRequest:
    """A small sampling experiment."""
    setup = replace(sampling.QUICK, texts=4, length=20)
    return ExperimentRequest("sampling", asdict(replace(setup, **changes)))


def long(**changes: object) -> ExperimentRequest:
    """One that takes far longer than a test."""
    return request(texts=400, length=1000, **changes)


@pytest.fixture
def started() -> list[TrainerProcess]:
    """The processes that `server` has started."""
    return []


@pytest.fixture
def server(started) -> Iterator[Runs]:
    """A server's runs, in real processes."""

    def start() -> TrainerProcess:
        started.append(TrainerProcess())
        return started[-1]

    runs = Runs(Limits(cores=1, workers=1), Trainers(start))
    yield runs
    runs.close()
    for process in started:
        process.end()


def test_two_who_ask_for_the_same_share_one(lab, wait_until):
    runs = lab()
    ada = runs.inquiries.ask(request(), "ada")
    ben = runs.inquiries.ask(request(), "ben")
    other = runs.inquiries.ask(request(seed=8), "ben")
    assert ada is ben is not other
    with runs.watching(ada), runs.watching(other):
        wait_until(lambda: ada.is_over and other.is_over, "both results")
    assert ada.state is other.state is RunState.DONE
    result = Result.from_json(ada.result)
    assert result.sentences
    assert result.setup == dict(ada.request.setup)
    assert runs.inquiries.ask(request(), "carl") is ada  # done already: at once
    assert runs.all_runs() == []  # trainings are apart


def test_only_its_owner_stops_it_and_only_where_nobody_else_watches(lab, wait_until):
    runs = lab()
    run = runs.inquiries.ask(long(), "ada")
    wait_until(lambda: run.state is RunState.RUNNING, "its turn")
    assert not runs.inquiries.stop(run, "ben")
    with runs.watching(run), runs.watching(run):
        assert not runs.inquiries.stop(run, "ada")
    assert runs.inquiries.stop(run, "ada")
    assert run.state is RunState.STOPPED
    again = runs.inquiries.ask(long(), "ada")
    assert again is not run
    runs.inquiries.stop(again, "ada")


def test_a_visitor_has_one_under_way_and_trains_beside_it(lab, request_for, corpus, wait_until):
    runs = lab()
    training = runs.submit(request_for(max_steps=3000), corpus, "ada")
    first = runs.inquiries.ask(long(), "ada")
    second = runs.inquiries.ask(long(seed=8), "ada")
    assert first.state is RunState.STOPPED
    assert not second.is_over
    assert not training.is_over
    runs.stop(training, "ada")
    wait_until(lambda: second.state is RunState.RUNNING, "its turn, when the training is over")
    runs.inquiries.stop(second, "ada")


def test_it_goes_on_over_a_reload_and_stops_when_left(lab, wait_until, monkeypatch):
    runs = lab()
    run = runs.inquiries.ask(long(), "ada")
    with runs.watching(run):
        wait_until(lambda: run.share > 0, "some progress")
    assert run.state is RunState.RUNNING  # nobody watches, but not for long
    monkeypatch.setattr("gpt.runs.experiment_run._UNWATCHED_SECONDS", 0.0)
    wait_until(lambda: run.is_over, "its end")
    assert run.message == "Stopped, because nobody was watching; run it again."


def test_a_lost_process_fails_it_in_a_sentence_and_is_replaced(server, started, wait_until):
    run = server.inquiries.ask(long(), "ada")
    with server.watching(run):
        wait_until(lambda: run.share > 0, "some progress")
        os.kill(started[-1]._process.pid, signal.SIGKILL)
        wait_until(lambda: run.is_over, "its end")
        assert run.state is RunState.FAILED
        assert "ended from outside" in run.message
        again = server.inquiries.ask(request(), "ada")
        with server.watching(again):
            wait_until(lambda: again.is_over, "the next one")
        assert again.state is RunState.DONE


def test_a_stop_is_heard_at_once_and_the_process_stays(server, started, wait_until):
    run = server.inquiries.ask(long(), "ada")
    wait_until(lambda: run.share > 0, "some progress")
    server.inquiries.stop(run, "ada")
    after = server.inquiries.ask(request(), "ada")
    with server.watching(after):
        wait_until(lambda: after.is_over, "the next one")
    assert after.state is RunState.DONE
    assert len(started) == 1


def test_what_cannot_be_made_is_refused_in_its_sentence(lab, wait_until):
    runs = lab()
    run = runs.inquiries.ask(ExperimentRequest("sampling", asdict(sampling.QUICK) | {"model": "nobody"}), "ada")
    with runs.watching(run):
        wait_until(lambda: run.is_over, "its end")
    assert run.state is RunState.FAILED
    assert "choose one of" in run.message


def test_a_closing_lab_says_so(lab, wait_until):
    runs = lab()
    running = runs.inquiries.ask(long(), "ada")
    waiting = runs.inquiries.ask(long(seed=8), "ben")
    wait_until(lambda: running.state is RunState.RUNNING, "its turn")
    runs.close()
    assert running.state is waiting.state is RunState.STOPPED
    assert "restarting" in running.message
    with pytest.raises(RunRefused, match="closing"):
        runs.inquiries.ask(request(), "carl")


def test_the_oldest_results_are_forgotten(lab, wait_until):
    runs = lab(most_experiments=2)
    made: list[ExperimentRun] = []
    for seed in range(3):
        made.append(runs.inquiries.ask(request(texts=1, length=1, seed=seed), f"visitor {seed}"))
        wait_until(lambda: made[-1].is_over, "a result")
    assert [runs.inquiries.find(run.key) for run in made] == [None, *made[1:]]


def test_many_ask_at_once_and_one_is_made(lab, wait_until):
    runs = lab()
    found: set[ExperimentRun] = set()
    threads = [
        threading.Thread(target=lambda n=n: found.add(runs.inquiries.ask(request(), f"v{n}"))) for n in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    wait_until(lambda: next(iter(found)).is_over, "the result")
