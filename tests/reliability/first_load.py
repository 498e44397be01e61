"""The first screen in a real browser: how soon is there something to see, and what does it take to get there?

Run it by hand, on a machine that does nothing else: `python tests/reliability/first_load.py [repeats]`. Each repeat
starts a server for a desk's screen and one for a phone's, opens its page as soon as it answers (cold), again in the
same browser (cold, again), then in a new browser (warm) and again in that (warm, again). Seconds count from the first
byte of the page. It prints the machine's load, what it measured, medians with their range, and a final JSON line, and
asserts nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ViewportSize, sync_playwright

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from browser.conftest import FLAGS, find_chromium
from reliability.lab import served

SCREENS = {"1280": ViewportSize(width=1280, height=800), "390": ViewportSize(width=390, height=844)}
SECONDS_TO_SETTLE = 2.0  # after the first curve: what still comes belongs to the first screen

# Notes when the first curve is there, and every shift of what was there already.
WATCH = """
  window.seen = { curve: null, shift: 0, shifts: [] };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      window.seen.shift += entry.value;
      const nodes = entry.sources.map(({ node }) => node && (node.id || node.className || node.nodeName));
      window.seen.shifts.push([Math.round(entry.startTime), entry.value.toFixed(4), nodes]);
    }
  }).observe({ type: "layout-shift", buffered: true });
  const look = () => {
    if (document.querySelector("#loss-chart .plot path.curve")) window.seen.curve = performance.now();
    else requestAnimationFrame(look);
  };
  look();
"""


def main() -> None:
    """Measure and print."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    found: dict[str, list[dict[str, float]]] = {}
    with sync_playwright() as playwright:
        for width, screen in [*SCREENS.items()] * repeats:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
            print(f"load average {os.getloadavg()[0]:.1f}", flush=True)
            with served() as address:
                for name in ("cold", "warm"):
                    visits = two_visits(browser, address, screen)
                    for again, what in zip(("", ", again"), visits, strict=True):
                        found.setdefault(f"{width} {name}{again}", []).append(what)
            browser.close()
    result = {}
    for visit, measured in found.items():
        result[visit] = {what: [one[what] for one in measured] for what in measured[0]}
        for what, values in result[visit].items():
            print(f"{visit:17} {what:28} {statistics.median(values):9.3f}   {min(values):.3f} to {max(values):.3f}")
    print(json.dumps(result))


def two_visits(browser: Browser, address: str, screen: ViewportSize) -> list[dict[str, float]]:
    """What it takes to open the page for the first time in a browser, and for the second."""
    context = browser.new_context(viewport=screen)
    context.add_init_script(WATCH)
    visits = [visit(context, address) for _ in range(2)]
    context.close()
    return visits


def visit(context: BrowserContext, address: str) -> dict[str, float]:
    """Open the page in a new tab, wait for its first curve, and close it."""
    page = context.new_page()
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    asked: list[str] = []
    received: list[float] = []
    from_cache: set[str] = set()
    network.on("Network.requestWillBeSent", lambda one: asked.append(one["request"]["url"]))
    network.on("Network.requestServedFromCache", lambda one: from_cache.add(one["requestId"]))
    network.on("Network.loadingFinished", lambda one: received.append(one["encodedDataLength"]))
    page.goto(address)
    page.wait_for_function("window.seen.curve !== null", timeout=120_000)
    page.wait_for_timeout(1000 * SECONDS_TO_SETTLE)
    first_byte, paint, curve, shift = page.evaluate(
        """() => [
          performance.getEntriesByType("navigation")[0].responseStart,
          performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
          window.seen.curve, window.seen.shift,
        ]"""
    )
    page.close()
    asked = [url for url in asked if url.startswith("http")]
    return {
        "seconds to the first byte": first_byte / 1000,
        "seconds to the first paint": (paint - first_byte) / 1000,
        "seconds to the first curve": (curve - first_byte) / 1000,
        "requests": len(asked),
        "of which from the cache": len(from_cache),
        "kilobytes received": sum(received) / 1000,
        "layout shift": shift,
    }


if __name__ == "__main__":
    main()
