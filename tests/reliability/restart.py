"""A server that is told to end in the middle of a run: how soon it is gone, and whether the next one goes on.

    python tests/reliability/restart.py

Prints, for SIGTERM and for Ctrl-C, the seconds until the process was gone, what the watching page was told, the step at
which the run stood and the step from which the next server went on.
"""

from __future__ import annotations

import re
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio_client import Client
from lab import free_port, start, start_run

MOST_SECONDS = 8.0  # from being told to end to being gone
STEPS = 400


@dataclass(frozen=True)
class Restart:
    """What was seen of one: seconds until the process was gone, what watchers read, and the run's steps around it."""

    seconds: float
    told: str
    step_before: int
    step_after: int
    first_step_seen: int
    exit_status: int


def restart(kind: signal.Signals, cache: Path, most_seconds: float = 120.0) -> Restart:
    """Start a page, train, send the signal, start it again on the same port, and follow the same run on."""
    port = free_port()
    first = start(port, environment={"XDG_CACHE_HOME": str(cache)})
    try:
        client = _client(port)
        watched = start_run(client, {"variants": ["gpt2", "rotary"], "steps": STEPS})
        told, before, ended, signalled = "", 0, None, False
        for _, panel, *_ in client.submit(watched, api_name="/watch"):
            told, before = panel["sentence"], _step(panel)
            if before >= 10 and not signalled:
                ended, signalled = time.monotonic(), True
                first.send_signal(kind)
            if "restarting" in told:
                break
        first.wait(timeout=most_seconds)
        assert ended is not None
        seconds = time.monotonic() - ended
    finally:
        first.kill()
    second = start(port, environment={"XDG_CACHE_HOME": str(cache)})
    try:
        client, seen = _client(port), []
        until = time.monotonic() + most_seconds
        while time.monotonic() < until and (not seen or seen[-1] <= before):
            for _, panel, *_ in client.submit(watched, api_name="/watch"):
                if _step(panel):
                    seen.append(_step(panel))
                if seen and seen[-1] > before:
                    break
            time.sleep(0.5)
    finally:
        second.terminate()
        second.wait(timeout=most_seconds)
    return Restart(seconds, told, before, seen[-1], seen[0], first.returncode)


def _client(port: int) -> Client:
    return Client(f"http://127.0.0.1:{port}", verbose=False)


def _step(panel: dict[str, Any]) -> int:
    found = re.search(r"step ([\d,]+) of", panel["sentence"], re.IGNORECASE)
    return int(found[1].replace(",", "")) if found else 0


def main() -> None:
    """Print what was seen of both kinds of end."""
    for kind in (signal.SIGTERM, signal.SIGINT):
        with tempfile.TemporaryDirectory() as cache:
            seen = restart(kind, Path(cache))
        print(
            f"{kind.name}: gone after {seen.seconds:.1f} s (at most {MOST_SECONDS:.0f}), status {seen.exit_status}; "
            f"watchers read {seen.told!r}; at step {seen.step_before} when it ended, the next server showed step "
            f"{seen.first_step_seen} first and went on to {seen.step_after}"
        )


if __name__ == "__main__":
    main()
