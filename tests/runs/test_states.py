"""The transitions of a run: those on the drawing, and no others."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import pytest

from gpt.runs.states import RunState, transition

ALLOWED = {
    *(("paused", "waiting"), ("paused", "stopped")),
    *(("waiting", "running"), ("waiting", "paused"), ("waiting", "stopped")),
    *(("running", "paused"), ("running", "done"), ("running", "stopped"), ("running", "failed")),
}


@pytest.mark.parametrize(("before", "after"), list(product(RunState, RunState)), ids=str)
def test_a_run_passes_where_it_may_and_nowhere_else(before, after):
    run = SimpleNamespace(state=before, message="as it was", version=3)
    if (before.value, after.value) in ALLOWED:
        transition(run, after, "why")
        assert vars(run) == {"state": after, "message": "why", "version": 4}
        return
    with pytest.raises(RuntimeError, match=f"a run that is {before} cannot become {after}; it can become "):
        transition(run, after)
    assert vars(run) == {"state": before, "message": "as it was", "version": 3}


def test_what_is_over_leads_nowhere():
    assert {state for state in RunState if state.is_over} == {"done", "stopped", "failed"}


def test_a_state_is_written_as_its_name():
    assert f"{RunState.WAITING}" == str(RunState.WAITING) == "waiting" == RunState.WAITING
