"""Take the README's pictures of the page from the lab as it is now, in both themes: docs/page-*.png.

python tests/reliability/pictures.py
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from lab import served
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from visitor import FLAGS, find_chromium

VIEW = {"width": 1280, "height": 800}


def main() -> None:
    """Take both and say how large they are."""
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        for theme in ("light", "dark"):
            place = PROJECT / "docs" / f"page-{theme}.png"
            picture = Image.open(io.BytesIO(picture_of(browser, address, theme))).convert("RGB")
            picture.save(place, optimize=True)
            print(f"{place.relative_to(PROJECT)}: {place.stat().st_size:,} bytes")
        browser.close()


def picture_of(browser: Browser, address: str, theme: str) -> bytes:
    """The first screen, once its curves and what the models wrote are there."""
    with browser.new_context(viewport=VIEW, color_scheme=theme, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(f"{address}?__theme={theme}")
        page.wait_for_selector("#loss-chart .end text", timeout=60_000)
        page.wait_for_selector("#run-panel pre:not(:empty)", timeout=60_000)
        page.get_by_role("button", name="Projector").wait_for(timeout=60_000)
        page.evaluate("document.fonts.ready")
        return page.screenshot()


if __name__ == "__main__":
    main()
