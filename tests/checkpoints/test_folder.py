"""Checkpoint folders: exact round trips, whole or not at all, and every damage refused in a sentence."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt import CheckpointError, Corpus, Trainer, list_checkpoints, load_checkpoint, save_checkpoint
from gpt.__main__ import main
from gpt.checkpoints.folder import load_model, load_snapshot, load_training_state
from gpt.checkpoints.listing import snapshot_steps


@pytest.fixture
def trained(trainable, corpus, quick):
    """A trainer in the middle of its run, and its events."""
    trainer = Trainer(trainable("modern", num_kv_heads=1), corpus, quick(sample_length=6))
    events = [event for _, event in zip(range(6), trainer.events(), strict=False)]
    return trainer, events


@pytest.fixture
def saved(tmp_path, trained, corpus):
    """The folder of a finished checkpoint, alone in its parent."""
    trainer, events = trained
    folder = tmp_path / "models" / "small"
    about = {"name": corpus.name, "sha256": corpus.sha256}
    save_checkpoint(folder, trainer.model, corpus.tokenizer, history=events, train_config=trainer.config, corpus=about)
    return folder


def edit(path: Path, change) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refused(folder: Path, message: str) -> None:
    """Loading fails, in one sentence."""
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- Round trips ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_exactly(saved, trained, corpus, ids):
    trainer, events = trained
    checkpoint = load_checkpoint(saved)
    assert checkpoint.config == trainer.model.config == checkpoint.model.config
    assert checkpoint.train_config == trainer.config
    assert checkpoint.history == tuple(events)
    assert checkpoint.tokenizer.itos == corpus.tokenizer.itos
    assert checkpoint.corpus == {"name": "tiny", "sha256": corpus.sha256}
    assert not checkpoint.model.training
    for (name, weight), (_, loaded) in zip(
        trainer.model.named_parameters(), checkpoint.model.named_parameters(), strict=True
    ):
        assert torch.equal(weight, loaded), name
    assert torch.equal(checkpoint.model(ids(2, 9)[:, :1] * 0), trainer.model.eval()(ids(2, 9)[:, :1] * 0))


def test_every_kind_comes_back(tmp_path, kind, trainable, corpus):
    model = trainable(kind, dropout=0.1)
    save_checkpoint(tmp_path / "m", model, corpus.tokenizer)
    checkpoint = load_checkpoint(str(tmp_path / "m"))
    assert checkpoint.config == model.config
    assert checkpoint.history == ()
    assert checkpoint.train_config is None
    assert checkpoint.corpus == {}
    assert checkpoint.model.output_layer.weight is checkpoint.model.token_embedding.weight
    prompt = corpus.train_ids[:9][None]
    assert torch.equal(checkpoint.model(prompt), model.eval()(prompt))


def test_half_precision_is_half_the_size_and_comes_back_rounded(tmp_path, trainable, corpus):
    model = trainable("modern")
    for dtype in (torch.float32, torch.float16):
        save_checkpoint(tmp_path / str(dtype), model, corpus.tokenizer, dtype=dtype)
    sizes = [(tmp_path / str(dtype) / "model.safetensors").stat().st_size for dtype in (torch.float16, torch.float32)]
    assert sizes[0] < 0.7 * sizes[1]
    loaded = dict(load_checkpoint(tmp_path / "torch.float16").model.named_parameters())
    for name, weight in model.named_parameters():
        assert torch.equal(loaded[name], weight.half().float()), name


def test_a_weight_too_large_for_half_precision_is_refused_when_saved(tmp_path, trainable, corpus):
    model = trainable()
    with torch.no_grad():
        model.final_norm.bias[0] = 1e6
    with pytest.raises(CheckpointError, match=r"final_norm\.bias has values that are not finite .* torch\.float16"):
        save_checkpoint(tmp_path / "half", model, corpus.tokenizer, dtype=torch.float16)
    assert not (tmp_path / "half").exists()
    save_checkpoint(tmp_path / "whole", model, corpus.tokenizer)
    load_checkpoint(tmp_path / "whole")


def test_snapshots_come_back_within_half_a_scale(tmp_path, trained, corpus):
    trainer, _ = trained
    weights = trainer.copy_of_weights()
    kept = {30: weights, 7: {name: weight * 2 for name, weight in weights.items()}}
    folder = tmp_path / "m"
    save_checkpoint(folder, trainer.model, corpus.tokenizer, snapshots=kept)
    assert load_checkpoint(folder).snapshot_steps == (7, 30)
    for step, expected in kept.items():
        snapshot = load_snapshot(folder, step)
        assert snapshot.keys() == expected.keys()
        for name, weight in expected.items():
            largest = weight.abs().amax(dim=-1, keepdim=True) if weight.ndim > 1 else torch.zeros(1)
            assert ((snapshot[name] - weight).abs() <= largest / 254 + 1e-7).all(), name
        trainer.model.load_weights(snapshot)
    with pytest.raises(CheckpointError, match=r"no snapshot of step 8; there are \[7, 30\]"):
        load_snapshot(folder, 8)
    save_checkpoint(folder, trainer.model, corpus.tokenizer)
    assert load_checkpoint(folder).snapshot_steps == ()


def test_a_damaged_snapshot_is_refused(tmp_path, trainable, corpus, quick):
    model = trainable()
    save_checkpoint(
        tmp_path / "m", model, corpus.tokenizer, snapshots={3: Trainer(model, corpus, quick()).copy_of_weights()}
    )
    path = tmp_path / "m" / "snapshot-000003.safetensors"
    for content, message in (
        (path.read_bytes()[:-9], "damaged"),
        (b"", "damaged"),
        ((tmp_path / "m" / "model.safetensors").read_bytes(), "does not fit config.json"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            load_snapshot(tmp_path / "m", 3)


def test_the_files_are_those_of_the_design(saved):
    assert sorted(contents(saved)) == [
        "README.md",
        "config.json",
        "history.jsonl",
        "model.safetensors",
        "vocabulary.json",
    ]
    assert len((saved / "history.jsonl").read_text().splitlines()) == 6
    card = (saved / "README.md").read_text()
    assert "`modern`" in card
    assert "rotary positions, 1 KV head for 2 query heads, window of" in card
    assert list_checkpoints(saved.parent) == ["small"]


def test_no_file_is_a_pickle_and_none_is_read(saved, monkeypatch):
    for content in contents(saved).values():
        with pytest.raises(Exception, match=r".*"):
            pickle.loads(content)

    def refuse(*_, **__):
        pytest.fail("nothing is unpickled here")

    (saved / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    load_checkpoint(saved)


def test_weights_can_be_read_by_others(saved):
    """The tied output weight is stored once."""
    tensors = load_file(saved / "model.safetensors")
    assert set(tensors) == {name for name, _ in load_checkpoint(saved).model.named_parameters()}


def test_an_unfinished_run_goes_on_bit_for_bit(tmp_path, trainable, trained, corpus, quick):
    trainer, _ = trained
    folder = tmp_path / "run"
    save_checkpoint(
        folder, trainer.model, corpus.tokenizer, train_config=trainer.config, training_state=trainer.state()
    )
    best = load_checkpoint(folder).model
    for name, weight in best.named_parameters():
        assert torch.equal(weight, trainer.best_weights[name])
    again = Trainer(trainable("modern", num_kv_heads=1), corpus, load_checkpoint(folder).train_config)
    again.load_state(load_training_state(folder))
    through = Trainer(trainable("modern", num_kv_heads=1), corpus, trainer.config)
    list(again.events())
    list(through.events())
    for mine, other in zip(again.model.parameters(), through.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert again.batches_digest == through.batches_digest


def test_a_finished_one_has_nothing_to_go_on_with(saved):
    assert load_training_state(saved) is None


def test_unicode_in_vocabulary_and_samples(tmp_path, trainable, trained):
    text = 'é\u2028\u2029\x85"\\\t中🙂' * 20
    corpus = Corpus.from_text("odd", text)
    model = trainable(vocab_size=corpus.tokenizer.vocab_size)
    history = [dataclasses.replace(event, sample=text) for event in trained[1]]
    save_checkpoint(tmp_path / "m", model, corpus.tokenizer, history=history)
    checkpoint = load_checkpoint(tmp_path / "m")
    assert checkpoint.tokenizer.itos == corpus.tokenizer.itos
    assert checkpoint.history == tuple(history)


# --- Whole or not at all --------------------------------------------------------------------------------------------


def test_saving_replaces_its_own_files_and_no_others(saved, trained, corpus):
    trainer, _ = trained
    (saved / "notes.txt").write_text("the user's")
    (saved / "plots").mkdir()
    (saved / "plots" / "loss.png").write_bytes(b"png")
    save_checkpoint(saved, trainer.model, corpus.tokenizer, training_state=trainer.state())
    save_checkpoint(saved, trainer.model, corpus.tokenizer)
    assert sorted(path.relative_to(saved).as_posix() for path in saved.rglob("*")) == [
        "README.md",
        "config.json",
        "history.jsonl",
        "model.safetensors",
        "notes.txt",
        "plots",
        "plots/loss.png",
        "vocabulary.json",
    ]
    assert (saved / "notes.txt").read_text() == "the user's"
    assert os.listdir(saved.parent) == ["small"]
    assert load_checkpoint(saved).history == ()


@pytest.mark.parametrize("fails_at", [1, 3, 5])
def test_a_write_that_fails_leaves_the_old_folder(saved, trained, corpus, monkeypatch, fails_at):
    before, calls = contents(saved), []

    def fsync(_):
        calls.append(1)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(saved, trained[0].model, corpus.tokenizer)
    assert contents(saved) == before
    assert os.listdir(saved.parent) == ["small"]
    monkeypatch.undo()
    new = saved.parent / "new"
    monkeypatch.setattr(os, "fsync", fsync)
    calls.clear()
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(new, trained[0].model, corpus.tokenizer)
    assert os.listdir(saved.parent) == ["small"]


def test_what_is_not_a_checkpoint_is_never_overwritten(tmp_path, trainable, corpus):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="exists and is not a checkpoint; choose another folder"):
        save_checkpoint(folder, trainable(), corpus.tokenizer)
    assert (folder / "chapter1.txt").read_text() == "years of work"
    empty = tmp_path / "empty"
    empty.mkdir()
    save_checkpoint(empty, trainable(), corpus.tokenizer)
    load_checkpoint(empty)
    (folder / "config.json").write_text('{"model_type": "gpt2"}')  # another tool's model
    with pytest.raises(CheckpointError, match="exists and is not a checkpoint; choose another folder"):
        save_checkpoint(folder, trainable(), corpus.tokenizer)
    assert sorted(path.name for path in folder.iterdir()) == ["chapter1.txt", "config.json"]


def test_a_file_in_the_folders_place_is_refused_in_a_sentence(tmp_path, trainable, corpus):
    (tmp_path / "notes").write_text("years of work")
    with pytest.raises(CheckpointError, match="exists and is not a checkpoint"):
        save_checkpoint(tmp_path / "notes", trainable(), corpus.tokenizer)
    assert (tmp_path / "notes").read_text() == "years of work"


# --- Refusals -------------------------------------------------------------------------------------------------------


def test_not_a_checkpoint(tmp_path):
    refused(tmp_path / "nowhere", "there is no checkpoint folder")
    refused(tmp_path, "config.json cannot be read .No such file.*is this a checkpoint folder")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    refused(tmp_path, "is of a model in the layout of transformers.* open its folder with load_pretrained")
    (tmp_path / "config.json").write_text("[]")
    refused(tmp_path, "does not say that this is a gpt-lab-1 checkpoint")


def test_a_folder_of_an_earlier_version_is_read_and_gets_the_new_name(saved, trained, corpus):
    """Its vocabulary was called tokenizer.json; a save replaces it, and leaves a file of that name that is not ours."""
    before = load_checkpoint(saved)
    (saved / "vocabulary.json").rename(saved / "tokenizer.json")
    assert load_checkpoint(saved).tokenizer.itos == before.tokenizer.itos
    (saved / "tokenizer.json").write_text("{}")
    refused(saved, "tokenizer.json is not sound: it is not a vocabulary")
    trainer, _ = trained
    save_checkpoint(saved, trainer.model, corpus.tokenizer)
    assert {"vocabulary.json", "tokenizer.json"} & contents(saved).keys() == {"vocabulary.json"}
    (saved / "tokenizer.json").write_text("the user's")
    save_checkpoint(saved, trainer.model, corpus.tokenizer)
    assert load_checkpoint(saved).tokenizer.itos == before.tokenizer.itos
    assert (saved / "tokenizer.json").read_text() == "the user's"


@pytest.mark.parametrize("name", ["model.safetensors", "vocabulary.json"])
def test_a_missing_file(saved, name):
    (saved / name).unlink()
    refused(saved, f"{name} cannot be read")


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000])
def test_json_that_is_not_or_goes_too_deep(saved, name, content):
    (saved / name).write_bytes(content)
    refused(saved, f"{name} is not JSON; the file is damaged")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
def test_truncated_weights(saved, share):
    content = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(content[: int(share * len(content))])
    refused(saved, "model.safetensors is damaged")


def test_weights_with_a_tail_or_an_absurd_header(saved):
    content = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(content + b"more")
    refused(saved, "model.safetensors is damaged")
    (saved / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + content[8:])
    refused(saved, "model.safetensors is damaged")
    deep = b"[" * 100_000
    (saved / "model.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)
    refused(saved, "model.safetensors is damaged")


def change_weights(saved, change):
    tensors = load_file(saved / "model.safetensors")
    change(tensors)
    save_file(tensors, saved / "model.safetensors")


def test_extra_and_missing_tensors(saved):
    whole = contents(saved)["model.safetensors"]
    change_weights(saved, lambda tensors: tensors.update(extra=torch.zeros(1)))
    refused(saved, "does not fit config.json: one has the tensor 'extra' and one has not")
    (saved / "model.safetensors").write_bytes(whole)
    change_weights(saved, lambda tensors: tensors.pop("final_norm.bias"))
    refused(saved, "does not fit config.json: one has the tensor 'final_norm.bias'")


def test_wrong_shapes_and_types(saved):
    whole = contents(saved)["model.safetensors"]
    change_weights(saved, lambda tensors: tensors.update({"final_norm.bias": torch.zeros(17)}))
    refused(saved, r"final_norm.bias is F32 \[17\], and config.json asks for F32 or F16 \[16\]")
    (saved / "model.safetensors").write_bytes(whole)
    change_weights(saved, lambda tensors: tensors.update({"final_norm.bias": torch.zeros(16).double()}))
    refused(saved, r"final_norm.bias is F64 \[16\], and config.json asks for F32 or F16 \[16\]")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers(saved, value):
    change_weights(saved, lambda tensors: tensors["final_norm.bias"].__setitem__(3, value))
    refused(saved, "holds values in final_norm.bias that are not finite numbers")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_size": 1 << 20}, "config.json asks for (F32|more weights)"),
        ({"hidden_size": 1 << 40}, "config.json asks for (F32|more weights)"),
        ({"num_layers": 1001}, "config.json asks for 1,001 layers; model.safetensors has not as many tensors"),
        ({"num_layers": 10**9}, "config.json asks for 1,000,000,000 layers"),
        ({"num_layers": 9}, "does not fit config.json"),
        ({"embed_size": "16"}, "is not sound: embed_size is '16'; give a whole number"),
        ({"embed_size": None}, "is not sound: embed_size is None"),
        ({"num_heads": 5}, r"is not sound: embed_size \(16\) must be divisible"),
        ({"dropout": "0"}, "is not sound: dropout is '0'"),
        ({"dropout": float("nan")}, "is not sound: dropout is nan"),
        ({"positions": ["rotary"]}, "is not sound: positions is"),
        ({"vocab_size": 7}, "vocabulary.json has .* tokens and config.json says 7"),
        ({"surprise": 1}, "is not sound: .*surprise"),
    ],
)
def test_a_configuration_that_does_not_fit(saved, changes, message):
    edit(saved / "config.json", lambda content: content["model"].update(changes))
    refused(saved, message)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(("embed_size", size) for size in (10**12, 10**18, 10**400)),
        *(("hidden_size", size) for size in (10**12, 10**18, 10**400)),
        *(("context_length", size) for size in (10**12, 10**400)),
        *((name, 10**400) for name in ("dropout", "rope_base")),
    ],
    ids=lambda value: f"1e{len(str(value)) - 1}" if isinstance(value, int) else value,
)
def test_giant_numbers_in_a_configuration_are_refused_in_a_sentence(saved, name, size):
    """More than a tensor's size, or a float, can hold: torch has errors of its own for these."""
    edit(saved / "config.json", lambda content: content["model"].update({"positions": "learned", name: size}))
    refused(saved, "config.json")


