"""By which names the lab answers, and from whose pages it may be used."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gpt.ui.door.hosts import HOSTS_VARIABLE, Hosts, TrustedHosts, trusted_hosts
from gpt.ui.door.refusals import Refusal


def ask(hosts: Hosts, method: str = "GET", path: str = "/", **headers: str) -> int:
    """The status of a request: 200, or that of its refusal."""

    async def app(*_: Any) -> None:
        pass

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": named}
    try:
        asyncio.run(TrustedHosts(app, hosts)(scope, None, None))  # type: ignore[arg-type]
    except Refusal as refusal:
        return refusal.status if refusal.sentence.endswith(".") else 0
    return 200


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        *(
            (host, True)
            for host in ("localhost", "LOCALHOST:7860", "127.0.0.1:7860", "[::1]:7860", "192.168.1.20:7860")
        ),
        *((host, True) for host in ("lab.localhost:1", "lab.school.example", "Lab.School.Example.:443")),
        *((host, False) for host in ("evil.example", "evil.example:7860", "localhost.evil.example", "an-localhost")),
        *((host, False) for host in ("127.0.0.1.nip.io", "x.lab.school.example", "", ":7860", "[::1", "1.2.3")),
    ],
)
def test_only_own_names_are_answered(host: str, is_own: bool) -> None:
    hosts = Hosts(["lab.school.example"])
    for name in ("host", "x_forwarded_host"):
        assert ask(hosts, **{name: host}) == (200 if is_own else 400), name
    assert ask(hosts, host="localhost", x_gradio_server=f"http://{host}/") == (200 if is_own else 400)
    assert ask(hosts, host="localhost", x_forwarded_host=f"localhost, {host}") == (200 if is_own else 400)


def test_a_spaces_own_proxy_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert ask(trusted_hosts(), host="ada-lab.hf.space") == 400
    monkeypatch.setenv("SPACE_ID", "ada/lab")
    monkeypatch.setenv("SPACE_HOST", "lab.ada.example")
    monkeypatch.setenv(HOSTS_VARIABLE, "one.example, .two.example")
    hosts = trusted_hosts(["three.example", None])
    for host in ("ada-lab.hf.space", "lab.ada.example", "one.example", "x.two.example", "three.example"):
        assert ask(hosts, host="10.0.0.7:7860", x_forwarded_host=host) == 200
    page = {"host": "10.0.0.7:7860", "x_forwarded_host": "ada-lab.hf.space", "origin": "https://ada-lab.hf.space"}
    assert ask(hosts, "POST", **page) == 200
    assert ask(hosts, host="abc.gradio.live") == 400
    assert ask(trusted_hosts(is_shared=True), host="abc.gradio.live") == 200


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join", "/login", "/gradio_api/cancel"])
def test_what_changes_something_comes_from_the_own_page(path: str) -> None:
    hosts = Hosts(["lab.example"])
    for origin in ("http://evil.example", "null", "http://localhost:3000", "http://192.0.2.9:7860", "http://localhost"):
        assert ask(hosts, "POST", path, host="localhost:7860", origin=origin) == 403, origin
    for origin in ("http://localhost:7860", "http://LOCALHOST:7860", "https://lab.example"):
        assert ask(hosts, "POST", path, host="localhost:7860", origin=origin) == 200, origin
    assert ask(hosts, "POST", path, host="192.0.2.9", origin="http://192.0.2.9:80") == 200
    assert ask(hosts, "POST", path, host="localhost:7860") == 200  # a program
    embedded = {"host": "localhost:7860", "sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}
    assert ask(hosts, "POST", path, **embedded) == 403


def test_looking_is_free_but_not_for_streams() -> None:
    foreign = {"host": "localhost:7860", "origin": "http://evil.example"}
    assert ask(Hosts(), "GET", "/config", **foreign) == 200  # which the browser does not let them read
    for path in ("/gradio_api/heartbeat/abc", "/gradio_api/queue/data", "/gradio_api/call/watch/1", "/logout"):
        assert ask(Hosts(), "GET", path, **foreign) == 403
    shown = {"host": "localhost:7860", "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask(Hosts(), "GET", "/", **shown) == 200  # a link leads here
