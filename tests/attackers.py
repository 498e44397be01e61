"""A page as the server sees it, an honest one and hostile ones: what they send by plain HTTP, as a browser does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

SECRET = "My neighbour keeps the key under the blue flowerpot."
PRIVATE_TEXT = (SECRET + "\n") * 300
_PIECE = 16  # characters of the secret in a row that give it away


def gives_away(text: str) -> bool:
    """Whether a text holds a piece of the secret that no chance would bring."""
    return any(SECRET[start : start + _PIECE] in text for start in range(len(SECRET) - _PIECE + 1))


@contextlib.asynccontextmanager
async def network(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Connections to a server, as many as are wanted."""
    limits = httpx.Limits(max_connections=3000, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as browser:
        yield browser


@dataclass
class Answer:
    """What a call came to.

    Attributes:
        status: of the request.
        seconds: until the first answer, or the refusal.
        text: all that was answered.
        data: the last values; None if the call failed.
    """

    status: int
    seconds: float = 0.0
    text: str = ""
    data: list[Any] | None = None


class Page:
    """A browser tab, or a program that pretends to be one."""

    def __init__(self, browser: httpx.AsyncClient, config: dict[str, Any], name: str) -> None:
        self.browser, self.name, self.config = browser, name, config
        self.functions = {one["api_name"]: one for one in config["dependencies"] if one["api_name"]}
        self.held = {component["id"]: component["props"].get("value") for component in config["components"]}
        self.secret = ""

    async def join(self, function: str, *first: Any, **headers: str) -> httpx.Response:
        """Ask for a function with these inputs, the others being what the page holds, and do not listen."""
        one = self.functions[function]
        values = [*first, *(self.held[name] for name in one["inputs"][len(first) :])]
        body = {"fn_index": one["id"], "data": values, "session_hash": self.name}
        return await self.browser.post("/gradio_api/queue/join", json=body, headers=headers)

    async def call(self, function: str, *first: Any, until_first: bool = False) -> Answer:
        """Ask, and listen until the end or, for streams, until the first answer."""
        started = time.monotonic()
        joined = await self.join(function, *first)
        answer = Answer(joined.status_code, time.monotonic() - started, joined.text)
        if joined.status_code != 200:
            return answer
        event, is_first = joined.json()["event_id"], True
        async with self.browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.name}) as stream:
            async for line in stream.aiter_lines():
                answer.text += line
                if event not in line or not ('"process_generating"' in line or '"process_completed"' in line):
                    continue
                message = json.loads(line.removeprefix("data:"))
                if is_first:
                    answer.seconds, is_first = time.monotonic() - started, False
                if message["success"] and message["output"].get("data"):
                    answer.data = message["output"]["data"]
                if until_first or message["msg"] == "process_completed":
                    break
        return answer

    async def train(self, controls: Sequence[Any]) -> str:
        """Press Train; returns what to watch, empty if it is refused."""
        answer = await self.call("train", self.secret, [], *controls)
        if not answer.data:
            return ""
        watched, _, self.secret = answer.data
        return str(watched)

    async def ask_component(self, function: str, sent: Any) -> httpx.Response:
        """Call what the panel of a run asks for by itself."""
        panel = next(one["id"] for one in self.config["components"] if one["props"].get("elem_id") == "run-panel")
        body = {"data": [sent], "component_id": panel, "fn_name": function, "session_hash": self.name}
        return await self.browser.post("/gradio_api/component_server", json=body)


async def open_page(browser: httpx.AsyncClient, name: str) -> Page:
    """Fetch the page as a browser does."""
    await browser.get("/")
    return Page(browser, (await browser.get("/config")).json(), name)


# --- An honest visitor ----------------------------------------------------------------------------------------------