def test_a_configuration_without_its_parts(saved):
    edit(saved / "config.json", lambda content: content.update(model=None))
    refused(saved, "lacks the fields of 'model'")


def test_a_training_configuration_that_is_not_one(saved):
    edit(saved / "config.json", lambda content: content["training"].update(max_steps="many"))
    refused(saved, "is not sound: max_steps is 'many'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "words"}, "it is not a vocabulary of characters or of BPE"),
        ({"type": ["bpe"]}, "it is not a vocabulary of characters or of BPE"),
        (["a", "b"], "it is not a vocabulary of characters or of BPE"),
        ({"version": "1.0", "model": {"type": "BPE"}}, "in Hugging Face's format.* its vocabulary in vocabulary.json"),
        ({"type": "bpe"}, "it lacks its tokens and their ids"),
        ({"type": "bpe", "vocabulary": {"a": -1}}, "it lacks its tokens and their ids"),
        ({"type": "bpe", "vocabulary": {"a": 0}}, "it lacks its list of merges, each a pair of tokens"),
        ({"type": "bpe", "vocabulary": {"a": 0}, "merges": ["a b"]}, "it lacks its list of merges, each a pair"),
        ({"type": "bpe", "vocabulary": {"a": 0}, "merges": [[1, {}]]}, "vocabulary.json is not sound: "),
        ({"type": "bpe", "vocabulary": {"a": 0}, "merges": []}, "it has no tokens for 255 of the 256 bytes"),
        ({"type": "bpe", "vocabulary": {"a": 2**70}, "merges": []}, "vocabulary.json is not sound: "),
        ({"type": "bpe", "vocabulary": {"a": 0}, "merges": [["a", "a"]]}, "merge of 'a' and 'a' is out of vocabulary"),
        ({"type": "bpe", "vocabulary": {"\ud800": 0}, "merges": []}, "vocabulary.json is not sound: "),
        ({"type": "characters"}, "lacks its list of characters"),
        ({"type": "characters", "characters": "abc"}, "lacks its list of characters"),
        ({"type": "characters", "characters": ["a", "bc"]}, "is not sound: 'bc' is not a single character"),
        ({"type": "characters", "characters": ["a", {}]}, "is not sound: {} is not a single character"),
        ({"type": "characters", "characters": ["a", "a"]}, "is not sound: a character appears twice"),
        ({"type": "characters", "characters": ["a", "b"]}, "vocabulary.json has 2 tokens and config.json says"),
    ],
)
def test_a_tokenizer_that_does_not_fit(saved, content, message):
    (saved / "vocabulary.json").write_text(json.dumps(content))
    refused(saved, message)


