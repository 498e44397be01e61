"""Who works without a mouse or without seeing the page: axe-core finds nothing serious, and the keyboard reaches all.

One visit with nothing to show and one with everything filled; each tab is looked at on a desk and on a phone, in the
light and in the dark. What is Gradio's own is named in `GRADIOS_OWN`, one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, expect
from served import save_small_models, serve
from visitor import PATIENCE, Visitor, Witness

from gpt.experiments import sampling
from gpt.ui.app import create_demo

pytestmark = pytest.mark.browser

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
ZOOMED = {"width": 640, "height": 400}  # a desk at 200 %
# What axe calls moderate or minor and was mended all the same; of the other rules, what is serious or critical counts.
ALSO = {"heading-order", "empty-table-header", "landmark-unique"}
GRADIOS_OWN: set[tuple[str, str]] = set()  # (rule, target)

FIND = """async ([runOnly]) => {
  const found = await axe.run(document, { resultTypes: ['violations'], ...(runOnly ? { runOnly } : {}) });
  return found.violations.flatMap(({ id, impact, nodes }) => nodes.map((node) => ({
    id, impact, target: node.target.join(' '), html: node.html.slice(0, 200), why: node.failureSummary,
  })));
}"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def visitor(browser: Browser, models: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """A visitor of a lab with two small models, or, where the test says so, with none."""
    folder = tmp_path if getattr(request, "param", "") == "no models" else models
    with serve(create_demo(models_folder=folder)) as address:
        context = browser.new_context(viewport=DESK, color_scheme="light", locale="en-GB")
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.add_init_script(AXE_SCRIPT)
        witness = Witness(page, address)
        page.goto(address)
        expect(page.locator(".run-panel .sentence")).to_contain_text("Press Train")
        yield Visitor(page, witness, "", None)
        context.close()


def assert_open_to_all(visitor: Visitor, view: str) -> None:
    """Nothing that shuts anybody out of what is on the page, in all its looks."""
    page = visitor.page
    found: list[str] = []
    for size, scheme, only in (
        (DESK, "light", None),
        (DESK, "dark", ["color-contrast"]),  # nothing but colours depends on the mode
        (PHONE, "dark", None),
        (PHONE, "light", ["color-contrast"]),
    ):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("body")).to_have_class(re.compile("dark" if scheme == "dark" else "^(?!.*dark)"))
        page.evaluate("() => new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))")
        for one in page.evaluate(FIND, [only]):
            counts = one["impact"] in ("serious", "critical") or one["id"] in ALSO
            if counts and (one["id"], one["target"]) not in GRADIOS_OWN:
                found.append(f"{view}, {size['width']} px, {scheme}: {one['id']}: {one['target']}: {one['html']}")
    page.set_viewport_size(ZOOMED)
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1], f"{view}: at 200 % the page is {widths[0]} px wide on a screen of {widths[1]}"
    page.set_viewport_size(DESK)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("visitor", ["no models"], indirect=True)
def test_nothing_shuts_anybody_out_of_an_empty_lab(visitor: Visitor) -> None:
    for tab in ("Train", "Experiments", "Compare", "Step by step", "Read a text", "Cost", "Attention"):
        visitor.opens(tab)
        visitor.waits_for_quiet() if tab == "Attention" else None
        assert_open_to_all(visitor, f"empty {tab}")
