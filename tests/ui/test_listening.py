"""Where the page can listen, and what is said where it cannot."""

from __future__ import annotations

import os
import socket

import pytest

from gpt.ui.listening import CannotListen, bypass_proxies, check_address


@pytest.mark.parametrize(
    ("host", "port", "match"),
    [
        *((None, port, "give a number from 1 to 65535") for port in (0, -1, 65536, 99999)),
        *((host, 7860, "is not known") for host in ("999.1.1.1", "no such host", "http://localhost", "x" * 300)),
        ("192.0.2.1", None, "this machine cannot listen at 192.0.2.1"),
    ],
)
def test_where_nothing_can_listen_it_is_said(host: str | None, port: int | None, match: str) -> None:
    with pytest.raises(CannotListen, match=match):
        check_address(host, port)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"port {port} is in use; close what uses it"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)
    for host in (None, "0.0.0.0", "localhost"):
        check_address(host, None)


def test_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intern.example,localhost")
    monkeypatch.setenv("no_proxy", "")
    bypass_proxies("192.0.2.7")
    assert os.environ["NO_PROXY"] == "intern.example,localhost,127.0.0.1,::1,192.0.2.7"
    assert os.environ["no_proxy"] == "localhost,127.0.0.1,::1,192.0.2.7"
    bypass_proxies("0.0.0.0")
    assert os.environ["NO_PROXY"] == "intern.example,localhost,127.0.0.1,::1,192.0.2.7"