@pytest.mark.parametrize("content", [b"{}\n", b"[1]\n", b'{"step": 1}\n', b"\xff\n", b"[" * 100_000])
def test_a_damaged_history(saved, content):
    (saved / "history.jsonl").write_bytes(content)
    refused(saved, "history.jsonl is damaged; it should hold one training event a line")


def test_a_history_of_wrong_types_is_refused(saved):
    """A page or a card that draws these numbers relies on them."""
    lines = (saved / "history.jsonl").read_text().splitlines()
    event = json.loads(lines[0]) | {"step": "<b>one</b>", "validation_loss": "low"}
    (saved / "history.jsonl").write_text(json.dumps(event) + "\n")
    refused(saved, "history.jsonl is damaged")


def test_what_was_saved_is_read_however_large(tmp_path, trained, corpus):
    """A history of 25 MB and a snapshot of step 1,000,000; limits are for what comes from strangers."""
    trainer, events = trained
    weights = trainer.copy_of_weights()
    history = [dataclasses.replace(events[-1], step=step, sample="long " * 40) for step in range(70_000)]
    assert sum(len(json.dumps(dataclasses.asdict(event))) for event in history[:1000]) * 70 > 25_000_000
    for steps in ((999_999, 1_000_000), (3, 10**9)):
        save_checkpoint(
            tmp_path / "m", trainer.model, corpus.tokenizer, history=history, snapshots=dict.fromkeys(steps, weights)
        )
        assert snapshot_steps(tmp_path / "m") == steps
        assert load_snapshot(tmp_path / "m", steps[1]).keys() == weights.keys()
    assert load_checkpoint(tmp_path / "m").history == tuple(history)


