"""Original GPT-2: its weights and its tokenizer, as Hugging Face publishes them, in our `GPT2`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt.checkpoints.files import CheckpointError, check_tensors, read_json
from gpt.checkpoints.saves import read_save
from gpt.checkpoints.shards import SavedWeights, find_weights
from gpt.data.tokenizer import BPETokenizer
from gpt.model.config import GPTConfig
from gpt.model.gpt2 import GPT2

PRETRAINED = {
    "gpt2": "124 million parameters, 0.5 GB to fetch once",
    "gpt2-medium": "355 million parameters, 1.5 GB",
    "gpt2-large": "774 million parameters, 3.2 GB",
    "gpt2-xl": "1.6 billion parameters, 6.4 GB",
}

_OWNER = "openai-community"  # of these on the hub
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "vocab.json", "merges.txt")
_LARGEST_WEIGHTS = 8_000_000_000  # bytes
_MOST_PADDING = 8192  # rows of an embedding without tokens: up to a multiple of 128 on each of 64 devices

# What our model computes; the first of each is what a config.json means that does not name the field.
_ONLY = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}

# Theirs -> ours, within a block. The weights of theirs are (inputs, outputs), ours as in `nn.Linear` (outputs, inputs).
_BLOCK = {
    "ln_1": "attention_norm",
    "attn.c_proj": "attention.output",
    "ln_2": "feed_forward_norm",
    "mlp.c_fc": "feed_forward.expand",
    "mlp.c_proj": "feed_forward.project",
}
# What wraps a model when it is saved, before the names of its tensors.
_WRAPPERS = re.compile(r"((module|_orig_mod|model)\.)*(transformer\.)?")
# Not weights of a model that writes: masks, which we compute, and the head that chooses among answers.
_IGNORED = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)|multiple_choice_head\..+")
_LABELLERS = re.compile(r".+For(SequenceClassification|TokenClassification|QuestionAnswering)")


class PretrainedUnavailable(RuntimeError):
    """Published weights that have to be fetched could not be; the message says why and what to do."""


def load_pretrained(name_or_folder: str | Path) -> tuple[GPT2, BPETokenizer]:
    """Load original GPT-2, or any model in its layout, onto the CPU in float32 and evaluation mode.

    The layout is Hugging Face's (`modeling_gpt2.py`): config.json; the weights in float32, float16 or bfloat16, in
    model.safetensors or in shards with an index, the embedding there as wte.weight, as lm_head.weight or as both; and
    tokenizer.json or vocab.json with merges.txt, with or without added_tokens.json. Dropout is 0, whatever it was
    trained with. Rows that pad the embedding beyond the tokenizer's tokens are left out, so they are never drawn.

    Args:
        name_or_folder: a folder; or a name of `PRETRAINED`, with or without "openai-community/" before it, which is
            fetched once into the cache of `huggingface_hub`. A folder of that name comes first.

    Returns:
        The model and its tokenizer.

    Raises:
        PretrainedUnavailable: the weights are not here and cannot be fetched.
        CheckpointError: there is no such folder or name, or a file in the folder is missing, damaged or of a model
            that our `GPT2` is not.
    """
    folder = Path(name_or_folder)
    name = str(name_or_folder).removeprefix(f"{_OWNER}/")
    if not folder.is_dir():
        if name not in PRETRAINED:
            raise CheckpointError(
                f"there is no folder {str(name_or_folder)!r}; give a folder in the layout of original GPT-2, "
                f"or one of {', '.join(PRETRAINED)}"
            )
        folder = _fetch(name)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"there is no config.json in {folder}; give a folder in the layout of original GPT-2")
    config = _read_config(folder / "config.json")
    weights = find_weights(folder, _LARGEST_WEIGHTS)
    try:
        tokenizer = BPETokenizer.from_folder(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    if not 0 <= config.vocab_size - tokenizer.vocab_size <= _MOST_PADDING:
        raise CheckpointError(
            f"the tokenizer in {folder} has {tokenizer.vocab_size:,} tokens and config.json says "
            f"{config.vocab_size:,}; take both from one model"
        )
    return _load_model(weights, config, tokenizer.vocab_size), tokenizer


def is_pretrained(name_or_folder: str | Path) -> bool:
    """Whether this is for `load_pretrained` and not for `load_checkpoint`: by name, or by the folder's config.json.

    Raises:
        CheckpointError: it is a folder, and its config.json cannot be read.
    """
    if not Path(name_or_folder).is_dir():
        return str(name_or_folder).removeprefix(f"{_OWNER}/") in PRETRAINED
    description = read_save(Path(name_or_folder), lambda save: read_json(save.path("config.json")))
    return isinstance(description, dict) and "model_type" in description


def _fetch(name: str) -> Path:
    """The folder of a published model in the hub's cache, fetched if it is not there."""
    from huggingface_hub import snapshot_download  # only where something is fetched

    try:
        folder = Path(snapshot_download(f"{_OWNER}/{name}", allow_patterns=list(_FILES)))
        if not all((folder / file).is_file() for file in _FILES[:3]):
            raise FileNotFoundError(f"{folder} holds a part of the files only")  # left by a fetch that was cut off
    except Exception as error:  # no network, a full disk, an error of the hub: the libraries below have many kinds
        raise PretrainedUnavailable(
            f"{name} could not be fetched from huggingface.co ({type(error).__name__}); connect to the network and try "
            f"again, or give a folder with {', '.join(_FILES[:3])} of {_OWNER}/{name}"
        ) from error
    return folder


