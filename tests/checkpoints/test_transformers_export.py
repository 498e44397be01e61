"""What is trained here opens in transformers and comes back: logits, ids, greedy texts; what has no place there."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from gpt2_folders import edit_json, refused
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer, Starcoder2Config, Starcoder2ForCausalLM

from gpt import CharTokenizer, load_checkpoint, load_corpus, load_pretrained, save_checkpoint
from gpt.__main__ import main
from gpt.checkpoints.folder import Checkpoint
from gpt.checkpoints.layouts import layout_of
from gpt.checkpoints.transformers_export import export_checkpoint, transformers_files
from gpt.data.byte_pairs import learn_byte_pairs
from gpt.data.corpus import Corpus
from gpt.data.hugging_face import read_tokenizer, tokenizer_files

SHIPPED = Path(__file__).parents[2] / "trained_models"
FILES = [
    *("README.md", "config.json", "generation_config.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json"),
]
CHARACTERS = CharTokenizer(sorted("\n\t abcdefgh"))  # as many as the small models have, after two more
LENGTH = 40  # of the texts compared: more than three windows

# Every kind that transformers has a place for: our choices, and the class they become.
EXPORTED: dict[str, tuple[str, dict[str, Any], str]] = {
    "gpt2": ("gpt2", {}, "GPT2LMHeadModel"),
    "rotary": ("rotary", {}, "Starcoder2ForCausalLM"),
    "another base": ("rotary", {"rope_base": 500.0}, "Starcoder2ForCausalLM"),
    "fewer KV heads": ("rotary", {"num_kv_heads": 2}, "Starcoder2ForCausalLM"),
    "one KV head": ("rotary", {"num_kv_heads": 1}, "Starcoder2ForCausalLM"),
    "window": ("rotary", {"window_size": 7}, "Starcoder2ForCausalLM"),
    "window of 2": ("rotary", {"window_size": 2}, "Starcoder2ForCausalLM"),
    "wide window": ("rotary", {"window_size": 100}, "Starcoder2ForCausalLM"),
    "modern": ("modern", {"dropout": 0.1}, "Starcoder2ForCausalLM"),
}


def opened(folder: Path) -> tuple[Any, Any]:
    """What transformers makes of a folder, with no code of a stranger's."""
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def same_tokens(theirs: Any, ours: Any, text: str) -> None:
    ids = theirs(text)["input_ids"]
    assert ids == ours.encode(text)
    assert theirs.decode(ids) == ours.decode(ids) == text
    assert len(theirs) == ours.vocab_size


# --- Models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPORTED)
@torch.no_grad()
def test_logits_and_greedy_texts_are_equal_and_the_folder_comes_back(tmp_path, small_model, name):
    kind, changes, architecture = EXPORTED[name]
    model = small_model(kind, **changes)
    tokenizer = CharTokenizer(chr(ord("a") + number) for number in range(model.config.vocab_size))
    save_checkpoint(tmp_path / "ours", model, tokenizer)
    assert export_checkpoint(tmp_path / "ours", tmp_path / "out") == architecture
    assert sorted(os.listdir(tmp_path / "out")) == FILES

    theirs, _ = opened(tmp_path / "out")
    assert type(theirs).__name__ == architecture
    assert theirs.dtype == torch.float32
    ids = torch.randint(model.config.vocab_size, (2, LENGTH))
    assert_close(theirs(ids).logits, model(ids), atol=1e-4, rtol=1e-4)
    prompt = ids[:1, :5]
    written = theirs.generate(prompt, max_new_tokens=LENGTH, do_sample=False, use_cache=True)
    assert torch.equal(written, model.generate(prompt, max_new_tokens=LENGTH, temperature=0.0))

    back, vocabulary = load_pretrained(tmp_path / "out")
    assert {**vars(back.config), "dropout": 0.0} == {**vars(model.config), "dropout": 0.0, **_as_read(model.config)}
    assert vocabulary.encode("gabe") == tokenizer.encode("gabe")
    for ours, read in zip(model.parameters(), back.parameters(), strict=True):
        assert torch.equal(ours, read)


