"""Figures for files: where they may be written, and that every token can be read on them."""

from __future__ import annotations

import logging
import os
import warnings
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt.figures import fonts
from gpt.figures.fonts import drawable, families, font
from gpt.figures.plots import attention_figure, check_figure_path, loss_figure, save_figure
from gpt.training.state import TrainEvent

LETTERS = "aé中文日本語한국🙂🤯ก€→ \n\t\x07\u200d\ufe0f\u2028\ud83d\U0010ffff"
TOKENS = [*LETTERS, "ab", "的中", "$x$", "_^{", "\\frac", "né", "-" * 64, "中" * 64]


@given(st.text(st.characters(codec=None)), st.sampled_from(["sans-serif", "monospace"]))
def test_what_is_drawable_has_its_glyphs(text, base):
    """And what is drawable is left as it is."""
    shown = drawable(text, base)
    for character in shown:
        assert character.isprintable()
        assert any(font(name).get_char_index(ord(character)) for name in families(base))
    assert drawable(shown, base) == shown


def test_characters_without_a_font_are_code_points(monkeypatch):
    monkeypatch.setattr(fonts, "families", lambda base: [base])
    assert drawable("a中文b\U0010fffe") == "aU+4E2D U+6587bU+10FFFE"
    assert drawable("a\x00\n") == "aU+0000 U+000A"
    assert drawable("ab é → ∫") == "ab é → ∫"


def test_installed_fonts_that_have_them_come_after_the_usual_one(monkeypatch):
    installed = SimpleNamespace(ttflist=[SimpleNamespace(name=name) for name in ("Noto Emoji", "Yu Gothic", "Arial")])
    monkeypatch.setattr(fonts, "fontManager", installed)
    families.cache_clear()
    assert families("monospace") == ["monospace", "Yu Gothic", "Noto Emoji"]
    families.cache_clear()


def test_figures_draw_every_token_without_a_warning(tmp_path, small_config, caplog):
    """Neither of matplotlib about glyphs, nor of its search for fonts; and nothing is read as mathematics."""
    length = len(TOKENS)
    event = TrainEvent(0, 0, 0.0, None, 2.0, 0.1, 0.0, 0.0, None)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        weights = torch.eye(length)
        save_figure(attention_figure(weights, small_config("gpt2"), TOKENS, "模型 🙂 $x^{"), tmp_path / "map.png")
        save_figure(loss_figure({"模型 🙂 $x^{": ("gpt2", [event])}), tmp_path / "loss.SVG")
    assert not caplog.records
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_where_a_figure_may_be_written(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "there.svg").write_text("an older one")
    check_figure_path(tmp_path / "new.PNG")
    check_figure_path(tmp_path / "there.svg")
    check_figure_path(tmp_path / "run" / "loss.png", folder_to_come=tmp_path / "run")
    for name, message in (
        ("loss.jpg", "'loss.jpg' does not end in .png or .svg; name the picture with one of these endings"),
        ("loss", "'loss' does not end in .png or .svg"),
        ("nowhere/loss.png", "there is no folder .*nowhere for the picture loss.png; make it, or choose another"),
        ("there.svg/loss.png", "there is no folder .*there.svg for the picture loss.png"),
        ("folder.png", "the picture .*folder.png cannot be written there; choose another place"),
    ):
        with pytest.raises(ValueError, match=message):
            check_figure_path(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"folder.png", "there.svg"}


def test_a_place_that_may_only_be_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # those who run the tests may be allowed everything
    with pytest.raises(ValueError, match="cannot be written there; choose another place"):
        check_figure_path(tmp_path / "loss.png")
