"""Where the page can listen, and what is said where it cannot."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio import http_server, networking
from gradio.exceptions import ServerFailedToStartError
from served import serve
from uvicorn import Config

from gpt.ui import listening
from gpt.ui.app import create_demo
from gpt.ui.listening import CannotListen, PatientServer, bypass_proxies, check_address, starting


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


def test_the_page_of_a_slow_space_is_as_everywhere(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/gpt-lab")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
    monkeypatch.setattr(networking, "url_ok", lambda url: False)  # as after three seconds without an answer
    with serve(create_demo(models_folder=models_folder)) as address:
        config = httpx.get(f"{address}config").json()
    assert config["space_id"] is None  # by it the page would turn to other hosts
    assert config["pwa"] is False


def test_a_server_is_given_time_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never_starts(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()  # that it is to start
        await receive()

    monkeypatch.setattr(listening, "_MOST_SECONDS_TO_START", 0.1)
    server = PatientServer(Config(never_starts, port=0, lifespan="on"))
    with pytest.raises(CannotListen, match="this machine must be very busy; close other programs"):
        server.run_in_thread()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # uvicorn ends its thread
def test_a_port_that_is_taken_meanwhile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerFailedToStartError):  # at once
            PatientServer(Config(lambda: None, host="127.0.0.1", port=port, lifespan="off")).run_in_thread()
        with pytest.raises(CannotListen, match=f"port {port} is in use"), starting(port):
            http_server.start_server(lambda: None, "127.0.0.1", port)  # type: ignore[arg-type]
        monkeypatch.setattr(http_server, "INITIAL_PORT_VALUE", port)
        monkeypatch.setattr(http_server, "TRY_NUM_PORTS", 1)
        with pytest.raises(CannotListen, match=f"the ports from {port} to {port} are all in use"), starting(None):
            http_server.start_server(lambda: None, "127.0.0.1", None)  # type: ignore[arg-type]