@dataclass
class Experience:
    """What an honest visitor saw: seconds until each press was answered, by kind, and what was refused."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """Seconds."""
        return max((max(seconds) for seconds in self.seconds.values()), default=0.0)


async def be_honest(page: Page, controls_for: Callable[[int], Sequence[Any]], seconds: float) -> Experience:
    """Press one button after another, each at least once, with half a second of thought between, and measure."""
    seen, prompt = Experience(), "The fox"
    ends_at, press = time.monotonic() + seconds, 0
    async with page.browser.stream("GET", f"/gradio_api/heartbeat/{page.name}"):
        while time.monotonic() < ends_at or press < 5:
            kind = ("attention", "generate", "expect", "train", "page")[press % 5]
            started = time.monotonic()
            if kind == "attention":
                answer = await page.call("attention", "shipped/gpt2", "", prompt)
            elif kind == "generate":
                answer = await page.call("generate", ["shipped/gpt2"], prompt, True, 20, until_first=True)
            elif kind == "expect":
                answer = await page.call("expect", ["shipped/gpt2"], prompt)
            elif kind == "train":
                watched = await page.train(controls_for(press))
                answer = Answer(200, time.monotonic() - started, data=[watched] if watched else None)
            else:
                got = await page.browser.get("/")
                answer = Answer(got.status_code, time.monotonic() - started, data=[got.status_code])
            seen.seconds.setdefault(kind, []).append(answer.seconds)
            if answer.status != 200 or not answer.data:
                seen.refused.append(f"{kind}: {answer.status} {answer.text[-200:]}")
            press += 1
            await asyncio.sleep(0.5)
    return seen


# --- Attackers ------------------------------------------------------------------------------------------------------


async def ask_as_a_stranger(stranger: Page, watched: str, controls: Sequence[Any]) -> tuple[str, list[str]]:
    """Everything that somebody can ask who has got a run's key; returns all answers, and the files they got."""
    key = watched.partition(" ")[0]
    model = f"run/{key}/0"
    calls: list[tuple[Any, ...]] = [
        *(("export", key), ("export_transformers", key)),
        *(("pause", "", [], key, 50), ("step_once", "", [], key), ("restart", "", [], key)),
        *(("branch", "", [], key, *controls), ("stop", "", key), ("watch", key)),
        ("generate", [model], SECRET[:10], True, 200, "", 0, 0, 1, 7),
        *(("expect", [model], SECRET[:10], True, 0, 0, 1), ("read", [model], "The key", True)),
        *(("attention", model, "", "The key"), ("measure_cache", [model]), ("count_parts", "x", 256, 64, [model])),
    ]
    told, files = "", []
    for call in calls:
        answer = await stranger.call(*call)
        told += answer.text
        if call[0].startswith("export") and answer.data:
            files += [file["path"] for file in answer.data[0]]
    for function, sent in (
        ("still_watching", {"run": key}),
        ("next_characters", {"run": key, "prompt": SECRET[:20]}),
    ):
        told += (await stranger.ask_component(function, sent)).text
    for one in stranger.config["dependencies"]:  # as the page does when it is opened by a link
        if one["backend_fn"] and "load" in str(one["targets"]):
            body = {"fn_index": one["id"], "data": [None] * len(one["inputs"]), "session_hash": stranger.name}
            await stranger.browser.post(f"/gradio_api/queue/join?run={key}", json=body)
            told += (await stranger.browser.get(f"/gradio_api/queue/data?session_hash={stranger.name}")).text
    for path in ("/status", "/config", "/gradio_api/info", "/openapi.json", f"/?run={key}", "/gradio_api/app_id"):
        told += (await stranger.browser.get(path)).text
    for path in files:
        told += (await stranger.browser.get(f"/gradio_api/file={path}")).text
    return told, files


async def many_calls(
    browser: httpx.AsyncClient, config: dict[str, Any], count: int, pages: int, function: str, *values: Any
) -> Counter[int]:
    """So many calls of one function at once, from so many pages, whose answers nobody reads; the statuses."""
    spread = [Page(browser, config, f"vandal{number}") for number in range(pages)]
    answers = await asyncio.gather(*(spread[n % pages].join(function, *values) for n in range(count)))
    return Counter(answer.status_code for answer in answers)


async def many_calls_without_a_page(browser: httpx.AsyncClient, count: int, name: str, data: list[Any]) -> Counter[int]:
    """The same as a program does it, that has no page."""
    answers = await asyncio.gather(
        *(browser.post(f"/gradio_api/call/{name}", json={"data": data}) for _ in range(count))
    )
    return Counter(answer.status_code for answer in answers)


async def many_runs(
    browser: httpx.AsyncClient, config: dict[str, Any], count: int, pages: int, controls_for: Callable[[int], Any]
) -> Counter[int]:
    """Train presses with secrets that are made up, each for a run of its own."""
    spread = [Page(browser, config, f"runner{number}") for number in range(pages)]
    answers = await asyncio.gather(
        *(spread[n % pages].join("train", f"{n:032d}", [], *controls_for(10_000 + n)) for n in range(count))
    )
    return Counter(answer.status_code for answer in answers)


async def large_bodies(browser: httpx.AsyncClient, count: int, megabytes: int) -> Counter[str]:
    """Bodies of so much JSON, one after another: with their length, and in parts without it."""

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"data": ["'
        for _ in range(megabytes):
            yield b"x" * 1_000_000
        yield b'"]}'

    seen: Counter[str] = Counter()
    for number in range(count):
        headers = {"content-type": "application/json"}
        if number % 2:
            headers["content-length"] = str(megabytes * 1_000_000 + 14)
        try:
            answer = await browser.post("/gradio_api/queue/join", content=parts(), headers=headers)
            seen[str(answer.status_code)] += 1
        except httpx.TransportError:
            seen["cut off"] += 1
    return seen


async def half_requests(host: str, port: int, count: int, seconds: float, sent: bytes, drip: bool = False) -> int:
    """Connections that send part of a request and wait; returns how many the server has closed after so long."""
    pairs = [await asyncio.open_connection(host, port) for _ in range(count)]
    for _, writer in pairs:
        writer.write(sent)
    closed = [asyncio.ensure_future(reader.read()) for reader, _ in pairs]
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        await asyncio.sleep(1)
        for future, (_, writer) in zip(closed, pairs, strict=True):
            if drip and not future.done():
                writer.write(b" ")
    count_closed = sum(future.done() for future in closed)
    for future, (_, writer) in zip(closed, pairs, strict=True):
        future.cancel()
        writer.close()
    await asyncio.gather(*closed, return_exceptions=True)
    return count_closed


async def uploads(
    browser: httpx.AsyncClient, count: int, files: int, size: int, **headers: str
) -> tuple[Counter[str], list[str]]:
    """Uploads of so many files each, one after another; their statuses, and where the files lie."""
    seen: Counter[str] = Counter()
    paths: list[str] = []
    for number in range(count):
        content = f"{number} ".encode() + b"x" * size
        named = [("files", (f"{one}.txt", content + str(one).encode())) for one in range(files)]
        try:
            answer = await browser.post("/gradio_api/upload", files=named, headers=headers)
            seen[str(answer.status_code)] += 1
            paths += answer.json() if answer.status_code == 200 else []
        except httpx.TransportError:
            seen["cut off"] += 1
    return seen, paths
