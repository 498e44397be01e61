"""A training is stopped at every kind of moment, and goes on as if nothing had happened.

The real process is sent real signals at random moments; within one process each kind of moment is met on purpose.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpt import GPT2, Checkpoint, Corpus, TrainConfig, Trainer, load_checkpoint
from gpt.checkpoints.training_folder import restore_training, save_training
from gpt.training import trainer as trainer_module
from gpt.training.group import Group, noting_stops
from gpt.training.recording import Recording
from gpt.training.trainer import TrainingInterrupted

PROJECT = Path(__file__).parents[2]
TEXT = "the quick brown fox jumps over the lazy dog and runs away. " * 60
STEPS, SNAPSHOTS = 24, ("5", "20")
STOPS = int(os.environ.get("GPT_LAB_STOPS", "20"))
UNTIMED = {"seconds": 0.0, "tokens_per_second": 0.0}

# About half of the time goes into evaluations: each reads the whole validation text and writes a sample.
COMMAND = [
    *(sys.executable, "-m", "gpt", "train", "--variant", "modern", "--steps", str(STEPS), "--eval-interval", "2"),
    *("--num-layers", "2", "--num-heads", "2", "--embed-size", "32", "--context-length", "16", "--batch-size", "8"),
    *("--dropout", "0.1", "--device", "cpu", "--snapshots", *SNAPSHOTS),
]


# --- The real process -----------------------------------------------------------------------------------------------


class Command:
    """One training by the command line, as often as it takes."""

    def __init__(self, folder: Path) -> None:
        text = folder / "text.txt"
        text.write_text(TEXT)
        self.corpus = text

    def start(self, out: Path) -> subprocess.Popen[str]:
        """The command, running."""
        command = [*COMMAND, "--corpus", str(self.corpus), "--out", str(out)]
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # several would wait for each other on a busy machine
        return subprocess.Popen(
            command, cwd=PROJECT, env=alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, out: Path) -> None:
        """To the end."""
        process = self.start(out)
        _, complained = process.communicate(timeout=120)
        assert process.returncode == 0, complained

    def stop(self, out: Path, kind: signal.Signals, seconds: float) -> bool:
        """Send a signal after so many seconds of training; returns whether there was still something to stop."""
        process = self.start(out)
        assert process.stdout is not None
        assert process.stdout.readline()  # "continuing", or the model: from about now on signals are noted
        time.sleep(seconds)
        process.send_signal(kind)
        _, complained = process.communicate(timeout=120)
        assert "Traceback" not in complained, complained
        # Before and after the training itself, when all is saved, a signal ends the process as it ends any other.
        assert process.returncode in (0, 128 + kind, -kind), complained
        return process.returncode != 0


def result_of(out: Path) -> tuple[dict[str, dict[str, torch.Tensor]], list[object]]:
    """All tensors in a folder by file, and its history without what is a matter of time."""
    tensors = {path.name: load_file(path) for path in sorted(out.glob("*.safetensors"))}
    return tensors, [dataclasses.replace(event, **UNTIMED) for event in load_checkpoint(out).history]


def assert_same_result(out: Path, undisturbed: Path) -> None:
    (tensors, history), (expected, expected_history) = result_of(out), result_of(undisturbed)
    assert history == expected_history
    assert tensors.keys() == expected.keys()
    for file, whole in expected.items():
        assert tensors[file].keys() == whole.keys()
        for name, tensor in whole.items():
            assert torch.equal(tensors[file][name], tensor), f"{file}: {name}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals for another process")
def test_a_process_stopped_at_random_moments_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Twenty signals, Ctrl-C and SIGTERM in turn; each run of the command goes on where the last was stopped.

    (`GPT_LAB_STOPS=100` sends as many.)
    """
    command = Command(tmp_path)
    started = time.monotonic()
    command.run(tmp_path / "undisturbed")
    draw = random.Random(7)
    most = (time.monotonic() - started) / 4  # a part of what training takes without the start
    stops, number = 0, 0
    while stops < STOPS:
        out = tmp_path / f"stopped-{number}"
        number += 1
        for _ in range(12):  # then to the end, however far it has come
            kind = signal.SIGINT if stops % 2 else signal.SIGTERM
            if stops == STOPS or not command.stop(out, kind, draw.uniform(0, most)):
                break
            stops += 1
        command.run(out)
        assert_same_result(out, tmp_path / "undisturbed")


# --- Every kind of moment -------------------------------------------------------------------------------------------


@pytest.fixture
def make(trainable: Callable[..., GPT2], corpus: Corpus, quick: Callable[..., TrainConfig]) -> Callable[[], Recording]:
    """A training of six steps, evaluated and sampled at every second."""

    def training() -> Recording:
        config = quick(max_steps=6, eval_interval=2, sample_length=4, ema_decay=0.5)
        model = trainable("rotary", dropout=0.1)
        return Recording(Trainer(model, corpus, config, is_snapshot_step=lambda step: step in (0, 4, 6)))

    return training


