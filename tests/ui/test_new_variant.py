"""A new variant needs its function and its colour, and nothing else: one is planted, and found everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import pytest

from gpt import GPTConfig
from gpt.figures.colours import VARIANT_COLOURS
from gpt.figures.plots import loss_figure
from gpt.model.config import VARIANTS, changes_from_gpt2, make_config, variant_name
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.catalogue import Catalogue
from gpt.ui.cost.parts_view import variants_at
from gpt.ui.door.door import Door
from gpt.ui.door.files import Files
from gpt.ui.links import build_link_bar
from gpt.ui.sizes import SMALL
from gpt.ui.theme import stylesheet, variant_style
from gpt.ui.train.tab import build_train_tab
from gpt.ui.train.views import run_chart

NAME = "alibi-window"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The planted variant."""

    def alibi_window(vocab_size: int, **size: Any) -> GPTConfig:
        return VARIANTS["sliding-window"](vocab_size, **({"positions": "alibi"} | size))

    monkeypatch.setitem(VARIANTS, NAME, alibi_window)
    monkeypatch.setitem(VARIANT_COLOURS, NAME, ("#123456", "#ABCDEF"))
    variants_at.cache_clear()
    yield
    variants_at.cache_clear()


def test_it_is_named() -> None:
    config = make_config(NAME, 65, embed_size=32, num_heads=4, num_layers=1, context_length=64)
    assert variant_name(config) == NAME
    assert variant_name(make_config(NAME, 65, window_size=5)) == NAME
    assert changes_from_gpt2(config) == ["alibi positions", "window of 8"]
    for other in VARIANTS:
        assert variant_name(make_config(other, 65)) == other
    assert variant_name(make_config("gpt2", 65, positions="alibi")) == "other"


def test_it_is_coloured() -> None:
    style = variant_style(NAME)
    assert style["colour"] == f"var(--variant-{NAME})"
    css = stylesheet()
    assert f"--variant-{NAME}: #123456;" in css
    assert f"--variant-{NAME}: #ABCDEF;" in css
    assert f".variants label:nth-of-type({len(VARIANTS)}) {{--chip: var(--variant-{NAME});}}" in css
    figure = loss_figure({"ours": (NAME, [])})
    assert {line.get_color() for line in figure.axes[0].lines} == {"#123456"}


def test_it_is_offered(runs: Runs, catalogue: Catalogue, files: Files) -> None:
    with gr.Blocks() as page:
        build_train_tab(
            page,
            runs,
            catalogue,
            Door(runs, files),
            gr.BrowserState(""),
            gr.State([]),
            gr.BrowserState({}),
            build_link_bar(""),
        )
    offered = [block.choices for block in page.blocks.values() if isinstance(block, gr.CheckboxGroup)]
    assert [(NAME, NAME) in choices for choices in offered] == [True]
    sliders = {block.label: block.info for block in page.blocks.values() if isinstance(block, gr.Slider)}
    assert NAME in sliders["Window"]
    assert NAME not in sliders["KV heads"]
    assert dict(variants_at(SMALL, 64, 16))[NAME].config.window_size == 16


def test_it_is_trained(finished: Callable[..., Run]) -> None:
    run = finished(variants=["gpt2", NAME], window_size=3, steps=10)
    config = run.members[1].config
    assert (config.positions, config.window_size) == ("alibi", 3)
    assert [curve["colour"] for curve in run_chart(run)["series"]] == [
        "var(--variant-gpt2)", f"var(--variant-{NAME})"
    ]  # fmt: skip
