"""A training is stopped at every kind of moment, and goes on as if nothing had happened.

A real process is sent real signals at random moments; within one process each kind of moment is met on purpose.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reliability.stop_training import differences, stop_training

from gpt import GPT2, RECIPES, Corpus, TrainConfig, Trainer, TrainingDiverged, load_checkpoint, save_checkpoint
from gpt.__main__ import main
from gpt.checkpoints.folder import load_training_state
from gpt.checkpoints.training_folder import continue_training, save_training, saved_events
from gpt.training import trainer as trainer_module
from gpt.training.group import Group, noting_stops
from gpt.training.recording import Recording
from gpt.training.trainer import TrainingInterrupted

STEPS = 6
COMMAND = [
    *("train", "--num-layers", "2", "--num-heads", "2", "--embed-size", "16", "--context-length", "16"),
    *("--batch-size", "4", "--steps", str(STEPS), "--eval-interval", "4", "--dropout", "0.1", "--device", "cpu"),
    *("--snapshots", "0", "4", "6"),
]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals for another process")
def test_a_process_stopped_at_random_moments_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    tally = stop_training(10, tmp_path)
    assert tally.different == []
    assert tally.stops == 10


# --- Every kind of moment, by the command line ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(tiny_text)
    return path


@pytest.fixture(scope="module")
def undisturbed(text_file: Path) -> dict[str, Path]:
    """What the command saves that nothing interrupts, without and with --final; nobody changes it."""
    folders = {}
    for name in ("", "--final"):
        folders[name] = text_file.with_name(f"undisturbed{name}") / "out"
        assert train(text_file, folders[name], *name.split()) == 0
    return folders


def train(text_file: Path, out: Path, *options: str) -> int:
    return main([*COMMAND, "--corpus", str(text_file), "--out", str(out), *options])


def signalling(function: Callable[..., Any], number: signal.Signals, step: int) -> Callable[..., Any]:
    """The function, and a signal before it is called for a trainer at this step."""

    def call(trainer: Trainer, *arguments: Any) -> Any:
        if trainer.step == step:
            signal.raise_signal(number)
        return function(trainer, *arguments)

    return call


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("method", "step", "saved_step"),
    [
        ("_look", 0, 0),  # in the first evaluation
        ("_look", 4, 4),
        ("_look", STEPS, STEPS),  # in the last
        ("_update", 0, 0),
        ("_learn", 4, 4),  # in an update that an evaluation comes before
        ("_follow_with_average", 3, 3),  # after the weights have moved
    ],
)
def test_a_stop_loses_nothing(
    undisturbed: dict[str, Path],
    text_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
    step: int,
    saved_step: int,
    number: signal.Signals,
) -> None:
    options = ["--final"] if step == STEPS and number == signal.SIGTERM else []
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, method, signalling(getattr(Trainer, method), number, step))
        assert train(text_file, tmp_path / "out", *options) == 128 + number
    printed = capsys.readouterr()
    assert printed.out.endswith(
        f"saved in {tmp_path / 'out'} after step {saved_step}; the same command goes on from there\n"
    )
    assert "Traceback" not in printed.err
    state = load_training_state(tmp_path / "out")
    assert state is not None
    assert state.step == saved_step
    assert train(text_file, tmp_path / "out", *options) == 0
    if options:  # the card of a final checkpoint tells when it was made
        expected, found = (load_checkpoint(folder) for folder in (undisturbed["--final"], tmp_path / "out"))
        assert found.result["weights_sha256"] == expected.result["weights_sha256"]
        assert found.result["validation_loss"] == expected.result["validation_loss"]
    else:
        assert list(differences(tmp_path / "out", undisturbed[""])) == []


def test_a_stop_in_a_sample_is_heard_after_a_token(
    undisturbed: dict[str, Path], text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def tokens(*arguments: Any, **options: Any) -> Any:
        nonlocal asked
        for token in stream(*arguments, **options):
            asked += 1
            if asked == 5:
                signal.raise_signal(signal.SIGINT)
            yield token

    stream = trainer_module.sample.__globals__["stream_tokens"]
    with monkeypatch.context() as patch:
        patch.setitem(trainer_module.sample.__globals__, "stream_tokens", tokens)
        assert train(text_file, tmp_path / "out") == 130
    assert asked == 5
    assert train(text_file, tmp_path / "out") == 0
    assert list(differences(tmp_path / "out", undisturbed[""])) == []


def test_a_second_ctrl_c_ends_at_once_with_the_last_save_whole(
    undisturbed: dict[str, Path], text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between AdamW and Muon, where nothing of the step may be saved."""

    def twice(trainer: Trainer) -> None:
        if trainer.step == 5:
            for optimizer in trainer.optimizers[1:]:
                optimizer.step = lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)]  # type: ignore
        update(trainer)

    update = Trainer._update
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", twice)
        assert train(text_file, tmp_path / "out") == 130
    state = load_training_state(tmp_path / "out")
    assert state is not None
    assert state.step == 5  # saved with the evaluation of step 4
    assert train(text_file, tmp_path / "out") == 0
    assert list(differences(tmp_path / "out", undisturbed[""])) == []


