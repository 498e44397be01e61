"""Original GPT-2 in our model: equal to transformers, refused in a sentence where it is something else, no network."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from gpt2_folders import TEXTS, assert_same_logits, change_weights, edit_json, make_gpt2, refused, save_tokenizer

from gpt import BPETokenizer, PretrainedUnavailable, load_pretrained, save_checkpoint, stream_text
from gpt.__main__ import main
from gpt.checkpoints.pretrained import is_pretrained


@pytest.fixture(scope="module")
def _saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "small"
    tokenizer = save_tokenizer(folder)
    model = make_gpt2()
    model.save_pretrained(folder)
    return folder, model, tokenizer


@pytest.fixture
def original(_saved, tmp_path):
    """A folder that `save_pretrained` has written, the test's own copy, and transformers' model and tokenizer."""
    folder, model, tokenizer = _saved
    return Path(shutil.copytree(folder, tmp_path / "small")), model, tokenizer


@pytest.fixture
def folder(original):
    """The folder alone."""
    return original[0]


# --- Equal to transformers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{}, {"n_inner": 48}, {"n_head": 1, "n_layer": 1}, {"n_embd": 48, "n_positions": 7}]
)
def test_logits_are_equal(tmp_path, changes):
    reference = make_gpt2(**changes)
    reference.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    model, _ = load_pretrained(tmp_path)
    assert_same_logits(model, reference)
    assert not model.training
    assert model.output_layer.weight is model.token_embedding.weight
    assert all(p.dtype == torch.float32 and p.is_contiguous() and p.requires_grad for p in model.parameters())
    assert model.config.hidden_size == changes.get("n_inner", 4 * model.config.embed_size)


@pytest.mark.parametrize("form", ["whole", "parts"])
def test_tokens_are_equal(original, form):
    folder, _, reference = original
    if form == "parts":
        (folder / "tokenizer.json").unlink()
        save_tokenizer(folder, "parts")
    _, tokenizer = load_pretrained(str(folder))
    assert isinstance(tokenizer, BPETokenizer)
    assert tokenizer.vocab_size == len(reference)
    for text in TEXTS:
        ids = reference(text).input_ids
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == reference.decode(ids, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("prompt", ["The quick", " 日本", "🙂\n\n"])
def test_what_it_writes_greedily_is_equal(original, prompt):
    folder, reference, their_tokenizer = original
    model, tokenizer = load_pretrained(folder)
    ids = torch.tensor([tokenizer.encode(prompt)])
    expected = reference.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)
    assert torch.equal(model.generate(ids, max_new_tokens=20, temperature=0), expected)
    assert len(set(expected[0].tolist())) > 5
    written = "".join(stream_text(model, tokenizer, prompt, max_new_tokens=20, temperature=0))
    assert prompt + written == their_tokenizer.decode(expected[0], clean_up_tokenization_spaces=False)


def test_the_fields_of_2019_are_enough(original):
    """The hub's config.json is older than most fields."""
    folder, reference, _ = original
    config = json.loads((folder / "config.json").read_text())
    kept = ("model_type", "vocab_size", "n_embd", "n_head", "n_layer")
    (folder / "config.json").write_text(json.dumps({name: config[name] for name in kept} | {"n_ctx": 32}))
    assert_same_logits(load_pretrained(folder)[0], reference)


