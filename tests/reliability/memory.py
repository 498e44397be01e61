"""The largest training that visitors may ask for, of each variant and recipe: does it keep to what the lab reckoned?

    python tests/reliability/memory.py [megabytes]

Each runs on a server of its own, for three steps, within the limits of a laptop. Prints the most memory that the
server and its trainer processes took more than before, against what `RunRequest` said before anything was allocated,
and their ratio: above 1 the lab takes in more than it has room for, and far below 1 it turns away what it could do. A
number of megabytes makes the batch smaller until the lab reckons with at most that many.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from gpt import Corpus
from gpt.model.config import VARIANTS, make_config
from gpt.runs.limits import LAPTOP
from gpt.runs.request import RunRequest
from gpt.runs.scheduler import Runs
from gpt.training.recipes import RECIPES, TrainConfig

RATIOS = (0.8, 1.0)  # held to
STEPS = 3


def largest(variant: str, recipe: str, corpus: Corpus, most_megabytes: float) -> RunRequest:
    """A run of the largest model and batch that are allowed."""
    config = make_config(
        variant, corpus.tokenizer.vocab_size, num_layers=6, num_heads=6, embed_size=192, context_length=256
    )
    training = TrainConfig(**RECIPES[recipe])
    rows = LAPTOP.most_tokens_per_step // config.context_length
    while True:
        training = replace(training, max_steps=STEPS, batch_size=rows, eval_interval=STEPS, device="cpu")
        request = RunRequest(((variant, config),), corpus.sha256, training)
        if request.held_bytes + request.working_bytes <= most_megabytes * 1e6:
            return request
        rows -= 1


def taken(variant: str, recipe: str, most_megabytes: float) -> tuple[float, float]:
    """Megabytes that a run took at most, and that were reckoned with; for a process that has done nothing yet."""
    runs = Runs(LAPTOP)
    corpus = Corpus.from_text("Shakespeare's alphabet", "To be, or not to be: that is the question.\n" * 999)
    small = RunRequest(
        (("gpt2", make_config("gpt2", corpus.tokenizer.vocab_size, num_layers=1, num_heads=1, embed_size=8)),),
        corpus.sha256,
        TrainConfig(max_steps=2, batch_size=1, device="cpu"),
    )
    runs._turns._own_trainers().warm_up(1)
    _finish(runs, small, corpus)  # what is loaded and kept at the first step of a process
    request = largest(variant, recipe, corpus, most_megabytes)
    before = _status("VmRSS")
    for process in _processes():
        (process / "clear_refs").write_text("5")  # the peak begins again
    _finish(runs, request, corpus)
    return _status("VmHWM") - before, (request.held_bytes + request.working_bytes) / 1e6


def _finish(runs: Runs, request: RunRequest, corpus: Corpus) -> None:
    run = runs.submit(request, corpus, "somebody")
    while not run.is_over:
        runs.watched(run)
        time.sleep(0.1)
    assert run.state == "done", run.message


def _processes() -> list[Path]:
    """Our own and those it has started."""
    started = [path.parent for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == os.getpid()]
    return [Path("/proc/self"), *started]


def _parent(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has just ended
        return None


def _status(name: str) -> float:
    """Megabytes, of all processes together."""
    megabytes = 0.0
    for process in _processes():
        lines = (process / "status").read_text().splitlines()
        megabytes += next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(name))
    return megabytes


def main() -> None:
    """Print the table."""
    most = float(sys.argv[1]) if len(sys.argv) > 1 else LAPTOP.most_bytes / 1e6
    print(
        f"{'variant':16}{'recipe':10}{'took MB':>9}{'reckoned MB':>13}{'ratio':>7}   held to {RATIOS[0]} to {RATIOS[1]}"
    )
    for variant in VARIANTS:
        for recipe in RECIPES:
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                took, reckoned = fresh.apply(taken, (variant, recipe, most))
            print(f"{variant:16}{recipe:10}{took:9,.0f}{reckoned:13,.0f}{took / reckoned:7.2f}", flush=True)


if __name__ == "__main__":
    main()
