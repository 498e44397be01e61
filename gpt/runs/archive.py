"""Runs over a restart: what was under way when the server stopped, as folders from which the next one restores it.

    <key>/run.json      what was asked for, by whom, how far it was to go, and its place in the queue
    <key>/text.txt      the visitor's own text, if it learned from one
    <key>/initial.safetensors   the weights its models begin from, where these are not new
    <key>/<number>/     each model with its training, a checkpoint folder

Nothing stays here: what was restored, or cannot be, is removed.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save

from gpt.checkpoints.files import CheckpointError, read_json, read_tensors, weights_digest
from gpt.checkpoints.folder import load_checkpoint, load_snapshot, load_training_state, save_checkpoint
from gpt.data.corpora import CORPORA, load_corpus
from gpt.data.corpus import Corpus
from gpt.data.tokenizer import BPETokenizer, tokenizer_from_json, tokenizer_to_json
from gpt.model.config import GPTConfig
from gpt.model.gpt2 import GPT2
from gpt.runs.exports import corpus_text
from gpt.runs.request import RunRequest
from gpt.runs.run import InitialWeights, Member, Run, SavedMember
from gpt.training.recipes import training_config

_log = logging.getLogger(__name__)

_INITIAL = "initial.safetensors"


def save_runs(runs: Sequence[Run], folder: Path, most_seconds: float) -> int:
    """Save runs, those first that are not paused, as long as there is time; returns how many.

    The caller holds them all: nobody trains them meanwhile.

    Args:
        runs: in the order in which the next server is to train them.
        folder: where; made if it is not there, for this user alone.
        most_seconds: after which no further run is begun.
    """
    give_up = time.monotonic() + most_seconds
    saved = 0
    for place, run in sorted(enumerate(runs), key=lambda pair: pair[1].is_at_goal):
        if time.monotonic() > give_up:
            _log.warning("run %s was not saved: there was no time", run.key)
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _save(run, place, folder / run.key)
            saved += 1
        except OSError as error:  # a full disk: the others may be smaller
            _log.warning("run %s was not saved (%s)", run.key, error.strerror)
            shutil.rmtree(folder / run.key, ignore_errors=True)
    return saved


def _save(run: Run, place: int, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    request, corpus = run.request, run.corpus
    if corpus.name not in CORPORA:
        (folder / "text.txt").write_text(corpus_text(corpus), encoding="utf-8", newline="")
    at_hand = [member.saved for member in run.members]  # looked up once: a process may just give back another
    for number, (member, saved) in enumerate(zip(run.members, at_hand, strict=True)):
        if saved is not None:
            save_checkpoint(
                folder / str(number),
                GPT2.from_config(member.config),  # for its shape: the weights are the state's
                corpus.tokenizer,
                history=saved.events,
                train_config=replace(request.training, seed=member.seed),
                training_state=saved.state,
                snapshots=saved.snapshots,
            )
    initial = run.initial_weights
    if initial is not None:
        (folder / _INITIAL).write_bytes(save({name: weight.contiguous() for name, weight in initial.tensors.items()}))
    own_vocabulary = not corpus.tokenizer_sha256 and not request.begins_from  # the characters of the text
    vocabulary = None if own_vocabulary else tokenizer_to_json(corpus.tokenizer)
    description = {
        "place": place,
        "models": [[label, asdict(config)] for label, config in request.models],
        "training": asdict(request.training),
        "seeds": request.seeds,
        "copy_of": request.copy_of,
        "tokenizer_sha256": request.tokenizer_sha256,
        "begins_from": request.begins_from,
        "is_beginning_private": initial is not None and initial.is_private,
        "corpus": {"name": corpus.name, "sha256": corpus.sha256, "vocabulary": vocabulary},
        "owner": run.owner,
        "readers": sorted(run.readers),
        "goal": run.goal,
        "threads": run.layout[1],
        "is_left_alone": run.lease.has_ended,
        "was_watched": run.lease.was_watched,
        "batches_digests": ["" if saved is None else saved.batches_digest for saved in at_hand],
        "shared_digests": [member.shared_digest for member in run.members],
    }
    (folder / "run.json").write_text(json.dumps(description), encoding="utf-8")  # last: without it there is no run


def restored_runs(folder: Path) -> Iterator[Run]:
    """The runs that were saved in a folder, in the order of their queue.

    Each is removed from there when the next one is asked for, so those that nobody asks for stay.
    """
    for place in sorted(folder.glob("*"), key=_place_in_queue):
        try:
            run = _restored(place) if (place / "run.json").is_file() else None
        except (CheckpointError, ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
            _log.warning("a run of the last server could not be restored, and is dropped (%s)", type(error).__name__)
            run = None
        if run is not None:
            yield run
        shutil.rmtree(place, ignore_errors=True)
        if place.is_file():
            place.unlink()


def _place_in_queue(folder: Path) -> tuple[int, str]:
    """As it was saved; 0 for what an earlier version saved, or where it cannot be told."""
    try:
        place = read_json(folder / "run.json").get("place", 0)
    except (CheckpointError, ValueError, AttributeError, OSError):
        place = 0
    return place if isinstance(place, int) else 0, folder.name


def _restored(folder: Path) -> Run:
    description = read_json(folder / "run.json")
    request = RunRequest(
        models=tuple((label, GPTConfig(**config)) for label, config in description["models"]),
        corpus_sha256=description["corpus"]["sha256"],
        training=training_config(**description["training"]),
        seeds=description["seeds"],
        copy_of=description["copy_of"],
        tokenizer_sha256=description.get("tokenizer_sha256", ""),  # not there in an earlier version's
        begins_from=description.get("begins_from", ""),  # nor this
    )
    initial = _initial_weights(folder, request, is_private=bool(description.get("is_beginning_private", True)))
    corpus = _corpus(folder, description["corpus"], goes_on=bool(request.begins_from))
    run = Run(request, corpus, str(description["owner"]), initial_weights=initial)
    run.readers.update(description.get("readers", []))  # not there in an earlier version's
    run.goal = int(description["goal"])
    run.layout = (0, int(description.get("threads", 1)))  # an earlier version had one
    run.lease.has_ended = bool(description.get("is_left_alone"))
    run.lease.was_watched = bool(description.get("was_watched", True))
    digests = description.get("batches_digests") or [""] * len(run.members)  # not there in an earlier version's
    for number, member in enumerate(run.members):
        if (folder / str(number)).is_dir():
            member.go_on_from(_restored_member(folder / str(number), member, digests[number]))
            member.shared_digest = description["shared_digests"][number]
    return run


def _initial_weights(folder: Path, request: RunRequest, *, is_private: bool) -> InitialWeights | None:
    if request.origin is None:
        return None
    tensors = read_tensors(folder / _INITIAL)
    if weights_digest(tensors) != request.origin["sha256"]:
        raise CheckpointError("the weights to begin from are others than the run asked for")
    return InitialWeights(tensors, is_private)


def _restored_member(folder: Path, member: Member, batches_digest: str) -> SavedMember:
    checkpoint, state = load_checkpoint(folder), load_training_state(folder)
    if state is None or checkpoint.config != member.config:
        raise CheckpointError("a model's training state is missing, or another model's")
    told = next((event for event in checkpoint.history if event.step == state.step), None)
    if state.train_loss is None and told is not None:  # a state from before it held these two
        state = replace(state, train_loss=told.train_loss, learning_rate=told.learning_rate)
    snapshots = {step: load_snapshot(folder, step) for step in checkpoint.snapshot_steps}
    return SavedMember(state, list(checkpoint.history), snapshots, batches_digest)


def _corpus(place: Path, said: dict[str, Any], *, goes_on: bool) -> Corpus:
    vocabulary = said.get("vocabulary", said.get("byte_pairs"))  # as an earlier version called it, if it had one
    tokenizer = None if vocabulary is None else tokenizer_from_json(vocabulary)  # learned again, it might be another
    byte_pairs = None if goes_on else tokenizer
    if byte_pairs is not None and not isinstance(byte_pairs, BPETokenizer):
        raise ValueError("the text's byte pairs are of another kind")
    if said["name"] not in CORPORA:
        corpus = Corpus.from_text(said["name"], (place / "text.txt").read_bytes().decode("utf-8"), byte_pairs)
    elif byte_pairs is None:
        corpus = load_corpus(said["name"])
    else:
        corpus = Corpus.from_text(said["name"], corpus_text(load_corpus(said["name"])), byte_pairs)
    if goes_on and tokenizer is not None:
        corpus = corpus.written_with(tokenizer)
    if corpus.sha256 != said["sha256"]:
        raise ValueError("the text is not the one the run learned from")
    return corpus