# --- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "llama"},
            "has the model_type 'llama', and not the 'gpt2' of an original GPT-2 or the 'starcoder2' .*; choose",
        ),
        ({"model_type": None}, "has the model_type None, and not the 'gpt2'"),
        (
            {"architectures": ["GPT2ForSequenceClassification"]},
            "is a GPT2ForSequenceClassification, which labels texts",
        ),
        (
            {"activation_function": "gelu"},
            "activation_function is 'gelu', and our GPT2, .* 'gelu_new' or 'gelu_pytorch",
        ),
        ({"activation_function": ["gelu_new"]}, "activation_function is \\['gelu_new'\\]"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06, and our GPT2, as the original, has only 1e-05"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon is nan"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn is True"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        ({"n_embd": "32"}, "n_embd is '32'; give a whole number from 1 to 999,999,999"),
        ({"n_embd": None}, "n_embd is None; give a whole number"),
        ({"n_embd": 10**400}, "n_embd is 1000000"),
        ({"n_layer": 0}, "n_layer is 0; give a whole number"),
        ({"n_layer": True}, "n_layer is True; give a whole number"),
        ({"n_inner": -1}, "n_inner is -1; give a whole number"),
        ({"n_positions": 0.5}, "n_positions is 0.5; give a whole number"),
        ({"n_head": 5}, r"config.json is not sound: embed_size \(32\) must be divisible by num_heads \(5\)"),
        ({"vocab_size": 319}, "the tokenizer in .* has 320 tokens and config.json says 319; take both from one model"),
        ({"n_layer": 10**8}, "config.json asks for 100,000,000 layers; model.safetensors has fewer tensors"),
        ({"n_layer": 3}, "model.safetensors does not fit config.json: one has the tensor 'h.2.attn.c_attn.bias'"),
        ({"n_embd": 64}, r"wte.weight is F32 \[320, 32\], and config.json asks for F32 or F16 or BF16 \[320, 64\]"),
        ({"n_positions": 10**8}, r"wpe.weight is F32 \[32, 32\], .* asks for .* \[100000000, 32\]"),
        ({"n_inner": 129}, r"mlp.c_fc.weight is F32 \[32, 128\]"),
    ],
)
def test_a_configuration_that_is_another(folder, changes, message):
    edit_json(folder / "config.json", **changes)
    refused(folder, message)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_a_configuration_that_is_not_json(folder, content):
    (folder / "config.json").write_bytes(content)
    refused(folder, "config.json is not JSON; the file is damaged")


def test_a_configuration_that_is_not_an_object(folder):
    (folder / "config.json").write_text("[]")
    refused(folder, "has the model_type None, and not the 'gpt2'")


def test_missing_files(folder, tmp_path):
    refused(
        tmp_path / "nowhere", "there is no folder .*nowhere'; give a folder .* or one of gpt2, gpt2-medium, gpt2-la"
    )
    refused("someone/gpt2", "there is no folder 'someone/gpt2'")
    refused(tmp_path, "there is no config.json in .*; give a folder in the layout of original GPT-2")
    (folder / "tokenizer.json").unlink()
    refused(folder, "no tokenizer is in .*; put tokenizer.json there, or vocab.json and merges.txt")


def test_a_folder_of_ours_is_pointed_to_its_own_door(tmp_path, trainable, corpus):
    save_checkpoint(tmp_path / "ours", trainable(), corpus.tokenizer)
    refused(tmp_path / "ours", "open it with load_checkpoint if GPT Lab has saved it")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
def test_truncated_weights(folder, share):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: int(share * len(content))])
    refused(folder, "model.safetensors is damaged")


def test_weights_with_an_absurd_header(folder):
    content = (folder / "model.safetensors").read_bytes()
    for header in (b"[" * 100_000, b"[]", b"{}", b'{"wte.weight": 3}', b'"x"'):
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
        refused(folder, "model.safetensors (is damaged|has fewer tensors)")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + content[8:])
    refused(folder, "model.safetensors is damaged")


def test_oversized_weights_are_refused_before_they_are_read(folder):
    os.truncate(folder / "model.safetensors", 8_000_000_001)  # sparse: it takes no disk
    refused(folder, "model.safetensors has 8,000,000,001 bytes; at most 8,000,000,000 are read")


def test_weights_of_another_model_are_refused_before_they_are_read(folder, monkeypatch):
    os.truncate(folder / "model.safetensors", 7_000_000_000)
    edit_json(folder / "config.json", n_positions=33)
    monkeypatch.setattr(Path, "read_bytes", _small_files_only)
    refused(folder, r"wpe.weight is F32 \[32, 32\]")


def _small_files_only(path: Path) -> bytes:
    assert path.stat().st_size < 1_000_000, f"{path.name} is read as a whole"
    with path.open("rb") as file:
        return file.read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.update(extra=torch.zeros(1)),
            "does not fit config.json: one has the tensor 'extra' and one has not",
        ),
        (lambda t: t.pop("transformer.ln_f.bias"), "one has the tensor 'ln_f.bias' and one has not"),
        (
            lambda t: t.update({"wte.weight": torch.zeros(320, 32)}),
            "has a tensor twice, with and without 'transformer.'",
        ),
        (
            lambda t: t.update({"transformer.ln_f.bias": torch.zeros(31)}),
            r"ln_f.bias is F32 \[31\], and config.json asks",
        ),
        (lambda t: t.update({"transformer.ln_f.bias": torch.zeros(32).double()}), r"ln_f.bias is F64 \[32\]"),
        (lambda t: t.update({"transformer.ln_f.bias": torch.zeros(32).int()}), r"ln_f.bias is I32 \[32\]"),
        (
            lambda t: t["transformer.h.1.mlp.c_fc.weight"].fill_(torch.nan),
            "in transformer.h.1.mlp.c_fc.weight that are not",
        ),
        (lambda t: t["transformer.wte.weight"][0].fill_(-torch.inf), "in transformer.wte.weight that are not finite"),
    ],
)
def test_weights_that_do_not_fit(folder, change, message):
    change_weights(folder, change)
    refused(folder, message)


