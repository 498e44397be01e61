"""Four models streaming while a run trains: how often does each column advance, and how soon does Stop stop?

Run it by hand, on a machine that does nothing else: `python tests/reliability/four_columns.py`. It prints what it
measured and a final JSON line, and asserts nothing.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time

from gradio_client import Client
from lab import served, start_run

MODELS = ["shipped/gpt2", "shipped/sliding-window"]


def main() -> None:
    """Measure and print."""
    with served() as address:
        client = Client(address, verbose=False)
        start_run(client, {"variants": ["gpt2", "rotary"], "size": "small: 4 layers, 128 wide", "steps": 2000})
        time.sleep(3)  # the run is under way
        # Each of the two shipped models at two temperatures makes four columns.
        pressed = time.monotonic()
        job = client.submit(MODELS, "ROMEO:", True, 600, 0.2, 0.8, 0, 1, 7, api_name="/generate")
        moments: list[list[float]] = [[], [], [], []]
        lengths = [0, 0, 0, 0]
        for value in job:
            now = time.monotonic()
            for number, column in enumerate(value["columns"]):
                if len(column["text"]) > lengths[number]:
                    lengths[number] = len(column["text"])
                    moments[number].append(now)
            if now - pressed > 12:
                break
        stopped = time.monotonic()
        job.cancel()
        while not job.done() and time.monotonic() - stopped < 30:
            time.sleep(0.01)
        result = {
            "first_token_seconds": [round(times[0] - pressed, 2) for times in moments],
            "advances_per_second": [round((len(times) - 1) / (times[-1] - times[0]), 1) for times in moments],
            "largest_gap_seconds": [
                round(max(after - before for before, after in itertools.pairwise(times)), 2) for times in moments
            ],
            "stop_seconds": round(time.monotonic() - stopped, 2),
            "median_characters_per_second": round(statistics.median(lengths) / (stopped - pressed), 0),
        }
    for name, value in result.items():
        print(f"{name:32} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
