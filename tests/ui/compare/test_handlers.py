"""Comparing: what cannot be is said in a sentence; which models are in the list, and how others come into it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import BOTH, NO_NUMBERS, refuses

from gpt import PretrainedUnavailable, save_checkpoint
from gpt.runs.limits import LONGEST_PROMPT, MOST_COMPARED
from gpt.runs.run import Run
from gpt.ui.catalogue import Catalogue
from gpt.ui.compare.handlers import CompareHandlers

Generate = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": None}, "The prompt is missing"),
        ({"prompt": ["ROMEO:"]}, "The prompt is missing"),
        ({"prompt": "x" * (LONGEST_PROMPT + 1)}, "has 2,001 characters; at most 2,000"),
        ({"prompt": "a\udc80"}, "half a character"),
        ({"names": []}, "No model is chosen"),
        ({"names": None}, "No model is chosen"),
        ({"names": "shipped/gpt2"}, "No model is chosen"),
        ({"names": BOTH * MOST_COMPARED}, "8 models are chosen; at most 4"),
        ({"names": ["shipped/mamba"]}, "This model is no longer here"),
        ({"names": ["shipped/../../etc"]}, "This model is no longer here"),
        ({"names": ["run/0123456789ab/0"]}, "This model is no longer here"),
        ({"names": [None]}, "This model is no longer here"),
        ({"names": [["shipped/gpt2"]]}, "This model is no longer here"),
        ({"temperature": -1}, "Temperature is -1"),
        ({"temperature": float("nan")}, "Temperature is nan; give a finite number"),
        ({"length": 0}, "Length is 0; give 1 or more"),
        ({"length": 1001}, "Length is 1001; at most 1,000"),
        ({"length": 20.5}, "Length is 20.5; give a whole number"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_what_cannot_be_is_refused(generate: Generate, changes: dict[str, Any], match: str) -> None:
    with refuses(match):
        generate(**changes)


@pytest.mark.parametrize("name", ["length", "temperature", "top_k", "top_p", "seed"])
@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused(generate: Generate, name: str, value: Any) -> None:
    with refuses(name.replace("_", "-").capitalize()):
        generate(**{name: value})


# --- The list of models -----------------------------------------------------------------------------------------------


def test_opening_the_tab_offers_what_was_trained(compare_tab: CompareHandlers, finished: Callable[..., Run]) -> None:
    run = finished(variants=["gpt2", "rotary"])
    trained = [f"run/{run.key}/0", f"run/{run.key}/1"]
    update = compare_tab.refresh([run.key], BOTH)
    offered = [name for _, name in update.choices]
    assert [name for name in offered if "@" not in name] == [*trained, *BOTH]
    assert f"run/{run.key}/0@1" in offered  # and what they were like at earlier steps
    assert update.value == [*BOTH, *trained]


def test_the_chosen_models_stay_and_never_become_too_many(
    compare_tab: CompareHandlers, finished: Callable[..., Run]
) -> None:
    run = finished(variants=["gpt2", "rotary", "modern"])
    assert compare_tab.refresh([run.key], BOTH).value == [*BOTH, f"run/{run.key}/0", f"run/{run.key}/1"]


@pytest.mark.parametrize("seen", [[], None, "x", ["0123456789ab"]], ids=repr)
@pytest.mark.parametrize("names", [["run/0123456789ab/0"], None, "x", [None, ["y"]]], ids=repr)
def test_models_that_are_gone_leave_the_list(compare_tab: CompareHandlers, seen: Any, names: Any) -> None:
    assert compare_tab.refresh(seen, names).value == []


# --- Uploads and the original GPT-2 -----------------------------------------------------------------------------------


def test_an_uploaded_checkpoint_is_chosen_and_can_write(
    compare_tab: CompareHandlers, generate: Generate, catalogue: Catalogue, tmp_path: Path
) -> None:
    ready = catalogue.get("shipped/gpt2")
    save_checkpoint(tmp_path / "mine", ready.model, ready.tokenizer)  # type: ignore[arg-type]
    packed = shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path / "mine")
    seen, update = compare_tab.upload(Path(packed).read_bytes(), [], BOTH)
    (name,) = seen
    assert update.value == [*BOTH, name]
    uploaded, shipped = generate(names=[name, "shipped/gpt2"])[-1]["columns"]
    assert uploaded["text"] == shipped["text"]
    assert name not in [choice for _, choice in catalogue.choices([])]  # nobody else is told


@pytest.mark.parametrize("content", [b"", b"no zip", None, "text", 7])
def test_what_is_no_checkpoint_is_refused(compare_tab: CompareHandlers, content: Any) -> None:
    with refuses("(not a zip file|not a file)"):
        compare_tab.upload(content, [], BOTH)


def test_the_original_that_cannot_be_fetched_is_explained(
    compare_tab: CompareHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(_: str) -> None:
        raise PretrainedUnavailable("gpt2 could not be fetched; connect to the network")

    monkeypatch.setattr("gpt.checkpoints.pretrained.load_pretrained", offline)
    with refuses("could not be fetched"):
        compare_tab.fetch_original([], BOTH)
