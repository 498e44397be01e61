"""How what the page is made of reaches a browser: compressed once, and not sent again to who has it.

Gradio sends its page as it is, and compresses each file again for each visitor; a class of thirty that opens the page
at once keeps a server busy with that. Here the bytes are kept. What has a digest in its name never changes, so a
browser need not ask for it again; of the rest it asks whether it has changed. Streams of answers are not touched.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import brotli
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt.ui.components import SCRIPTS

_FOR_EVER = ("/assets/", f"/{SCRIPTS}/")
_UNTIL_CHANGED = ("/", "/config", "/theme.css", "/gradio_api/info")
_FOLDERS_UNTIL_CHANGED = ("/static/",)
_COMPRESSIBLE = ("text/", "application/javascript", "application/json", "image/svg+xml")
_SMALLEST = 500  # bytes worth compressing
_LARGEST = 10_000_000  # bytes of an answer that is held; a larger one passes through
_MOST_KEPT = 32_000_000  # bytes of compressed answers, of which those not asked for go first
_OF_THE_REQUEST = ("accept-encoding", "range", "if-range", "if-none-match", "if-modified-since")
_OF_THE_ANSWER = ("content-length", "accept-ranges", "last-modified", "etag", "cache-control")


@dataclass(frozen=True)
class _Answer:
    """A whole answer as it came, to be sent in any encoding."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    digest: str

    @property
    def is_compressible(self) -> bool:
        kind = Headers(raw=list(self.headers)).get("content-type", "")
        return len(self.body) >= _SMALLEST and kind.startswith(_COMPRESSIBLE)


class Delivery:
    """ASGI middleware that compresses the page and its files, once for all who ask. Only the event loop touches it.

    Args:
        app: what is behind it.
        begins_with: scripts that the first screen needs, of which a browser is told with the page.
    """

    def __init__(self, app: ASGIApp, begins_with: Sequence[str] = ()) -> None:
        self.app = app
        self._links = ", ".join(f"<{path}>; rel=modulepreload" for path in begins_with)
        self._files: OrderedDict[str, _Answer] = OrderedDict()  # what never changes, by path
        self._compressed: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # by digest and encoding
        self._compressing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from what is kept, or pass a request on and keep the answer."""
        path = scope.get("path", "")
        is_for_ever = path.startswith(_FOR_EVER)
        is_ours = is_for_ever or path in _UNTIL_CHANGED or path.startswith(_FOLDERS_UNTIL_CHANGED)
        if scope["type"] != "http" or scope["method"] != "GET" or not is_ours:
            await self.app(scope, receive, send)
            return
        answer = self._files.get(path) if is_for_ever else None
        if answer is None:
            answer = await self._whole_answer(scope, receive, send)
            if answer is None:
                return  # it was sent as it came
            if is_for_ever:  # whoever asked
                answer = replace(answer, headers=tuple(one for one in answer.headers if one[0] == b"content-type"))
                self._files[path] = answer
                _let_go_of_oldest(self._files, sum(len(one.body) for one in self._files.values()))
        await self._send(answer, scope, send)

    async def _whole_answer(self, scope: Scope, receive: Receive, send: Send) -> _Answer | None:
        """What is behind answers, if it is a success of moderate size; else that is sent on, and this is None."""
        asked = [(name, value) for name, value in scope["headers"] if name.decode("latin-1") not in _OF_THE_REQUEST]
        start: Message = {}
        body = bytearray()
        passes_through = False

        async def hold(message: Message) -> None:
            nonlocal start, passes_through
            if message["type"] == "http.response.start":
                start = message
                length = Headers(raw=list(message.get("headers", []))).get("content-length", "0")
                passes_through = message["status"] != 200 or int(length) > _LARGEST
                if passes_through:
                    await send(message)
            elif passes_through:
                await send(message)
            else:
                body.extend(message.get("body", b""))

        await self.app({**scope, "headers": asked}, receive, hold)
        if passes_through or not start:
            return None
        kept = [(name, value) for name, value in start["headers"] if name.decode("latin-1") not in _OF_THE_ANSWER]
        return _Answer(tuple(kept), bytes(body), hashlib.sha256(body).hexdigest()[:32])

    async def _send(self, answer: _Answer, scope: Scope, send: Send) -> None:
        asked = Headers(scope=scope)
        encoding = _encoding(asked.get("accept-encoding", "")) if answer.is_compressible else ""
        headers = MutableHeaders(raw=list(answer.headers))
        headers["etag"] = f'"{answer.digest}{encoding and "-"}{encoding}"'
        is_for_ever = scope["path"].startswith(_FOR_EVER)
        headers["cache-control"] = "public, max-age=31536000, immutable" if is_for_ever else "private, no-cache"
        if answer.is_compressible:
            headers.add_vary_header("Accept-Encoding")
        if scope["path"] == "/" and self._links:
            headers["link"] = self._links
        known = {tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")}
        if headers["etag"] in known:
            await send({"type": "http.response.start", "status": 304, "headers": headers.raw})
            await send({"type": "http.response.body", "body": b""})
            return
        body = await self._encoded(answer, encoding) if encoding else answer.body
        if encoding:
            headers["content-encoding"] = encoding
        headers["content-length"] = str(len(body))
        await send({"type": "http.response.start", "status": 200, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    async def _encoded(self, answer: _Answer, encoding: str) -> bytes:
        key = (answer.digest, encoding)
        async with self._compressing:  # of thirty who ask at once for the same, one lets it be compressed
            if key not in self._compressed:
                self._compressed[key] = await asyncio.to_thread(_compress, answer.body, encoding)
                _let_go_of_oldest(self._compressed, sum(map(len, self._compressed.values())))
            return self._compressed[key]


def _let_go_of_oldest(kept: OrderedDict, size: int) -> None:
    while size > _MOST_KEPT and len(kept) > 1:
        _, oldest = kept.popitem(last=False)
        size -= len(oldest.body if isinstance(oldest, _Answer) else oldest)


def _encoding(accepted: str) -> str:
    """The best encoding that a browser takes: over plain HTTP browsers do not say that they take brotli."""
    names = {}
    for one in accepted.lower().split(","):
        name, _, weight = one.strip().partition(";")
        names[name.strip()] = weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return next((name for name in ("br", "gzip") if names.get(name)), "")


def _compress(body: bytes, encoding: str) -> bytes:
    return brotli.compress(body, quality=5) if encoding == "br" else gzip.compress(body, 6, mtime=0)