def told(recording: Recording) -> list[object]:
    return [dataclasses.replace(event, **UNTIMED) for event in recording.history]


def assert_same_training(one: Recording, other: Recording) -> None:
    """Weights, average, best, optimizers, snapshots and history."""
    assert told(one) == told(other)
    state, expected = one.trainer.state(), other.trainer.state()
    for field in dataclasses.fields(state):
        if field.name not in ("tensors", "seconds"):
            assert getattr(state, field.name) == getattr(expected, field.name), field.name
    for mine, theirs in (
        (state.tensors, expected.tensors),
        *zip(one.trainer.snapshots.values(), other.trainer.snapshots.values(), strict=True),
    ):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert one.trainer.snapshots.keys() == other.trainer.snapshots.keys()


def saved_and_restored(recording: Recording, make: Callable[[], Recording], folder: Path) -> Recording:
    save_training(folder, recording)
    found: Checkpoint = load_checkpoint(folder)
    again = make()
    assert restore_training(folder, found, again)
    return again


@pytest.mark.parametrize("question", range(1, 46, 4))
def test_whenever_it_is_given_up_it_goes_on_the_same(
    make: Callable[[], Recording], tmp_path: Path, question: int
) -> None:
    """Each question whether to stop is one moment: in a step, an evaluation, a sample, at the first and last step."""
    undisturbed = make()
    list(undisturbed.events())
    recording = make()
    asked = 0

    def is_wanted() -> bool:
        nonlocal asked
        asked += 1
        return asked == question

    recording.trainer.interrupt_when(is_wanted)
    with pytest.raises(TrainingInterrupted):
        list(recording.events())
    again = saved_and_restored(recording, make, tmp_path / "model")
    list(again.events())
    # Quantized snapshots come back within half a step; those of before the stop are compared on the page's side.
    again.trainer.snapshots = {step: undisturbed.trainer.snapshots[step] for step in again.trainer.snapshots}
    assert_same_training(again, undisturbed)
    recording.trainer.interrupt_when(lambda: False)
    list(recording.events())  # and in the same process
    assert_same_training(recording, undisturbed)


def test_between_any_two_events_it_goes_on_the_same(make: Callable[[], Recording], tmp_path: Path) -> None:
    undisturbed = make()
    list(undisturbed.events())
    recording = make()
    for _ in range(30):
        if next(recording.events(), None) is not None and len(recording.history) == 7:
            break
        recording = saved_and_restored(recording, make, tmp_path / "model")
    recording.trainer.snapshots = undisturbed.trainer.snapshots
    assert_same_training(recording, undisturbed)


@pytest.mark.parametrize("number", range(3))
def test_a_signal_within_the_optimizers_is_heard_after_them(
    make: Callable[[], Recording], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Before AdamW's step, between it and Muon's, and after both."""
    recording, undisturbed = make(), make()
    list(undisturbed.events())
    trainer = recording.trainer
    if number < 2:
        monkeypatch.setattr(trainer.optimizers[number], "step", signalling(trainer.optimizers[number].step))
    else:
        monkeypatch.setattr(trainer, "_follow_with_average", signalling(trainer._follow_with_average))
    with noting_stops(trainer.group):
        assert next(recording.events()).step == 0
    assert trainer.group.stop_requested
    assert trainer.step == 1
    monkeypatch.undo()
    trainer.group.stop_signal = None
    list(recording.events())
    assert_same_training(recording, undisturbed)


def signalling(function: Callable[..., object]) -> Callable[..., object]:
    """The function, and Ctrl-C before it is called."""

    def call(*arguments: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return function(*arguments)

    return call


def test_a_second_ctrl_c_ends_at_once() -> None:
    group = Group()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), noting_stops(group):  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        assert group.stop_signal == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
        pytest.fail("nobody heard it")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_signal_stays_ignored() -> None:
    """As `nohup` has it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        group = Group()
        with noting_stops(group):
            signal.raise_signal(signal.SIGTERM)
        assert not group.stop_requested
    finally:
        signal.signal(signal.SIGTERM, before)


def test_dropout_leaves_every_other_random_stream_alone(
    make: Callable[[], Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream of the device is seeded and restored; no call reaches the generators of all GPUs."""
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("this seeds every device"))
    monkeypatch.setattr(torch.random, "fork_rng", lambda *_, **__: pytest.fail("this copies every device's stream"))
    before = torch.get_rng_state()
    next(make().events())
    assert torch.equal(torch.get_rng_state(), before)
    assert trainer_module.seeded_dropout is not None
