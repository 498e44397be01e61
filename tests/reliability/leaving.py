"""Visitors who leave in different ways: how soon is the trainer free for the next in the queue?

    python tests/reliability/leaving.py

A large run trains and a second waits. Then the first visitor closes the tab (of a real Chromium), presses Stop, freezes
(the connection stays open, and nothing is read or said any more), or has asked without ever listening. Prints the
seconds until the second run trains, and what they are held to. Takes three minutes.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
from gradio_client import Client
from lab import controls, served, start_run, status
from playwright.sync_api import sync_playwright

# The largest step that the page's controls can ask for: 64 x 256 tokens.
LARGE = {"size": "medium: 6 layers, 192 wide", "batch_size": 64, "context_length": 256, "steps": 1000}
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


class Raw:
    """A visitor who speaks HTTP by hand, and so can be rude."""

    def __init__(self, address: str) -> None:
        self.address = address
        config = httpx.get(f"{address}/config").json()
        self.numbers = {function["api_name"]: function["id"] for function in config["dependencies"]}

    def ask(self, function: str, values: list[object], session: str) -> None:
        """Put a call in the queue, and do not listen."""
        body = {"fn_index": self.numbers[function], "data": values, "session_hash": session}
        httpx.post(f"{self.address}/gradio_api/queue/join", json=body).raise_for_status()

    def listen_without_reading(self, session: str) -> socket.socket:
        """Open the stream of answers, with the smallest buffer there is, and read nothing of it."""
        place = urlsplit(self.address)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect((place.hostname, place.port))
        connection.sendall(
            f"GET /gradio_api/queue/data?session_hash={session} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
        )
        return connection


def seconds_until_free(address: str, leave: Callable[[], None]) -> float:
    """Seconds from leaving until the trainer is at the run of somebody who waits."""
    follower = Client(address, verbose=False)
    waiting = start_run(follower, {"steps": 1000, "seed": 99}, secret="f" * 32)
    moments: list[float] = []

    def watch() -> None:
        for _, panel, *_ in follower.submit(waiting, api_name="/watch"):
            if panel["sentence"].startswith("step"):
                moments.append(time.monotonic())
                return

    watching = threading.Thread(target=watch)
    watching.start()
    time.sleep(2)
    assert not moments, "the second run did not wait"
    left = time.monotonic()
    leave()
    while watching.is_alive():
        watching.join(timeout=0.01)
    return moments[0] - left


def wait_for_training(address: str) -> None:
    """Wait until a run is in training, past its first evaluation."""
    for _ in range(600):
        if status(address)["runs in training"]:
            time.sleep(4)
            return
        time.sleep(0.1)
    raise SystemExit("no run began to train")


def closed_tab(address: str) -> float:
    """A student closes the tab."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("button", name="Train", exact=True).click()
        wait_for_training(address)
        seconds = seconds_until_free(address, page.close)
        browser.close()
    return seconds


def pressed_stop(address: str) -> float:
    """A student presses Stop in the middle of the largest step."""
    client = Client(address, verbose=False)
    watched = start_run(client, LARGE, secret="s" * 32)
    watching = client.submit(watched, api_name="/watch")
    wait_for_training(address)
    seconds = seconds_until_free(address, lambda: client.predict("s" * 32, watched, api_name="/stop"))
    watching.cancel()
    return seconds


def frozen(address: str) -> float:
    """A laptop is shut: its connections stay, and nothing more is heard of it."""
    visitor = Raw(address)
    client = Client(address, verbose=False)
    watched = start_run(client, {"steps": 5000}, secret="z" * 32)
    visitor.ask("watch", [watched], "frozen")
    connection = visitor.listen_without_reading("frozen")
    started = time.monotonic()
    wait_for_training(address)
    seconds_until_free(address, lambda: None)
    connection.close()
    return time.monotonic() - started


def never_listened(address: str) -> float:
    """A program asks for a run and is gone."""
    visitor = Raw(address)
    started = time.monotonic()
    visitor.ask("train", ["n" * 32, None, *controls({"steps": 5000})], "gone")
    wait_for_training(address)
    seconds_until_free(address, lambda: None)
    return time.monotonic() - started


def main() -> None:
    """Print what was measured."""
    for case, most in ((closed_tab, 1.0), (pressed_stop, 0.5), (frozen, 60.0), (never_listened, 60.0)):
        with served() as address:
            seconds = case(address)
        what = case.__name__.replace("_", " ")
        print(f"{what:16} trainer at the next run after {seconds:5.2f} s (held to {most:g})", flush=True)


if __name__ == "__main__":
    main()