def _as_read(config: Any) -> dict[str, Any]:
    """A window or a KV head for each head that says nothing, is the same as none."""
    return {"num_kv_heads": None if config.kv_heads == config.num_heads else config.kv_heads}


@pytest.mark.parametrize(
    ("kind", "changes", "part"),
    [
        ("sliding-window", {}, "no place for a window beside learned positions; it has"),
        ("grouped-query", {}, "no place for fewer KV heads beside learned positions; it has"),
        ("grouped-query", {"window_size": 4}, "no place for a window .* and for fewer KV heads beside learned"),
        ("alibi", {}, "no place for ALiBi in a model like this"),
        ("none", {}, "no place for a model without positions"),
        ("rotary", {"window_size": 1}, "no place for a window of 1, with which its cache forgets nothing"),
        ("rotary", {"causal": False}, "no place for attention without the causal mask"),
        ("gpt2", {"causal": False}, "no place for attention without the causal mask"),
    ],
)
def test_what_transformers_has_no_place_for_is_refused(tmp_path, small_model, capsys, kind, changes, part):
    save_checkpoint(tmp_path / "ours", small_model(kind, **changes), CharTokenizer("abcdefghijklm"))
    assert main(["export", str(tmp_path / "ours"), "--to", "transformers", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert re.search(part, said)
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["gpt2", "rotary", "modern"])
@torch.no_grad()
def test_the_models_that_ship_are_exported(tmp_path, name, capsys):
    """By the command of the README; its card's three lines run, and say what is in the model's own card."""
    assert main(["export", str(SHIPPED / name), "--to", "transformers", "--out", str(tmp_path / "out")]) == 0
    assert "of transformers" in capsys.readouterr().out
    ours, (theirs, tokens) = load_checkpoint(SHIPPED / name), opened(tmp_path / "out")
    text = "ROMEO:\nBut, soft! what light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n" * 2
    same_tokens(tokens, ours.tokenizer, text)
    ids = torch.tensor([ours.tokenizer.encode(text)])
    assert_close(theirs(ids).logits, ours.model(ids), atol=1e-4, rtol=1e-4)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{ours.result['validation_loss']:.4f} nats per token" in card
    assert f"| corpus | shakespeare (SHA-256 of the text `{ours.corpus['sha256']}`) |" in card
    assert "It knows 65 characters" in card
    (snippet,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len(snippet.splitlines()) == 3
    here = os.getcwd()
    try:
        os.chdir(tmp_path / "out")
        exec(snippet, {})
    finally:
        os.chdir(here)
    assert len(capsys.readouterr().out) > ours.config.context_length - 5


def test_a_card_of_a_model_nobody_has_measured(small_model):
    files = transformers_files(_unsaved(small_model("gpt2"), CharTokenizer("abcdefghijklm")), "small", "someone/small")
    card = files["README.md"].decode()
    assert "from_pretrained('someone/small')" in card
    assert "| corpus | not recorded |" in card
    assert "| validation loss | not recorded |" in card


def _unsaved(model: Any, tokenizer: Any) -> Checkpoint:
    return Checkpoint(tokenizer, model.config, model=model)


# --- Folders --------------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path, small_model):
    """A `modern` of one block less than nothing else, as transformers' folder."""
    save_checkpoint(tmp_path / "ours", small_model("modern"), CharTokenizer("abcdefghijklm"))
    export_checkpoint(tmp_path / "ours", tmp_path / "out")
    return tmp_path / "out"


def test_a_folder_that_holds_something_is_left_alone(exported, tmp_path):
    before = (exported / "config.json").read_bytes()
    with pytest.raises(ValueError, match="out exists and is not an empty folder; choose another folder, or remove"):
        export_checkpoint(tmp_path / "ours", exported)
    assert (exported / "config.json").read_bytes() == before
    (tmp_path / "a file").write_text("the user's")
    with pytest.raises(ValueError, match="is not an empty folder"):
        export_checkpoint(tmp_path / "ours", tmp_path / "a file")
    (tmp_path / "empty").mkdir()
    export_checkpoint(tmp_path / "ours", tmp_path / "empty")
    assert sorted(os.listdir(tmp_path / "empty")) == FILES


@pytest.mark.parametrize("fails_at", [0, 3, 5])
def test_a_folder_is_whole_or_not_there(tmp_path, small_model, monkeypatch, fails_at):
    save_checkpoint(tmp_path / "ours", small_model("gpt2"), CharTokenizer("abcdefghijklm"))
    moved = []

    def move(source: Path, target: Path) -> None:
        if len(moved) == fails_at:
            raise OSError(28, "No space left on device")
        moved.append(shutil.move(source, target))

    monkeypatch.setattr("gpt.folders.move", move)
    with pytest.raises(OSError, match="No space"):
        export_checkpoint(tmp_path / "ours", tmp_path / "out")
    assert len(moved) == fails_at
    assert not (tmp_path / "out").exists()


def test_only_checkpoints_of_ours_are_exported(exported, tmp_path, capsys):
    for source, message in ((exported, "in the layout of transformers"), ("nowhere", "there is no checkpoint folder")):
        assert main(["export", str(source), "--to", "transformers", "--out", str(tmp_path / "again")]) == 2
        assert message in capsys.readouterr().err


def test_the_zip_file_of_a_checkpoint_is_exported(exported, tmp_path):
    shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path / "ours")
    export_checkpoint(tmp_path / "zipped.zip", tmp_path / "from zip")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "from zip" / name).read_bytes() == (exported / name).read_bytes()


