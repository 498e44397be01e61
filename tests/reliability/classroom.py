"""Thirty students at one lab for five minutes: does it keep answering all of them?

    python tests/reliability/classroom.py [--sessions 30] [--seconds 300]

Every session trains one small run after another and watches it, and meanwhile, with some seconds of thought between,
lets two models write, looks at attention, steps through a text, reads one, and counts what models cost; all with the
page's own functions, as the browser calls them. The page itself is fetched four times a second. The sessions run in
processes of their own, on the same machine, so the lab has less of it than in a real class.

Prints what was measured and what it is held to. Jain's index of fairness (sum of x)^2 / (n sum of x^2) is 1 where all
got the same: of the training steps each session saw, and of the answers each was given.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import multiprocessing
import random
import re
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from lab import controls, served, status

PROCESSES = 3
STEP = re.compile(r'"(?:[Ss]tep|Done:) ([\d,]+)(?: of| steps)')
EVENT = re.compile(r'"event_id":"(\w+)"')
READING = ("generate", "attention", "expect", "read", "count_parts")
SECONDS_OF_THOUGHT = 5.0
MOST_SECONDS_OF_SILENCE = 120.0
STEPS = 30


@dataclass
class Seen:
    """What one session saw.

    Attributes:
        steps: of training, in all its runs.
        gaps: seconds between two advances of a chart whose run was in training.
        answers: seconds until a function had answered whole, by its name.
        statuses: of all its requests.
        errors: what went wrong otherwise.
    """

    steps: int = 0
    gaps: list[float] = field(default_factory=list)
    answers: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


class Session:
    """A browser tab, as far as the server can tell."""

    def __init__(self, browser: httpx.AsyncClient, number: int, config: dict[str, Any], until: float) -> None:
        self.browser, self.number, self.until = browser, number, until
        self.seen = Seen()
        self.chance = random.Random(number)
        self.functions = {one["api_name"]: one for one in config["dependencies"] if one["api_name"]}
        self.held = {component["id"]: component["props"].get("value") for component in config["components"]}
        self.secret = f"{number:032d}"
        self.messages: defaultdict[str, asyncio.Queue[str]] = defaultdict(asyncio.Queue)  # by the call they answer
        self.calls = 0  # under way
        self.listener: asyncio.Task[None] | None = None

    async def call(self, name: str, *first: Any, advances: list[tuple[float, int]] | None = None) -> str:
        """Call a function with these inputs, the others being what the page holds; returns its last message."""
        function = self.functions[name]
        values = [*first, *(self.held[one] for one in function["inputs"][len(first) :])]
        body = {"fn_index": function["id"], "data": values, "session_hash": f"session-{self.number}"}
        answer = await self.browser.post("/gradio_api/queue/join", json=body)
        self.seen.statuses[answer.status_code] += 1
        messages, text = self.messages[answer.json()["event_id"]], ""
        self.calls += 1
        if self.listener is None or self.listener.done():
            self.listener = asyncio.create_task(self.listen())
        try:
            while '"process_completed"' not in text:
                text = await asyncio.wait_for(messages.get(), MOST_SECONDS_OF_SILENCE)
                if advances is not None and (found := STEP.findall(text)):
                    advances.append((time.monotonic(), int(found[-1].replace(",", ""))))
        finally:
            self.calls -= 1
        if '"success":false' in text:
            self.seen.errors.append(f"{name}: {json.loads(text.removeprefix('data: '))['output']}")
        return text

    async def listen(self) -> None:
        """Hand out what the server says to this tab, over one connection, until nothing is under way."""
        tab = {"session_hash": f"session-{self.number}"}
        while self.calls:
            async with self.browser.stream("GET", "/gradio_api/queue/data", params=tab) as events:
                self.seen.statuses[events.status_code] += 1
                async for line in events.aiter_lines():
                    if found := EVENT.search(line):
                        self.messages[found[1]].put_nowait(line)

    async def open_page(self) -> None:
        for path in ("/", "/config"):
            answer = await self.browser.get(path)
            self.seen.statuses[answer.status_code] += 1

    async def keep_training(self) -> None:
        """One run after another, each watched to its end."""
        runs = 0
        while time.monotonic() < self.until:
            runs += 1
            mine = {"seed": 1000 * self.number + runs, "steps": STEPS, "variants": ["gpt2", "rotary"]}
            line = await self.call("train", self.secret, None, *controls(mine))
            watched = json.loads(line.removeprefix("data: "))["output"]["data"][0]
            advances: list[tuple[float, int]] = []
            with suppress(TimeoutError, asyncio.TimeoutError):
                left = max(0.1, self.until - time.monotonic())
                await asyncio.wait_for(self.call("watch", watched, advances=advances), left)
            moments = [moment for moment, _ in advances]
            self.seen.gaps += [later - earlier for earlier, later in itertools.pairwise(moments)]
            self.seen.steps += max((step for _, step in advances), default=0)

    async def keep_reading(self) -> None:
        """One of the other tabs after another."""
        await asyncio.sleep(self.chance.uniform(0, SECONDS_OF_THOUGHT))
        for number in range(self.number, 10**6):
            if time.monotonic() > self.until:
                return
            name = READING[number % len(READING)]
            started = time.monotonic()
            await self.call(name)
            self.seen.answers.setdefault(name, []).append(time.monotonic() - started)
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) * SECONDS_OF_THOUGHT)

    async def live(self) -> Seen:
        try:
            await self.open_page()
            await asyncio.gather(self.keep_training(), self.keep_reading())
        except Exception as error:  # whatever it is, it belongs into the table
            self.seen.errors.append(f"{type(error).__name__}: {error}")
        return self.seen


def sessions(address: str, numbers: list[int], until: float) -> list[Seen]:
    """What some sessions saw, in this process."""

    async def all_of_them() -> list[Seen]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as browser:
            config = (await browser.get("/config")).json()
            every = [Session(browser, number, config, until) for number in numbers]
            return await asyncio.gather(*(one.live() for one in every))

    return asyncio.run(all_of_them())


def fetch_pages(address: str, until: float, seconds: list[float], statuses: Counter[int], crowded: list[int]) -> None:
    """Fetch the page four times a second, and now and then how many runs there are for each visitor."""
    while time.monotonic() < until:
        started = time.monotonic()
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                answer.read()
                statuses[answer.status] += 1
        except urllib.error.HTTPError as error:
            statuses[error.code] += 1
        seconds.append(time.monotonic() - started)
        if len(seconds) % 10 == 0:
            now = status(address)
            under_way = now["runs in training"] + now["runs in the queue"] + now["runs paused"]
            crowded.append(under_way - now["visitors with a run under way"])
        time.sleep(max(0.0, 0.25 - (time.monotonic() - started)))


def fairness(amounts: list[float]) -> float:
    """Jain's index."""
    return sum(amounts) ** 2 / (len(amounts) * sum(x * x for x in amounts)) if any(amounts) else math.nan


