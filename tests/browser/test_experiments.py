"""An experiment in a real browser: a prediction, a run, a reload in the middle, and a second visitor who joins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from visitor import DEVICES, PATIENCE, Visitor, Witness

from gpt.experiments import sampling

pytestmark = pytest.mark.browser


@pytest.fixture(params=DEVICES)
def visitors(
    browser: Browser,
    address: str,
    album: Path | None,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[Visitor]]:
    """Two visitors on the Experiments tab, where the sampling experiment is a shorter one."""
    short = replace(sampling.Setup(), texts=20)
    monkeypatch.setattr(sampling, "Setup", lambda: short)
    contexts = [browser.new_context(**DEVICES[request.param], locale="en-GB") for _ in range(2)]
    found = []
    for context in contexts:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        witness = Witness(page, address)
        page.goto(f"{address}?tab=experiments&experiment=sampling")
        expect(page.locator(".experiment-board .asks")).to_contain_text("temperature")
        found.append(Visitor(page, witness, request.param, album))
    yield found
    for context in contexts:
        context.close()


def test_a_prediction_a_run_a_reload_and_a_second_visitor(visitors: list[Visitor]) -> None:
    ada, ben = visitors
    board = ada.page.locator(".experiment-board")
    expect(ada.button("Run")).to_be_disabled()
    expect(ada.button("Just show me")).to_be_enabled()
    ada.looks_around("e1-asked")
    first = board.get_by_role("radio").first
    first.click()
    expect(first).to_have_attribute("aria-checked", "true")
    ada.presses("Run")
    ada.sees_it_come_to("^Writing at ", board.locator(".status"))
    expect(ada.page).to_have_url(re.compile("asked=[0-9a-f]{12}"))
    ada.looks_around("e2-under-way")

    ada.witness.page_is_left = True
    ada.page.reload()
    expect(board.get_by_role("radio").first).to_have_attribute("aria-checked", "true")  # the prediction is kept
    ben.presses("Just show me")
    for visitor in visitors:
        expect(visitor.page.locator(".experiment-board .verdict")).to_be_visible(timeout=4 * PATIENCE)
    assert ada.page.url.split("asked=")[1][:12] == ben.page.url.split("asked=")[1][:12]
    expect(board.locator(".verdict")).to_contain_text("You expected")
    expect(ben.page.locator(".experiment-board .verdict")).to_contain_text("Shown without a prediction")
    expect(board.locator(".sentences p").first).to_contain_text("different words")
    expect(board.locator(".chart")).to_have_count(2)
    board.get_by_text("Show as table").first.click()
    expect(board.locator(".chart table").first).to_contain_text("temperature 1.3")
    ada.looks_around("e3-measured")

    ada.chooses("Lower temperature", "0.2")  # one thing is changed: there is something new to predict
    expect(ada.button("Run")).to_be_disabled()
    expect(board.locator(".verdict")).to_be_hidden()


def test_a_curve_is_drawn_with_the_pointer_and_with_keys(visitors: list[Visitor]) -> None:
    ada, _ = visitors
    ada.page.get_by_label("Recall at a distance", exact=True).click()
    board = ada.page.locator(".experiment-board")
    expect(board.locator(".asks")).to_contain_text("d tokens back")
    plot = board.locator(".plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    ada.page.mouse.move(box["x"] + 80, box["y"] + 60)
    ada.page.mouse.down()
    for share in (0.4, 0.6, 0.9):
        ada.page.mouse.move(box["x"] + share * box["width"], box["y"] + share * 0.8 * box["height"])
    ada.page.mouse.up()
    expect(ada.button("Run")).to_be_enabled()
    expect(ada.page).to_have_url(re.compile(r"drawn=[\d.]+"))
    ada.looks_around("e4-drawn")
    ada.presses("Rub out")
    expect(ada.button("Run")).to_be_disabled()
    plot.focus()
    for _ in range(4):
        plot.press("ArrowUp")
        plot.press("ArrowRight")
    expect(ada.button("Run")).to_be_enabled()
