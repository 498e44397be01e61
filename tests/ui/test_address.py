"""The page's address: what a link says arrives in the controls, and what makes no sense changes nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import gradio as gr
import pytest
from served import BOTH

from gpt.runs.limits import LONGEST_PROMPT, MOST_COMPARED
from gpt.ui import address, create_demo
from gpt.ui.compare.settings import SECOND_TEMPERATURES

# Values of every field, among them the ends of what it takes.
VALUES: dict[str, list[Any]] = {
    "tab": list(address.TABS),
    "run": ["0123456789ab"],
    "hands": ["off"],
    "experiment": ["recall", "over-fitting"],
    "asked": ["0123456789ab"],
    "set": ["", "window_size:8,seed:7"],
    "view": ["write", "step", "read"],
    "models": [BOTH, ["run/0123456789ab/0@100"], ["upload/0123"], BOTH * (MOST_COMPARED // 2)],
    "prompt": ["ROMEO:", "", "a\nb & c=d, %20 + ?#", "שלום 👩‍🚀", "x" * LONGEST_PROMPT],
    "stepped": ["KING"],
    "reading": ["import this\n"],
    "leave_out": [True, False],
    "length": [20, 1000],
    "second": ["", *SECOND_TEMPERATURES],
    "temperature": [0, 0.35, 2],
    "top_k": [0, 50],
    "top_p": [0.05, 1],
    "seed": [0, 1337, 2**31],
}


Write = Callable[..., list[dict[str, str]]]


@pytest.fixture(scope="module")
def write() -> Write:
    """`write((script, values), ...)`: the query of an address after each of our scripts has run with its values."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js, which would run the page's scripts, is not on this machine")

    def run(*calls: tuple[str, list[Any]]) -> list[dict[str, str]]:
        code = "const window = { location: {}, history: {} };"
        code += "window.history.replaceState = (state, title, address) => { window.location.href = String(address); };"
        for script, values in calls:
            code += "window.location.href = 'http://lab/?tab=train&second=1';"
            code += f"({script})(...{json.dumps(values)}); console.log(window.location.href);"
        written = subprocess.run([node], input=code, capture_output=True, text=True, check=True, timeout=60).stdout
        return [dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)) for url in written.split()]

    return run


def test_every_field_is_tested_here() -> None:
    assert VALUES.keys() == address.FIELDS.keys()


def test_every_field_comes_back_as_it_was(write: Write) -> None:
    turns = range(max(map(len, VALUES.values())))
    setups = [{name: values[turn % len(values)] for name, values in VALUES.items()} for turn in turns]
    names = [name for name in VALUES if name != "view"]
    written = write(*((address.keep(setup["view"], *names), [setup[name] for name in names]) for setup in setups))
    assert [address.read(query) for query in written] == setups


def test_nothing_to_say_leaves_the_address(write: Write) -> None:
    """The rest of the address stays as it is; a text too long for it is cut."""
    (query,) = write((address.keep("read", "second", "reading"), [None, "x" * 3 * LONGEST_PROMPT]))
    assert query == {"tab": "train", "view": "read", "reading": "x" * LONGEST_PROMPT}


@pytest.mark.parametrize("value", ["", "nan", "inf", "-1", "x", "1e999", "9" * 5000, "20.5.1", "None"])
def test_a_link_that_makes_no_sense_says_nothing(value: str) -> None:
    numbers = ("length", "top_k", "top_p", "temperature", "second", "seed")
    said = address.read(dict.fromkeys(("tab", "view", "hands", *numbers), value))
    assert said == ({"second": ""} if value == "" else {})
    assert address.read({"prompt": "\ud800", "stepped": "x" * (LONGEST_PROMPT + 1), "other": "1"}) == {}


def test_names_in_a_link_are_short_and_few() -> None:
    said = address.read({"models": ",".join(["x" * 1000] * 100), "run": "y" * 1000})
    assert said == {"models": ["x" * 80] * MOST_COMPARED, "run": "y" * 80}


def test_opening_a_link_sets_its_controls_and_no_others() -> None:
    with gr.Blocks() as page:
        with gr.Tabs() as tabs:
            gr.Tab("Compare", id="compare")
        controls = {"tab": tabs, "prompt": gr.Textbox(), "seed": gr.Number()}
        address.set_controls(page, controls)
    (event,) = page.fns.values()

    link = SimpleNamespace(query_params={"tab": "compare", "seed": "9", "prompt": "\ud800"})
    tab, prompt, seed = event.fn(link)
    assert (tab.selected, prompt, seed) == ("compare", gr.skip(), 9)


def test_pressing_a_tab_is_kept(write: Write) -> None:
    script = f"""() => {{
      let press;
      globalThis.document = {{ addEventListener: (kind, heard) => {{ press = heard; }} }};
      ({address.keep_tab()})();
      for (const name of ['Write', ' Attention ', 'Read a text'])
        press({{ target: {{ closest: (selector) => ({{ textContent: name }}) }} }});
      press({{ target: {{ closest: () => null }} }});
    }}"""
    assert write((script, [])) == [{"tab": "attention", "second": "1"}]


def test_every_button_with_a_setup_keeps_it() -> None:
    """The names given to the script are those of the inputs, in their order."""
    others = {"tab", "run", "hands", "view", "experiment", "asked", "set"}  # which other scripts write
    written = [event["js"] for event in create_demo().config["dependencies"] if "replaceState" in str(event["js"])]
    fields = [re.findall(r"'(\w+)'", re.search(r"fromEntries\(\[(.*?)\]", script)[1]) for script in written[:-1]]
    assert {name for names in fields for name in names} == address.FIELDS.keys() - others
