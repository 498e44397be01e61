"""Thirty viewers of three runs: does every chart keep advancing, and does the page still answer?

Run it by hand, on a machine that does nothing else: `python tests/reliability/thirty_viewers.py`. It starts the lab on
a free port, lets ten programs watch each of three different runs to its end, fetches the page all the while, prints
what it measured and a final JSON line, and stops the lab. It asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from gradio_client import Client
from lab import served, start_run


@dataclass
class Viewer:
    """What one viewer saw: when the run's chart advanced, and how it ended."""

    run: int
    advanced: list[float] = field(default_factory=list)
    last_sentence: str = ""
    error: str = ""

    def watch(self, address: str, steps: int, all_here: threading.Barrier) -> None:
        """Ask for the run as everyone of the group does, and watch it to its end, for five minutes at most."""
        try:
            client = Client(address, verbose=False)
            all_here.wait()
            deadline = time.monotonic() + 300
            controls = {"steps": steps, "seed": 1000 + self.run}
            key = start_run(client, controls)
            for update in client.submit(key, api_name="/watch"):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the run did not end: {self.last_sentence}")
                sentence = update[1]["sentence"]
                if sentence != self.last_sentence and sentence.startswith(("step", "Done")):
                    self.advanced.append(time.monotonic())
                self.last_sentence = sentence
        except Exception as error:  # whatever it is, it belongs into the table
            self.error = f"{type(error).__name__}: {error}"


def page_requests(address: str, until: threading.Event, seconds: list[float], statuses: list[int]) -> None:
    """Fetch the page again and again."""
    while not until.is_set():
        started = time.monotonic()
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                answer.read()
                statuses.append(answer.status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
        seconds.append(time.monotonic() - started)
        until.wait(0.25)


def largest_gap(viewer: Viewer) -> float:
    """Longest time between two advances of a viewer's chart while its run trained."""
    gaps = [later - earlier for earlier, later in zip(viewer.advanced, viewer.advanced[1:], strict=False)]
    return max(gaps, default=float("nan"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()

    with served() as address:
        viewers = [Viewer(number % options.runs) for number in range(options.viewers)]
        seconds: list[float] = []
        statuses: list[int] = []
        finished = threading.Event()
        fetching = threading.Thread(target=page_requests, args=(address, finished, seconds, statuses))
        fetching.start()
        started = time.monotonic()
        all_here = threading.Barrier(len(viewers))
        threads = [threading.Thread(target=viewer.watch, args=(address, options.steps, all_here)) for viewer in viewers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.monotonic() - started
        finished.set()
        fetching.join()
    report(viewers, seconds, statuses, wall, options.runs)


def report(viewers: list[Viewer], seconds: list[float], statuses: list[int], wall: float, runs: int) -> None:
    """Print the table and the JSON line."""
    done = [viewer for viewer in viewers if viewer.last_sentence.startswith("Done")]
    spans = []
    for run in range(runs):
        seen = [viewer.advanced for viewer in viewers if viewer.run == run and viewer.advanced]
        if seen:  # a run lasts from the first sight of a step to the first sight of its end, two updates late at most
            spans.append((min(times[0] for times in seen), min(times[-1] for times in seen) - 0.5))
    together = max((sum(start <= moment < end for start, end in spans) for moment, _ in spans), default=0)
    percentile = statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else float("nan")
    result = {
        "viewers": len(viewers),
        "finished": len(done),
        "wall_seconds": round(wall, 1),
        "largest_gap_seconds": round(max((largest_gap(viewer) for viewer in done), default=float("nan")), 2),
        "median_advances_per_second": round(
            statistics.median(
                (len(viewer.advanced) - 1) / (viewer.advanced[-1] - viewer.advanced[0])
                for viewer in done
                if len(viewer.advanced) > 1
            )
            if done
            else 0.0,
            2,
        ),
        "page_p95_seconds": round(percentile, 3),
        "page_max_seconds": round(max(seconds, default=float("nan")), 3),
        "page_requests": len(seconds),
        "server_errors": sum(status >= 500 for status in statuses),
        "most_trainers_at_once": together,
        "viewer_errors": sorted({viewer.error for viewer in viewers if viewer.error}),
    }
    for name, value in result.items():
        print(f"{name:28} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