def percentile(values: list[float], share: float) -> float:
    """The value that this share of all is at or below."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else math.nan


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    pages: list[float] = []
    statuses: Counter[int] = Counter()
    crowded: list[int] = []
    with served() as address, multiprocessing.get_context("spawn").Pool(PROCESSES) as others:
        time.sleep(8)  # what is loaded in the background
        until = time.monotonic() + options.seconds
        shares = [list(range(first, options.sessions, PROCESSES)) for first in range(PROCESSES)]
        pending = [others.apply_async(sessions, (address, numbers, until)) for numbers in shares]
        fetching = threading.Thread(target=fetch_pages, args=(address, until, pages, statuses, crowded))
        fetching.start()
        fetching.join()
        seen = [one for answer in pending for one in answer.get(timeout=300)]
    report(seen, pages, statuses, crowded)


def report(seen: list[Seen], pages: list[float], statuses: Counter[int], crowded: list[int]) -> None:
    """Print the table."""
    for one in seen:
        statuses += one.statuses
    gaps = [gap for one in seen for gap in one.gaps]
    rows = [
        ("page requests", len(pages), ""),
        ("page p95, seconds", percentile(pages, 0.95), "at most 0.5"),
        ("page maximum, seconds", max(pages, default=math.nan), "at most 2"),
        ("chart advances seen", len(gaps), ""),
        ("seconds between two of a chart, median", percentile(gaps, 0.5), ""),
        ("  p99", percentile(gaps, 0.99), "at most 1"),
        ("  maximum", max(gaps, default=math.nan), "at most 1"),
        ("answers with status 5xx", sum(n for code, n in statuses.items() if code >= 500), "0"),
        ("answers of other statuses than 200", sum(n for code, n in statuses.items() if code != 200), "0"),
        ("errors", sum(len(one.errors) for one in seen), "0"),
        ("runs beyond one for each visitor, most", max(crowded, default=0), "0"),
        ("training steps for each session, mean", statistics.fmean(one.steps for one in seen), ""),
        ("fairness of training", fairness([one.steps for one in seen]), "at least 0.9"),
        ("fairness of other answers", fairness([sum(map(len, one.answers.values())) for one in seen]), "at least 0.9"),
    ]
    for name in READING:
        seconds = [second for one in seen for second in one.answers.get(name, [])]
        rows.append((f"{name}: {len(seconds)} answers, median seconds", percentile(seconds, 0.5), ""))
        rows.append(("  p95", percentile(seconds, 0.95), ""))
    for name, value, held_to in rows:
        number = f"{value:,d}" if isinstance(value, int) else f"{value:,.2f}"
        print(f"{name:48}{number:>10}   {held_to}")
    for error in sorted({error for one in seen for error in one.errors}):
        print(error)


if __name__ == "__main__":
    main()
