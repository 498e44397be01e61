"""The two layouts of Hugging Face's transformers that are models of ours: their config.json, and the names of their
tensors, from theirs to ours and back.

GPT-2 (`modeling_gpt2.py`): learned positions, a key/value head for each query head, no window.
Starcoder2 (`modeling_starcoder2.py`): rotary positions, with any number of key/value heads and any window; otherwise
it is GPT-2's: layer norms and linear layers with biases, the same GELU, one matrix for embedding and output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpt.checkpoints.files import CheckpointError
from gpt.model.config import GPTConfig

Description = Mapping[str, Any]  # what a config.json says


class _Piece(NamedTuple):
    """One of their tensors, made of ours: side by side where there are several.

    Attributes:
        theirs: its name.
        ours: the names of ours.
        is_transposed: whether it is (inputs, outputs), as in their `Conv1D`, and ours as in `nn.Linear`.
    """

    theirs: str
    ours: tuple[str, ...]
    is_transposed: bool = False


@dataclass(frozen=True)
class Layout:
    """How transformers keeps a kind of model.

    Attributes:
        model_type: its name in config.json.
        architecture: the class of transformers that it is.
        prefix: what the names of its tensors begin with in a file; some files leave it out, and so do we elsewhere.
        embedding: the matrix that is its output layer, too.
        ignored: a pattern for tensors that are no weights of a model that writes, such as masks, which we compute.
        only: what our model computes, by field; the first of each is what a config.json means that does not name it.
        describe: config.json's fields for a model of ours that is of this kind.
        read: our configuration, from such fields; raises ValueError or TypeError where they are not sound.
        ends: the tensors outside the blocks: theirs -> ours.
        blocks: what the name of a block begins with, up to its number.
        pieces: the parts of a block: theirs -> ours, and whether their weights are transposed.
    """

    model_type: str
    architecture: str
    prefix: str
    embedding: str
    ignored: str
    only: Mapping[str, tuple[Any, ...]]
    describe: Callable[[GPTConfig], dict[str, Any]]
    read: Callable[[Description], GPTConfig]
    ends: Mapping[str, str]
    blocks: str
    pieces: Sequence[tuple[str, tuple[str, ...], bool]]

    def _pieces(self, num_layers: int) -> list[_Piece]:
        """All tensors of a model of so many layers."""
        found = [_Piece(theirs, (ours,)) for theirs, ours in self.ends.items()]
        for layer in range(num_layers):
            for theirs, ours, is_transposed in self.pieces:
                for kind in ("weight", "bias"):
                    names = tuple(f"blocks.{layer}.{name}.{kind}" for name in ours)
                    turned = is_transposed and kind == "weight"
                    found.append(_Piece(f"{self.blocks}{layer}.{theirs}.{kind}", names, turned))
        return found

    def shapes(self, config: GPTConfig) -> dict[str, list[int]]:
        """Names and shapes of all their tensors, without memory for them, however large."""
        ours = _our_shapes(config)
        shapes = {}
        for piece in self._pieces(config.num_layers):
            parts = [ours[name][::-1] if piece.is_transposed else ours[name] for name in piece.ours]
            shapes[piece.theirs] = [*parts[0][:-1], sum(part[-1] for part in parts)]
        return shapes

    def to_ours(self, theirs: Mapping[str, Tensor], num_layers: int) -> dict[str, Tensor]:
        """Their weights under our names and in our layout, as views that take no memory."""
        ours = {}
        for piece in self._pieces(num_layers):
            parts = theirs[piece.theirs].chunk(len(piece.ours), dim=-1)  # (C, 3 C) or (3 C) where they are joined
            for name, part in zip(piece.ours, parts, strict=True):
                ours[name] = part.T if piece.is_transposed else part
        return ours

    def to_theirs(self, ours: Mapping[str, Tensor], num_layers: int) -> dict[str, Tensor]:
        """Our weights under their names, prefix included, and in their layout."""
        theirs = {}
        for piece in self._pieces(num_layers):
            parts = [ours[name].T if piece.is_transposed else ours[name] for name in piece.ours]
            theirs[f"{self.prefix}{piece.theirs}"] = torch.cat(parts, dim=-1).contiguous()
        return theirs


def _our_shapes(config: GPTConfig) -> dict[str, list[int]]:
    """Names and shapes of our model's weights; a config.json may ask for more than a tensor can be."""
    width, inner, keys = config.embed_size, config.hidden_size, config.kv_heads * config.head_dim
    shapes = {"token_embedding.weight": [config.vocab_size, width], "final_norm.weight": [width]}
    shapes |= {"position_embedding.weight": [config.context_length, width], "final_norm.bias": [width]}
    layers = {"attention.query": (width, width), "attention.key": (keys, width), "attention.value": (keys, width)}
    layers |= {"attention.output": (width, width), "feed_forward.expand": (inner, width)}
    layers |= {"feed_forward.project": (width, inner)}
    for layer in range(config.num_layers):
        for name, (outputs, inputs) in layers.items():
            shapes[f"blocks.{layer}.{name}.weight"] = [outputs, inputs]
            shapes[f"blocks.{layer}.{name}.bias"] = [outputs]
        for name in ("attention_norm", "feed_forward_norm"):
            shapes |= {f"blocks.{layer}.{name}.{kind}": [width] for kind in ("weight", "bias")}
    return shapes