def test_the_command_line_writes_with_the_folder(exported, capsys):
    given = ["generate", "--model", str(exported), "--prompt", "abc", "--max-new-tokens", "8", "--seed", "1"]
    assert main(given) == 0
    assert capsys.readouterr().out.startswith("abc")


# --- Starcoder2 of others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [None, 5, 7])
@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("base", [10000.0, 300.0])
@torch.no_grad()
def test_random_models_of_transformers_are_ours(tmp_path, window, groups, base):
    config = Starcoder2Config(
        vocab_size=11,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=groups,
        max_position_embeddings=64,
        sliding_window=window,
        rope_parameters={"rope_type": "default", "rope_theta": base},
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = Starcoder2ForCausalLM(config).eval()
    for parameter in theirs.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.2)
    theirs.save_pretrained(tmp_path)
    for name, content in tokenizer_files(CHARACTERS, 64).items():
        (tmp_path / name).write_bytes(content)
    ours, _ = load_pretrained(tmp_path)
    assert (ours.config.kv_heads, ours.config.window_size, ours.config.rope_base) == (groups, window, base)
    ids = torch.randint(11, (2, LENGTH))
    assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "has the model_type 'llama', and not the 'gpt2' .* or the 'starcoder2'"),
        ({"use_bias": False}, "use_bias is False"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ({"norm_epsilon": 1e-6}, "norm_epsilon is 1e-06"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        ({"head_dim": 16}, "head_dim is 16, and our heads are hidden_size / num_attention_heads = 8 wide"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "it has rope_type 'yarn', and our rotary"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "it has partial_rotary_factor 0.5"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "it has rope_type 'linear'"),
        ({"rope_parameters": [1]}, r"rope_parameters is \[1\]"),
        ({"rope_parameters": {"rope_theta": "much"}}, "config.json is not sound: rope_base is 'much'"),
        ({"sliding_window": 0}, "sliding_window is 0; give a whole number from 1"),
        ({"num_key_value_heads": 3}, r"num_heads \(4\) must be divisible by num_kv_heads \(3\)"),
        ({"num_hidden_layers": 10**8}, "config.json asks for 100,000,000 layers; model.safetensors has fewer tensors"),
        ({"intermediate_size": 65}, r"mlp.c_fc.weight is F32 \[64, 32\]"),
        ({"vocab_size": 12}, "the tokenizer in .* has 13 tokens and config.json says 12"),
    ],
)
def test_a_starcoder2_whose_parts_we_have_not_is_refused(exported, changes, message):
    edit_json(exported / "config.json", **changes)
    refused(exported, message)


def test_a_configuration_of_transformers_4_is_read(exported):
    """It has the base of the angles beside the rest, and nothing under the newer name."""
    edit_json(exported / "config.json", rope_parameters=None, rope_theta=700.0)
    assert load_pretrained(exported)[0].config.rope_base == 700.0


