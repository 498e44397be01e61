"""A request has to arrive; what half arrives is given up, and a slow but steady one is not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from served import serve

import gpt.ui.door.connections as connections
from gpt.ui.app import create_demo

HEAD = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def address(models_folder: Path) -> Iterator[str]:
    """Where a page is served that waits for a second, and has place for forty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "_LONGEST_PAUSE", 0.7)
        patch.setattr(connections, "_LONGEST_REQUEST", 1.5)
        patch.setattr(connections, "_MOST_CONNECTIONS", 40)
        with serve(create_demo(models_folder)) as url:
            yield url


def connect(address: str, sent: bytes) -> socket.socket:
    """A connection on which so much is sent."""
    url = httpx.URL(address)
    connection = socket.create_connection((url.host, url.port or 80), timeout=10)
    connection.sendall(sent)
    return connection


def seconds_until_closed(connection: socket.socket) -> float:
    """How long it stays open."""
    started = time.monotonic()
    try:
        while connection.recv(1000):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - started


@pytest.mark.parametrize("sent", [b"", b"GET / HT", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{"], ids=range(4))
def test_half_a_request_is_given_up(address: str, sent: bytes) -> None:
    with connect(address, sent) as connection:
        assert 0.3 < seconds_until_closed(connection) < 8


def test_a_drop_at_a_time_is_not_for_ever(address: str) -> None:
    with connect(address, HEAD + b"Content-Length: 1000\r\n\r\n") as connection:
        drops = 0
        try:
            while drops < 60:
                connection.sendall(b" ")
                time.sleep(0.3)
                drops += 1
        except ConnectionError:
            pass
        assert 2 < drops < 60


def test_a_whole_request_may_be_answered_for_long(address: str) -> None:
    with httpx.stream("GET", f"{address}gradio_api/heartbeat/abc", timeout=30) as beats:
        lines = beats.iter_lines()
        assert next(lines) == "data: ALIVE"
        time.sleep(2)  # longer than a request may take to arrive
        assert httpx.get(address).status_code == 200
        assert not beats.is_closed


def test_many_that_wait_do_not_keep_others_out(address: str) -> None:
    with ExitStack() as stack:
        for _ in range(120):
            stack.enter_context(connect(address, b"GET / HT"))
        started = time.monotonic()
        assert httpx.get(address).status_code == 200
        assert time.monotonic() - started < 5
