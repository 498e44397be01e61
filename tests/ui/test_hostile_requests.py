"""What strangers may send the server: every function that it has, files of the machine, addresses, and odd texts.

Nothing comes back that was not meant for them, nothing is fetched for them, and the next visitor is answered.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import serve

from gpt.ui.app import create_demo

PROJECT = Path(__file__).parents[2]
CANARY = "canary-4f1d0c7e93"
ODD = [
    *(None, True, -1, 0, 10**30, 1e300, "", "x" * 200_000, "\0", "<img src=x onerror=alert(1)>", "{{7*7}}"),
    *([], [[]], {}, [None, None], {"path": "/etc/passwd"}, {"__type__": "update", "value": 1}, "run/" + "0" * 12),
]


@pytest.fixture(scope="module")
def address(models_folder: Path) -> Iterator[str]:
    """Where a page is served whose process holds a secret."""
    os.environ["GPT_LAB_TEST_SECRET"] = CANARY
    with serve(create_demo(models_folder)) as url:
        yield url
    del os.environ["GPT_LAB_TEST_SECRET"]


@pytest.fixture
def visited() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that nobody should be made to visit, and the paths that were asked of it."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/bait", asked
    server.shutdown()
    server.server_close()


def told(address: str, calls: list[tuple[int, list[Any]]], session: str) -> list[str]:
    """What the server answers to calls of its functions by number, the private ones too, as the browser makes them."""
    answers = []
    with httpx.Client(base_url=address, timeout=60) as browser:
        for number, data in calls:
            body = json.dumps({"fn_index": number, "data": data, "session_hash": session, "event_data": None})
            answer = browser.post("/gradio_api/queue/join", content=body, headers={"content-type": "application/json"})
            answers.append(answer.text)
            if answer.status_code != 200:
                continue
            with browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as events:
                for line in events.iter_lines():
                    answers.append(line)
                    if '"process_completed"' in line or '"process_generating"' in line or '"close_stream"' in line:
                        break  # a stream has begun to answer, which is enough
    return answers


def functions(address: str) -> list[dict[str, Any]]:
    """All functions of the page that the server runs."""
    config = httpx.get(f"{address}config").json()
    return [function for function in config["dependencies"] if function["backend_fn"]]


def test_every_function_takes_nonsense_and_gives_nothing_away(
    address: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = [
        (function["id"], [value] * len(function["inputs"]))
        for function in functions(address)
        for value in ODD
        if function["inputs"]
    ]
    assert len(calls) > 300
    with caplog.at_level(logging.DEBUG):
        answers = told(address, calls, "nonsense")
    written = capfd.readouterr()
    for text in (*answers, caplog.text, written.out, written.err):
        assert CANARY not in text
    for answer in answers:
        assert "Traceback" not in answer
        assert "site-packages" not in answer
        assert str(PROJECT) not in answer
    assert httpx.get(address).status_code == 200


def test_wrong_numbers_of_arguments_are_answered(address: str) -> None:
    calls = [(function["id"], []) for function in functions(address)]
    calls += [(function["id"], [None] * 40) for function in functions(address)]
    for answer in told(address, calls, "arguments"):
        assert "Traceback" not in answer
    for number in (10**6, -1):
        body = {"fn_index": number, "data": [], "session_hash": "arguments"}
        answer = httpx.post(f"{address}gradio_api/queue/join", json=body)
        assert answer.status_code >= 400
        assert "Traceback" not in answer.text
    assert httpx.get(address).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "/proc/self/environ", "/proc/self/cmdline", "../../../../etc/passwd", "..%2f..%2fetc/passwd"),
        *(
            str(PROJECT / name)
            for name in ("README.md", "demo.py", "gpt/model/gpt2.py", "trained_models/gpt2/config.json")
        ),
        *("README.md", "demo.py", ".git/config", "http://127.0.0.1:9/x", "file:///etc/passwd", "\\\\host\\share"),
    ],
)
def test_no_file_of_the_machine_is_given(address: str, path: str) -> None:
    for prefix in ("gradio_api/file=", "file=", "gradio_api/proxy=", "gradio_api/stream/", "static/", "assets/"):
        answer = httpx.get(f"{address}{prefix}{path}")
        assert answer.status_code >= 400 or "GPT Lab" in answer.text  # or the page itself
        assert "root:" not in answer.text
        assert "PATH=" not in answer.text


def test_nothing_is_fetched_for_a_stranger(address: str, visited: tuple[str, list[str]]) -> None:
    bait, asked = visited
    file = {"path": bait, "url": bait, "orig_name": "x.zip", "size": 5, "meta": {"_type": "gradio.FileData"}}
    for value in (bait, file, [file], {"url": bait}, {"path": bait}):
        told(
            address,
            [(f["id"], [value] * len(f["inputs"])) for f in functions(address) if f["inputs"]],
            "bait",
        )
    assert asked == []


def test_files_of_another_session_and_of_nobody_are_refused(address: str) -> None:
    secret = httpx.post(f"{address}gradio_api/upload", files={"files": ("note.txt", b"mine alone")})
    assert secret.status_code == 200
    (place,) = secret.json()
    config = httpx.get(f"{address}config").json()
    assert place not in json.dumps(config)
    folder = place.rsplit("/", 2)[0]
    assert httpx.get(f"{address}gradio_api/file={folder}").status_code >= 400  # no listing
    assert httpx.get(f"{address}gradio_api/file={folder}/other/note.txt").status_code >= 400


@pytest.mark.parametrize("path", ["", "config", "status", "gradio_api/info", "no-such-page"])
def test_every_answer_forbids_what_the_page_does_not_need(address: str, path: str) -> None:
    headers = httpx.get(f"{address}{path}").headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["connect-src"] == "'self'"  # nothing from another host, nothing to one
    assert policy["object-src"] == "'none'"
    assert "http:" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