def test_a_tokenizer_that_is_not_sound(folder):
    (folder / "tokenizer.json").write_text("{}")
    refused(folder, "tokenizer.json in .* is not sound: ")


# --- The hub --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch, original):
    """`snapshot_download` answered from a local folder; the calls it got."""
    calls = []

    def snapshot_download(repo_id, *, allow_patterns):
        calls.append((repo_id, sorted(allow_patterns)))
        return str(original[0])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


def test_published_names_are_fetched_without_pickles(hub, original, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("gpt2", "openai-community/gpt2", "gpt2-xl", "openai-community/gpt2-medium"):
        assert is_pretrained(name)
        assert_same_logits(load_pretrained(name)[0], original[1])
    repositories = [f"openai-community/{name}" for name in ("gpt2", "gpt2", "gpt2-xl", "gpt2-medium")]
    files = ["config.json", "merges.txt", "model.safetensors", "tokenizer.json", "vocab.json"]
    assert hub == [(repository, files) for repository in repositories]


def test_a_folder_of_that_name_comes_first(hub, folder, monkeypatch):
    folder.rename(folder.with_name("gpt2"))
    monkeypatch.chdir(folder.parent)
    load_pretrained("gpt2")
    assert hub == []


@pytest.mark.parametrize(
    "name", ["llama", "someone/gpt2", "openai-community/gpt3", "openai-community/openai-community/gpt2"]
)
def test_other_names_are_never_fetched(hub, name):
    assert not is_pretrained(name)
    refused(name, "there is no folder")
    assert hub == []


def test_offline_it_says_what_to_do(monkeypatch, tmp_path):
    """With the hub's own client, kept from the network by its own switch and with an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        PretrainedUnavailable, match=r"^gpt2-large could not be fetched from huggingface.co \("
    ) as caught:
        load_pretrained("gpt2-large")
    for remedy in ("connect to the network and try again", "or give a folder with config.json, model.safetensors"):
        assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fetch_that_was_cut_off_is_unavailable_too(hub, folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(PretrainedUnavailable, match="connect to the network and try again"):
        load_pretrained("openai-community/gpt2")


# --- The command line, and what an import costs ---------------------------------------------------------------------


def test_generate_on_the_command_line(original, hub, tmp_path, monkeypatch, capsys):
    folder, reference, tokenizer = original
    monkeypatch.chdir(tmp_path)
    ids = torch.tensor([tokenizer("The fox").input_ids])
    expected = reference.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=9)
    for model in (str(folder), "gpt2"):
        options = ["--prompt", "The fox", "--temperature", "0", "--max-new-tokens", "9"]
        assert main(["generate", "--model", model, *options]) == 0
        assert capsys.readouterr().out == tokenizer.decode(expected[0], clean_up_tokenization_spaces=False) + "\n"


def test_a_cache_that_may_not_be_written_is_named(monkeypatch, tmp_path):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", "/caches/huggingface")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PretrainedUnavailable, match=r"^gpt2 cannot be kept in /caches/huggingface, .* HF_HOME$"):
        load_pretrained("gpt2")


def test_the_command_line_answers_in_a_sentence(folder, tmp_path, monkeypatch, capsys):
    def offline(*_, **__):
        raise ConnectionError("no route to host\nat all")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "--model", "gpt2"]) == 2
    assert capsys.readouterr().err.startswith("gpt: gpt2 could not be fetched from huggingface.co (ConnectionError); ")
    edit_json(folder / "config.json", activation_function="relu")
    assert main(["generate", "--model", str(folder)]) == 2
    assert capsys.readouterr().err.startswith("gpt: config.json: activation_function is 'relu'")
    (folder / "config.json").write_text("{")
    assert main(["generate", "--model", str(folder)]) == 2
    assert capsys.readouterr().err == "gpt: config.json is not JSON; the file is damaged\n"


def test_the_import_stays_light():
    code = "import gpt, sys; print({'tokenizers', 'huggingface_hub', 'transformers'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[2]
    finished = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "set()"
