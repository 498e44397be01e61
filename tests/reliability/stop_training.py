"""A training stopped by Ctrl-C and SIGTERM at random moments, which ends as one that was left alone.

    python tests/reliability/stop_training.py [stops]

The command is given again after each stop, until it is done; then what it has saved is compared with what an
undisturbed run has saved: weights, optimizers, best weights, snapshots, history and progress, all but the times. Prints
what differed, and how long a process took at most to end. Not for Windows, which cannot send such signals.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LONGEST_WAIT = 120  # seconds; only a hang comes to this

# About half of the time goes into evaluations, each of which reads 64 windows and writes a sample.
TEXT = "the quick brown fox jumps over the lazy dog and runs away, who knows why. " * 120
COMMAND = [
    *(sys.executable, "-m", "gpt", "train", "--variant", "modern", "--steps", "40", "--eval-interval", "2"),
    *("--num-layers", "2", "--num-heads", "2", "--embed-size", "32", "--context-length", "32", "--batch-size", "64"),
    *("--dropout", "0.1", "--device", "cpu", "--snapshots", "6", "20"),
]


@dataclass
class Tally:
    """What came of it.

    Attributes:
        stops: signals that ended a process before it was done.
        runs: how many runs they were spread over.
        different: what was not as in the undisturbed run, a sentence each.
        slowest: seconds from a signal to the end of its process, at most.
    """

    stops: int = 0
    runs: int = 0
    different: list[str] = field(default_factory=list)
    slowest: float = 0.0


def stop_training(stops: int, folder: Path, seed: int = 1, at_once: int = 2) -> Tally:
    """Stop runs as often as that, `at_once` of them beside each other; the folder gets a folder for each."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    undisturbed = folder / "undisturbed"
    process = _start(undisturbed)
    started = time.monotonic()
    _, complained = process.communicate(timeout=LONGEST_WAIT)
    if process.returncode:
        raise RuntimeError(f"the undisturbed run ended with status {process.returncode}: {complained}")
    latest = (time.monotonic() - started) / 3  # so that some three to six stops fit into a run
    tally = Tally()

    def chain(number: int) -> None:
        moments = random.Random(f"{seed} {number}")
        mine, run = 0, 0
        while mine < stops // at_once + (number < stops % at_once):
            out = folder / f"stopped-{number}-{run}"
            run, is_done = run + 1, False
            while not is_done:
                is_left_alone = mine >= stops // at_once + (number < stops % at_once)
                kind = SIGNALS[(mine + number) % 2]
                is_done = _run_once(out, kind, None if is_left_alone else moments.uniform(0, latest), tally)
                mine += not is_done
            tally.runs += 1
            tally.different += [f"{out.name}: {what}" for what in differences(out, undisturbed)]

    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(chain, range(at_once)))
    return tally


def _start(out: Path) -> subprocess.Popen[str]:
    """The command, once it has said that it begins to train or goes on."""
    process = subprocess.Popen(
        [*COMMAND, "--corpus", str(out.parent / "text.txt"), "--out", str(out)],
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) and not line.startswith("modern:"):
        pass
    return process


def _hear_ctrl_c() -> None:
    """A shell may have started all this in the background, where Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run_once(out: Path, kind: signal.Signals, moment: float | None, tally: Tally) -> bool:
    """Give the command, and after so many seconds the signal; whether it has come to its end before."""
    process = _start(out)
    sent = time.monotonic()
    if moment is not None:
        time.sleep(moment)
        sent = time.monotonic()
        process.send_signal(kind)
    _, complained = process.communicate(timeout=LONGEST_WAIT)
    if process.returncode == 0:
        return True
    tally.slowest = max(tally.slowest, time.monotonic() - sent)
    tally.stops += 1
    if process.returncode not in (128 + kind, -kind) or moment is None:
        raise RuntimeError(f"{kind.name} led to status {process.returncode}: {complained}")
    if "Traceback" in complained:
        tally.different.append(f"{out.name}: {kind.name} led to a traceback: {complained}")
    return False


def differences(out: Path, undisturbed: Path) -> Iterator[str]:
    """What two checkpoint folders do not have in common, but for the times."""
    import torch
    from safetensors.torch import load_file

    names = sorted(path.name for path in undisturbed.iterdir())
    if sorted(path.name for path in out.iterdir()) != names:
        yield f"it holds {sorted(path.name for path in out.iterdir())}, not {names}"
        return
    for name in names:
        if name.endswith(".safetensors"):
            found, expected = load_file(out / name), load_file(undisturbed / name)
            if found.keys() != expected.keys():
                yield f"{name} has other tensors"
            else:
                yield from (f"{name} has another {key}" for key in found if not torch.equal(found[key], expected[key]))
    for name in ("history.jsonl", "config.json"):
        if _without_times(out / name) != _without_times(undisturbed / name):
            yield f"{name} differs"


def _without_times(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    values = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
    for value in values:
        for part in (value, value.get("progress")):
            for name in ("seconds", "tokens_per_second"):
                (part or {}).pop(name, None)
    return values


def main() -> None:
    """Print the tally."""
    stops = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        tally = stop_training(stops, Path(folder), seed=random.SystemRandom().randrange(10**6))
    print("\n".join(tally.different))
    print(
        f"{tally.stops} stops of {tally.runs} runs: {len(tally.different)} differences; "
        f"a process took {tally.slowest:.1f} s at most to end"
    )


if __name__ == "__main__":
    main()
