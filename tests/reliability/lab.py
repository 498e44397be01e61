"""What the measurements share: a lab of their own on a free port, and how to press Train in it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gradio_client import Client

PROJECT = Path(__file__).resolve().parents[2]


@contextmanager
def served(*options: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The lab's address, until the end of the block; options are those of `demo.py`."""
    port = free_port()
    process = start(port, *options, environment=environment)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def start(port: int, *options: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A lab whose page answers on this port of this machine."""
    process = subprocess.Popen(
        [sys.executable, "demo.py", "--host", "127.0.0.1", "--port", str(port), *options],
        cwd=PROJECT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5).read()
            return process
        except OSError:
            time.sleep(0.5)
    process.kill()
    raise SystemExit("the lab did not start")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def controls(changes: Mapping[str, object]) -> list[object]:
    """What the Train tab's controls say: a small run, but for some changes."""
    said = {
        "variants": ["gpt2"],
        "without_mask": False,
        "size": "tiny: 2 layers, 64 wide",
        "text": "python-docs",
        "own_text": "",
        "tokens": "characters",
        "steps": 200,
        "recipe": "fast",
        "batch_size": 24,
        "rate_multiple": 1,
        "context_length": 64,
        "window_size": 8,
        "num_kv_heads": 1,
        "seed": 1337,
        "seeds": 1,
    }
    return list((said | dict(changes)).values())


def start_run(client: Client, changes: Mapping[str, object], secret: str = "") -> str:
    """Press Train; returns what to watch."""
    watched, *_ = client.predict(secret, *controls(changes), api_name="/train")
    return str(watched)


def status(address: str) -> dict[str, int]:
    """The numbers of the teacher's page."""
    page = urllib.request.urlopen(f"{address}/status", timeout=30).read().decode()
    rows = re.findall(r"<tr><th>([^<]*)</th><td>([\d,]+)", page)
    return {name: int(number.replace(",", "")) for name, number in rows}