def test_a_checkpoint_from_before_goes_on(
    undisturbed: dict[str, Path], text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved after the evaluation of its step, without what there was not, and begun by a recipe that is another now."""
    out, through = tmp_path / "out", tmp_path / "through"
    with monkeypatch.context() as patch:
        patch.setitem(RECIPES, "fast", {"feed_forward_rate_multiple": 1.0})
        assert train(text_file, through) == 0
        patch.setattr(Trainer, "_look", signalling(Trainer._look, signal.SIGINT, 4))
        assert train(text_file, out) == 130
    description = json.loads((out / "config.json").read_text())
    description["training"]["accumulation"] = description["training"].pop("gradient_accumulation_steps")
    del description["training"]["feed_forward_rate_multiple"]
    for name in ("train_loss", "learning_rate"):
        del description["progress"][name]
    (out / "config.json").write_text(json.dumps(description))
    events = (through / "history.jsonl").read_text().splitlines(keepends=True)
    (out / "history.jsonl").write_text("".join(events[:5]))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", signalling(Trainer._update, signal.SIGINT, 5))
        assert train(text_file, out) == 130
    assert train(text_file, out) == 0  # and again, now that it was saved with all settings
    assert list(differences(out, through)) == []
    assert list(differences(out, undisturbed[""])) != []


# --- Within the library ---------------------------------------------------------------------------------------------


@pytest.fixture
def make(trainable: Callable[..., GPT2], corpus: Corpus, quick: Callable[..., TrainConfig]) -> Callable[..., Recording]:
    """`make(**training)`: a training of six steps, evaluated and sampled at every second."""

    def training(**changes: Any) -> Recording:
        config = quick(**{"max_steps": STEPS, "eval_interval": 2, "sample_length": 4, "ema_decay": 0.5, **changes})
        model = trainable("rotary", dropout=0.1)
        return Recording(Trainer(model, corpus, config, is_snapshot_step=lambda step: step in (0, 4, 6)))

    return training


def assert_same_training(one: Recording, other: Recording) -> None:
    """Weights, average, best, optimizers, snapshots and history."""
    for mine, theirs in zip(one.history, other.history, strict=True):
        times = {"seconds": 0.0, "tokens_per_second": 0.0}
        assert dataclasses.replace(mine, **times) == dataclasses.replace(theirs, **times)
    state, expected = one.trainer.state(), other.trainer.state()
    for field in dataclasses.fields(state):
        if field.name not in ("tensors", "seconds"):
            assert getattr(state, field.name) == getattr(expected, field.name), field.name
    mine, theirs = ({"": r.trainer.state().tensors, **r.trainer.snapshots} for r in (one, other))
    assert mine.keys() == theirs.keys()
    for what, tensors in theirs.items():
        assert mine[what].keys() == tensors.keys()
        assert all(torch.equal(mine[what][name], tensor) for name, tensor in tensors.items()), what


@pytest.mark.parametrize("question", [1, 3, 7, 9, 11, 13, 17, 25, 33])
def test_whenever_it_is_given_up_it_goes_on_the_same(make: Callable[..., Recording], question: int) -> None:
    """Each question whether to give up is one moment in an evaluation, a sample, or on either way through the model."""
    undisturbed, recording, again = make(), make(), make()
    list(undisturbed.events())
    asked: list[bool] = []
    recording.trainer.interrupt_when(lambda: asked.append(True) or len(asked) == question)  # type: ignore
    with pytest.raises(TrainingInterrupted):
        list(recording.events())
    again.restore(recording.trainer.state(), recording.history, recording.trainer.snapshots)
    for one in (recording, again):  # in the same process, and in another
        list(one.events())
        assert_same_training(one, undisturbed)


def test_suspended_after_any_event_it_goes_on_the_same(make: Callable[..., Recording]) -> None:
    undisturbed = make()
    list(undisturbed.events())
    recording = make()
    for step in range(STEPS + 1):
        assert next(recording.events()).step == step
        again = make()
        again.restore(recording.trainer.state(), recording.history, recording.trainer.snapshots)
        recording = again
    assert_same_training(recording, undisturbed)


def test_what_is_saved_before_a_loss_that_is_no_number_is_the_state_of_then(
    make: Callable[..., Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best weights are given to the model only after the last event, at which the folder is written."""
    recording = make(eval_interval=1)
    present: list[dict[str, torch.Tensor]] = []

    def diverging(trainer: Trainer, *rows: torch.Tensor) -> torch.Tensor:
        if trainer.step < 4:
            return learn(trainer, *rows)
        trainer.best_weights = {name: torch.zeros_like(weight) for name, weight in trainer.best_weights.items()}
        present.append({name: weight.detach().clone() for name, weight in trainer.model.named_parameters()})
        return torch.tensor(math.nan)

    learn = Trainer._learn
    monkeypatch.setattr(Trainer, "_learn", diverging)
    with pytest.raises(TrainingDiverged, match="the loss became nan after step 4"):
        list(saved_events(tmp_path / "model", recording))
    assert not any(weight.any() for weight in recording.trainer.model.parameters())
    state = load_training_state(tmp_path / "model")
    assert state is not None
    assert state.step == 4
    assert all(torch.equal(state.tensors[f"present/{name}"], weight) for name, weight in present[0].items())


def test_an_unfinished_folder_without_its_state_is_not_called_final(
    make: Callable[..., Recording], tmp_path: Path
) -> None:
    recording = make()
    next(recording.events())
    save_training(tmp_path / "model", recording)
    (tmp_path / "model" / "training.safetensors").unlink()
    with pytest.raises(ValueError, match=r"what is needed to go on with it is lost: neither training.safetensors nor"):
        continue_training(tmp_path / "model", make())


def test_a_model_saved_by_itself_is_not_called_final(make: Callable[..., Recording], tmp_path: Path) -> None:
    trainer, config = make().trainer, make().trainer.config
    about = {"name": trainer.corpus.name, "sha256": trainer.corpus.sha256}
    save_checkpoint(tmp_path / "m", trainer.model, trainer.corpus.tokenizer, train_config=config, corpus=about)
    with pytest.raises(ValueError, match="was saved as a model by itself, without its training, and cannot be contin"):
        continue_training(tmp_path / "m", make())


def test_fewer_steps_than_were_made_are_refused_and_change_nothing(
    text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text_file, tmp_path / "out") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert train(text_file, tmp_path / "out", "--steps", "3") == 2
    assert f"has made {STEPS} steps already, and 3 are asked for; give more --steps, or" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


# --- Signals --------------------------------------------------------------------------------------------------------


def test_a_signal_is_noted_and_a_second_one_is_heard_at_once() -> None:
    group, before = Group(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), noting_stops(group):  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        assert group.agreed_signal == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
        pytest.fail("nobody heard it")
    assert signal.getsignal(signal.SIGINT) is before


def test_several_processes_go_on_noting() -> None:
    """Of one Ctrl-C each is told by the terminal and by torchrun. Blocks may lie within each other."""
    group, before = Group(0, 2), signal.getsignal(signal.SIGTERM)
    with noting_stops(group):
        outer = signal.getsignal(signal.SIGTERM)
        with noting_stops(group):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.raise_signal(number)
                assert group.stop_signal == number
        assert signal.getsignal(signal.SIGTERM) is outer
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_ignored_or_given_another_meaning_stays_so() -> None:
    group, before = Group(), signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with noting_stops(group):
            signal.raise_signal(signal.SIGTERM)
        assert not group.stop_requested
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with noting_stops(group):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_dropout_touches_the_random_stream_of_its_device_alone(
    make: Callable[..., Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("this seeds every device"))
    monkeypatch.setattr(torch.random, "fork_rng", lambda *_, **__: pytest.fail("this copies every device's stream"))
    before = torch.get_rng_state()
    next(make().events())
    assert torch.equal(torch.get_rng_state(), before)