def test_each_layout_names_every_weight_once(small_model):
    for kind in ("gpt2", "modern"):
        model = small_model(kind)
        layout = layout_of(model.config)
        weights = dict(model.named_parameters())
        theirs = layout.to_theirs(weights, model.config.num_layers)
        shapes = {f"{layout.prefix}{name}": shape for name, shape in layout.shapes(model.config).items()}
        assert {name: list(weight.shape) for name, weight in theirs.items()} == shapes
        short = {name.removeprefix(layout.prefix): weight for name, weight in theirs.items()}
        back = layout.to_ours(short, model.config.num_layers)
        assert back.keys() == weights.keys()
        assert all(torch.equal(back[name], weight) for name, weight in weights.items())


# --- Tokenizers -----------------------------------------------------------------------------------------------------

ODD = "ab  c\n\n\t\r\n x . , 's n't ! 🙂👩‍👩‍👧‍👦 日本語 \u00a0\u2028\u200b e\u0301 \U0010ffff\0\x7f"


def _opened_tokenizer(folder: Path, tokenizer: Any, model_type: str) -> Any:
    for name, content in tokenizer_files(tokenizer, 64).items():
        (folder / name).write_bytes(content)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("model_type", ["gpt2", "starcoder2"])
@pytest.mark.parametrize("kind", ["characters", "odd characters", "byte pairs"])
def test_ids_are_equal(tmp_path, kind, model_type):
    corpus = load_corpus("python-docs")
    text = corpus.tokenizer.decode(corpus.train_ids[:30_000].tolist())
    if kind == "characters":
        ours = corpus.tokenizer
    else:
        text += ODD
        ours = CharTokenizer.from_text(text) if kind == "odd characters" else learn_byte_pairs(text, 500)
    theirs = _opened_tokenizer(tmp_path, ours, model_type)
    same_tokens(theirs, ours, text)
    assert theirs("")["input_ids"] == []
    assert set(theirs("a").keys()) == {"input_ids", "attention_mask"}
    theirs.save_pretrained(tmp_path / "saved again")
    for folder in (tmp_path, tmp_path / "saved again"):
        assert read_tokenizer(folder).encode(text) == ours.encode(text)
    same_tokens(theirs, ours, text[:20])
    if kind != "byte pairs":
        with pytest.raises(Exception, match="Missing"):
            theirs("a\u1234")


def test_a_vocabulary_that_is_not_one_of_characters_is_refused(exported):
    content = json.loads((exported / "tokenizer.json").read_text())
    for changes, message in (
        ({"model": {**content["model"], "vocab": {"ab": 0}}}, "'ab' is not a single character"),
        ({"model": {**content["model"], "vocab": {"a": 1}}}, "its ids do not run from 0 upwards, each once"),
        ({"model": {**content["model"], "vocab": {"a": 0, "b": "1"}}}, "its ids do not run from 0 upwards"),
        ({"normalizer": {"type": "Lowercase"}}, "it has another normalizer than one that splits"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "it has another pre_tokenizer than one that splits"),
    ):
        (exported / "tokenizer.json").write_text(json.dumps({**content, **changes}))
        refused(exported, f"tokenizer.json in .* is not sound: {message}")


def test_half_a_character_has_no_place():
    with pytest.raises(ValueError, match="half of a character, which transformers cannot read"):
        tokenizer_files(CharTokenizer(["a", "\ud800"]), 8)


def test_weights_are_saved_once(exported, small_model):
    """Embedding and output layer are one matrix."""
    assert "lm_head.weight" not in load_file(exported / "model.safetensors")


def test_byte_pairs_of_a_model(tmp_path, trainable, tiny_text):
    tokenizer = learn_byte_pairs(tiny_text, 280)
    corpus = Corpus.from_text("tiny", tiny_text, tokenizer)
    save_checkpoint(tmp_path / "ours", trainable("rotary", vocab_size=280), tokenizer, corpus=corpus.about)
    export_checkpoint(tmp_path / "ours", tmp_path / "out")
    same_tokens(AutoTokenizer.from_pretrained(tmp_path / "out"), tokenizer, tiny_text)
    _, back = load_pretrained(tmp_path / "out")
    assert back.encode(tiny_text) == tokenizer.encode(tiny_text)
