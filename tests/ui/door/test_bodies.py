"""What is too large is refused before it is taken in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.types import Message

from gpt.runs.limits import LARGEST_REQUEST, LARGEST_UPLOAD, MOST_BYTES_UNDER_WAY
from gpt.ui.door.bodies import BODY, BoundedBodies
from gpt.ui.door.refusals import Refusal


class Inside:
    """What lies behind: it reads its request whole, and remembers it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        assert message["body"] == scope[BODY]
        assert not message["more_body"]
        self.bodies.append(message["body"])


async def messages(parts: Iterator[bytes]) -> AsyncIterator[Message]:
    for part in parts:
        yield {"type": "http.request", "body": part, "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}


async def send(door: BoundedBodies, parts: list[bytes], path: str = "/gradio_api/queue/join", **headers: str) -> int:
    """Send a body in parts; returns 200 or the refusal's status."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": named, "client": ("192.0.2.1", 1)}
    arriving = messages(iter(parts))
    try:
        await door(scope, lambda: anext(arriving), None)  # type: ignore[arg-type]
    except Refusal as refusal:
        return refusal.status if refusal.sentence.endswith(".") else 0
    return 200


CHUNKED = {"transfer_encoding": "chunked"}


def test_what_fits_arrives_as_it_was() -> None:
    inside = Inside()
    assert asyncio.run(send(BoundedBodies(inside), [b"a", b"bc", b""], content_length="3")) == 200
    assert asyncio.run(send(BoundedBodies(inside), [b"x" * 1000] * 1000, **CHUNKED)) == 200
    assert inside.bodies == [b"abc", b"x" * 1_000_000]


@pytest.mark.parametrize(("path", "most"), [("/gradio_api/queue/join", LARGEST_REQUEST), ("/login", LARGEST_REQUEST)])
def test_what_is_too_large_is_not(path: str, most: int) -> None:
    inside = Inside()
    assert asyncio.run(send(BoundedBodies(inside), [], path, content_length=str(most + 1))) == 413
    assert asyncio.run(send(BoundedBodies(inside), [], path, content_length="2" + 30 * "0")) == 413
    assert asyncio.run(send(BoundedBodies(inside), [b"x" * (most // 3)] * 4, path, **CHUNKED)) == 413
    assert inside.bodies == []


def test_an_upload_is_one_file() -> None:
    inside, kind = Inside(), {"content_type": "multipart/form-data; boundary=--b", **CHUNKED}
    part = b'----b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\ntext\r\n'
    assert asyncio.run(send(BoundedBodies(inside), [part, b"----b--"], "/gradio_api/upload", **kind)) == 200
    assert asyncio.run(send(BoundedBodies(inside), [part * 2, b"----b--"], "/gradio_api/upload/", **kind)) == 413
    large = [b"x" * LARGEST_UPLOAD, b"x" * 200_000]
    assert asyncio.run(send(BoundedBodies(inside), large, "/gradio_api/upload", **kind)) == 413
    assert len(inside.bodies) == 1


def test_all_that_arrives_at_once_is_bounded_and_then_forgotten() -> None:
    inside = Inside()
    door = BoundedBodies(inside)
    part = b"x" * (LARGEST_REQUEST - 1)

    async def many() -> list[int]:
        held = asyncio.Event()

        async def slow() -> int:
            async def parts() -> AsyncIterator[Message]:
                yield {"type": "http.request", "body": part, "more_body": True}
                await held.wait()
                yield {"type": "http.disconnect"}

            arriving = parts()
            scope = {"type": "http", "method": "POST", "path": "/x", "client": ("192.0.2.1", 1)}
            named = [(b"transfer-encoding", b"chunked")]
            try:
                await door(scope | {"headers": named}, lambda: anext(arriving), None)  # type: ignore[arg-type]
            except Refusal as refusal:
                return refusal.status
            return 0

        tasks = [asyncio.create_task(slow()) for _ in range(20)]
        await asyncio.sleep(0.1)
        held.set()
        return list(await asyncio.gather(*tasks))

    statuses = asyncio.run(many())
    assert set(statuses) == {0, 503}
    assert statuses.count(0) * LARGEST_REQUEST <= MOST_BYTES_UNDER_WAY
    assert asyncio.run(send(door, [part], **CHUNKED)) == 200
    assert door._under_way.total() == 0
