"""The page's address: every field comes back as it was, and what makes no sense is named and changes nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from served import BOTH, assert_sentence

from gpt.experiments.questions import QUESTIONS
from gpt.runs.limits import LARGEST_TIMED_WINDOW, LONGEST_LOOK, LONGEST_PROMPT, MOST_COMPARED
from gpt.ui import address, links
from gpt.ui.address import FIELDS, PAGE, read
from gpt.ui.compare.settings import SECOND_TEMPERATURES
from gpt.ui.cost.settings import CHOSEN_MODELS, LONGEST, PASSES
from gpt.ui.hiding import HIDDEN
from gpt.ui.naming import LONGEST_RUN_NAME
from gpt.ui.sizes import COUNTED_CONTEXTS, LARGEST_TRAINED_WINDOW, SIZES, TRAINED_CONTEXTS
from gpt.ui.train.settings import CHOICES, MOST_STEPS, OWN_TEXT, RATE_MULTIPLES, TOKENS

HOSTILE = "<img src=x onerror=alert(1)>${alert(1)}{{constructor}}'\"`;--\u202e\x00"
TEXTS = ["ROMEO:", "", "a\nb & c=d, %20 + ?#/:", "שלום 👩‍🚀", HOSTILE]

# Values of every field, among them the ends of what it takes.
VALUES: dict[str, dict[str, list[Any]]] = {
    PAGE: {
        "tab": list(address.TABS),
        "run": ["0123456789ab"],
        "name": ["Ada's first, 50 %", "x" * LONGEST_RUN_NAME, "<b>bold</b>", "שלום"],
        "hands": ["off"],
        "hide": [list(HIDDEN), ["tabs"], []],
        "projector": ["1"],
    },
    "train": {
        "variants": [list(CHOICES), ["modern"], []],
        "without_mask": [True, False],
        "size": list(SIZES),
        "text": ["shakespeare", "task-addition", OWN_TEXT],
        "tokens": list(TOKENS),
        "steps": [10, 300, MOST_STEPS],
        "recipe": ["fast", "nanogpt"],
        "batch": [1, 64],
        "rate": list(RATE_MULTIPLES),
        "context": list(TRAINED_CONTEXTS),
        "window": [1, LARGEST_TRAINED_WINDOW],
        "kv_heads": [1, 6],
        "seed": [0, 2**31],
        "repeats": [1, 3],
        "from": ["", "shipped/gpt2"],
    },
    "compare": {
        "view": ["write", "step", "read"],
        "models": [BOTH, ["run/0123456789ab/0@100"], ["upload/0123"], [f"shipped/{n}" for n in range(MOST_COMPARED)]],
        "prompt": [*TEXTS, "x" * LONGEST_PROMPT],
        "stepped": ["KING"],
        "reading": ["import this\n"],
        "leave_out": [True, False],
        "length": [20, 1000],
        "second": ["", *SECOND_TEMPERATURES],
        "temperature": [0, 0.35, 2],
        "top_k": [0, 50],
        "top_p": [0.05, 1],
        "seed": [0, 1337, 2**31],
    },
    "attention": {
        "model": ["shipped/gpt2", "run/0123456789ab/0"],
        "beside": ["", "shipped/modern"],
        "text": [*TEXTS, "x" * 4 * LONGEST_LOOK],
        "head": ["1.1", "6.12"],
        "step": [0, 1000],
    },
    "cost": {
        "window": [1, LARGEST_TIMED_WINDOW],
        "timed": list(PASSES),
        "longest": list(LONGEST),
        "models": [BOTH, []],
        "of": [*SIZES, CHOSEN_MODELS],
        "context": list(COUNTED_CONTEXTS),
    },
    "experiments": {
        "experiment": list(QUESTIONS),
        "set": ["", "window_size:8,seed:7"],
        "asked": ["0123456789ab"],
        "predicted": ["rises"],
        "drawn": ["12.13..40"],
    },
}
DECLARED = [(tab, field.name) for tab in FIELDS for field in FIELDS[tab]]

# What no field takes.
JUNK = ["nan", "inf", "1e3", "-1", "٣", "0x10", "9" * 5000, "20.5.1", "None", HOSTILE, "x" * 5000, "\ud800", "a,a,\x00"]
TAKES_WORDS = {"run", "set", "asked", "predicted", "drawn", "models", "model", "beside", "from", "name"}  # but not all


def test_every_field_is_tested_here() -> None:
    assert [(tab, name) for tab in VALUES for name in VALUES[tab]] == DECLARED
    assert all(len(names) == len(set(names)) for names in map(address.fields_of, FIELDS))
    for tab in address.TABS:
        assert not set(address.fields_of(tab)) & set(address.fields_of(PAGE))


@pytest.mark.parametrize(("tab", "name"), DECLARED, ids=str)
def test_every_value_comes_back_as_it_was(tab: str, name: str, write: Any) -> None:
    opened = tab or "train"
    queries = write(tab, name, VALUES[tab][name])
    for value, query in zip(VALUES[tab][name], queries, strict=True):
        link = read([("tab", opened), *[pair for pair in query if pair[0] != "tab" or name == "tab"]][name == "tab" :])
        said = link.page if tab == PAGE else link.setup
        assert (said[name], link.ignored) == (value, ())
        if tab != PAGE:
            assert link.tab == tab


@pytest.mark.parametrize(("tab", "name"), DECLARED, ids=str)
def test_junk_is_named_in_a_sentence_and_changes_nothing(tab: str, name: str) -> None:
    is_text = address.fields_of(tab)[name].is_text
    for junk in JUNK:
        query = [(name, junk)] if name == "tab" else [("tab", tab or "train"), (name, junk)]
        link = read(query)
        said = link.page if tab == PAGE else link.setup
        if name in said:
            assert is_text or name in TAKES_WORDS
            assert link.note() == ""
        else:
            assert_sentence(link.note(), rf"^Ignored in this link: {name} \(")
            assert link.note().isprintable()
    assert {"x" * 5000, "\ud800"} <= set(JUNK)
    for junk in ("x" * 5000, "\ud800"):
        assert name not in read([("tab", tab or "train"), (name, junk)][name == "tab" :]).setup


def test_what_a_link_says_twice_or_of_another_tab_or_to_nobody_is_named() -> None:
    link = read(
        [("tab", "train"), ("steps", "20"), ("steps", "30"), ("temperature", "1"), (HOSTILE, "1"), ("window", "8")]
    )
    assert link.setup == {"window": 8}
    note = link.note()
    assert "steps (given 2 times), temperature (not of the tab train), <img src=x onerror=alert" in note
    assert note.isprintable()
    many = read([(f"field{number}", "1") for number in range(1000)])
    assert len(many.ignored) == address.MOST_SAID
    assert many.note().endswith(", 95 more.")


def test_what_others_add_to_a_link_is_nobodys_mistake() -> None:
    assert read([("__theme", "dark"), ("utm_source", "x"), ("fbclid", "y")]) == address.Link()


def test_a_link_without_a_tab_opens_the_one_it_is_about() -> None:
    assert read([("run", "0123456789ab")]).tab == "train"
    assert read([("experiment", "recall"), ("set", "seed:3")]).tab == "experiments"
    assert read([("prompt", "KING"), ("temperature", "1")]).tab == "compare"


def test_opening_a_link_sets_its_controls_and_no_others() -> None:
    with gr.Blocks():
        with gr.Tabs() as views:
            gr.Tab("Step", id="step")
        controls = {"view": views, "prompt": gr.Textbox("ROMEO:"), "seed": gr.Number(7), "top_k": gr.Slider(0, 9, 3)}
    link = read([("tab", "compare"), ("view", "step"), ("seed", "9")])
    view, *others = links.updates("compare", controls, link)
    assert (view.selected, others) == ("step", [gr.skip(), 9, gr.skip()])
    assert links.updates("cost", {"window": gr.Slider(1, 9)}, link) == [gr.skip()]
    # Whoever comes back finds what the address leaves out as it was at first, but for their own words.
    came_back = links.link_of(None, gr.EventData(None, {"query": "?tab=compare&seed=9"}))
    assert links.updates("compare", controls, came_back)[1:] == [gr.skip(), 9, 3]


@pytest.mark.parametrize("query", [None, 7, "?" + "a=b&" * 1000, "%ff=%00&" * 9, ""], ids=lambda query: f"{query!r:.9}")
def test_a_step_in_the_history_may_say_anything(query: Any) -> None:
    links.link_of(SimpleNamespace(query_params={}), gr.EventData(None, {"query": query}))