def layout_of(config: GPTConfig) -> Layout:
    """The layout that a model of ours has in transformers.

    Raises:
        ValueError: it has none; the message says which part transformers has no place for.
    """
    parts = []
    if not config.causal:
        parts.append("attention without the causal mask")
    if config.positions in ("alibi", "none"):
        parts.append("ALiBi in a model like this" if config.positions == "alibi" else "a model without positions")
    elif config.positions == "learned":
        if config.window_size is not None:
            parts.append("a window beside learned positions")
        if config.kv_heads != config.num_heads:
            parts.append("fewer KV heads beside learned positions")
    elif config.window_size == 1:
        parts.append("a window of 1, with which its cache forgets nothing")
    if parts:
        raise ValueError(
            f"transformers has no place for {' and for '.join(parts)}; it has models with a causal mask and either "
            f"learned positions alone or rotary positions, with any KV heads and a window of 2 or more: export one of "
            f"these, such as gpt2, rotary or modern"
        )
    return _STARCODER2 if config.positions == "rotary" else _GPT2


# --- GPT-2 ----------------------------------------------------------------------------------------------------------


def _describe_gpt2(config: GPTConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.embed_size,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_inner": config.hidden_size,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), config.dropout),
    }


def _read_gpt2(description: Description) -> GPTConfig:
    embed_size = _size(description, "n_embd")
    return GPTConfig(
        _size(description, "vocab_size"),
        embed_size,
        _size(description, "n_head"),
        4 * embed_size if description.get("n_inner") is None else _size(description, "n_inner"),
        _size(description, "n_layer"),
        context_length=_size(description, "n_positions" if "n_positions" in description else "n_ctx"),
    )


_GPT2 = Layout(
    "gpt2",
    "GPT2LMHeadModel",
    prefix="transformer.",
    embedding="wte.weight",
    ignored=r"h\.\d+\.attn\.(bias|masked_bias)|multiple_choice_head\..+",  # the head chooses among answers
    only={
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "layer_norm_epsilon": (1e-5,),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "reorder_and_upcast_attn": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    },
    describe=_describe_gpt2,
    read=_read_gpt2,
    ends={
        "wte.weight": "token_embedding.weight",
        "wpe.weight": "position_embedding.weight",
        "ln_f.weight": "final_norm.weight",
        "ln_f.bias": "final_norm.bias",
    },
    blocks="h.",
    pieces=(
        ("ln_1", ("attention_norm",), False),
        ("attn.c_attn", ("attention.query", "attention.key", "attention.value"), True),
        ("attn.c_proj", ("attention.output",), True),
        ("ln_2", ("feed_forward_norm",), False),
        ("mlp.c_fc", ("feed_forward.expand",), True),
        ("mlp.c_proj", ("feed_forward.project",), True),
    ),
)


# --- Starcoder2 -----------------------------------------------------------------------------------------------------

_ROTARY_BASE = 10000.0  # what transformers takes where a config.json names none


