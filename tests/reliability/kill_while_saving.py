"""A cut power cord, 200 times: a process that saves a checkpoint again and again is killed at random moments.

    python tests/reliability/kill_while_saving.py [times]

Prints how often the folder could be read afterwards, how many saves were lost at most, and what was left over in it and
beside it after the next save. Not for Windows: it forks.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

import torch

from gpt import GPT2, CharTokenizer, CheckpointError, load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class Tally:
    """What came of it: kills, folders that could not be read, saves lost at most, and files left over in the end."""

    kills: int
    unreadable: int
    most_lost: int
    left_over: int


def kill_while_saving(times: int, folder: Path, seed: int = 1) -> Tally:
    """Kill a process that saves at `folder` at a random moment, look what is there, and so on."""
    moments = random.Random(seed)
    torch.set_num_threads(1)  # a process that forks should have no threads beside it
    model, tokenizer = GPT2(5, 32, 2, 64, 2, context_length=8), CharTokenizer("abcde")
    save_checkpoint(folder, model, tokenizer, corpus={"number": 0})
    saved = unreadable = most_lost = 0
    for _ in range(times):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            number = saved
            while True:
                number += 1
                save_checkpoint(folder, model, tokenizer, corpus={"number": number})
                os.write(writing, b".")  # this one is finished
        time.sleep(moments.uniform(0.001, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(writing)
        finished = saved + len(os.read(reading, 1_000_000))
        os.close(reading)
        try:
            found = load_checkpoint(folder).corpus["number"]
        except CheckpointError:
            unreadable += 1
            continue
        most_lost = max(most_lost, finished - found)
        saved = found
    save_checkpoint(folder, model, tokenizer, corpus={"number": saved + 1})  # as the next start would
    left_over = [path for place in (folder, folder.parent) for path in place.glob(".*")]
    return Tally(times, unreadable, most_lost, len(left_over) + len(list(folder.parent.iterdir())) - 1)


def main() -> None:
    """Print the tally."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as parent:
        tally = kill_while_saving(times, Path(parent) / "model")
    print(
        f"{tally.kills} kills while saving: {tally.unreadable} folders unreadable, at most {tally.most_lost} finished "
        f"saves lost, {tally.left_over} leftovers after the next save"
    )


if __name__ == "__main__":
    main()
