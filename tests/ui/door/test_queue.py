"""Turns go round by visitor, the line is finite, and who does not listen gets no more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from gradio import queueing
from served import ANNA, controls, serve
from starlette.exceptions import HTTPException

import gpt.ui.door.queue as queue_module
from gpt.runs.limits import MOST_THREADS, Limits
from gpt.ui.app import create_demo
from gpt.ui.door.asking import asking
from gpt.ui.door.pages import Pages
from gpt.ui.door.queue import FairQueue
from gpt.ui.door.refusals import Refusal

LIMITS = Limits(calls_of_page=4, calls_of_address=8, running_of_page=2, pages_of_address=5)


class Lab:
    """A queue with one function, of which so many calls are answered at the same time."""

    def __init__(self, places: int = 2, limits: Limits = LIMITS) -> None:
        self.function = SimpleNamespace(concurrency_id="probes", concurrency_limit=places, connection="", batch=False)
        self.pages = Pages(limits)
        blocks: Any = SimpleNamespace(fns={0: self.function})
        options = {"live_updates": False, "concurrency_count": 20, "update_intervals": 1, "max_size": None}
        self.queue = FairQueue(self.pages, limits, lambda _: None, lambda: False, blocks=blocks, **options)
        self.queue.active_jobs = [None] * 20
        self.line = queueing.EventQueue("probes", places)
        self.queue.event_queue_per_concurrency_id["probes"] = self.line

    def arrives(self, page: str, address: str = "192.0.2.1") -> None:
        """A call joins the line, if it is let in."""
        request: Any = SimpleNamespace(client=(address, 1), headers={})
        self.pages.arrive(page, address)
        self.queue._check_room(page, address, 0)
        self.line.queue.append(queueing.Event(page, self.function, request, None))  # type: ignore[arg-type]

    def serves(self) -> str:
        """The page whose call comes next, which is answered at once; empty if it is nobody's turn."""
        taken = self.queue.get_events()
        return taken[0][0].session_hash if taken else ""

    def begins(self) -> str:
        """The same, but it takes its time."""
        taken = self.queue.get_events()
        if not taken:
            return ""
        self.queue.active_jobs[self.queue.active_jobs.index(None)] = taken[0]
        self.line.current_concurrency += 1
        return taken[0][0].session_hash


def test_turns_go_round_by_page_and_by_address() -> None:
    lab = Lab()
    for _ in range(4):
        lab.arrives("many", "192.0.2.1")
    for page, address in (("one", "192.0.2.1"), ("two", "192.0.2.2"), ("two", "192.0.2.2")):
        lab.arrives(page, address)
    assert [lab.serves() for _ in range(8)] == ["many", "two", "one", "two", "many", "many", "many", ""]


def test_pages_that_listen_come_before_names_made_up_for_a_call() -> None:
    lab = Lab(limits=Limits(pages_of_address=50))
    lab.arrives("page")
    assert lab.serves() == "page"
    for number in range(20):
        lab.arrives(f"invented{number}")
    with lab.pages.request("/gradio_api/queue/data", "page"):
        lab.arrives("page")
        assert lab.serves() == "page"
    assert lab.serves() == "invented0"


def test_a_page_has_some_calls_answered_at_a_time_and_an_address_not_all() -> None:
    lab = Lab(places=4, limits=Limits(running_of_page=2))
    for page in ("a", "a", "a", "b", "b"):
        lab.arrives(page)
    assert [lab.begins() for _ in range(4)] == ["a", "b", "a", ""]  # the fourth place is kept for other addresses
    lab.arrives("c", "192.0.2.2")
    assert lab.begins() == "c"


def test_the_line_is_finite_for_each_and_in_all() -> None:
    lab = Lab()
    for page in ("a", "b"):
        for _ in range(4):
            lab.arrives(page)
        with pytest.raises(Refusal, match=r"This page has 4 unanswered calls|8 calls are already"):
            lab.arrives(page)
    with pytest.raises(Refusal, match="8 calls are already waiting for the lab"):
        lab.arrives("c")
    lab.arrives("d", "192.0.2.2")
    for page in ("e", "f"):
        lab.pages.arrive(page, "192.0.2.1")
    with pytest.raises(Refusal, match="5 pages are already open from here"):
        lab.pages.arrive("g", "192.0.2.1")


