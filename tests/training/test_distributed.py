"""Several processes learn what one would: the same losses, the same runs, saved by some and restored by others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from processes import AVERAGING, SETTINGS, TRAIN, losses

from gpt import RECIPES, TrainConfig, Trainer, load_checkpoint
from gpt.__main__ import main
from gpt.training.distributed import join
from gpt.training.group import Group

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("ddp", "fsdp")
STEPS = list(range(10))


@contextlib.contextmanager
def torchrun(*arguments: str) -> Iterator[subprocess.Popen]:
    """Two processes on this machine, each on one thread; they end with the block."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **streams) as started:
        try:
            yield started
        finally:
            started.terminate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_text):
    """Where all runs of this module lie, with the text they learn."""
    place = tmp_path_factory.mktemp("runs")
    (place / "text.txt").write_text(tiny_text)
    return place


@pytest.fixture(scope="module")
def train(folder):
    """`train(out, *options)`: the command line in a process alone; the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "fast", AVERAGING)
        yield lambda out, *options: main(
            ["train", "--corpus", str(folder / "text.txt"), "--out", str(folder / out), *TRAIN, *options]
        )


@pytest.fixture(scope="module")
def results(folder, train):
    """What two processes did, see `processes.py`, after one process had begun two of the runs."""
    update = Trainer._update

    def interrupted(trainer):
        if trainer.step == 5:
            signal.raise_signal(signal.SIGINT)
        update(trainer)

    assert train("through") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_update", interrupted)
        for kind in KINDS:
            assert train(f"{kind}-one-two") == 130
    with torchrun(str(ROOT / "tests" / "processes.py"), str(folder)) as started:
        _, errors = started.communicate(timeout=300)
    assert started.returncode == 0, errors
    return [json.loads((folder / f"results-{rank}.json").read_text()) for rank in (0, 1)]


def assert_same_run(one: Path, other: Path, tolerance: float = 1e-4) -> None:
    """Two runs tell the same losses at every step, and have the same weights at their best."""
    first, second = load_checkpoint(one), load_checkpoint(other)
    assert [event.step for event in first.history] == [event.step for event in second.history] == STEPS
    for mine, yours in zip(first.history, second.history, strict=True):
        assert mine.train_loss == pytest.approx(yours.train_loss, abs=1e-5)
        assert mine.validation_loss == pytest.approx(yours.validation_loss, abs=1e-5)
        assert mine.sample == yours.sample
    for (name, mine), (_, yours) in zip(first.model.named_parameters(), second.model.named_parameters(), strict=True):
        torch.testing.assert_close(mine, yours, atol=tolerance, rtol=0, msg=name)


# --- The same curve -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["fifty steps", "all at once"])
def test_two_processes_learn_what_one_does(results, corpus, name, kind):
    """With Muon, AdamW and clipping; all at once are the average, accumulation and checkpointed activations,
    and there nothing is clipped.
    """
    alone = losses(corpus, name)
    assert len(alone) == SETTINGS[name][1]["max_steps"] + 1
    for process in results:
        together = process[f"{name}, {kind}"]
        for mine, theirs in zip(alone, together, strict=True):
            assert theirs[:2] == pytest.approx(mine[:2], abs=1e-5)
            assert theirs[2] == mine[2]
            assert theirs[3] == pytest.approx(mine[3], abs=1e-4)
            assert theirs[4] == pytest.approx(mine[4], abs=1 / 64)  # a token of four windows, where two are as likely


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_reproducible(results, corpus, kind):
    together = results[0][f"dropout, {kind}"]
    assert together == results[0][f"the same dropout, {kind}"] == results[1][f"dropout, {kind}"]
    assert together != losses(corpus, "dropout")


def test_each_process_draws_its_own_dropout(trainable, corpus, quick):
    """Two processes that are given the same rows drop other activations."""
    told = []
    for rank in (0, 1, 1):
        trainer = Trainer(trainable(dropout=0.5), corpus, quick(max_steps=1), Group(rank, 2))
        trainer.batches = [tuple(half.repeat(2, 1) for half in trainer.batches[0])]
        trainer.group.rows = lambda batch: batch[:4]
        told.append(list(trainer.events())[-1].train_loss)
    assert told[0] != told[1] == told[2]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_rows_are_disjoint_and_together_the_batch(size):
    batch = torch.arange(24).view(12, 2)
    shares = [Group(rank, size).rows(batch) for rank in range(size)]
    assert {share.shape for share in shares} == {(12 // size, 2)}
    assert torch.equal(torch.cat(shares), batch)


# --- A process alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"gradient_accumulation_steps": 4}, {"checkpoint_activations": True}])
def test_memory_is_saved_without_a_change_in_what_is_learned(kind, trainable, corpus, quick, changes):
    plain, saving = (
        [event.train_loss for event in Trainer(trainable(kind), corpus, quick(precision="float32", **more)).events()]
        for more in ({}, changes)
    )
    assert saving[1:] == pytest.approx(plain[1:], abs=1e-5)


def test_checkpointed_activations_drop_the_same_twice(trainable, corpus, quick):
    """The backward pass computes a block again with the same activations dropped."""
    plain, saving = (
        [event.train_loss for event in Trainer(trainable(dropout=0.3), corpus, quick(**more)).events()]
        for more in ({}, {"checkpoint_activations": True})
    )
    assert saving == plain


def test_checkpointing_keeps_less(trainable, corpus):
    """Between the two passes, fewer numbers are kept for the second."""
    kept = []
    for checkpoint_activations in (False, True):
        model = trainable(num_layers=4)
        model.checkpoint_activations = checkpoint_activations
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x):
            model(corpus.train_ids[None, :16], corpus.train_ids[None, 1:17])
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


# --- Saved and restored ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_with_another_number_of_processes(results, folder, train, kind, capsys):
    for process in results:
        for out in ("two-one", "two-two"):
            assert process[f"stopped {out}, {kind}"]["status"] == 128 + signal.SIGTERM
        for out in ("one-two", "two-two"):
            assert process[f"continued {out}, {kind}"]["status"] == 0
    assert "after step 5; the same command goes on" in results[0][f"stopped two-one, {kind}"]["printed"]
    assert train(f"{kind}-two-one") == 0
    assert "after step 5" in capsys.readouterr().out
    for out in ("two-one", "two-two", "one-two"):
        assert_same_run(folder / f"{kind}-{out}", folder / "through")


def test_parts_lie_in_the_folder_while_they_are_needed(results, folder, train):
    assert sorted(path.name for path in folder.glob("fsdp-two-two/training.sharded/*")) == ["step-9"]
    assert not (folder / "fsdp-two-two" / "training.safetensors").exists()
    assert train("fsdp-two-two") == 0  # done already, and now with a state of its own
    assert (folder / "fsdp-two-two" / "training.safetensors").exists()
    assert not list(folder.glob("fsdp-two-two/training.sharded"))


def test_parts_that_are_incomplete_are_refused(results, folder, train, capsys):
    next(folder.glob("fsdp-one-two/training.sharded/*/shard-00002*")).rename(folder / "away")
    assert train("fsdp-one-two") == 2
    assert "does not hold all of the training in" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_a_final_save_is_an_ordinary_checkpoint(results, folder, kind, capsys):
    assert results[0][f"final, {kind}"]["status"] == 0
    assert not list(folder.glob(f"{kind}-final/training.sharded"))
    assert main(["generate", "--model", str(folder / f"{kind}-final"), "--max-new-tokens", "5"]) == 0
    assert_same_run(folder / f"{kind}-final", folder / "through", tolerance=1e-3)  # in half precision
    assert load_checkpoint(folder / f"{kind}-final").result["validation_loss"] > 0


def test_only_the_first_process_speaks(results):
    printed = results[0]["final, ddp"]["printed"]
    assert [line.split(":")[0] for line in printed.splitlines() if line.startswith("step ")] == [
        f"step {step}" for step in (0, 3, 6, 9)
    ]
    assert all(process["printed"] == "" for key, process in results[1].items() if key.startswith(("final", "contin")))


# --- Signals --------------------------------------------------------------------------------------------------------


def endless(folder: Path, out: str, *options: str) -> list[str]:
    """Arguments of a run that would take hours, evaluated and saved every third step."""
    text = str(folder / "text.txt")
    return ["-m", "gpt", "train", "--corpus", text, "--out", str(folder / out), *TRAIN, "--steps", "100000", *options]


def saved_step(folder: Path) -> int:
    """The step of the last save; -1 before the first."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / "config.json").read_text())["progress"]["step"]
    return -1