def _read_config(path: Path) -> GPTConfig:
    """Our configuration of the model that a config.json of Hugging Face's GPT-2 describes."""
    description = read_json(path)
    kind = description.get("model_type") if isinstance(description, dict) else None
    if kind != "gpt2":
        raise CheckpointError(
            f"{path} has the model_type {repr(kind)[:60]}, and not the 'gpt2' of an original GPT-2; choose another "
            f"folder, or open it with load_checkpoint if GPT Lab has saved it"
        )
    for field, allowed in _ONLY.items():
        value = description.get(field, allowed[0])
        if value not in allowed:
            raise CheckpointError(
                f"config.json: {field} is {repr(value)[:60]}, and our GPT2, as the original, has only "
                f"{' or '.join(map(repr, allowed))}; choose another model"
            )
    labellers = [name for name in _names(description.get("architectures")) if _LABELLERS.fullmatch(name)]
    if labellers:
        raise CheckpointError(
            f"config.json: the model is a {labellers[0][:60]}, which labels texts and writes none; choose another"
        )
    embed_size = _size(description, "n_embd")
    try:
        return GPTConfig(
            _size(description, "vocab_size"),
            embed_size,
            _size(description, "n_head"),
            4 * embed_size if description.get("n_inner") is None else _size(description, "n_inner"),
            _size(description, "n_layer"),
            context_length=_size(description, "n_positions" if "n_positions" in description else "n_ctx"),
        )
    except ValueError as error:
        raise CheckpointError(f"config.json is not sound: {error}") from None


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _size(description: Mapping[str, Any], field: str) -> int:
    value = description.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**9:
        raise CheckpointError(f"config.json: {field} is {repr(value)[:60]}; give a whole number from 1 to 999,999,999")
    return value


def _load_model(weights: SavedWeights, config: GPTConfig, vocab_size: int) -> GPT2:
    """Our model with the weights of a folder, which are refused before they are read if they are not this model's.

    Args:
        weights: in the folder.
        config: as config.json says.
        vocab_size: how many tokens there are; the others of `config` are padding.
    """
    names = {_WRAPPERS.sub("", name, count=1): name for name in weights.listed}  # by the name without wrappers
    if len(names) < len(weights.listed):
        raise CheckpointError(f"{weights.name} has a tensor twice, with and without 'transformer.' before its name")
    names = {short: name for short, name in names.items() if not _IGNORED.fullmatch(short)}
    if config.num_layers > len(names):
        raise CheckpointError(f"config.json asks for {config.num_layers:,} layers; {weights.name} has fewer tensors")
    if "wte.weight" not in names and "lm_head.weight" in names:  # one matrix, written once
        names["wte.weight"] = names.pop("lm_head.weight")
    expected = _shapes(config)
    if "lm_head.weight" in names:
        expected["lm_head.weight"] = expected["wte.weight"]
    kinds = ("F32", "F16", "BF16")
    found = {short: weights.listed[name] for short, name in names.items()}
    check_tensors(weights.name, found, {name: (kinds, shape) for name, shape in expected.items()})

    tensors = weights.read(names.values())
    theirs = {short: tensors[name] for short, name in names.items()}
    if "lm_head.weight" in theirs and not _equal(theirs["lm_head.weight"], theirs["wte.weight"]):
        raise CheckpointError(
            f"{weights.name} has an output layer of its own (lm_head.weight is not wte.weight), and original GPT-2 has "
            f"one matrix for both; choose another model"
        )
    theirs["wte.weight"] = theirs["wte.weight"][:vocab_size]
    config = replace(config, vocab_size=vocab_size)
    with torch.device("meta"):  # made without drawing random weights, which takes longer than all the rest
        model = GPT2.from_config(config).eval()
    model.to_empty(device="cpu")
    model.output_layer.weight = model.token_embedding.weight  # tied again: `to_empty` parts them
    model.load_weights(_our_weights(theirs, config.num_layers))
    return model


def _shapes(config: GPTConfig) -> dict[str, list[int]]:
    """Names and shapes of all tensors of the original, without the prefix that some files have."""
    width, inner = config.embed_size, config.hidden_size
    linear = {
        "attn.c_attn": [width, 3 * width],
        "attn.c_proj": [width, width],
        "mlp.c_fc": [width, inner],
        "mlp.c_proj": [inner, width],
    }
    block = {f"{norm}.{kind}": [width] for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")}
    block |= {f"{name}.weight": shape for name, shape in linear.items()}
    block |= {f"{name}.bias": shape[1:] for name, shape in linear.items()}
    shapes = {"wte.weight": [config.vocab_size, width], "wpe.weight": [config.context_length, width]}
    shapes |= {"ln_f.weight": [width], "ln_f.bias": [width]}
    return shapes | {f"h.{layer}.{name}": shape for layer in range(config.num_layers) for name, shape in block.items()}


def _our_weights(theirs: Mapping[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """Their weights under our names and in our layout, as views that take no memory."""
    ours = {
        "token_embedding.weight": theirs["wte.weight"],
        "position_embedding.weight": theirs["wpe.weight"],
        "final_norm.weight": theirs["ln_f.weight"],
        "final_norm.bias": theirs["ln_f.bias"],
    }
    for layer in range(num_layers):
        for kind in ("weight", "bias"):
            joined = theirs[f"h.{layer}.attn.c_attn.{kind}"]  # (C, 3 C) or (3 C)
            for name, part in zip(("query", "key", "value"), joined.chunk(3, dim=-1), strict=True):
                ours[f"blocks.{layer}.attention.{name}.{kind}"] = _transposed(part)
            for their_name, our_name in _BLOCK.items():
                ours[f"blocks.{layer}.{our_name}.{kind}"] = _transposed(theirs[f"h.{layer}.{their_name}.{kind}"])
    return ours


def _transposed(weight: Tensor) -> Tensor:
    return weight.T if weight.ndim == 2 else weight


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.float(), other.float())
