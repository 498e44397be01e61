"""Colours are read by everyone: enough contrast in both modes, and never the only sign."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpt import VARIANTS
from gpt.figures.colours import VARIANT_COLOURS
from gpt.ui import theme
from gpt.ui.theme import page_theme, stylesheet, variant_style

UI = Path(theme.__file__).parent
MODES = {"light": r":root \{(.*?)\}", "dark": r"\.dark \{(.*?)\}"}


def variables(mode: str) -> dict[str, str]:
    """The CSS variables of a mode."""
    block = re.search(MODES[mode], stylesheet(), re.DOTALL)
    assert block
    return dict(re.findall(r"--([\w-]+): ([^;]+);", block[1]))


def luminance(colour: str) -> float:
    """Relative luminance as in WCAG 2."""
    assert re.fullmatch(r"#[0-9A-Fa-f]{6}", colour), colour
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio as in WCAG 2, from 1 to 21."""
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_measured_as_published() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("variant", VARIANT_COLOURS)
def test_lines_stand_out(mode: str, ground: str, variant: str) -> None:
    colours = variables(mode)
    assert contrast(colours[f"variant-{variant}"], colours[ground]) >= 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("text", ["ink", "quiet", "error"])
def test_texts_can_be_read(mode: str, ground: str, text: str) -> None:
    colours = variables(mode)
    assert contrast(colours[text], colours[ground]) >= 4.5


def test_every_variant_has_a_look_of_its_own() -> None:
    names = [*VARIANTS, "other"]
    assert set(names) == VARIANT_COLOURS.keys()
    for mode in MODES:
        assert len({variables(mode)[f"variant-{name}"] for name in names}) == len(names)
    assert len({variant_style(name)["dash"] for name in names}) == len(names)


@pytest.mark.parametrize("variant", VARIANT_COLOURS)
def test_the_style_of_a_variant_is_its_variable_and_dash(variant: str) -> None:
    style = variant_style(variant)
    assert style["colour"] == f"var(--variant-{variant})"
    assert re.fullmatch(r"(\d+( \d+)+)?", style["dash"])  # what SVG takes, as numbers separated by spaces


@pytest.mark.parametrize("variant", VARIANT_COLOURS)
def test_models_of_one_variant_differ_in_their_dashes(variant: str) -> None:
    styles = [variant_style(variant, before) for before in range(4)]
    assert len({style["dash"] for style in styles}) == len(styles)
    assert {style["colour"] for style in styles} == {f"var(--variant-{variant})"}


def test_a_dark_page_is_printed_in_light_colours() -> None:
    printed = re.search(r"body\.dark \{@media print \{(.*?)\}\}", stylesheet())
    assert printed
    assert dict(re.findall(r"--([\w-]+): ([^;]+);", printed[1])).items() <= variables("light").items()
    assert f"--ink: {variables('light')['ink']};" in printed[1]


@pytest.mark.parametrize("name", ["mamba", "", "red; background: url(//example.org)"])
def test_what_is_no_variant_is_grey(name: str) -> None:
    assert variant_style(name) == variant_style("other")


def test_both_modes_define_the_same_colours() -> None:
    assert variables("dark").keys() == variables("light").keys() - {"monospace", "sans"}


def test_styles_use_only_variables_that_are_defined() -> None:
    sources = {
        path.name: path.read_text(encoding="utf-8") for path in UI.rglob("*.[cj]s*") if path.suffix in (".css", ".js")
    }
    defined = variables("light").keys()
    for name, source in sources.items():
        local = set(re.findall(r"--([\w-]+)\s*:", source))  # set in a style sheet
        local |= {made for text in sources.values() for made in re.findall(r"setProperty\(['\"]--([\w-]+)", text)}
        used = set(re.findall(r"var\(--([\w-]+)", source))
        assert used <= defined | local, name


def test_styles_have_no_colour_of_their_own() -> None:
    for path in [*UI.rglob("*.css"), *UI.rglob("*.js")]:
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?=\s*[;,)'\"])", path.read_text(encoding="utf-8")), path.name


def test_gradio_is_told_the_same_variables_in_both_modes() -> None:
    told = page_theme()
    assert told.body_text_color == told.body_text_color_dark == "var(--ink)"
    assert told.body_background_fill == told.body_background_fill_dark == "var(--paper)"
