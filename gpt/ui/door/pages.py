"""Which pages are open: a browser tab or a program, by the name that it gives itself."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from gpt.runs.limits import MOST_SESSIONS, Limits
from gpt.ui.door.asking import address_of, answering
from gpt.ui.door.bodies import BODY
from gpt.ui.door.refusals import Refusal

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECONDS_TO_COME_BACK = 60.0  # a page whose connection broke off comes back under its name
_SECONDS_OPEN = 15.0  # that a page counts as open after it was last heard of, without a stream
_HEARTBEAT, _ANSWERS, _COMPONENTS = "/gradio_api/heartbeat/", "/gradio_api/queue/data", "/gradio_api/component_server"
# Requests of one page under way. Streams whose network is gone are noticed late.
_CONCURRENT = {_HEARTBEAT: 6, _ANSWERS: 6, _COMPONENTS: 4}


@dataclass(eq=False)
class Page:
    """One page.

    Attributes:
        address: where it was first heard of.
        heard_at: when it was last heard of.
        requests: those under way, by kind; streams among them.
    """

    address: str
    heard_at: float
    requests: Counter[str] = field(default_factory=Counter)

    def is_open(self, seconds: float) -> bool:
        """Whether it has a request under way, or was heard of so lately."""
        return self.requests.total() > 0 or time.monotonic() - self.heard_at < seconds


class Pages:
    """The pages of one server; only its event loop touches them.

    Args:
        limits: how many one address may have open.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._pages: dict[str, Page] = {}

    def arrive(self, name: object, address: str) -> str:
        """A page is heard of; returns its name.

        Raises:
            Refusal: the name is none, or there are too many pages already.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Refusal(
                400, "This call does not say which page it comes from; give a session_hash of letters and digits."
            )
        page = self._pages.get(name)
        if page is None:
            self._check_room(address)
            page = self._pages[name] = Page(address, 0.0)
        page.heard_at = time.monotonic()
        return name

    def _check_room(self, address: str) -> None:
        open_ones = [page for page in self._pages.values() if page.is_open(_SECONDS_OPEN)]
        of_address = sum(page.address == address for page in open_ones)
        if of_address >= self.limits.pages_of_address or len(open_ones) >= MOST_SESSIONS:
            raise Refusal(429, f"{of_address} pages are already open from here; close one, or try again in a moment.")

    @contextmanager
    def request(self, kind: str, name: str) -> Iterator[None]:
        """A request of a page that has arrived, as long as this block lasts."""
        page = self._pages[name]
        if page.requests[kind] >= _CONCURRENT[kind]:
            raise Refusal(
                429, "This page has already asked for the same thing several times; wait for an answer first."
            )
        page.requests[kind] += 1
        try:
            yield
        finally:
            page.requests[kind] -= 1
            page.heard_at = time.monotonic()

    def listens(self, name: str) -> bool:
        """Whether a page reads its answers, or says that it is there."""
        page = self._pages.get(name)
        return page is not None and page.requests[_ANSWERS] + page.requests[_HEARTBEAT] > 0

    def gone(self, busy: Container[str]) -> list[str]:
        """The names of pages that have been away for too long to come back, but for busy ones; they are forgotten."""
        away = [name for name, page in self._pages.items() if not page.is_open(_SECONDS_TO_COME_BACK)]
        names = [name for name in away if name not in busy]
        for name in names:
            del self._pages[name]
        return names


class PageRequests:
    """ASGI middleware that knows the page behind streams and behind what components ask for."""

    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self.app = app
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; those of pages are counted as long as they last."""
        kind = next((kind for kind in _CONCURRENT if scope["type"] == "http" and scope["path"].startswith(kind)), None)
        if kind is None or scope["method"] not in ("GET", "POST"):
            await self.app(scope, receive, send)
            return
        address = address_of(scope.get("client"))
        name = self.pages.arrive(_page_of(kind, scope), address)
        with self.pages.request(kind, name), answering(name, address):
            await self.app(scope, receive, send)


def _page_of(kind: str, scope: Scope) -> object:
    if kind == _HEARTBEAT:
        return scope["path"].removeprefix(_HEARTBEAT).rstrip("/")
    if kind == _ANSWERS:
        return parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [None])[0]
    try:
        return json.loads(scope.get(BODY, b"{}"))["session_hash"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
