"""Runs over a restart: what was under way when the server stopped, as folders that the next one takes up.

    <key>/run.json      what was asked for, by whom, and how far it was to go
    <key>/text.txt      the visitor's own text, if it learned from one
    <key>/<number>/     each model with its training, a checkpoint folder

Nothing stays here: what was taken up, or cannot be, is removed.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpt.data.corpora import CORPORA, load_corpus
from gpt.data.corpus import Corpus
from gpt.model.config import GPTConfig
from gpt.runs.run import Run, RunRequest, new_trainer
from gpt.training.recipes import TrainConfig

_log = logging.getLogger(__name__)


def put_away(runs: Iterable[Run], folder: Path, most_seconds: float) -> int:
    """Save runs, those first that are not paused, as long as there is time; returns how many.

    Nobody may be training them meanwhile.

    Args:
        runs: those that are not over are saved.
        folder: where; made if it is not there, for this user alone.
        most_seconds: after which no further run is begun.
    """
    break_off = time.monotonic() + most_seconds
    unfinished = sorted((run for run in runs if not run.is_over), key=lambda run: run.goal <= run.step)
    saved = 0
    for run in unfinished:
        if time.monotonic() > break_off:
            _log.warning("%d runs were not saved: there was no time", len(unfinished) - saved)
            break
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _put_away(run, folder / run.key)
            saved += 1
        except OSError as error:  # a full disk: the others may be smaller
            _log.warning("run %s was not saved (%s)", run.key, error.strerror)
            shutil.rmtree(folder / run.key, ignore_errors=True)
    return saved


def _put_away(run: Run, place: Path) -> None:
    from gpt.checkpoints.folder import save_checkpoint
    from gpt.runs.exports import corpus_text

    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    request, corpus = run.request, run.corpus
    if corpus.name not in CORPORA:
        (place / "text.txt").write_text(corpus_text(corpus), encoding="utf-8", newline="")
    for number, member in enumerate(run.members):
        if member.trainer is not None:
            save_checkpoint(
                place / str(number),
                member.trainer.model,
                corpus.tokenizer,
                history=member.events,
                train_config=member.trainer.config,
                training_state=member.trainer.state(),
                snapshots=member.snapshots,
            )
    description = {
        "models": [[label, asdict(config)] for label, config in request.models],
        "training": asdict(request.training),
        "seeds": request.seeds,
        "copy_of": request.copy_of,
        "corpus": {"name": corpus.name, "sha256": corpus.sha256},
        "owner": run.owner,
        "goal": run.goal,
        "shared_digests": [member.shared_digest for member in run.members],
    }
    (place / "run.json").write_text(json.dumps(description), encoding="utf-8")  # last: without it there is no run


def taken_up(folder: Path) -> Iterator[Run]:
    """The runs that were put away in a folder, as they were, the folder being empty afterwards."""
    from gpt.checkpoints.files import CheckpointError

    for place in sorted(folder.glob("*")):
        try:
            if (place / "run.json").is_file():
                yield _taken_up(place)
        except (CheckpointError, ValueError, TypeError, KeyError, OSError) as error:
            _log.warning("a run of the last server could not be taken up (%s)", type(error).__name__)
        finally:
            shutil.rmtree(place, ignore_errors=True)
            if place.is_file():
                place.unlink()


def _taken_up(place: Path) -> Run:
    from gpt.checkpoints.files import CheckpointError, read_json
    from gpt.checkpoints.folder import load_checkpoint, load_snapshot, load_training_state

    description = read_json(place / "run.json")
    request = RunRequest(
        models=tuple((label, GPTConfig(**config)) for label, config in description["models"]),
        corpus_sha256=description["corpus"]["sha256"],
        training=TrainConfig(**description["training"]),
        seeds=description["seeds"],
        copy_of=description["copy_of"],
    )
    run = Run(request, _corpus(place, description["corpus"]), description["owner"])
    run.goal = description["goal"]
    for number, member in enumerate(run.members):
        saved = place / str(number)
        if not saved.is_dir():
            continue
        state = load_training_state(saved)
        if state is None:
            raise CheckpointError("a model's training state is missing")
        member.trainer = new_trainer(member, run)
        member.trainer.load_state(state)
        checkpoint = load_checkpoint(saved)
        member.events = list(checkpoint.history)
        member.snapshots = {step: load_snapshot(saved, step) for step in checkpoint.snapshot_steps}
        member.shared_digest = description["shared_digests"][number]
    return run


def _corpus(place: Path, said: dict[str, Any]) -> Corpus:
    if said["name"] in CORPORA:
        corpus = load_corpus(said["name"])
    else:
        corpus = Corpus.from_text(said["name"], (place / "text.txt").read_bytes().decode("utf-8"))
    if corpus.sha256 != said["sha256"]:
        raise ValueError("the text is not the one the run learned from")
    return corpus