@pytest.mark.parametrize("page", ["", "x" * 65, "a b", "<b>", "../x", 7, ["a"]])
def test_a_page_has_a_sensible_name(page: Any) -> None:
    queue, request = Lab().queue, SimpleNamespace(client=("192.0.2.1", 1), headers={})
    with pytest.raises(HTTPException) as refused:
        asyncio.run(queue.push(SimpleNamespace(session_hash=page, fn_index=0), request, None))
    assert refused.value.status_code == 400


# --- On the page itself ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(models_folder: Path) -> Iterator[tuple[Any, str]]:
    """A page of its own, served: (the demo, its address)."""
    demo = create_demo(models_folder)
    with serve(demo) as url:
        yield demo, url


def number_of(demo: Any, name: str) -> int:
    """A function's number, by its name."""
    return next(event["id"] for event in demo.config["dependencies"] if event["api_name"] == name)


def join(browser: httpx.Client, demo: Any, name: str, data: list[Any], page: str) -> httpx.Response:
    """Call a function, and do not listen yet."""
    body = {"fn_index": number_of(demo, name), "data": data, "session_hash": page}
    return browser.post("/gradio_api/queue/join", json=body)


def listen(browser: httpx.Client, page: str) -> list[dict[str, Any]]:
    """All answers until the server has no more."""
    with browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": page}) as lines:
        return [json.loads(line.removeprefix("data:")) for line in lines.iter_lines() if line.startswith("data:")]


def test_all_kinds_together_are_fewer_than_the_threads(served: tuple[Any, str]) -> None:
    demo = served[0]
    limits = {fn.concurrency_id: fn.concurrency_limit for fn in demo.fns.values() if fn.fn}
    numbers = [8 if limit == "default" else limit for limit in limits.values()]
    assert None not in numbers
    assert sum(numbers) < MOST_THREADS


def test_a_watch_that_nobody_reads_ends_and_the_others_go_on(
    served: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, address = served
    monkeypatch.setattr(queue_module, "_SECONDS_UNHEARD", 0.5)
    with httpx.Client(base_url=address, timeout=30) as browser:
        assert join(browser, demo, "train", ["", [], *controls(steps=3000)], "vandal").status_code == 200
        watched, _, secret = listen(browser, "vandal")[-2]["output"]["data"]
        run = demo.runs.find(watched.split()[0])
        demo.runs.pause(run, secret)
        statuses = {join(browser, demo, "watch", [watched], "vandal").status_code for _ in range(60)}
        assert statuses <= {200, 429}
        assert len(demo._queue._running()) <= demo.runs.limits.running_of_page
        started = time.monotonic()
        assert join(browser, demo, "read", [["shipped/gpt2"], "The fox", True], "visitor").status_code == 200
        assert listen(browser, "visitor")[-2]["success"]
        assert time.monotonic() - started < 10
        while run.lease.watchers or demo._queue._running() or demo._queue._waiting():
            assert time.monotonic() - started < 30, "the watches did not end"
            time.sleep(0.1)
        ended = listen(browser, "vandal")  # who listens again is told
        assert [answer["msg"] for answer in ended][-1] == "close_stream"
        demo.runs.stop(run, secret)


def test_what_gradio_keeps_of_a_page_goes_with_it(served: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    demo, address = served
    monkeypatch.setattr("gpt.ui.door.pages._SECONDS_TO_COME_BACK", 0.2)
    with httpx.Client(base_url=address, timeout=30) as browser:
        join(browser, demo, "read", [["shipped/gpt2"], "The fox", True], "leaver")
        listen(browser, "leaver")
        assert "leaver" in demo.state_holder
        deadline = time.monotonic() + 20
        while "leaver" in demo.state_holder or "leaver" in demo._queue.pending_messages_per_session:
            assert time.monotonic() < deadline, "it is still kept"
            time.sleep(0.1)


def test_handlers_know_who_asks(served: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    demo, address = served
    heard: list[Any] = []
    monkeypatch.setattr(demo.door.visitors, "recognise", lambda secret: heard.append(asking()) or "")
    with httpx.Client(base_url=address, timeout=30) as browser:
        join(browser, demo, "stop", [ANNA, "nothing"], "page-1")
        listen(browser, "page-1")
        join(browser, demo, "pause", [ANNA, [], "nothing", 10], "page-1")
        listen(browser, "page-1")
    assert [(who.page, who.address) for who in heard] == [("page-1", "127.0.0.1")]
