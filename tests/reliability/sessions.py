"""Two hundred visitors who open the page and leave, twice: what does the second pass leave behind?

    python tests/reliability/sessions.py [sessions]

Prints the memory of the process before and after each pass, what each session added, and how many threads and files
there were more.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from gpt.ui.app import create_demo, launch

MOST_MEGABYTES = 0.1  # that a session of the second pass may leave


@dataclass(frozen=True)
class Held:
    """What the process holds: memory in megabytes, threads, and files in Gradio's folder."""

    megabytes: float
    threads: int
    files: int


def held() -> Held:
    """What this process holds now."""
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    files = sum(1 for path in Path(tempfile.gettempdir(), "gradio").rglob("*") if path.is_file())
    return Held(int(kilobytes) / 1000, threading.active_count(), files)


def visit(address: str, session: str, functions: list[int]) -> None:
    """Open the page as a browser does: the page, what it calls when it opens, the heartbeat; then leave."""
    with httpx.Client(base_url=address, timeout=60) as browser:
        browser.get("/")
        browser.get("/config")
        for number in functions:
            body = {"fn_index": number, "data": [], "session_hash": session}
            if browser.post("/gradio_api/queue/join", json=body).status_code == 200:
                with browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as events:
                    for line in events.iter_lines():
                        if "process_completed" in line:
                            break
        with browser.stream("GET", f"/gradio_api/heartbeat/{session}") as beats:
            next(beats.iter_lines(), None)


def main() -> None:
    """Print what was held."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    demo = create_demo()
    launch(demo, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    time.sleep(10)  # what is loaded in the background
    config = httpx.get(f"{demo.local_url}config").json()
    opening = [
        f["id"] for f in config["dependencies"] if f["backend_fn"] and not f["inputs"] and "load" in str(f["targets"])
    ]
    before = held()
    for number in (1, 2):
        for session in range(sessions):
            visit(demo.local_url, f"pass{number}-{session}", opening)
        time.sleep(5)
        after = held()
        added = (after.megabytes - before.megabytes) / sessions
        print(
            f"pass {number}: {before.megabytes:.0f} MB before, {after.megabytes:.0f} MB after {sessions} sessions, "
            f"{added:+.3f} MB each (at most {MOST_MEGABYTES} in the second); "
            f"{after.threads - before.threads:+d} threads, {after.files - before.files:+d} files"
        )
        before = after
    demo.close(verbose=False)


if __name__ == "__main__":
    main()
