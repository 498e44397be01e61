"""A large attention map in a real browser: how soon is it painted, and does looking around ask the server for anything?

Run it by hand, on a machine that does nothing else: `python tests/reliability/attention_map.py`. The model has 6 layers
of 6 heads and reads 256 tokens; its weights are random, which costs as much as trained ones. It prints what it measured
and a final JSON line, and asserts nothing.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, Request, sync_playwright

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from served import serve
from visitor import FLAGS, find_chromium

from gpt import GPT2, CharTokenizer, save_checkpoint
from gpt.model.config import make_config
from gpt.ui.app import create_demo

TEXT = ("To be, or not to be, that is the question: " * 6)[:256]
LOOKS = 5
MOVES = 50


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = CharTokenizer.from_text(TEXT)
        size = {"embed_size": 192, "num_heads": 6, "num_layers": 6, "context_length": 256}
        for name, window in (("gpt2", {}), ("sliding-window", {"window_size": 32})):
            model = GPT2.from_config(make_config(name, tokenizer.vocab_size, **size, **window))
            save_checkpoint(Path(folder) / name, model, tokenizer, history=[])
        with serve(create_demo(models_folder=Path(folder))) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(address)
            result = {name: measure(page, name) for name in ("gpt2", "sliding-window")}
            browser.close()
    for name, values in result.items():
        for what, value in values.items():
            print(f"{name:16} {what:36} {value}")
    print(json.dumps(result))


def measure(page: Page, name: str) -> dict[str, object]:
    """Press Look several times, then move over the map and choose heads."""
    page.get_by_role("tab", name="Attention", exact=True).click()
    model = page.get_by_label("Model", exact=True).filter(visible=True)
    model.click()
    page.get_by_role("option", name=f"{name}, shipped").filter(visible=True).click()
    text = page.get_by_role("textbox", name=re.compile("^Text")).filter(visible=True)
    look = page.get_by_role("button", name="Look", exact=True)
    seconds = []
    for turn in range(LOOKS):
        text.fill(TEXT[turn:] + TEXT[:turn])  # another text each time: the same one would not be painted again
        page.wait_for_timeout(6000)  # what is measured below the map has come, too
        painted = painted_so_far(page)
        started = time.monotonic()
        look.click()
        page.wait_for_function(f"({PAINTED}) > {painted}", timeout=60_000)
        seconds.append(time.monotonic() - started)
    page.wait_for_timeout(6000)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if not is_heartbeat(request) else None)
    thumbnails = page.locator("#attention-map .thumbnail")
    box = page.locator("#attention-map .frame").bounding_box()
    assert box is not None
    started = time.monotonic()
    for move in range(MOVES):
        thumbnails.nth(move % thumbnails.count()).click()
        page.mouse.move(box["x"] + 60 + 8 * move, box["y"] + 40 + 7 * move)
    return {
        "seconds_to_painted_median": round(statistics.median(seconds), 2),
        "seconds_to_painted_each": [round(one, 2) for one in seconds],
        "head_clicks_and_hovers": MOVES,
        "milliseconds_for_each": round(1000 * (time.monotonic() - started) / MOVES, 1),
        "requests_meanwhile": len(requests),
    }


PAINTED = (
    "Number(document.querySelector('#attention-map [data-painted], #attention-map[data-painted]')?.dataset.painted)"
)


def painted_so_far(page: Page) -> int:
    """How many values the map has painted."""
    return int(page.evaluate(PAINTED) or 0)


def is_heartbeat(request: Request) -> bool:
    """Whether this is the page's own sign of life, which no visitor causes."""
    return "heartbeat" in request.url or "still_watching" in (request.post_data or "")


if __name__ == "__main__":
    main()
