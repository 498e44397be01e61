"""A real browser for the walks through the page, and a witness of everything it does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from served import serve
from visitor import FLAGS, find_chromium

from gpt.ui.app import create_demo


@pytest.fixture(scope="module")  # not longer: Playwright keeps an event loop running in this thread meanwhile
def browser() -> Iterator[Browser]:
    """A headless Chromium; without one the test is skipped, or fails where GPT_LAB_REQUIRE_BROWSER is set."""
    unavailable = pytest.fail if os.environ.get("GPT_LAB_REQUIRE_BROWSER") else pytest.skip
    chromium = find_chromium()
    if chromium is None:
        unavailable("there is no Chromium here; install one, or name it in GPT_LAB_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def address() -> Iterator[str]:
    """The page with the models that ship with the lab, on a server of its own for each walk."""
    with serve(create_demo()) as url:
        yield url


@pytest.fixture(scope="session")
def album() -> Path | None:
    """Where screenshots go: the folder that GPT_LAB_SCREENSHOTS names, or nowhere."""
    named = os.environ.get("GPT_LAB_SCREENSHOTS")
    if not named:
        return None
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
