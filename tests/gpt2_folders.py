"""Original GPT-2 as Hugging Face's libraries save it, small, random and offline."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from gpt import GPT2, CheckpointError, load_pretrained

END_OF_TEXT = "<|endoftext|>"
LEARNED_FROM = ["The quick brown fox jumps over the lazy dog.\n\nIt's naïve 🙂🙂, isn't it? 日本語 日本語 1234\n"] * 20
VOCAB_SIZE = 320

# What a tokenizer for words of one alphabet would stumble over.
TEXTS = [
    "",
    "The quick brown fox",
    " leading,  double   triple and trailing ",
    "line\nline\n\n\n\ttab\r\n ",
    "it's we'll I'D 3.14 12345 x=1;",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 and 🙂",
    "日本語の文章、中文，한국어",
    "naïve café e\u0301 Ænima ßtraße \u00a0\u2028\u200b",
    f"one{END_OF_TEXT}two {END_OF_TEXT}",
    "\0\x01\x7f\u0080\uffff\U0010ffff",
]


def train_encoder() -> Tokenizer:
    """A byte-level BPE with a few merges."""
    encoder = Tokenizer(models.BPE())
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
    )
    encoder.train_from_iterator(LEARNED_FROM, trainer)
    return encoder


def save_tokenizer(folder: Path, form: str = "whole") -> GPT2TokenizerFast:
    """Save a tokenizer as tokenizer.json ("whole"), or as vocab.json and merges.txt ("parts"); return transformers'."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = train_encoder()
    encoder.model.save(str(folder))
    reference = GPT2TokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    if form == "whole":
        for name in ("vocab.json", "merges.txt"):
            (folder / name).unlink()
        reference.save_pretrained(folder)
    return reference


def make_gpt2(**changes: int) -> GPT2LMHeadModel:
    """A small model, its weights far from their small initial values, so that mistakes are not lost in rounding."""
    size = {"n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(**{"vocab_size": VOCAB_SIZE, **size, **ends, **changes})).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(0.0, 0.2, generator=generator))
    model.generation_config.eos_token_id = None  # goes on to the length asked for
    return model


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of model.safetensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def save_shards(folder: Path, tensors: Mapping[str, Tensor], shards: int) -> None:
    """Write weights in the place of others: as model.safetensors, or dealt out to shards, with an index."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors")
        return
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    weight_map = {name: names[number % shards] for number, name in enumerate(sorted(tensors))}
    for shard in names:
        save_file({name: tensors[name] for name in tensors if weight_map[name] == shard}, folder / shard)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@torch.no_grad()
def assert_same_logits(ours: GPT2, reference: GPT2LMHeadModel, vocab_size: int | None = None) -> None:
    """Of a random text; of the reference's, the logits of the first `vocab_size` tokens."""
    ids = torch.randint(ours.config.vocab_size, (3, reference.config.n_positions))
    assert_close(ours(ids), reference(ids).logits[..., :vocab_size], atol=1e-5, rtol=1e-5)


def refused(folder: Path | str, message: str) -> None:
    """Loading fails, in one sentence."""
    with pytest.raises(CheckpointError, match=message) as caught:
        load_pretrained(folder)
    assert "\n" not in str(caught.value)


def edit_json(path: Path, **changes: object) -> None:
    """Set fields of a JSON file; None takes a field out."""
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
