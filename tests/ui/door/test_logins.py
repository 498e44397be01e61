"""Where the lab has a password, nothing is before it, and wrong ones are tried slowly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from served import serve

import gpt.ui.door.logins
from gpt.ui.app import create_demo


@pytest.fixture(scope="module")
def address(models_folder: Path) -> Iterator[str]:
    """Where a page is served that has a password."""
    with serve(create_demo(models_folder), auth=lambda _, given: given == "open sesame") as url:
        yield url


@pytest.mark.parametrize(
    "path",
    [
        *("status", "config", "openapi.json", "gradio_api/openapi.json", "gradio_api/info", "gradio_api/app_id"),
        *("gradio_api/heartbeat/abc", "gradio_api/queue/data?session_hash=abc", "gradio_api/queue/status", "logout"),
        *("gradio_api/call/train/1", "gradio_api/file=x", "gradio_api/stream/a/b/1/playlist.m3u8", "monitoring/x"),
    ],
)
def test_everything_is_behind_the_login(address: str, path: str) -> None:
    answer = httpx.get(f"{address}{path}")
    assert answer.status_code in (401, 404), answer.text
    for post in ("upload", "queue/join", "cancel", "component_server", "call/train", "run/train", "reset"):
        assert httpx.post(f"{address}gradio_api/{post}", json={}).status_code == 401


def test_whoever_logs_in_gets_in(address: str) -> None:
    with httpx.Client(base_url=address) as browser:
        assert "auth_required" in browser.get("/").text  # the page that asks
        assert browser.post("/login", data={"username": "ada", "password": "wrong"}).status_code == 400
        assert browser.get("/status").status_code == 401
        assert browser.post("/login", data={"username": "ada", "password": "open sesame"}).status_code == 200
        assert browser.get("/status").status_code == 200
        assert browser.get("/config").status_code == 200
        assert browser.get("/", headers={"cookie": "access-token-x=1"}).status_code == 200


def test_wrong_passwords_are_tried_slowly_and_right_ones_cost_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt.ui.door.logins, "_SECONDS_A_TRY", 0.2)
    monkeypatch.setattr(gpt.ui.door.logins, "_TRIES_AT_ONCE", 10)
    with httpx.Client(base_url=address, timeout=30) as browser:
        time.sleep(0.2 * 12)  # what the tests before have tried
        right = [
            browser.post("/login", data={"username": "ada", "password": "open sesame"}).status_code for _ in range(30)
        ]
        started = time.monotonic()
        tries = [browser.post("/login", data={"username": "ada", "password": f"{n}"}).status_code for n in range(16)]
        seconds = time.monotonic() - started
    assert (set(right), set(tries)) == ({200}, {400})
    assert seconds > 0.2 * (16 - 10) - 0.3  # at least: a slow machine takes longer
