"""What the tests of the page share: the handlers on small models, and the page itself, served once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from served import ANNA, BEN, controls, save_small_models, serve
from trainer_threads import trainers_on_threads

from gpt.runs.limits import Limits
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.app import create_demo
from gpt.ui.catalogue import Catalogue
from gpt.ui.door.files import Files
from gpt.ui.door.visitors import Visitors
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
