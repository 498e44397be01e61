"""Links: the scripts that write the page's address, and what happens when one is opened; `address` has its fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import gradio as gr

from gpt.ui.address import MOST_SAID, TABS, Link, fields_of, read
from gpt.ui.components.link_bar import code_of, link_bar
from gpt.ui.turns import PRESSES

if TYPE_CHECKING:
    from gpt.ui.catalogue import Catalogue

SCRIPT = Path(__file__).with_name("address.js")
# The script that runs when the page watches another run: that is a new entry of the history.
KEEP_RUN = "(watched) => { window.gptLabAddress.keepRun(watched); return [watched]; }"
_LONGEST_QUERY = 100_000  # characters


@dataclass(frozen=True)
class Controls:
    """The controls of a tab, by their names in the address.

    Attributes:
        set: those that a link sets.
        told: those whose values a link says; what is not a control is known to the page alone.
    """

    set: Mapping[str, Any]
    told: Mapping[str, Any]


# --- The scripts that write an address; they run in the browser, by address.js ----------------------------------------


def written(tab: str, controls: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How the fields of these controls are written, for the scripts.

    Args:
        tab: whose they are.
        controls: by their names in its fields; what a control holds at first is left out of links.
    """
    fields = fields_of(tab)
    return [
        {
            "name": name,
            "words": dict(fields[name].words),
            "first": control.value,
            "isText": fields[name].is_text,
            "longest": fields[name].longest,
        }
        for name, control in controls.items()
    ]


def keep(tab: str, controls: Mapping[str, Any], **constant: str) -> str:
    """The script that runs before a button's handler: it writes the settings it is given into the address.

    Args:
        tab: that the button is on.
        controls: the handler's inputs, by their names in the address.
        **constant: fields that no control holds; "" to take one out.
    """
    how = json.dumps([tab, written(tab, controls), constant])
    return f"(...values) => {{ window.gptLabAddress.keep(...{how}, values); return values; }}"


def tell_link(tabs: Mapping[str, Mapping[str, Any]]) -> str:
    """The script that makes the link of the open tab, and tells the page of it as `gpt-lab:link`.

    Args:
        tabs: the controls of each; the script is given what the runs are called, and then the values of all.
    """
    how = json.dumps([[tab, written(tab, controls)] for tab, controls in tabs.items()])
    return f"(names, ...values) => {{ window.gptLabAddress.tellLink({how}, names, values); return []; }}"


# --- What happens when a link is opened -------------------------------------------------------------------------------


def link_of(request: gr.Request, moved: Any = None) -> Link:
    """The link that a page is opened with, or that it goes back to.

    Args:
        request: of the page.
        moved: the event of going back or forward in the browser's history, whose `query` is the new one.
    """
    query = getattr(moved, "query", None)
    if isinstance(query, str):
        try:
            pairs = parse_qsl(
                query[:_LONGEST_QUERY].removeprefix("?"), keep_blank_values=True, max_num_fields=MOST_SAID
            )
        except ValueError:
            pairs = []
        return replace(read(pairs), is_move=True)
    params = request.query_params
    return read(params.multi_items() if hasattr(params, "multi_items") else params.items())


def updates(tab: str, controls: Mapping[str, Any], link: Link) -> list[Any]:
    """What becomes of a tab's controls when a link is opened: what it says of them, and else nothing.

    Where somebody comes back to a setup, what its address leaves out is again what it was at first; their own words
    stay.
    """
    said, fields = link.of(tab), fields_of(tab)
    holding = {name: control for name, control in controls.items() if not isinstance(control, gr.Tabs)}
    first = {name: control.value for name, control in holding.items() if not fields[name].is_text}
    left_out = first if link.is_move and said else {}
    return [_update(control, said.get(name, left_out.get(name, gr.skip()))) for name, control in controls.items()]


def _update(control: Any, value: Any) -> Any:
    is_choice = isinstance(control, gr.Tabs) and isinstance(value, str)
    return gr.Tabs(selected=value) if is_choice else value


def on_opening(
    page: gr.Blocks,
    bar: gr.HTML,
    open_link: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
) -> None:
    """Call `open_link(link, *inputs)` whenever the page opens, and when somebody goes back or forward to another link.

    Args:
        page: the page.
        bar: its `link_bar`, which hears of the latter.
        open_link: returns the outputs.
        inputs: components.
        outputs: components.
    """

    def opened(request: gr.Request, *values: Any) -> Any:
        return open_link(link_of(request), *values)

    def moved(request: gr.Request, event: gr.EventData, *values: Any) -> Any:
        return open_link(link_of(request, event), *values)

    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", **PRESSES}
    page.load(opened, list(inputs), list(outputs), **options)
    bar.go(moved, list(inputs), list(outputs), trigger_mode="multiple", **options)


# --- The bar ----------------------------------------------------------------------------------------------------------


def build_link_bar(join_address: str) -> gr.HTML:
    """The bar beside the title, with where a class is to join; "" for nowhere."""
    value = {"note": "", "join": join_address, "opens": ""}

    def qr_code(sent: Any) -> dict[str, Any]:
        """The page calls this by itself, with one object."""
        return code_of(sent.get("words") if isinstance(sent, dict) else None)

    return link_bar(value, elem_id="link-bar", server_functions=[qr_code])


def connect_links(
    page: gr.Blocks,
    bar: gr.HTML,
    names: gr.BrowserState,
    catalogue: Catalogue,
    in_tabs: dict[str, Controls],
    join_address: str,
) -> None:
    """Have links set the page's controls, and the bar tell of links."""

    def open_link(link: Link, kept_names: Any) -> list[Any]:
        catalogue.names.recall(kept_names)
        link = _without_strange_models(link, catalogue)
        # The page opens the tab: who has pressed another before this answer comes is not to be thrown out of it.
        opens = "" if link.is_move or link.tab == TABS[0] else link.tab
        value = {"note": link.note(), "join": join_address, "opens": opens}
        set_by_it = [update for tab, controls in in_tabs.items() for update in updates(tab, controls.set, link)]
        return [value, *set_by_it]

    settable = [control for controls in in_tabs.values() for control in controls.set.values()]
    on_opening(page, bar, open_link, [names], [bar, *settable])
    told = {tab: controls.told for tab, controls in in_tabs.items()}
    values = [control for controls in told.values() for control in controls.values()]
    bar.link(
        None,
        [names, *values],
        None,
        js=tell_link(told),
        trigger_mode="multiple",
        api_visibility="private",
        show_progress="hidden",
    )


def _without_strange_models(link: Link, catalogue: Catalogue) -> Link:
    """The link less the fields that name models which are not here (any more)."""
    fields = fields_of(link.tab)
    strange = []
    for name, said in link.setup.items():
        models = said if isinstance(said, list) else [said]
        if fields[name].names_models and not all(model == "" or catalogue.has(model) for model in models):
            strange.append(name)
    return link.ignoring(*strange, why="a model that is not here")
