"""The scripts that write the page's address, run by Node.js as a browser would run them."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest
from served import refuses

from gpt.runs.limits import LONGEST_PROMPT
from gpt.ui import address, create_demo, links
from gpt.ui.components.link_bar import LONGEST_QR_LINK, code_of

COMPARE = {"models": ["shipped/gpt2"], "prompt": "ROMEO:", "reading": "To be", "seed": 7}


class Held:
    """A control that holds a value at first."""

    def __init__(self, value: Any) -> None:
        self.value = value


def script(kind: str, *arguments: Any) -> str:
    held = {name: Held(value) for name, value in COMPARE.items()}
    return {
        "keep": lambda: links.keep("compare", held, **dict(arguments)),
        "run": lambda: links.KEEP_RUN,
        "link": lambda: links.tell_link({"train": {"steps": Held(200)}, "compare": held}),
    }[kind]()


def test_settings_are_kept_and_a_persons_words_are_not(in_page: Any) -> None:
    kept = in_page([(script("keep", ("view", "step")), [["shipped/modern"], "my own words", "mine", 9])], "?hide=tabs")
    assert kept[-1]["query"] == "?tab=compare&view=step&models=shipped/modern&seed=9&hide=tabs"
    assert kept[-1]["entries"] == 1
    # From a link that was opened they stay as long as they are what it says.
    calls = [(script("keep", ("view", "")), [["shipped/gpt2"], words, "To be", 7]) for words in ("KING", "mine")]
    kept = in_page(calls, "?tab=compare&prompt=KING&leave_out=false")
    assert [step["query"] for step in kept] == [
        "?tab=compare&prompt=KING&leave_out=false",
        "?tab=compare&leave_out=false",
    ]


def test_a_link_holds_the_open_tabs_whole_setup_and_says_what_it_leaves_out(in_page: Any) -> None:
    names, train = {"0123456789ab": "Ada & Ben"}, [300]
    words = "a b&c=d\n" + "<i>"
    told = in_page(
        [(script("link"), [names, *train, ["a/b", "c"], words, "mine", 7])], "?tab=compare&run=0123456789ab", "compare"
    )
    (link,) = told[-1]["links"]
    query = dict(links.parse_qsl(link["url"].partition("?")[2], keep_blank_values=True))
    expected = {"tab": "compare", "models": "a/b,c", "prompt": words, "run": "0123456789ab", "name": "Ada & Ben"}
    assert (query, link["leftOut"]) == (expected, [])
    assert told[-1]["query"] == "?tab=compare&run=0123456789ab"  # the address itself is not changed
    told = in_page([(script("link"), [{}, *train, ["a"], "x" * 3 * LONGEST_PROMPT, "", 7])], "", "compare")
    (link,) = told[-1]["links"]
    assert link["leftOut"] == [{"name": "prompt", "longest": LONGEST_PROMPT, "length": 3 * LONGEST_PROMPT}]
    assert "prompt" not in link["url"]
    (link,) = in_page([(script("link"), [{}, *train, ["a"], "x", "", 7])], "", "train")[-1]["links"]
    assert link["url"].endswith("/?tab=train&steps=300")


def test_another_run_is_a_new_entry_of_the_history(in_page: Any) -> None:
    runs = ["aaaa 1", "aaaa 2", "bbbb 3 hands off", "cccc 4", ""]
    steps = in_page([(script("run"), [run]) for run in runs], "?name=Ada&steps=300")
    assert [(step["query"], step["entries"]) for step in steps] == [
        ("?tab=train&run=aaaa", 1),  # the first one takes the place of none
        ("?tab=train&run=aaaa", 1),
        ("?tab=train&run=bbbb&hands=off", 2),
        ("?tab=train&run=cccc", 3),
        ("?tab=train", 3),
    ]
    (step,) = in_page([(script("run"), ["bbbb 1"])], "?tab=cost&window=8&run=aaaa")
    assert (step["query"], step["entries"]) == ("?tab=cost&window=8&run=bbbb", 2)  # another tab's settings stay


def test_every_tab_says_its_whole_setup() -> None:
    """All fields of each tab are among those that its link is made of, but those that the page alone knows."""
    scripts = [str(event["js"]) for event in create_demo().config["dependencies"] if "tellLink" in str(event["js"])]
    (told,) = scripts
    tabs = json.JSONDecoder().raw_decode(told[told.index("tellLink(") + len("tellLink(") :])[0]
    page_alone = {"view", "head", "experiment", "set", "asked", "predicted", "drawn"}
    assert [tab for tab, _ in tabs] == list(address.TABS)
    for tab, fields in tabs:
        assert {field["name"] for field in fields} - page_alone == set(address.fields_of(tab)) - page_alone


def test_a_qr_code_says_the_words() -> None:
    code = code_of("http://192.0.2.7:7860/?tab=train")
    assert set(code["path"]) <= set("Mhvz- 0123456789")
    dark = set()
    for run in code["path"].split("z")[:-1]:
        x, y = map(int, run[1:].partition("h")[0].split())
        dark |= {(x + i, y) for i in range(int(run.partition("h")[2].partition("v")[0]))}
    import segno

    rows = segno.make_qr("http://192.0.2.7:7860/?tab=train", error="m").matrix
    assert dark == {(x, y) for y, row in enumerate(rows) for x, module in enumerate(row) if module}
    assert code["size"] == len(rows)


@pytest.mark.parametrize(
    "words", ["", "x" * (LONGEST_QR_LINK + 1), None, 7, "\ud800", ["x"]], ids=lambda words: f"{words!r:.9}"
)
def test_what_no_code_can_hold_is_said_in_a_sentence(words: Any) -> None:
    with refuses("link"):
        raise gr.Error(code_of(words)["error"])
