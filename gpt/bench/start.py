"""Seconds from the start of `python demo.py` until the page answers, against a page of Gradio alone."""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpt.bench.rows import Row, in_pairs
from gpt.bench.turns import progress
from gpt.costs.timing import spread

DEMO = Path(__file__).parents[2] / "demo.py"

# The least that can be served with this version of Gradio; as `gpt.ui.app.launch`, it asks for no second server.
ONE_BUTTON = """
import sys
import gradio as gr

with gr.Blocks(analytics_enabled=False) as demo:
    gr.Button("Hello")
demo.launch(server_name="127.0.0.1", server_port=int(sys.argv[2]), ssr_mode=False)
"""

GOAL_FIRST_POINT = 2.0  # seconds


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        repeats: starts of each page, in turns.
        reading_seconds: between the page's first answer and the press on Train.
        most_seconds: to wait for a page or a point.
        program: what `--port N` is given to; the demo.
        presses: in how many of the starts Train is pressed.
    """

    repeats: int = 5
    reading_seconds: float = 5.0
    most_seconds: float = 120.0
    program: Path = DEMO
    presses: int = 5


FULL = Setting()
QUICK = Setting(repeats=2, reading_seconds=3.0, most_seconds=30.0, presses=1)


def rows(setting: Setting) -> Iterator[Row]:
    """The row `start`."""
    ours: list[float] = []
    peer: list[float] = []
    points: list[float] = []
    measured = (
        "From the start of the process to the first answer with status 200, fresh processes in turns after one "
        "start of each that is not counted. The peer is a page of one button, of the same Gradio and without PyTorch. "
        "The ratio is ours over the peer's; lower is better."
    )
    missing = what_is_missing(setting.program)
    if missing:
        yield _row(f"{measured}\n{missing}", ours, peer, points)
        return
    with tempfile.TemporaryDirectory() as folder:
        one_button = Path(folder) / "one_button.py"
        one_button.write_text(ONE_BUTTON, encoding="utf-8")
        for repeat in range(setting.repeats + 1):
            progress(f"start: {repeat} of {setting.repeats}" if repeat else "start: warming up")
            with served(setting.program, setting.most_seconds) as (seconds, port):
                if repeat:
                    ours.append(seconds)
                if 0 < repeat <= setting.presses:
                    points += [point for point in [first_point(port, setting)] if point is not None]
            with served(one_button, setting.most_seconds) as (seconds, _):
                if repeat:
                    peer.append(seconds)
    yield _row(f"{measured}{_about_points(points, setting)}", ours, peer, points)


def _row(measured: str, ours: list[float], peer: list[float], points: list[float]) -> Row:
    ratios = in_pairs(ours, peer)
    return Row(
        "start",
        measured,
        ours=statistics.median(ours) if ours else None,
        peer=statistics.median(peer) if peer else None,
        unit="s",
        ratio=statistics.median(ratios) if ratios else None,
        spread=spread(ratios),
        goal=1.3,
        aim="at most",
        more={
            "seconds_to_first_point": statistics.median(points) if points else None,
            "seconds_to_first_point_goal": GOAL_FIRST_POINT,
        },
    )


def what_is_missing(program: Path) -> str:
    """Why nothing can be measured, in a sentence, or nothing."""
    if find_spec("gradio") is None:
        return "The peer and the page are missing: gradio is not installed (pip install -r requirements.txt)."
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
            time.sleep(0.005)
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
        return probe.getsockname()[1]


# --- The first point ------------------------------------------------------------------------------------------------


def first_point(port: int, setting: Setting) -> float | None:
    """Seconds from pressing Train, as the page stands when it opens, to the first point of a curve; None if none came.

    Before it is pressed, the page is looked at for a while, as visitors do, and the client is made ready.
    """
    ready = time.perf_counter() + setting.reading_seconds
    client = import_module("gradio_client").Client(f"http://127.0.0.1:{port}", verbose=False)
    parameters = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/train"]["parameters"]
    blank = {one["parameter_name"]: "" for one in parameters if not one["parameter_has_default"]}
    time.sleep(max(0.0, ready - time.perf_counter()))
    pressed = time.perf_counter()
    watched, *_ = client.predict(**blank, api_name="/train")
    job = client.submit(watched, api_name="/watch")
    for chart, *_ in job:
        seconds = time.perf_counter() - pressed
        if has_point(chart):
            job.cancel()
            return seconds
        if seconds > setting.most_seconds:
            break
    return None


def has_point(chart: Any) -> bool:
    """Whether what the chart is sent holds a point of any curve."""
    return any(series["losses"] or series["validation_losses"] for series in chart["series"])


def _about_points(points: list[float], setting: Setting) -> str:
    if not points:
        return "\nThe first point of a curve was not measured, or none came."
    return (
        f"\nTrain is pressed, with what the page holds when it opens, {setting.reading_seconds:.0f} seconds after the "
        f"first answer; until the first point of a curve arrives there should pass no more than "
        f"{GOAL_FIRST_POINT:.0f} seconds."
    )