def test_a_model_is_loaded_without_its_history(saved, trained):
    for damage in (b"{", None):
        (saved / "history.jsonl").unlink() if damage is None else (saved / "history.jsonl").write_bytes(damage)
        model, tokenizer = load_model(saved)
        assert tokenizer.vocab_size == model.config.vocab_size
        assert main(["generate", "--model", str(saved), "--max-new-tokens", "2"]) == 0


@pytest.fixture
def unfinished(tmp_path, trained, corpus):
    trainer, _ = trained
    folder = tmp_path / "run"
    state = trainer.state()
    save_checkpoint(folder, trainer.model, corpus.tokenizer, train_config=trainer.config, training_state=state)
    return folder


def test_a_damaged_training_state(unfinished):
    content = (unfinished / "training.safetensors").read_bytes()
    (unfinished / "training.safetensors").write_bytes(content[:-5])
    with pytest.raises(CheckpointError, match=r"training.safetensors is damaged"):
        load_training_state(unfinished)


@pytest.mark.parametrize("progress", [[1], {"step": 3}, {"surprise": 1}, "x"])
def test_a_progress_that_is_not_one(unfinished, progress):
    edit(unfinished / "config.json", lambda content: content.update(progress=progress))
    with pytest.raises(CheckpointError, match="a 'progress' that is not a training state's"):
        load_training_state(unfinished)


@pytest.mark.skipif(os.name != "posix", reason="the script forks")
def test_a_process_killed_while_saving_loses_nothing():
    script = Path(__file__).parents[1] / "reliability" / "kill_while_saving.py"
    printed = subprocess.run([sys.executable, script, "25"], capture_output=True, text=True, check=True).stdout
    assert "0 folders unreadable, at most 0 finished saves lost, 0 leftovers" in printed
