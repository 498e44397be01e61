"""That the page and its files are compressed once, sent once, and the same as before."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import brotli
import pytest
from starlette.datastructures import Headers

from gpt.ui.door import delivery
from gpt.ui.door.delivery import Delivery

PAGE = b"<p>To be, or not to be</p>" * 200


class Behind:
    """What is behind the door: it answers each path with its body, and counts how often it is asked."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {"/": PAGE, "/assets/a-12345678.js": PAGE, "/gradio_api/queue/data": PAGE}
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        body = self.bodies.get(scope["path"])
        kind = b"text/javascript" if scope["path"].endswith(".js") else b"text/html; charset=utf-8"
        headers = [(b"content-type", kind), (b"x-of-the-visitor", Headers(scope=scope).get("cookie", "").encode())]
        await send({"type": "http.response.start", "status": 404 if body is None else 200, "headers": headers})
        for part in (body or b"not here", b""):
            await send({"type": "http.response.body", "body": part, "more_body": bool(part)})


async def ask(app: Any, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, Headers, list[bytes]]:
    """A request and its answer: status, headers, and the parts of the body as they come."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "headers": raw}, None, send)
    parts = [message["body"] for message in sent[1:]]
    return sent[0]["status"], Headers(raw=sent[0]["headers"]), parts


@pytest.mark.parametrize(
    ("accepted", "encoding", "decode"),
    [
        ("gzip, deflate", "gzip", gzip.decompress),
        ("gzip, deflate, br", "br", brotli.decompress),
        ("gzip;q=0, br;q=0", None, bytes),
        ("", None, bytes),
    ],
)
def test_a_browser_is_sent_what_it_can_read(accepted: str, encoding: str | None, decode: Any) -> None:
    status, headers, (body,) = asyncio.run(ask(Delivery(Behind()), accept_encoding=accepted))
    assert (status, headers.get("content-encoding"), headers["vary"]) == (200, encoding, "Accept-Encoding")
    assert decode(body) == PAGE
    assert int(headers["content-length"]) == len(body)


def test_thirty_at_once_have_it_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[str] = []
    really = delivery._compress
    monkeypatch.setattr(delivery, "_compress", lambda body, way: compressed.append(way) or really(body, way))

    async def thirty() -> list[Any]:
        app = Delivery(Behind())
        return await asyncio.gather(*(ask(app, accept_encoding="gzip") for _ in range(30)))

    answers = asyncio.run(thirty())
    assert compressed == ["gzip"]
    assert len({answer[2][0] for answer in answers}) == 1


def test_a_page_that_is_known_is_not_sent_again_until_it_changes() -> None:
    behind = Behind()
    app = Delivery(behind, begins_with=["drawn/a.js"])

    async def visits() -> None:
        _, first, _ = await ask(app, accept_encoding="gzip", cookie="anna")
        assert first["cache-control"] == "private, no-cache"
        assert first["link"] == "<drawn/a.js>; rel=modulepreload"
        again, headers, parts = await ask(app, accept_encoding="gzip", if_none_match=first["etag"], cookie="ben")
        assert (again, parts, headers["x-of-the-visitor"]) == (304, [b""], "ben")
        behind.bodies["/"] = PAGE[::-1]
        changed, headers, (body,) = await ask(app, accept_encoding="gzip", if_none_match=first["etag"])
        assert (changed, gzip.decompress(body)) == (200, PAGE[::-1])
        assert headers["etag"] != first["etag"]

    asyncio.run(visits())


def test_a_file_with_a_digest_in_its_name_is_read_once_and_kept_for_ever() -> None:
    behind = Behind()
    app, path = Delivery(behind), "/assets/a-12345678.js"

    async def visits() -> None:
        for visitor in ("anna", "ben"):
            status, headers, (body,) = await ask(app, path, cookie=visitor, range="bytes=0-5")
            assert (status, body, "immutable" in headers["cache-control"]) == (200, PAGE, True)
            assert "x-of-the-visitor" not in headers
        assert behind.asked == [path]
        for _ in range(2):
            status, headers, _ = await ask(app, "/assets/missing.js")
            assert (status, "cache-control" in headers) == (404, False)
        assert behind.asked == [path] + 2 * ["/assets/missing.js"]

    asyncio.run(visits())


@pytest.mark.parametrize(("path", "method"), [("/gradio_api/queue/data", "GET"), ("/", "POST"), ("/", "HEAD")])
def test_streams_and_calls_pass_as_they_are(path: str, method: str) -> None:
    _, headers, parts = asyncio.run(ask(Delivery(Behind()), path, method, accept_encoding="gzip, br"))
    assert parts == [PAGE, b""]
    assert "content-encoding" not in headers


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_MOST_KEPT", 3 * len(PAGE))
    behind = Behind()
    app = Delivery(behind)
    paths = [f"/assets/{number}.js" for number in range(9)]
    behind.bodies |= dict.fromkeys(paths, PAGE)

    async def visits() -> None:
        for path in paths:
            await ask(app, path)

    asyncio.run(visits())
    assert list(app._files) == paths[-3:]
