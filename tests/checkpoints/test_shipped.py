"""The models that ship: every card says what its folder holds; and how cards are made, compared and found wrong."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

from gpt import (
    CheckpointError,
    Corpus,
    CorpusUnavailable,
    Trainer,
    evaluate,
    list_checkpoints,
    load_checkpoint,
    load_corpus,
    save_checkpoint,
)
from gpt.__main__ import main
from gpt.checkpoints.card import measured_result
from gpt.checkpoints.folder import load_snapshot
from gpt.checkpoints.listing import TRAINED_MODELS, place_of
from gpt.checkpoints.shipped import SHIPPED, findings, training_arguments
from gpt.model.config import variant_name
from gpt.training.recipes import RECIPES, TrainConfig

FOLDER = Path(__file__).resolve().parents[2] / "trained_models"
SMALL = [
    *("--num-layers", "1", "--num-heads", "2", "--embed-size", "16", "--context-length", "16", "--steps", "6"),
    *("--batch-size", "2", "--eval-interval", "3", "--device", "cpu", "--variant", "rotary"),
]


@pytest.fixture
def finished(tmp_path, tiny_text):
    """A folder that `train --final` made, and the corpus it learned from."""
    path = tmp_path / "text.txt"
    path.write_text(tiny_text)
    folder = tmp_path / "small"
    given = ["train", "--corpus", str(path), "--out", str(folder), *SMALL, "--snapshots", "1", "4", "--final"]
    assert main(given) == 0
    return folder, load_corpus(path), given


# --- Cards ----------------------------------------------------------------------------------------------------------


def test_a_finished_model_has_a_result_and_its_snapshots(finished):
    folder, corpus, given = finished
    checkpoint = load_checkpoint(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "history.jsonl",
        "model.safetensors",
        "snapshot-000001.safetensors",
        "snapshot-000004.safetensors",
        "vocabulary.json",
    ]
    assert checkpoint.snapshot_steps == (1, 4)
    assert checkpoint.result["validation_loss"] == pytest.approx(evaluate(checkpoint.model, corpus), abs=1e-6)
    assert len(checkpoint.result["samples"]) == 3
    assert checkpoint.result["command"] == "python -m gpt " + " ".join(given)
    card = (folder / "README.md").read_text()
    for said in (
        "| parameters | ",
        "| positions | rotary |",
        "95 % confidence interval",
        f"{checkpoint.result['validation_loss']:.4f}",
        checkpoint.result["command"],
        checkpoint.result["weights_sha256"],
        corpus.sha256,
        "Seed 3, temperature 0.8:",
        "It knows",
    ):
        assert said in card


def test_a_finished_model_is_not_continued(finished, capsys):
    _, _, given = finished
    assert main(given) == 2
    assert "was saved with --final and cannot be continued" in capsys.readouterr().err


def test_right_cards_are_found_right(finished, capsys):
    folder, corpus, _ = finished
    assert [finding.what for finding in findings(folder, corpus) if not finding.is_right] == []
    without_text = list(findings(folder, None))
    assert [finding.what for finding in without_text if finding.is_right is None] == ["loss"]
    assert main(["verify", str(folder)]) == 0  # its text is none of ours
    assert "not compared  loss: the text text.txt is not here" in capsys.readouterr().out


def test_a_folder_may_be_renamed(finished, tmp_path):
    folder, _, _ = finished
    renamed = shutil.copytree(folder, tmp_path / "another name")
    assert {finding.what for finding in findings(renamed, None) if finding.is_right is not True} == {"loss"}


def _other_weights(folder, corpus):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2:] = torch.tensor([0.5]).half().numpy().tobytes()
    path.write_bytes(content)


def _edited(name, old, new):
    def change(folder, corpus):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def _lower_loss(folder, corpus):
    path = folder / "config.json"
    description = json.loads(path.read_text())
    description["result"]["validation_loss"] -= 0.01
    path.write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (_other_weights, "checksum of the weights"),
        (_lower_loss, "loss"),
        (_edited("README.md", "nats per token", "bits per token"), "card"),
        (_edited("config.json", '"seed": 2', '"seed": 4'), "sample of seed 4"),
        (_edited("config.json", '"sha256": "', '"sha256": "0'), "checksum of the text"),
    ],
)
def test_wrong_cards_are_found_wrong(finished, damage, wrong, capsys):
    folder, corpus, _ = finished
    damage(folder, corpus)
    assert wrong in [finding.what for finding in findings(folder, corpus) if finding.is_right is False]
    if wrong not in ("loss", "checksum of the text"):  # for which the text is needed
        assert main(["verify", str(folder)]) == 2
        assert "differ from what the cards say" in capsys.readouterr().err


def test_a_checkpoint_without_a_result_has_nothing_to_compare(tmp_path, trainable, corpus, capsys):
    save_checkpoint(tmp_path / "m", trainable(), corpus.tokenizer)
    with pytest.raises(CheckpointError, match="holds no result to compare"):
        list(findings(tmp_path / "m", corpus))
    assert main(["verify", str(tmp_path / "m")]) == 2
    assert main(["verify", str(tmp_path / "nothing")]) == 2


def test_results_do_not_depend_on_any_random_stream(trainable, corpus):
    model = trainable()
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(measured_result(model, corpus, command=""))
    assert results[0] == results[1]


# --- The models that ship -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shakespeare() -> Corpus | None:
    try:
        return load_corpus("shakespeare")
    except CorpusUnavailable:
        return None


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_has_the_weights_of_its_card(name, shakespeare):
    checksum = next(one for one in findings(FOLDER / name, shakespeare) if one.what == "checksum of the weights")
    assert checksum.is_right


@pytest.mark.parametrize("name", [SHIPPED[0], SHIPPED[-1]])  # `python -m gpt verify` does it for all of them
def test_a_shipped_model_is_as_its_card_says(name, shakespeare):
    compared = list(findings(FOLDER / name, shakespeare))
    assert [finding for finding in compared if finding.is_right is False] == []
    assert {"checksum of the weights", "card", "sample of seed 1"} <= {finding.what for finding in compared}


def test_shipped_models_are_matched_and_small():
    assert list_checkpoints(FOLDER) == sorted(SHIPPED)
    checkpoints = {name: load_checkpoint(FOLDER / name) for name in SHIPPED}
    assert {name: variant_name(checkpoint.config) for name, checkpoint in checkpoints.items()} == {
        name: name for name in SHIPPED
    }
    first = checkpoints["gpt2"]
    for name, checkpoint in checkpoints.items():
        assert checkpoint.train_config == first.train_config == TrainConfig(**RECIPES["showcase"])
        assert checkpoint.corpus == first.corpus
        assert checkpoint.config.context_length == 256
        assert checkpoint.history[-1].step == checkpoint.train_config.max_steps
        assert checkpoint.result["command"] == "python -m gpt " + " ".join(training_arguments(name, "trained_models"))
        assert checkpoint.snapshot_steps
        assert load_snapshot(FOLDER / name, checkpoint.snapshot_steps[0])
    sizes = [(FOLDER / name / "model.safetensors").stat().st_size for name in SHIPPED]
    assert max(sizes) < 10_000_000
    assert sum(sizes) < 45_000_000


# --- Training them again --------------------------------------------------------------------------------------------


def test_reproduce_goes_on_and_skips_what_is_finished(tmp_path, monkeypatch, tiny_text, capsys):
    """Every model that ships, cut down: interrupted after the first evaluation of the second, then restored."""
    text = tmp_path / "text.txt"
    text.write_text(tiny_text)
    monkeypatch.setattr(
        "gpt.__main__.training_arguments",
        lambda name, parent: [
            *("train", "--corpus", str(text), *SMALL, "--variant", name, "--snapshots", "1", "--final"),
            *("--out", str(parent / name)),
        ],
    )
    out = tmp_path / "again"
    assert main(["reproduce", "gpt2", "--out", str(out)]) == 0
    before = (out / "gpt2" / "model.safetensors").read_bytes()
    update = Trainer._update

    def interrupted(trainer):
        if trainer.model.config.positions == "rotary" and trainer.step == 3:
            signal.raise_signal(signal.SIGINT)
        update(trainer)

    monkeypatch.setattr(Trainer, "_update", interrupted)
    assert main(["reproduce", "--out", str(out)]) == 130
    assert "gpt2 is finished" in capsys.readouterr().out
    assert (out / "rotary" / "training.safetensors").is_file()
    monkeypatch.setattr(Trainer, "_update", update)
    assert main(["reproduce", "--out", str(out)]) == 0
    assert "continuing" in capsys.readouterr().out
    assert (out / "gpt2" / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == sorted(SHIPPED)
    for name in SHIPPED:
        checkpoint = load_checkpoint(out / name)
        assert checkpoint.result
        assert checkpoint.snapshot_steps == (1,)
        assert [event.step for event in checkpoint.history] == list(range(7))
        assert not (out / name / "training.safetensors").exists()


def test_only_models_that_ship_are_reproduced(capsys):
    assert main(["reproduce", "gpt5"]) == 2
    assert "no model 'gpt5' ships; choose from gpt2, rotary" in capsys.readouterr().err


def test_a_model_that_ships_has_a_short_name(tmp_path, monkeypatch):
    assert place_of("shipped/rotary") == TRAINED_MODELS / "rotary"
    assert place_of(tmp_path / "shipped" / "rotary") == tmp_path / "shipped" / "rotary"
    with pytest.raises(CheckpointError, match="no model 'none' ships; choose from gpt2, "):
        place_of("shipped/none")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shipped" / "rotary").mkdir(parents=True)  # a folder of one's own goes first
    assert place_of("shipped/rotary") == Path("shipped/rotary")
