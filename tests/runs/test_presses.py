"""Visitors press all buttons at once, on threads that take turns as often as they can; what must hold, holds."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from dataclasses import replace

import pytest

from gpt import GPT2, Trainer
from gpt.runs.request import NotYourRun, RunRefused
from gpt.runs.states import RunState

STEPS = 6
VISITORS = ("ada", "bob", "cleo", "dan")
PRESSES = 25  # of each visitor


@pytest.fixture
def corpus(corpus):
    """As a text that everybody may have: a run on a visitor's own is theirs alone, see `test_privacy.py`."""
    return replace(corpus, name="python-docs")


@pytest.fixture
def quick_turns():
    """Threads take turns every 20 microseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(20e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def trainers_used_by_two(monkeypatch):
    """The trainers that two threads were in at once."""
    inside, found, lock = Counter(), [], threading.Lock()

    def alone(name):
        function = getattr(Trainer, name)

        def watched(trainer, *arguments):
            with lock:
                inside[trainer] += 1
                if inside[trainer] > 1:
                    found.append(trainer)
            try:
                return function(trainer, *arguments)
            finally:
                with lock:
                    inside[trainer] -= 1

        monkeypatch.setattr(Trainer, name, watched)

    for name in ("_update", "_evaluated_event", "state", "load_state"):
        alone(name)
    return found


def assert_queue_is_sound(runs):
    with runs._lock:
        assert all(run.state is RunState.WAITING for run in runs._turns.queue)
        waiting = [run for run in runs.all_runs() if run.state is RunState.WAITING]
        assert Counter(runs._turns.queue) == Counter(waiting)  # each once, and none is lost


class Visitor(threading.Thread):
    """Presses buttons at random, on their own run and on those of others."""

    def __init__(self, name, runs, request, corpus):
        super().__init__(name=name)
        self.random = random.Random(name)
        self.runs, self.request, self.corpus = runs, request, corpus
        self.error = None

    def run(self):
        try:
            for _ in range(PRESSES):
                self.press()
                assert_queue_is_sound(self.runs)
        except Exception as error:
            self.error = error

    def press(self):
        choose, runs, name = self.random.choice, self.runs, self.name
        training = replace(self.request.training, seed=self.random.randrange(2))
        run = choose(runs.all_runs() or [None])
        button = choose(("train", "restart", "play", "pause", "step", "stop", "copy", "copy, paused", "watch"))
        try:
            if run is None or button in ("train", "restart"):
                request = replace(self.request, training=training)
                got = runs.submit(request, self.corpus, name, restart=button == "restart")
            elif button.startswith("copy"):
                got = runs.copy(run, name, play=button == "copy")
            elif button == "watch":
                with runs.watching(run):
                    runs.place_in_queue(run)
                return
            else:
                press = {"play": runs.play, "pause": runs.pause, "step": runs.step_once, "stop": runs.stop}[button]
                return press(run, name)
        except (RunRefused, NotYourRun):
            return
        assert runs.find(got.key) is not None


def test_whatever_is_pressed_every_run_ends_as_it_should(
    lab, request_for, corpus, wait_until, quick_turns, trainers_used_by_two
):
    runs, request = lab(workers=2, most_models=2, lease_seconds=120.0), request_for("gpt2", "modern", max_steps=STEPS)
    visitors = [Visitor(name, runs, request, corpus) for name in VISITORS]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(120)
        assert not visitor.is_alive()
    assert [visitor.error for visitor in visitors if visitor.error] == []
    left = [run for run in runs.all_runs() if not run.is_over]
    assert max(Counter(run.owner for run in left).values(), default=0) <= 1
    for run in left:
        runs.play(run, run.owner)
    wait_until(lambda: all(run.is_over for run in left), "the runs to end", seconds=60)
    assert {run.state for run in left} <= {"done"}
    wait_until(lambda: not runs._turns.held, "the workers to let go")
    assert trainers_used_by_two == []
    done = [run for run in runs.all_runs() if run.state is RunState.DONE]
    assert done
    for run in done:
        for member in run.members:
            model = GPT2.from_config(member.config)
            model.initialize(member.seed)
            alone = Trainer(model, corpus, replace(run.request.training, seed=member.seed))
            assert [(e.step, e.train_loss) for e in member.events] == [(e.step, e.train_loss) for e in alone.events()]
