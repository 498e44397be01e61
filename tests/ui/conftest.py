"""What the tests of the page share: the handlers on small models, and the page itself, served once."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import gradio as gr
import pytest
import torch
from served import ANNA, BEN, controls, save_small_models, serve
from trainer_threads import trainers_on_threads

from gpt.runs.limits import Limits
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.address import PAGE
from gpt.ui.app import create_demo
from gpt.ui.catalogue import Catalogue
from gpt.ui.door.files import Files
from gpt.ui.door.visitors import Visitors
from gpt.ui.links import SCRIPT, tell_link
from gpt.ui.train.handlers import TrainHandlers


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small trained checkpoints, gpt2 and sliding-window."""
    return save_small_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def make_runs() -> Iterator[Callable[..., Runs]]:
    """`make_runs(**limits)`: an empty server's runs, closed after the test."""
    made, trainers = [], trainers_on_threads()

    def make(**limits: Any) -> Runs:
        made.append(Runs(Limits(**({"unwatched_seconds": 60.0, "cores": 1, "workers": 1} | limits)), trainers))
        return made[-1]

    yield make
    for runs in made:
        runs.close()
    trainers.close()


@pytest.fixture
def runs(make_runs: Callable[..., Runs]) -> Runs:
    """An empty server's runs."""
    return make_runs()


@pytest.fixture
def visitors(runs: Runs) -> Visitors:
    """Who they belong to; ANNA and BEN have been here before."""
    visitors = Visitors(runs)
    for secret in (ANNA, BEN):
        visitors._handed_out[secret] = None
    return visitors


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """Where files to take home are prepared."""
    files = Files(tmp_path)
    yield files
    files.close()


@pytest.fixture
def catalogue(models_folder: Path, runs: Runs, visitors: Visitors) -> Catalogue:
    """The small checkpoints, and the models of `runs`."""
    return Catalogue(models_folder, runs, visitors)


@pytest.fixture
def train_tab(runs: Runs, catalogue: Catalogue, visitors: Visitors, files: Files) -> TrainHandlers:
    """The Train tab's handlers."""
    return TrainHandlers(runs, catalogue, visitors, files)


@pytest.fixture
def start(train_tab: TrainHandlers) -> Callable[..., Run]:
    """`start(visitor, **settings)`: press Train and get the run."""

    def press(visitor: str = ANNA, **changes: Any) -> Run:
        watched, _, _ = train_tab.train(visitor, [], *controls(**changes))
        run = train_tab.runs.find(watched.partition(" ")[0])
        assert run is not None
        return run

    return press


@pytest.fixture
def finished(start: Callable[..., Run], wait_until: Callable[..., None]) -> Callable[..., Run]:
    """`finished(visitor, **settings)`: press Train and wait for the end of the run."""

    def press(visitor: str = ANNA, **changes: Any) -> Run:
        run = start(visitor, **changes)
        wait_until(lambda: run.is_over, "the end of the run")
        assert run.state == "done", run.message
        return run

    return press


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the page says in passing: the messages of `gr.Info` and `gr.Warning`."""
    said: list[str] = []
    for kind in ("Info", "Warning"):
        monkeypatch.setattr(gr, kind, lambda message, *_, **__: said.append(message))
    return said


@pytest.fixture(scope="session")
def page(models_folder: Path) -> Iterator[tuple[gr.Blocks, str]]:
    """The whole page, served: (the demo, its address)."""
    demo = create_demo(models_folder=models_folder)
    with serve(demo) as url:
        yield demo, url


# --- The scripts that write the address, in a browser's place -------------------------------------------------------

_BROWSER = """
const entries = [process.argv[2] ?? ''];
globalThis.window = { location: { get href() { return 'http://lab/' + entries.at(-1); } }, history: { state: null } };
window.history.replaceState = (state, title, address) => { entries[entries.length - 1] = new URL(address).search; };
window.addEventListener = () => {};
window.history.pushState = (state, title, address) => { entries.push(new URL(address).search); };
const listOf = (tabId) => ({ querySelector: () => ({ dataset: { tabId } }), offsetParent: {} });
const tabs = process.argv.slice(3).map(listOf);
let links = [];
globalThis.CustomEvent = class { constructor(name, { detail }) { Object.assign(this, { name, detail }); } };
globalThis.document = {
  documentElement: { dataset: {} },
  addEventListener: () => {},
  dispatchEvent: ({ detail }) => links.push(detail),
  querySelector: () => null,
  querySelectorAll: () => tabs,
};
"""


@pytest.fixture(scope="session")
def in_page() -> Callable[..., list[dict[str, Any]]]:
    """`in_page([(script, values), ...], query, tab, view)`: what there is after each."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js, which would run the page's scripts, is not on this machine")

    def run(calls: list[tuple[str, list[Any]]], query: str = "", *tabs: str) -> list[dict[str, Any]]:
        code = _BROWSER + SCRIPT.read_text(encoding="utf-8")
        for script, values in calls:
            code += f"\nlinks = []; ({script})(...{json.dumps(values)});"
            code += "console.log(JSON.stringify({ query: entries.at(-1), entries: entries.length, links }));"
        done = subprocess.run(
            [node, "-", query, *(tabs or ["train"])], input=code, capture_output=True, text=True, check=True, timeout=60
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="session")
def write(in_page: Callable[..., list[dict[str, Any]]]) -> Callable[..., list[list[tuple[str, str]]]]:
    """`write(tab, field, values)`: the query of a link for each value of a control that held another one at first."""

    class Control:
        value = None

    def of_each(tab: str, name: str, values: list[Any]) -> list[list[tuple[str, str]]]:
        if tab == PAGE or name in ("view", "head") or tab == "experiments":  # what no control holds
            shown = [",".join(value) if isinstance(value, list) else str(value) for value in values]
            return [[(name, words)] for words in shown]
        view = {"stepped": "step", "reading": "read"}.get(name, "write")  # of Compare, which tells the text of one
        told = in_page([(tell_link({tab: {name: Control()}}), [{}, value]) for value in values], "", tab, view)
        urls = [step["links"][0]["url"] for step in told]
        return [parse_qsl(urlsplit(url).query, keep_blank_values=True) for url in urls]

    return of_each
