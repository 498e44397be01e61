"""A text of a visitor's own is theirs: nobody else gets it, nor a model that has learned it, by any press."""

from __future__ import annotations

import pytest

from gpt.runs.request import NotYourText

LONG = 20_000  # steps that no test waits for


def test_only_those_who_handed_in_the_text_may_copy_or_restart(lab, request_for, corpus, wait_until):
    runs = lab()
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.step > 0, "a step")
    assert run.is_private
    for press in (runs.copy, runs.again):
        for stranger in ("bob", ""):
            with pytest.raises(NotYourText, match="somebody's own text"):
                press(run, stranger)
    assert runs.all_runs() == [run]
    assert runs.submit(request_for(max_steps=LONG), corpus, "cleo") is run  # who has the text, too
    copy = runs.copy(run, "cleo")
    assert copy.may_read("cleo")
    assert not copy.may_read("bob")


def test_a_copy_of_a_copy_is_no_way_around(lab, request_for, corpus, wait_until):
    runs = lab()
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    wait_until(lambda: run.step > 0, "a step")
    copy = runs.copy(run, "ada")
    for press in (runs.copy, runs.again):
        with pytest.raises(NotYourText):
            press(copy, "bob")


def test_who_may_read_outlasts_a_restart(lab, request_for, corpus, wait_until, tmp_path):
    runs = lab()
    run = runs.submit(request_for(max_steps=LONG), corpus, "ada")
    runs.submit(request_for(max_steps=LONG), corpus, "cleo")
    wait_until(lambda: run.step > 0, "a step")
    runs.close(tmp_path)
    later = lab()
    later.restore(tmp_path)
    again = later.find(run.key)
    assert [again.may_read(visitor) for visitor in ("ada", "cleo", "bob", "")] == [True, True, False, False]
