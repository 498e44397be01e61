"""Original GPT-2 in the forms in which other tools write it: names, types, files, padding and added tokens."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from gpt2_folders import (
    TEXTS,
    VOCAB_SIZE,
    assert_same_logits,
    change_weights,
    edit_json,
    make_gpt2,
    refused,
    save_shards,
    save_tokenizer,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_model
from tokenizers import AddedToken
from transformers import GPT2TokenizerFast

from gpt import BPETokenizer, load_pretrained

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "small"
    save_tokenizer(folder)
    model = make_gpt2()
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture
def original(saved, tmp_path):
    """A folder that `save_pretrained` has written, the test's own copy, and transformers' model."""
    return Path(shutil.copytree(saved[0], tmp_path / "small")), saved[1]


@pytest.fixture
def folder(original):
    """The folder alone."""
    return original[0]


# --- Names and types ------------------------------------------------------------------------------------------------


@given(
    prefix=st.sampled_from(["", "transformer.", "_orig_mod.transformer.", "module.transformer.", "module._orig_mod."]),
    embedding=st.sampled_from([["wte.weight"], ["lm_head.weight"], ["wte.weight", "lm_head.weight"]]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    padding=st.sampled_from([0, 1, 64, 8192]),
    shards=st.integers(1, 5),
    others=st.sets(st.sampled_from(["attn.bias", "attn.masked_bias", "multiple_choice_head"])),
)
@settings(max_examples=40, deadline=None)
def test_every_form_is_the_same_model(saved, prefix, embedding, dtype, padding, shards, others):
    original, reference = saved[0], make_gpt2(vocab_size=VOCAB_SIZE + padding).to(dtype)
    reference.transformer.wte.weight.data[VOCAB_SIZE:] = 100  # would be drawn always
    tensors = {f"{prefix}{name}": tensor for name, tensor in reference.transformer.state_dict().items()}
    matrix = tensors.pop(f"{prefix}wte.weight")
    head = prefix.removesuffix("transformer.")
    names = {"wte.weight": f"{prefix}wte.weight", "lm_head.weight": f"{head}lm_head.weight"}
    tensors |= {names[name]: matrix.clone() for name in embedding}
    for layer in range(reference.config.n_layer):
        if "attn.bias" in others:
            tensors[f"{prefix}h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32, dtype=torch.uint8).tril()
        if "attn.masked_bias" in others:
            tensors[f"{prefix}h.{layer}.attn.masked_bias"] = torch.tensor(-torch.inf, dtype=dtype)
    if "multiple_choice_head" in others:
        tensors[f"{head}multiple_choice_head.summary.weight"] = torch.zeros(1, 32, dtype=dtype)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(original, Path(place) / "small"))
        edit_json(folder / "config.json", vocab_size=VOCAB_SIZE + padding)
        save_shards(folder, tensors, shards)
        model, tokenizer = load_pretrained(folder)
    assert model.config.vocab_size == tokenizer.vocab_size == VOCAB_SIZE
    assert model.output_layer.weight is model.token_embedding.weight
    assert all(weight.dtype == torch.float32 and weight.is_contiguous() for weight in model.parameters())
    assert_same_logits(model, reference.float(), VOCAB_SIZE)


def test_what_save_model_writes_is_read(original):
    """It writes tied tensors once, under the name that comes first: lm_head.weight."""
    folder, reference = original
    save_model(reference, str(folder / "model.safetensors"))
    assert "transformer.wte.weight" not in load_file(folder / "model.safetensors")
    assert_same_logits(load_pretrained(folder)[0], reference)


def test_shards_of_save_pretrained_are_read(original):
    folder, reference = original
    (folder / "model.safetensors").unlink()
    reference.save_pretrained(folder, max_shard_size="30KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert not (folder / "model.safetensors").exists()
    assert_same_logits(load_pretrained(folder)[0], reference)


def test_padding_is_never_drawn(original):
    folder = original[0]
    reference = make_gpt2(vocab_size=VOCAB_SIZE + 64)
    reference.transformer.wte.weight.data[VOCAB_SIZE:] *= 100
    reference.save_pretrained(folder)
    model, tokenizer = load_pretrained(folder)
    ids = model.generate(torch.tensor([tokenizer.encode("The fox")]), max_new_tokens=24, num_return_sequences=20)
    assert ids.max() < VOCAB_SIZE
    tokenizer.decode(ids.flatten().tolist())


@pytest.mark.parametrize("padding", [-1, 8193])
def test_a_tokenizer_of_another_model_is_refused(folder, padding):
    edit_json(folder / "config.json", vocab_size=VOCAB_SIZE + padding)
    refused(folder, f"the tokenizer in .* has 320 tokens and config.json says {VOCAB_SIZE + padding:,}; take both from")


def test_an_output_layer_that_is_not_the_embedding_is_refused(folder):
    change_weights(folder, lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"] + 1e-3}))
    refused(folder, r"has an output layer of its own \(lm_head.weight is not wte.weight\)")


# --- Other files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sharded(folder):
    """The folder with its weights in three shards; edits what its index says."""
    save_shards(folder, load_file(folder / "model.safetensors"), 3)

    def edit(change) -> None:
        index = json.loads((folder / INDEX).read_text())
        change(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return edit


def test_shards_that_are_not_all_there_are_refused(folder, sharded, monkeypatch):
    (folder / "model-00002-of-00003.safetensors").rename(folder / "elsewhere")
    refused(folder, "model-00002-of-00003.safetensors is missing in .*, one of the 3 files over which the weights are")
    (folder / "elsewhere").rename(folder / "model-00002-of-00003.safetensors")
    sharded(lambda weight_map: weight_map.update({"transformer.wte.weight": "model-00002-of-00003.safetensors"}))
    refused(
        folder, r"model-00002-of-00003.safetensors lacks the tensor 'transformer.wte.weight' that .*index.json says"
    )
    sharded(lambda weight_map: weight_map.pop("transformer.wte.weight"))
    refused(folder, "index.json does not fit config.json: one has the tensor 'wte.weight' and one has not")
    monkeypatch.setattr("gpt.checkpoints.pretrained._LARGEST_WEIGHTS", 100_000)
    refused(folder, r"the weights in .* have 1\d\d,\d{3} bytes together; at most 100,000 are read")
    (folder / INDEX).unlink()
    refused(folder, f"{INDEX} is missing in .*, which says where the weights are that are split; copy or fetch it too")


@given(
    climb=st.sampled_from(["../", "..\\", "/", "\\", "C:", "C:\\", "a/", "./", "//host/"]),
    name=st.sampled_from(["model-00001-of-00003.safetensors", "x.safetensors", "model.bin", ""]),
)
@settings(deadline=None)
def test_shards_elsewhere_are_never_opened(saved, climb, name):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(saved[0], Path(place) / "small"))
        save_shards(folder, load_file(folder / "model.safetensors"), 3)
        shutil.copy(folder / "model-00001-of-00003.safetensors", place)
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"]["transformer.wte.weight"] = climb + name
        (folder / INDEX).write_text(json.dumps(index))
        refused(folder, r"as a file of weights; only .safetensors files beside it are read")


@pytest.mark.parametrize("content", ["{}", "[]", '{"weight_map": []}', '{"weight_map": {}}', "{"])
def test_an_index_that_is_not_sound_is_refused(folder, sharded, content):
    (folder / INDEX).write_text(content)
    refused(folder, f"{INDEX} (has no weight_map|is not JSON)")


@pytest.mark.parametrize("shard", [None, 3, ["x"], "pytorch_model.bin", "..", "x\0.safetensors"])
def test_an_index_of_other_files_is_refused(folder, sharded, shard):
    sharded(lambda weight_map: weight_map.update({"transformer.wte.weight": shard}))
    refused(folder, "as a file of weights; only .safetensors files beside it are read")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "ckpt.pt", "a.pth", "b.ckpt"]
)
def test_a_pickle_is_not_loaded_and_it_is_said_how_to_convert_it(folder, name, monkeypatch):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("nothing is unpickled here"))
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb()))
    refused(
        folder,
        rf"are a pickle \({name}\), which could run code and is never loaded; if you trust its maker, convert it: "
        r"GPT2LMHeadModel.from_pretrained\(folder\).save_pretrained\(new_folder\) in transformers writes model.safe",
    )


def test_weights_that_are_not_there(folder):
    (folder / "model.safetensors").rename(folder / "gpt2.safetensors")
    refused(folder, "there is no model.safetensors in .*; if gpt2.safetensors has the weights, give it that name")
    (folder / "gpt2.safetensors").unlink()
    refused(folder, "there is no model.safetensors in .*; GPT2LMHeadModel.from_pretrained")


# --- Added tokens ---------------------------------------------------------------------------------------------------

ADDED = st.lists(
    st.one_of(
        st.sampled_from(["<|pad|>", "<new>", "naïve", "é x", "Ġthe", "日本語", "🙂", " ", "\n\n", "the", "[SEP]", "ñ"]),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    ),
    max_size=5,
    unique=True,
)


FORMS = ["tokenizer.json", "added_tokens.json", "tokenizer_config.json", "tokenizer.json and added_tokens.json"]


@given(added=ADDED, form=st.sampled_from(FORMS), text=st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_added_tokens_are_one_token_and_come_back(saved, added, form, text):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        reference = save_tokenizer(folder, "whole" if " and " in form else "parts")
        known = reference.get_vocab()
        new = [token for token in added if token not in known]
        reference.add_tokens([AddedToken(token, normalized=False) for token in new])
        ids = {token: VOCAB_SIZE + number for number, token in enumerate(new)}
        if form == "tokenizer.json":
            reference.save_pretrained(folder)
        elif form == "tokenizer_config.json":
            described = {index: {"content": token, "special": False} for token, index in ids.items()}
            (folder / form).write_text(json.dumps({"added_tokens_decoder": described}))
        else:
            (folder / "added_tokens.json").write_text(json.dumps(ids))
        tokenizer = BPETokenizer.from_folder(folder)
    assert tokenizer.vocab_size == len(reference) == VOCAB_SIZE + len(new)
    for token, index in ids.items():
        assert tokenizer.encode(token) == [index]
        assert tokenizer.decode([index]) == token
    for sample in [*TEXTS, text, text.join(new), text + "".join(new)]:
        encoded = tokenizer.encode(sample)
        assert encoded == reference(sample).input_ids
        assert tokenizer.decode(encoded) == sample


def test_added_tokens_are_found_as_they_are_described(tmp_path):
    """Such as a <mask> that takes the space before it along."""
    save_tokenizer(tmp_path, "parts")
    described = {VOCAB_SIZE: {"content": "<mask>", "lstrip": True, "normalized": False, "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": described}))
    reference = GPT2TokenizerFast.from_pretrained(tmp_path)
    ids = BPETokenizer.from_folder(tmp_path).encode("The <mask> fox")
    assert ids == reference("The <mask> fox").input_ids
    assert ids == BPETokenizer.from_folder(tmp_path).encode("The<mask> fox")


def test_a_model_with_added_tokens_and_padding_writes_them(folder):
    """As after adding a token and resizing the embedding to a multiple of 64, in transformers."""
    tokenizer = GPT2TokenizerFast.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    tokenizer.save_pretrained(folder)
    reference = make_gpt2()
    reference.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64, mean_resizing=False)
    reference.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 384
    model, ours = load_pretrained(folder)
    assert model.config.vocab_size == ours.vocab_size == 321
    assert ours.encode("a<|pad|>b") == tokenizer("a<|pad|>b").input_ids
    assert_same_logits(model, reference, 321)


ADDED_TOKENS, CONFIG = "added_tokens.json", "tokenizer_config.json"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (ADDED_TOKENS, "[]", "added_tokens.json is not an object of tokens and their ids"),
        (ADDED_TOKENS, '{"<new>": "320"}', "is not an object of tokens"),
        (ADDED_TOKENS, '{"<new>": 321}', "the added token '<new>' has the id 321, which is taken or leaves ids out"),
        (ADDED_TOKENS, '{"<new>": 0}', "the added token '<new>' has the id 0, which is taken"),
        (ADDED_TOKENS, '{"": 320}', "the added token '' has the id 320"),
        (ADDED_TOKENS, "{", "added_tokens.json with tokenizer_config.json in .* is not sound"),
        (CONFIG, "[]", "tokenizer_config.json does not describe its added_tokens_decoder as ids and their tokens"),
        (CONFIG, '{"added_tokens_decoder": {"320": "<new>"}}', "does not describe its added_tokens_decoder"),
        (CONFIG, '{"added_tokens_decoder": {"320": {}}}', "does not describe its added_tokens_decoder"),
        (CONFIG, '{"added_tokens_decoder": {"x": {"content": "y"}}}', "tokenizer_config.json in .* is not sound"),
        (CONFIG, '{"added_tokens_decoder": {"-1": {"content": "y"}}}', "the added token 'y' has the id -1"),
    ],
)
def test_added_tokens_that_are_not_sound_are_refused(folder, name, content, message):
    (folder / name).write_text(content)
    refused(folder, message)