def children_of(process: subprocess.Popen) -> list[int]:
    """Their ids, in the order of their ranks."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return sorted(int(child) for child, parent in pairs if int(parent) == process.pid)


@pytest.mark.parametrize(("kind", "lost"), [("ddp", 0), ("fsdp", 1)])
def test_a_lost_process_costs_one_interval_at_most(folder, kind, lost, wait_until, capsys, monkeypatch):
    out = f"lost-{kind}"
    with torchrun(*endless(folder, out, "--parallel", kind)) as started:
        wait_until(lambda: saved_step(folder / out) >= 3 or started.poll() is not None, "a save", seconds=120)
        before = saved_step(folder / out)
        os.kill(children_of(started)[lost], signal.SIGKILL)
        _, errors = started.communicate(timeout=60)
    assert started.returncode != 0
    assert f"another process of this training was lost (noticed by process {1 - lost} of 2)" in errors
    assert "the same command goes on from the last save" in errors
    after = saved_step(folder / out)
    assert after >= before
    monkeypatch.setitem(RECIPES, "fast", {})  # as in the processes
    assert main([*endless(folder, out)[2:], "--steps", str(after + 2)]) == 0
    assert f"continuing {folder / out} after step {after:,}" in capsys.readouterr().out
    assert [event.step for event in load_checkpoint(folder / out).history] == list(range(after + 3))


def test_a_termination_saves_where_it_was(folder, wait_until):
    with torchrun(*endless(folder, "ended", "--parallel", "fsdp", "--eval-interval", "100000")) as started:
        wait_until(lambda: saved_step(folder / "ended") >= 0 or started.poll() is not None, "a save", seconds=120)
        started.send_signal(signal.SIGTERM)
        printed, errors = started.communicate(timeout=60)
    assert "the same command goes on from there" in printed, errors
    step = saved_step(folder / "ended")
    assert [event.step for event in load_checkpoint(folder / "ended").history] == list(range(step))


@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_wrong_in_the_first_process_is_raised_in_all(results, kind):
    assert [process[f"full disk, {kind}"] for process in results] == ["[Errno 28] no space left"] * 2


# --- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_cannot_be_shared_is_refused_once(results, kind):
    for rank, process in enumerate(results):
        refused = process[f"refused by process {rank}, {kind}"]
        assert refused["status"] == 2
        told = (
            "gpt: a batch of 6 rows cannot be cut into 4 equal parts "
            "(processes x gradient_accumulation_steps = 2 x 2); give a batch_size that is a multiple of 4\n"
        )
        assert refused["complained"] == ("" if rank else told)


@pytest.mark.parametrize("kind", KINDS)
def test_several_processes_need_torchrun(train, kind, capsys):
    assert train("never", "--parallel", kind) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gpt: --parallel {kind} is for processes that torchrun has started; start with `torchrun ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("parallel", "device", "message"),
    [
        ("none", "auto", "--parallel none is for one process, and 2 were started; choose ddp or fsdp"),
        ("tensor", "auto", "parallel is 'tensor'; choose one of none, ddp, fsdp"),
        ("ddp", "mps", "several processes cannot share the device mps; choose cuda, cpu or auto"),
        (None, "cuda", "this machine has no cuda device; choose auto or cpu"),
    ],
)
def test_what_was_started_has_to_fit(monkeypatch, parallel, device, message):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message), join(parallel, device):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="4 processes were started on a machine of 2 GPUs"), join(None, "auto"):
        pass


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"gradient_accumulation_steps": 0}, ValueError, "gradient_accumulation_steps is 0; give 1 or more"),
        ({"checkpoint_activations": "yes"}, TypeError, "checkpoint_activations is 'yes'; give True or False"),
    ],
)
def test_settings_outside_what_is_allowed(changes, error, message):
    with pytest.raises(error, match=message):
        TrainConfig(**changes)


def test_one_process_loads_nothing_that_only_several_need(folder):
    """Training loads PyTorch's compiler, and that loads FSDP and its tensors; before that, there is none of it."""
    code = (
        "import sys; from gpt.__main__ import main;"
        "print({f'torch.distributed.{name}' for name in ('fsdp', 'checkpoint', 'tensor')} & {*sys.modules});"
        f"main({endless(folder, 'light')[2:]!r} + ['--steps', '1']);"
        "print({'torch.distributed.checkpoint'} & {*sys.modules})"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = finished.stdout.splitlines()
    assert lines[0] == lines[-1] == "set()"
