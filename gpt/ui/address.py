"""The page's address: what a link says, read and checked here, and the scripts that write it.

The address holds the open tab and its setup as query parameters that a person can read, so that a link or a reload
leads back to the same page: `?tab=compare&view=write&models=shipped/gpt2&prompt=ROMEO:`. A script writes a control's
value when a button is pressed; `read` makes it a value again when the page opens. What is missing or unusable is left
as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import gradio as gr

from gpt.experiments.questions import QUESTIONS
from gpt.runs.limits import LONGEST_PROMPT, MOST_COMPARED
from gpt.ui.compare.settings import LARGEST_SEED, LENGTHS, SECOND_TEMPERATURES, TEMPERATURES, TOP_KS, TOP_PS, VIEWS
from gpt.ui.requests import require_choice, require_number, require_text, require_whole
from gpt.ui.turns import PRESSES

TABS = ("train", "compare", "attention", "cost", "experiments")
_LONGEST_NAME = 80  # of a model or a run
_LONGEST_SETTINGS = 200  # of an experiment, those that differ from its defaults


def _one_of(allowed: Collection[str]) -> Callable[[str], str]:
    def read_one(text: str) -> str:
        require_choice("the choice", text, allowed)
        return text

    return read_one


def _text(text: str) -> str:
    return require_text("the text", text, LONGEST_PROMPT)


def _name(text: str) -> str:
    return text[:_LONGEST_NAME]


def _settings(text: str) -> str:
    return text[:_LONGEST_SETTINGS]


def _names(text: str) -> list[str]:
    return [_name(name) for name in text.split(",")[:MOST_COMPARED]]


def _flag(text: str) -> bool:
    return text == "true"


def _number(lowest: float, highest: float) -> Callable[[str], float]:
    return lambda text: require_number("the number", float(text), lowest, highest)


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    return lambda text: require_whole("the number", float(text), lowest, highest)


def _second_temperature(text: str) -> float | str:
    if not text:
        return ""  # none
    temperature = float(text)
    require_choice("the second temperature", temperature, SECOND_TEMPERATURES)
    return temperature


# How each field is read; the reader raises ValueError for what the field cannot be.
FIELDS: dict[str, Callable[[str], Any]] = {
    "tab": _one_of(TABS),
    # Train
    "run": _name,
    "hands": _one_of(("off",)),  # the page may only watch
    # Experiments
    "experiment": _one_of(QUESTIONS),
    "asked": _name,
    "set": _settings,
    # Compare
    "view": _one_of(VIEWS),
    "models": _names,
    "prompt": _text,
    "stepped": _text,
    "reading": _text,
    "leave_out": _flag,
    "length": _whole(*LENGTHS),
    "second": _second_temperature,
    "temperature": _number(*TEMPERATURES),
    "top_k": _whole(*TOP_KS),
    "top_p": _number(*TOP_PS),
    "seed": _whole(0, LARGEST_SEED),
}


def read(query: Mapping[str, str]) -> dict[str, Any]:
    """What an address's query says, by the names in `FIELDS`; without what is missing or unusable."""
    values = {}
    for name, reader in FIELDS.items():
        if name in query:
            try:
                values[name] = reader(query[name])
            except ValueError:
                continue
    return values


def set_controls(page: gr.Blocks, controls: Mapping[str, Any]) -> None:
    """Whenever the page opens, set these controls, by their names in `FIELDS`, to what its address says."""

    def open_link(request: gr.Request) -> list[Any]:
        values = read(dict(request.query_params))
        return [_update(control, values[name]) if name in values else gr.skip() for name, control in controls.items()]

    page.load(
        open_link,
        None,
        list(controls.values()),
        api_visibility="private",
        show_progress="hidden",
        **PRESSES,
    )


def _update(control: Any, value: Any) -> Any:
    return gr.Tabs(selected=value) if isinstance(control, gr.Tabs) else value


# ---- The scripts that write it; they run in the browser ----

_WRITE = f"""const write = (fields) => {{
  const address = new URL(window.location.href);
  for (const [name, value] of Object.entries(fields)) {{
    if (value === null || value === undefined) address.searchParams.delete(name);
    else address.searchParams.set(name, String(value).slice(0, {LONGEST_PROMPT})); // a list is joined by commas
  }}
  window.history.replaceState(window.history.state, '', address);
}};"""


def keep_tab() -> str:
    """The script that runs once when the page opens: from then on, the tab that is pressed goes into the address."""
    return f"""() => {{
  {_WRITE}
  document.addEventListener('click', ({{ target }}) => {{
    const pressed = target.closest('[role=tab]');
    const tab = pressed ? pressed.textContent.trim().toLowerCase() : '';
    if ({list(TABS)}.includes(tab)) write({{ tab }});
  }});
}}"""


def keep(view: str, *names: str) -> str:
    """The script that runs before a button's handler: it writes the view and the handler's inputs into the address.

    Args:
        view: the part of the Compare tab that the button is on.
        names: of the inputs in their order, from `FIELDS`.
    """
    return f"""(...values) => {{
  {_WRITE}
  write({{ view: '{view}', ...Object.fromEntries({list(names)}.map((name, index) => [name, values[index]])) }});
  return values;
}}"""
