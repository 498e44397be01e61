"""`python -m gpt`: a run from end to end, and every bad input answered in one sentence."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpt import Trainer, load_checkpoint, load_corpus
from gpt.__main__ import main
from gpt.bench import BENCHMARKS, cache
from gpt.training.group import Group

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    *("--num-layers", "1", "--num-heads", "2", "--embed-size", "16", "--context-length", "16"),
    *("--batch-size", "2", "--eval-interval", "3", "--device", "cpu"),
]


@pytest.fixture
def text_file(tmp_path, tiny_text):
    path = tmp_path / "text.txt"
    path.write_text(tiny_text)
    return path


@pytest.fixture
def run_train(text_file, tmp_path):
    """`run_train(*options)`: train on the text file into the folder `out`; the exit status."""

    def run(*options, out="out"):
        return main(["train", "--corpus", str(text_file), "--out", str(tmp_path / out), *SMALL, *options])

    return run


def answered(capsys, message: str) -> None:
    """What was wrong is said in one line on standard error, without a traceback."""
    error = capsys.readouterr().err.strip()
    last = error.splitlines()[-1]
    assert last.startswith("gpt: ")
    assert message in last
    assert "Traceback" not in error
    assert error.count("gpt: ") == 1


def test_train_then_generate(run_train, tmp_path, capsys):
    assert run_train("--variant", "modern", "--steps", "6") == 0
    printed = capsys.readouterr().out
    for line in ("modern: ", "changes from GPT-2: rotary positions, 1 KV head for 2 query heads, window of 2"):
        assert line in printed
    for step in (0, 3, 6):
        assert f"step {step}: " in printed
    assert "best validation loss" in printed
    checkpoint = load_checkpoint(tmp_path / "out")
    assert [event.step for event in checkpoint.history] == list(range(7))
    assert checkpoint.corpus["name"] == "text.txt"
    arguments = ["generate", "--model", str(tmp_path / "out"), "--prompt", "The dog", "--max-new-tokens", "20"]
    texts = []
    for seed in ("1", "1", "2"):
        assert main([*arguments, "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert all(text.startswith("The dog") and len(text) == len("The dog") + 20 + 1 for text in texts)
    assert texts[0] == texts[1] != texts[2]
    assert main([*arguments, "--temperature", "0", "--top-k", "3", "--top-p", "0.9"]) == 0


def test_byte_pairs_of_a_small_text(run_train, text_file, tmp_path, capsys):
    """With their bits per character wherever a loss is told, as the corpus computes them."""
    pairs = ("--tokenizer", "bpe", "--vocab-size", "300", "--steps", "3")
    assert run_train(*pairs, "--final") == 0
    printed = capsys.readouterr().out
    checkpoint, corpus = load_checkpoint(tmp_path / "out"), load_corpus(text_file, 300)
    assert checkpoint.config.vocab_size == corpus.tokenizer.vocab_size > 256
    assert checkpoint.corpus == corpus.about
    loss = checkpoint.result["validation_loss"]
    bits = loss / math.log(2) * corpus.tokens_per_character
    assert f"over the whole validation text {loss:.3f} ({bits:.3f} bits per character); saved in" in printed
    assert printed.count("bits per character") == 3  # at steps 0 and 3, and at the end
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"**{loss:.4f} nats per token**, {bits:.4f} bits per character (95 %" in card
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert main(["generate", "--model", str(tmp_path / "out"), "--max-new-tokens", "5"]) == 0
    assert run_train(*pairs[:2], "--vocab-size", "256") == 2
    answered(capsys, "the vocabulary size is 256; give 257 to 200,000 tokens")
    assert run_train("--steps", "3") == 2
    answered(capsys, "out holds a model of another configuration")


def test_each_option_reaches_the_model(run_train, tmp_path):
    options = "--steps 1 --window-size 5 --num-kv-heads 1 --positions alibi --dropout 0.1 --no-causal-mask --seed 3"
    assert run_train(*options.split(), "--recipe", "nanogpt", "--learning-rate", "0.002", "--final") == 0
    checkpoint = load_checkpoint(tmp_path / "out")
    config, training = checkpoint.config, checkpoint.train_config
    assert (config.window_size, config.num_kv_heads, config.positions) == (5, 1, "alibi")
    assert (config.dropout, config.causal) == (0.1, False)
    assert (training.seed, training.schedule, training.learning_rate) == (3, "cosine", 0.002)
    assert training.matrix_learning_rate is None


def test_an_interrupted_run_is_continued_bit_for_bit(run_train, tmp_path, monkeypatch, capsys):
    """The same command again goes on, and ends in the same weights as one that was never interrupted."""
    assert run_train("--steps", "8", "--dropout", "0.1", out="through") == 0
    update = Trainer._update

    def interrupted(trainer):
        if trainer.step == 5:
            signal.raise_signal(signal.SIGINT)
        return update(trainer)

    monkeypatch.setattr(Trainer, "_update", interrupted)
    assert run_train("--steps", "8", "--dropout", "0.1") == 130
    assert "after step 5; the same command goes on from there" in capsys.readouterr().out
    monkeypatch.undo()
    assert run_train("--steps", "8", "--dropout", "0.1") == 0
    assert "continuing" in capsys.readouterr().out
    for name in ("model.safetensors", "training.safetensors"):
        tensors = [load_file(tmp_path / folder / name) for folder in ("through", "out")]
        assert tensors[0].keys() == tensors[1].keys()
        assert all(torch.equal(tensors[0][tensor], tensors[1][tensor]) for tensor in tensors[0])
    history = load_checkpoint(tmp_path / "out").history
    assert [event.step for event in history] == list(range(9))


def test_fewer_steps_than_were_made_are_refused(run_train, tmp_path, capsys):
    assert run_train("--steps", "6") == 0
    assert run_train("--steps", "3") == 2
    answered(capsys, "has made 6 steps already, and 3 are asked for; give more --steps, or choose another --out")
    assert load_checkpoint(tmp_path / "out").history[-1].step == 6


def test_more_steps_may_be_asked_for(run_train, tmp_path):
    assert run_train("--steps", "3") == 0
    assert run_train("--steps", "6") == 0
    assert [event.step for event in load_checkpoint(tmp_path / "out").history] == list(range(7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "rotary"], "holds a model of another configuration"),
        (["--embed-size", "32"], "holds a model of another configuration"),
        (["--batch-size", "3"], "was trained with another batch_size"),
        (["--seed", "5"], "was trained with another seed"),
    ],
)
def test_another_run_is_not_continued(run_train, capsys, options, message):
    assert run_train("--steps", "1") == 0
    assert run_train("--steps", "2", *options) == 2
    answered(capsys, message)


def test_another_text_is_not_continued(run_train, text_file, tiny_text, capsys):
    assert run_train("--steps", "1") == 0
    text_file.write_text(tiny_text[::-1])
    assert run_train("--steps", "2") == 2
    answered(capsys, "was trained on another text (text.txt); choose another --out")


def test_a_final_checkpoint_is_not_continued(run_train, tmp_path, capsys):
    assert run_train("--steps", "1", "--final") == 0
    assert not (tmp_path / "out" / "training.safetensors").exists()
    assert run_train("--steps", "2") == 2
    answered(capsys, "was saved with --final and cannot be continued; choose another --out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "gpt3"], "there is no variant 'gpt3'; choose one of gpt2, rotary"),
        (["--num-heads", "3"], "embed_size (16) must be divisible by num_heads (3)"),
        (["--num-heads", "0"], "num_heads is 0; give 1 or more"),
        (["--num-kv-heads", "4"], "num_heads (2) must be divisible by num_kv_heads (4)"),
        (["--window-size", "0"], "window_size is 0; give 1 or more"),
        (["--variant", "rotary", "--num-heads", "16"], "must be even; 16 / 16 = 1"),
        (["--dropout", "nan"], "dropout is nan; give a finite number"),
        (["--steps", "0"], "max_steps is 0; give 1 or more"),
        (["--learning-rate", "-1"], "learning_rate is -1.0; give 0 or more"),
        (["--seed", "-1"], "seed is -1; give 0 or more"),
        (["--corpus", "nowhere.txt"], "there is no corpus or text file 'nowhere.txt'"),
        (["--context-length", "5000"], "a context of 5000 needs at least 5001; give a longer text or a shorter"),
        (["--learning-rate", "1e9", "--matrix-learning-rate", "1e9", "--steps", "200"], "try a lower learning rate"),
    ],
)
def test_bad_training_input_is_answered_in_a_sentence(run_train, capsys, options, message):
    assert run_train(*options) == 2
    answered(capsys, message)


def test_several_processes_do_not_share_a_pipe(run_train, monkeypatch, capsys):
    monkeypatch.setattr("gpt.__main__.join", lambda *_: contextlib.nullcontext(Group(0, 2)))
    assert run_train("--corpus", "-") == 2
    answered(capsys, "- can be read once, and here are 2 processes; give a text file")


@pytest.mark.parametrize(
    ("chart", "message"),
    [
        ("loss.jpg", "'loss.jpg' does not end in .png or .svg; name the picture with one of these endings"),
        ("nowhere/loss.png", "for the picture loss.png; make it, or choose another"),
        ("text.txt/loss.png", "for the picture loss.png; make it, or choose another"),
    ],
)
def test_a_chart_that_cannot_be_written_is_refused_before_the_training(run_train, tmp_path, capsys, chart, message):
    assert run_train("--steps", "3", "--chart", str(tmp_path / chart)) == 2
    answered(capsys, message)
    assert not (tmp_path / "out").exists()


def test_a_chart_may_lie_in_the_folder_of_the_training(run_train, tmp_path):
    assert run_train("--steps", "3", "--chart", str(tmp_path / "out" / "loss.png")) == 0
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "'text.txt' holds no text; give a text of at least two different characters"),
        ("aaaaaaaa" * 100, "'text.txt' holds only the character 'a'"),
    ],
)
def test_empty_and_one_character_texts(run_train, text_file, capsys, content, message):
    text_file.write_text(content)
    assert run_train("--steps", "1") == 2
    answered(capsys, message)


def test_a_folder_that_is_something_else_is_left_alone(run_train, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "chapter1.txt").write_text("years of work")
    assert run_train("--steps", "1") == 2
    answered(capsys, "exists and is not a checkpoint")
    assert (tmp_path / "out" / "chapter1.txt").read_text() == "years of work"


@pytest.fixture
def model_folder(run_train, tmp_path, capsys):
    assert run_train("--steps", "1") == 0
    capsys.readouterr()
    return tmp_path / "out"


def test_without_a_prompt_a_model_that_knows_no_line_break_begins_by_itself(run_train, text_file, tmp_path, capsys):
    text_file.write_text("ba ab b " * 100)
    assert run_train("--steps", "1") == 0
    capsys.readouterr()
    assert main(["generate", "--model", str(tmp_path / "out"), "--max-new-tokens", "9"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(" ")
    assert len(printed) == 1 + 9 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "Zoë!"], "has never seen 'Z' 'ë' '!'; leave these characters out"),
        (["--prompt", ""], "the prompt is empty"),
        (["--temperature", "-1"], "temperature is -1.0; give 0"),
        (["--temperature", "nan"], "temperature is nan; give a finite number"),
        (["--top-k", "0"], "top_k is 0; give 1 or more"),
        (["--top-p", "1.5"], "top_p is 1.5; it is a probability"),
        (["--max-new-tokens", "0"], "max_new_tokens is 0; give 1 or more"),
        (["--seed", "-3"], "seed is -3; give 0 or more"),
    ],
)
def test_bad_generation_input_is_answered_in_a_sentence(model_folder, capsys, options, message):
    assert main(["generate", "--model", str(model_folder), *options]) == 2
    answered(capsys, message)


def test_damaged_checkpoints_are_answered_in_a_sentence(model_folder, run_train, tmp_path, capsys):
    assert main(["generate", "--model", str(tmp_path)]) == 2
    answered(capsys, "is this a checkpoint folder?")
    weights = model_folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])
    assert main(["generate", "--model", str(model_folder)]) == 2
    answered(capsys, "model.safetensors is damaged")
    weights.write_bytes(whole)
    (model_folder / "training.safetensors").write_bytes(whole)  # sound, and not a training state
    assert run_train("--steps", "3") == 2
    answered(capsys, "training.safetensors")


def test_bench_prints_a_table_and_a_line_of_json(monkeypatch, capsys):
    tiny = cache.Setting(num_layers=1, num_heads=2, embed_size=8, num_kv_heads=1, window_size=4, length=8)
    monkeypatch.setattr(cache, "QUICK", tiny)
    assert main(["bench", "cache", "--quick"]) == 0
    printed = capsys.readouterr()
    *table, line = printed.out.splitlines()
    assert json.loads(line)["cache"]["ratio"] == 4
    assert table[0].startswith("CPU ")
    assert table[1].startswith("computes  with ")
    assert table[2].startswith("versions  Python ")
    assert "cache 128 bytes 512 bytes 4 ± 0% = 4 met" in [" ".join(row.split()) for row in table]
    assert "bench: cache: " in printed.err


@pytest.mark.parametrize(
    ("arguments", "names", "quick"),
    [
        (["all"], [*BENCHMARKS], False),
        (["all", "cache", "--quick"], [*BENCHMARKS], True),
        (["many", "cache", "many"], ["many", "cache"], False),
    ],
)
def test_bench_runs_what_is_named(monkeypatch, capsys, arguments, names, quick):
    asked = []
    monkeypatch.setattr("gpt.bench.report.measure", lambda names, quick: asked.append((names, quick)) or [])
    assert main(["bench", *arguments]) == 0
    assert asked == [(names, quick)]
    assert capsys.readouterr().out.splitlines()[-1] == "{}"


@pytest.mark.parametrize(("arguments", "message"), [(["fly"], "invalid choice: 'fly' (choose from"), ([], "required")])
def test_a_benchmark_that_is_not_there(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["generate", "--help"], ["bench", "--help"]])
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "usage: python -m gpt" in capsys.readouterr().out


def test_as_a_program():
    finished = subprocess.run(
        [sys.executable, "-m", "gpt", "generate", "--model", "nowhere"], cwd=ROOT, capture_output=True, text=True
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.splitlines() == [
        "gpt: there is no checkpoint folder 'nowhere'; `python -m gpt train --out` makes one"
    ]


def test_as_programs_whose_output_nobody_reads_to_its_end(text_file, tmp_path):
    """What `| head` takes away from a training is its output alone; and no character ends anything."""
    text_file.write_text("→ 中文 🙂 und Übermut\n" * 100, encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "gpt"]
    train = shlex.join([*command, "train", "--corpus", str(text_file), "--out", str(out), *SMALL, "--steps", "2000"])
    generate = shlex.join([*command, "generate", "--model", str(out), "--prompt", "→ 中", "--max-new-tokens", "99"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{train} 2>&- | head -1; echo $?; {generate} 2>&-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        encoding="cp1252",
    )
    first, status, begins, *_ = done.stdout.splitlines()
    assert first.startswith("gpt2: ")
    assert (status, done.returncode, done.stderr) == ("141", 0, "")
    assert begins.startswith("\\u2192 \\u4e2d")
    assert 0 < load_checkpoint(out).history[-1].step + 1 < 2000