def _describe_starcoder2(config: GPTConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_size,
        "intermediate_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "max_position_embeddings": config.context_length,
        "sliding_window": config.window_size,  # that many keys, itself included, as ours
        "rope_theta": config.rope_base,  # for transformers 4
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},  # for transformers 5
        "hidden_act": "gelu_pytorch_tanh",
        "norm_epsilon": 1e-5,
        "use_bias": True,
        **dict.fromkeys(("attention_dropout", "embedding_dropout", "residual_dropout"), config.dropout),
    }


def _read_starcoder2(description: Description) -> GPTConfig:
    embed_size, num_heads = _size(description, "hidden_size"), _size(description, "num_attention_heads")
    if description.get("head_dim") not in (None, embed_size // num_heads):
        raise ValueError(
            f"head_dim is {repr(description['head_dim'])[:60]}, and our heads are hidden_size / num_attention_heads "
            f"= {embed_size // num_heads} wide"
        )
    has_groups = description.get("num_key_value_heads", 2) is not None
    is_windowed = description.get("sliding_window") is not None
    return GPTConfig(
        _size(description, "vocab_size"),
        embed_size,
        num_heads,
        _size(description, "intermediate_size"),
        _size(description, "num_hidden_layers"),
        context_length=_size(description, "max_position_embeddings"),
        num_kv_heads=_kv_heads(description, num_heads) if has_groups else None,
        window_size=_size(description, "sliding_window") if is_windowed else None,
        positions="rotary",
        rope_base=_rotary_base(description),
    )


def _kv_heads(description: Description, num_heads: int) -> int | None:
    """None, as ours have it, where there is one for each query head."""
    found = _size({"num_key_value_heads": 2, **description}, "num_key_value_heads")
    return None if found == num_heads else found


def _rotary_base(description: Description) -> Any:
    """The base of the rotary angles, under the names of transformers 5 or of 4."""
    said = description.get("rope_parameters") or description.get("rope_scaling") or {}
    if not isinstance(said, dict):
        raise ValueError(f"rope_parameters is {repr(said)[:60]}; give an object with rope_type and rope_theta")
    kind = said.get("rope_type", said.get("type", "default"))
    share = said.get("partial_rotary_factor", description.get("partial_rotary_factor"))
    if kind != "default" or share not in (None, 1):
        asked = f"rope_type {repr(kind)[:40]}" if kind != "default" else f"partial_rotary_factor {repr(share)[:40]}"
        raise ValueError(f"it has {asked}, and our rotary positions turn whole heads and do not stretch")
    return said.get("rope_theta", description.get("rope_theta", _ROTARY_BASE))


_STARCODER2 = Layout(
    "starcoder2",
    "Starcoder2ForCausalLM",
    prefix="model.",
    embedding="embed_tokens.weight",
    ignored=r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",
    only={
        "hidden_act": ("gelu_pytorch_tanh", "gelu_new"),
        "norm_epsilon": (1e-5,),
        "norm_type": ("layer_norm",),
        "mlp_type": ("default",),
        "use_bias": (True,),
        "tie_word_embeddings": (True,),
    },
    describe=_describe_starcoder2,
    read=_read_starcoder2,
    ends={
        "embed_tokens.weight": "token_embedding.weight",
        "norm.weight": "final_norm.weight",
        "norm.bias": "final_norm.bias",
    },
    blocks="layers.",
    pieces=(
        ("input_layernorm", ("attention_norm",), False),
        ("self_attn.q_proj", ("attention.query",), False),
        ("self_attn.k_proj", ("attention.key",), False),
        ("self_attn.v_proj", ("attention.value",), False),
        ("self_attn.o_proj", ("attention.output",), False),
        ("post_attention_layernorm", ("feed_forward_norm",), False),
        ("mlp.c_fc", ("feed_forward.expand",), False),
        ("mlp.c_proj", ("feed_forward.project",), False),
    ),
)

LAYOUTS = {layout.model_type: layout for layout in (_GPT2, _STARCODER2)}


def _size(description: Description, field: str) -> int:
    value = description.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**9:
        raise CheckpointError(f"config.json: {field} is {repr(value)[:60]}; give a whole number from 1 to 999,999,999")
    return value
