"""What two processes that torchrun has started do for `test_distributed.py`; the first writes what came out.

All of it happens in one start, because a start takes longer than any of it.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gpt.__main__ as command_line
from gpt import GPT2, RECIPES, Corpus, GPTConfig, TrainConfig, Trainer
from gpt.training.distributed import Replicas, Shards, join
from gpt.training.group import Group

SIZE = {"embed_size": 16, "num_heads": 2, "hidden_size": 32, "num_layers": 2, "context_length": 16}
STEADY = {"batch_size": 8, "eval_windows": 4, "device": "cpu", "precision": "float32"}
SETTINGS: dict[str, tuple[float, dict[str, object]]] = {  # dropout, and the training
    "fifty steps": (
        0.0,
        {
            **{"max_steps": 50, "eval_interval": 10, "sample_length": 8, "gradient_clip": 0.5},
            # Rates at which a difference in rounding does not grow tenfold every ten steps, as it does at full rates.
            **{"learning_rate": 2e-3, "matrix_learning_rate": 0.02, "position_learning_rate": 5e-3},
        },
    ),
    "all at once": (
        0.0,
        {
            **{"max_steps": 8, "eval_interval": 4, "sample_length": 0, "ema_decay": 0.6},
            **{"gradient_clip": 0.0, "gradient_accumulation_steps": 2, "checkpoint_activations": True},
        },
    ),
    "dropout": (0.3, {"max_steps": 3, "eval_interval": 3, "sample_length": 0}),
    "the same dropout": (0.3, {"max_steps": 3, "eval_interval": 3, "sample_length": 0}),
}
TRAIN = [
    *("--num-layers", "1", "--num-heads", "2", "--embed-size", "16", "--context-length", "16", "--steps", "9"),
    *("--batch-size", "4", "--eval-interval", "3", "--device", "cpu", "--precision", "float32"),
]
AVERAGING = {"ema_decay": 0.6, "sample_length": 8}  # the recipe of all runs of the command line here


def losses(corpus: Corpus, name: str, group: Group | None = None) -> list[list[float | str | None]]:
    """Train by one of the `SETTINGS`; of every event the losses, the sample, the gradient's norm and the accuracy."""
    dropout, settings = SETTINGS[name]
    model = GPT2.from_config(GPTConfig(corpus.tokenizer.vocab_size, **SIZE, dropout=dropout))
    trainer = Trainer(model, corpus, TrainConfig(**STEADY, **settings), group)
    return [
        [event.train_loss, event.validation_loss, event.sample, event.gradient_norm, event.validation_accuracy]
        for event in trainer.events()
    ]


def run_command(group: Group, *options: str) -> dict[str, object]:
    """`python -m gpt train` in a group that is already there: what this process returned, printed and complained of."""
    command_line.join = lambda *_: contextlib.nullcontext(group)
    printed, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
        status = command_line.main(["train", *TRAIN, *options])
    group.stop_signal = group._agreed_signal = None
    return {"status": status, "printed": printed.getvalue(), "complained": complained.getvalue()}


def raised_when_asked(group: Group, corpus: Corpus) -> str:
    """What this process is told when the disk of the first is full."""

    def write(model: GPT2) -> None:
        raise OSError(28, "no space left")

    trainer = Trainer(GPT2(corpus.tokenizer.vocab_size, **SIZE), corpus, TrainConfig(**STEADY), group)
    try:
        group.ask_first(trainer.model, write)
    except OSError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def second_is_asked_to_stop(group: Group, step: int):
    """The second process gets a signal in the update that makes the model's `step`."""
    update = Trainer._update

    def interrupted(trainer: Trainer) -> None:
        if trainer.step == step - 1 and group.rank == 1:
            group.stop_signal = signal.SIGTERM
        update(trainer)

    Trainer._update = interrupted
    yield
    Trainer._update = update


def main(folder: Path) -> None:
    """Do it all; `folder` has text.txt and the runs that one process has begun."""
    text_file = folder / "text.txt"
    corpus = Corpus.from_text("tiny", text_file.read_text())
    RECIPES["fast"] = AVERAGING
    with join("ddp", "cpu") as replicas:
        assert type(replicas) is Replicas
        results: dict[str, object] = {}
        for kind, group in (
            ("ddp", replicas),
            ("fsdp", Shards(replicas.rank, replicas.size, replicas.device)),
        ):
            for name in SETTINGS:
                results[f"{name}, {kind}"] = losses(corpus, name, group)
            common = ("--corpus", str(text_file), "--out")
            with second_is_asked_to_stop(group, step=5):
                for out in ("two-one", "two-two"):
                    results[f"stopped {out}, {kind}"] = run_command(group, *common, str(folder / f"{kind}-{out}"))
            for out in ("one-two", "two-two"):
                results[f"continued {out}, {kind}"] = run_command(group, *common, str(folder / f"{kind}-{out}"))
            refused = run_command(
                group, *common, str(folder / "refused"), "--batch-size", "6", "--gradient-accumulation-steps", "2"
            )
            results[f"refused by process {group.rank}, {kind}"] = refused
            results[f"full disk, {kind}"] = raised_when_asked(group, corpus)
            results[f"final, {kind}"] = run_command(group, *common, str(folder / f"{kind}-final"), "--final")
        (folder / f"results-{replicas.rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
