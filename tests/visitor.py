"""A person at the page in a real browser: what they press and see, and a witness of what must not happen."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, Request, expect

DEVICES = {
    "desk-light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "phone-dark": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "dark",
        "device_scale_factor": 2,
        "has_touch": True,
    },
}


FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


def find_chromium() -> str | None:
    """The browser to drive: the one that GPT_LAB_CHROMIUM names, or one that is installed."""
    named = os.environ.get("GPT_LAB_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


PATIENCE = 30_000  # milliseconds until a wait is given up; nothing here takes as long to change


expect.set_options(timeout=PATIENCE)


class Witness:
    """Notes what must not happen on a page, and which requests do."""

    def __init__(self, page: Page, address: str) -> None:
        self.host = urlsplit(address).netloc
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page_is_left = False
        page.on("console", lambda said: said.type == "error" and self.hear(said.text))
        page.on("pageerror", lambda error: self.faults.append(f"error on the page: {error}"))
        page.on("dialog", lambda dialog: (self.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", self.note)

    def hear(self, said: str) -> None:
        """Remember an error that the page logs; Gradio's own client logs that its streams end when a page is left."""
        if not (self.page_is_left and re.match("AbortError: signal is aborted|.*Connection errored out", said)):
            self.faults.append(f"console: {said}")

    def note(self, request: Request) -> None:
        """Remember a request; the page's own sign of life is not one a visitor causes."""
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.faults.append(f"request to another host: {request.url}")
        if "still_watching" not in (request.post_data or ""):
            self.requests.append(request.url)


class Visitor:
    """A person at the page: what they press, and what they see."""

    def __init__(self, page: Page, witness: Witness, name: str, album: Path | None) -> None:
        self.page = page
        self.witness = witness
        self.name = name
        self.album = album
        self.sentence = page.locator(".run-panel .sentence")

    def opens(self, tab: str) -> None:
        """Open a tab by its name."""
        self.page.get_by_role("tab", name=tab, exact=True).click()
        expect(self.page.get_by_role("tab", name=tab, exact=True)).to_have_attribute("aria-selected", "true")

    def presses(self, button: str) -> None:
        """Press the button of that name on the tab that is open."""
        self.button(button).click()

    def button(self, name: str) -> Locator:
        """The button of that name on the tab that is open."""
        return self.page.get_by_role("button", name=name, exact=True).filter(visible=True)

    def box(self, name: str) -> Locator:
        """The box to write in whose label begins with that name, on the tab that is open."""
        return self.page.get_by_role("textbox", name=re.compile(f"^{name}")).filter(visible=True)

    def chooses(self, list_name: str, choice: str) -> None:
        """Choose from a list."""
        self.page.get_by_label(list_name, exact=True).filter(visible=True).click()
        self.page.get_by_role("option", name=choice).filter(visible=True).click()

    def sets(self, slider: str, number: int) -> None:
        """Type a slider's number."""
        box = self.page.get_by_label(f"number input for {slider}").filter(visible=True)
        box.fill(str(number))
        box.press("Tab")

    def sees_it_come_to(self, pattern: str, place: Locator) -> None:
        """Wait until a place says so, as long as what it says goes on changing: work takes longer on a busy machine."""
        said = place.inner_text()
        while not re.search(pattern, said):
            expect(place).not_to_have_text(said)
            said = place.inner_text()

    def waits_for_quiet(self) -> None:
        """Until the page has asked for nothing for a while: what it does by itself when a tab opens is over."""
        seen = -1
        while len(self.witness.requests) != seen:  # each round a page that is not quiet has asked for more
            seen = len(self.witness.requests)
            self.page.wait_for_timeout(2000)

    def looks_around(self, stage: str) -> None:
        """Nothing may reach beyond the right edge; keep a picture if one is wanted."""
        if self.album:
            self.page.screenshot(path=self.album / f"{self.name}-{stage}.png", full_page=True)
        widths = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], f"{stage}: the page is {widths[0]} px wide on a screen of {widths[1]}"
        assert self.page.evaluate("typeof window.hacked") == "undefined"
        assert not self.witness.faults, f"{stage}: {self.witness.faults}"

    def run_in_address(self) -> str:
        """The run that the address names."""
        return parse_qs(urlsplit(self.page.url).query).get("run", [""])[0]


def at_least(length: int) -> re.Pattern[str]:
    """Matches texts of so many characters, whatever they are."""
    return re.compile(f".{{{length}}}", re.DOTALL)
