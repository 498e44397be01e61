"""`python -m gpt train --from`: a training that begins from the weights of a checkpoint."""

from __future__ import annotations

import io
import signal
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpt import GPT2, BPETokenizer, CharTokenizer, Corpus, Trainer, evaluate, load_checkpoint, save_checkpoint
from gpt.__main__ import main
from gpt.checkpoints.folder import read_description
from gpt.model.config import make_config

SMALL = ("--batch-size", "2", "--eval-interval", "3", "--steps", "6", "--device", "cpu", "--seed", "5")


@pytest.fixture
def before(tmp_path: Path, tiny_text: str) -> Path:
    """A checkpoint that knows more characters than the text has, in another order."""
    tokenizer = CharTokenizer(sorted({*tiny_text, "!", "Z"}, reverse=True))
    config = make_config("modern", tokenizer.vocab_size, embed_size=16, num_heads=2, num_layers=1, context_length=16)
    model = GPT2.from_config(config)
    model.initialize(3)
    save_checkpoint(tmp_path / "before", model, tokenizer)
    return tmp_path / "before"


@pytest.fixture
def go_on(before: Path, tiny_text: str, tmp_path: Path) -> Callable[..., int]:
    """`go_on(*options, out="after")`: go on from `before` with a text; the exit status."""
    text = tmp_path / "text.txt"
    text.write_text(tiny_text)

    def run(*options: str, out: str = "after") -> int:
        asked = ["--from", str(before), "--corpus", str(text), "--out", str(tmp_path / out)]
        return main(["train", *asked, *SMALL, *options])

    return run


def test_a_training_begins_from_the_weights_and_the_vocabulary_of_a_checkpoint(go_on, before, tiny_text, tmp_path):
    assert go_on("--variant", "modern", "--embed-size", "16", "--num-kv-heads", "1") == 0
    old, new = load_checkpoint(before), load_checkpoint(tmp_path / "after")
    assert new.config == old.config
    assert new.tokenizer.itos == old.tokenizer.itos
    ids = torch.tensor(old.tokenizer.encode(tiny_text))
    text = Corpus.from_ids("text.txt", old.tokenizer, ids, "")
    assert new.history[0].validation_loss == pytest.approx(evaluate(old.model, text), abs=1e-6)
    assert new.history[-1].validation_loss < new.history[0].validation_loss
    assert new.begins_from["name"] == "before"
    card = (tmp_path / "after" / "README.md").read_text()
    assert f"| goes on from | before (SHA-256 of its weights `{new.begins_from['sha256']}`) |" in card
    assert old.begins_from == {}
    assert "goes on from" not in (before / "README.md").read_text()


def test_the_zip_file_of_a_checkpoint_is_the_same_beginning(go_on, before, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in before.iterdir():
            archive.write(path, f"before/{path.name}")
    (tmp_path / "before.zip").write_bytes(packed.getvalue())
    assert go_on(out="one") == go_on("--from", str(tmp_path / "before.zip"), out="two") == 0
    one, two = load_checkpoint(tmp_path / "one"), load_checkpoint(tmp_path / "two")
    assert one.begins_from["sha256"] == two.begins_from["sha256"]
    assert [event.train_loss for event in one.history] == [event.train_loss for event in two.history]


def test_a_card_of_a_finished_one_says_that_it_has_read_more(go_on, tmp_path):
    assert go_on("--final") == 0
    card = (tmp_path / "after" / "README.md").read_text()
    assert "It has read text.txt and what before had read before it." in card
    assert f"--from {tmp_path / 'before'}" in read_description(tmp_path / "after")["result"]["command"]


def test_it_is_continued_bit_for_bit(go_on, tmp_path, monkeypatch, capsys):
    assert go_on(out="through") == 0
    update = Trainer._update

    def interrupted(trainer):
        if trainer.step == 4:
            signal.raise_signal(signal.SIGINT)
        return update(trainer)

    monkeypatch.setattr(Trainer, "_update", interrupted)
    assert go_on() == 130
    monkeypatch.undo()
    assert go_on() == 0
    assert "continuing" in capsys.readouterr().out
    for name in ("model.safetensors", "training.safetensors"):
        one, other = (load_file(tmp_path / folder / name) for folder in ("through", "after"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[tensor], other[tensor]) for tensor in one)


def test_another_beginning_is_not_continued(go_on, before, tmp_path, capsys):
    assert go_on() == 0
    found = load_checkpoint(before)
    found.model.initialize(4)
    save_checkpoint(before, found.model, found.tokenizer)
    assert go_on("--steps", "9") == 2
    assert "was begun from the weights of before (" in capsys.readouterr().err
    assert main(["train", "--from", str(before), "--out", str(before), "--corpus", str(tmp_path / "text.txt")]) == 2
    assert "was trained on another text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--embed-size", "32"), "--embed-size 32 does not fit the model to begin from (embed_size 16)"),
        (("--variant", "gpt2"), "--variant gpt2 does not fit the model to begin from (variant modern)"),
        (("--no-causal-mask",), "--no-causal-mask does not fit the model to begin from (causal True)"),
        (("--dropout", "0.1"), "--dropout 0.1 does not fit the model to begin from (dropout 0.0)"),
        (("--from", "nowhere"), "there is no checkpoint folder 'nowhere'"),
    ],
)
def test_what_contradicts_the_checkpoint_is_refused(go_on, tmp_path, capsys, options, message):
    assert go_on(*options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "after" / "config.json").exists()


def test_a_text_with_unknown_characters_is_refused(go_on, tiny_text, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(tiny_text + "äöü")
    assert go_on() == 2
    error = capsys.readouterr().err
    assert "the model has no tokens for 'ä' 'ö' 'ü', and 'text.txt' holds them; choose a text without" in error


def test_byte_pairs_cover_every_text(tiny_text, corpus):
    tokenizer = BPETokenizer.from_texts([tiny_text], 270)
    written = corpus.written_with(tokenizer)
    assert tokenizer.decode([*written.train_ids.tolist(), *written.validation_ids.tolist()]) == tiny_text
    assert written.sha256 == corpus.sha256
    assert corpus.written_with(CharTokenizer(corpus.tokenizer.itos)) is corpus
    prepared = replace(corpus, train_ids=corpus.train_ids.to(torch.uint8))
    with pytest.raises(ValueError, match="was prepared with another vocabulary than the model's; give the text itself"):
        prepared.written_with(tokenizer)
