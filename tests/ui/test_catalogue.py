"""The models a visitor can choose: shipped ones by folder, trained ones by run, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from served import SHIPPED, SNAPSHOT

from gpt.checkpoints.folder import load_snapshot
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.catalogue import Catalogue, at_step
from gpt.ui.door.asking import answering
from gpt.ui.door.visitors import Visitors
from gpt.ui.naming import clean_name


def test_shipped_models_are_there_at_once(catalogue: Catalogue) -> None:
    assert catalogue.shipped == SHIPPED
    models = [(f"{name}, shipped", f"shipped/{name}") for name in SHIPPED]
    assert catalogue.choices([], snapshots=False) == models
    earlier = (f"sliding-window at step {SNAPSHOT}, shipped", f"shipped/sliding-window@{SNAPSHOT}")
    assert catalogue.choices([]) == [*models, earlier]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_knows_where_it_comes_from(catalogue: Catalogue, name: str) -> None:
    ready = catalogue.get(f"shipped/{name}")
    assert (ready.label, ready.variant) == (name, name)
    assert ready.note == "shipped; best of 8 steps on story, at step 8"
    assert ready.model.config.vocab_size == ready.tokenizer.vocab_size
    assert not ready.model.training


def test_a_checkpoint_is_loaded_once(catalogue: Catalogue) -> None:
    assert catalogue.checkpoint("gpt2") is catalogue.checkpoint("gpt2")


def test_a_shipped_model_can_be_seen_on_its_way(catalogue: Catalogue, models_folder: Path) -> None:
    name = "shipped/sliding-window"
    steps = catalogue.steps(name)
    assert steps == [SNAPSHOT, catalogue.step_of(name)]
    early, late = catalogue.get(at_step(name, SNAPSHOT)), catalogue.get(at_step(name, steps[-1]))
    assert late is catalogue.get(name)
    assert early is catalogue.get(at_step(name, SNAPSHOT))  # whoever asks for the same weights gets the same model
    assert early.note == f"shipped; at step {SNAPSHOT} on story"
    assert catalogue.step_of(at_step(name, SNAPSHOT)) == SNAPSHOT
    assert catalogue.steps(at_step(name, SNAPSHOT)) == steps
    kept = load_snapshot(models_folder / "sliding-window", SNAPSHOT)
    for parameter_name, parameter in early.model.named_parameters():
        assert torch.equal(parameter, kept[parameter_name])
    assert catalogue.steps("shipped/gpt2") == []


def test_an_empty_folder_has_no_models(tmp_path: Path, runs: Runs, visitors: Visitors) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert Catalogue(folder, runs, visitors).choices([]) == []


@pytest.mark.parametrize(
    "name",
    [
        "shipped/../../etc",
        "shipped/../gpt2",
        "shipped//gpt2",
        "shipped/./gpt2",
        "shipped/mamba",
        "shipped/gpt2@",
        "shipped/gpt2@3",
        "shipped/sliding-window@2",
        "shipped/sliding-window@-3",
        "shipped/sliding-window@3@3",
        "shipped/sliding-window@" + "9" * 5000,
        "shipped/",
        "shipped",
        "/etc/passwd",
        "gpt2",
        "",
        "run/",
        "run/abc/0",
        "run/abc",
        "x" * 100_000,
        "shipped/\ud800",
        None,
        3,
        True,
        [],
        ["shipped/gpt2"],
        {"name": "shipped/gpt2"},
    ],
    ids=lambda name: f"{name!r:.20}",
)
def test_other_names_are_refused(catalogue: Catalogue, name: Any) -> None:
    with pytest.raises(ValueError, match=r"^this model is no longer here; choose another, or train it again$"):
        catalogue.get(name)


def test_a_run_has_no_other_members(catalogue: Catalogue, finished: Callable[..., Run]) -> None:
    run = finished()
    for number in ("", "1", "-1", "0.0", "0/0", "²", "x", " 0", "1" * 5000):
        with pytest.raises(ValueError, match=r"^this model is no longer here"):
            catalogue.get(f"run/{run.key}/{number}")


def test_trained_models_come_first_the_latest_at_the_top(catalogue: Catalogue, finished: Callable[..., Run]) -> None:
    first = finished(variants=["gpt2"])
    second = finished(variants=["rotary", "modern"])
    names = [name for _, name in catalogue.choices([first.key, second.key])]
    trained = [f"run/{second.key}/0", f"run/{second.key}/1", f"run/{first.key}/0"]
    assert [name for name in names if "@" not in name] == [*trained, "shipped/gpt2", "shipped/sliding-window"]
    assert f"run/{first.key}/0@1" in names  # its snapshots, too
    assert catalogue.choices([first.key])[0][0] == "gpt2, 10 steps, tiny, context 32, your own text, batch 4"


def test_only_runs_that_were_watched_are_offered(catalogue: Catalogue, finished: Callable[..., Run]) -> None:
    finished()
    assert catalogue.choices(["0123456789ab"]) == catalogue.choices([])


def test_a_trained_model_knows_where_it_comes_from(catalogue: Catalogue, finished: Callable[..., Run]) -> None:
    run = finished(variants=["sliding-window"])
    ready = catalogue.get(f"run/{run.key}/0")
    assert (ready.label, ready.variant) == (
        "sliding-window, 10 steps, tiny, window 8, context 32, your own text, batch 4",
        "sliding-window",
    )
    assert ready.note == "trained here; best of 10 steps on your own text"
    assert ready.tokenizer is run.corpus.tokenizer


def test_repeats_are_told_apart_by_their_seeds(catalogue: Catalogue, finished: Callable[..., Run]) -> None:
    run = finished(seeds=2, seed=5)
    labels = [catalogue.get(f"run/{run.key}/{number}").label for number in (0, 1)]
    assert labels == [f"gpt2 · seed {seed}, 10 steps, tiny, context 32, your own text, batch 4" for seed in (5, 6)]


def test_a_run_in_the_queue_has_no_models_yet(
    catalogue: Catalogue, start: Callable[..., Run], wait_until: Callable[..., None]
) -> None:
    running = start("a" * 32, steps=3000)
    wait_until(lambda: running.state == "running", "the first run to start")
    waiting = start("b" * 32, steps=20)
    assert catalogue.choices([waiting.key]) == catalogue.choices([])
    with pytest.raises(ValueError, match="has not started to learn"):
        catalogue.get(f"run/{waiting.key}/0")


# --- Names ----------------------------------------------------------------------------------------------------------


def test_what_would_be_called_alike_is_told_apart_by_what_differs(
    catalogue: Catalogue, finished: Callable[..., Run]
) -> None:
    runs = [finished(variants=["sliding-window"], window_size=4), finished(variants=["sliding-window"], steps=20)]
    shown = [shown for shown, name in catalogue.choices([run.key for run in runs], snapshots=False)][:2]
    assert shown[1].startswith("sliding-window, 10 steps, tiny, window 4, ")
    assert shown[0].startswith("sliding-window, 20 steps, tiny, window 8, ")


def test_a_name_is_seen_by_those_who_gave_it_and_changes_no_model(
    catalogue: Catalogue, finished: Callable[..., Run]
) -> None:
    run = finished(text="names")
    name, plain = f"run/{run.key}/0", catalogue.get(f"run/{run.key}/0")
    with answering("anna's page", ""):
        assert catalogue.names.give(run.key, "<b>Ada</b>") == {run.key: "<b>Ada</b>"}
        mine = catalogue.get(name)
        assert mine.label == f"<b>Ada</b>: {plain.label}"
        assert mine.model is plain.model
        assert mine.engine is plain.engine  # all who generate with it share the work
        assert catalogue.choices([run.key])[0] == (mine.label, name)
        assert catalogue.beginning(name).begins_from.startswith(f"{plain.label} ")  # or equal runs would not be shared
    with answering("ben's page", ""):
        assert catalogue.get(name).label == plain.label
        catalogue.names.recall({run.key: "Ben's", "k" * 99: "x", "other": "a\u202eb", 7: "x", "third": None})
        assert catalogue.names.of(run.key) == "Ben's"
        catalogue.names.recall({run.key: "older"})  # what was given on this page counts
        assert catalogue.names.give(run.key, "") == {}
    assert catalogue.get(name) is plain


@pytest.mark.parametrize(
    "name", ["x" * 41, "a\u202eb", "a\x00", None, 7, ["x"], "\ud800"], ids=lambda name: f"{name!r:.9}"
)
def test_a_name_that_cannot_be_shown_is_refused_in_a_sentence(name: Any) -> None:
    with pytest.raises(ValueError, match=r"^the name "):
        clean_name(name)


def test_models_that_a_link_names_are_listed_though_their_runs_were_not_watched(
    catalogue: Catalogue, finished: Callable[..., Run]
) -> None:
    run = finished(text="names")
    shown = catalogue.choices([], also=[f"run/{run.key}/0", "run/", "run/gone/0", "shipped/gpt2", 7, None])
    assert f"run/{run.key}/0" in [name for _, name in shown]
    assert shown[1:] != catalogue.choices([])
    assert [catalogue.has(name) for name in (f"run/{run.key}/0", "run/gone/0", "shipped/gpt2", None)] == [
        True,
        False,
        True,
        False,
    ]
