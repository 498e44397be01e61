"""A program that serves a page, in a process of its own, for as long as it is measured."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

DEMO = Path(__file__).parents[2] / "demo.py"


def what_is_missing(program: Path) -> str:
    """Why no page can be measured, in a sentence, or nothing."""
    if find_spec("gradio") is None:
        return "The page is missing: gradio is not installed (pip install -r requirements.txt)."
    if not program.is_file():
        return f"The page is missing: there is no {program}."
    return ""


@contextmanager
def served(program: Path, most_seconds: float) -> Iterator[tuple[float, int]]:
    """Start a program with `--port N`; give the seconds until its page answered and N; stop it in the end.

    Raises:
        OSError: the program ended, or did not answer in time.
    """
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(program), "--port", str(port)],
        cwd=program.parent,
        env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not answers(port):
            if process.poll() is not None:
                raise OSError(f"{program.name} ended with status {process.returncode} before its page answered")
            if time.perf_counter() - started > most_seconds:
                raise TimeoutError(f"{program.name} has not answered on port {port} for {most_seconds:.0f} seconds")
            time.sleep(0.005)  # another program's port cannot be waited for
        yield time.perf_counter() - started, port
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    """Whether a page is given on this port, with status 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
