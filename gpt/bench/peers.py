"""What ours is compared with: models of Hugging Face's transformers of the same sizes, where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gpt.model.config import GPTConfig

MISSING = "The peer is missing: transformers is not installed (pip install -r tests/requirements.txt)."


def transformers() -> ModuleType | None:
    """The package, or None where it is not installed."""
    try:
        return importlib.import_module("transformers")
    except ImportError:
        return None


def gpt2_peer(config: GPTConfig) -> Any | None:
    """Hugging Face's GPT-2 of these sizes, freshly initialised, without dropout; None where it is not installed."""
    package = transformers()
    if package is None:
        return None
    return package.GPT2LMHeadModel(
        package.GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.context_length,
            n_embd=config.embed_size,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            n_inner=config.hidden_size,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
    )


@dataclass(frozen=True)
class MistralPeer:
    """Mistral's attention layer, for texts of one length.

    What the model prepares once for all its layers is prepared beforehand, outside of what is timed: the rotary angles,
    and the mask (1, 1, length, length) that transformers makes for PyTorch's `scaled_dot_product_attention`.

    Attributes:
        layer: the module.
        call: what the model does in each layer, on (1, length, embed_size).
        attend: what the layer calls between its linear maps, on queries, keys, values (1, heads, length, head_dim).
    """

    layer: nn.Module
    call: Callable[[Tensor], Tensor]
    attend: Callable[[Tensor, Tensor, Tensor], Tensor]


def mistral_peer(embed_size: int, num_heads: int, window_size: int, length: int) -> MistralPeer | None:
    """Mistral's attention of these sizes; None where transformers is not installed."""
    if transformers() is None:
        return None
    modeling = importlib.import_module("transformers.models.mistral.modeling_mistral")
    config = modeling.MistralConfig(
        vocab_size=8,
        hidden_size=embed_size,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=length,
        sliding_window=window_size,
        attn_implementation="sdpa",
    )
    layer = modeling.MistralAttention(config, layer_idx=0)
    positions, like = torch.arange(length)[None], torch.empty(1, length, embed_size)
    mask = importlib.import_module("transformers.masking_utils").create_sliding_window_causal_mask(
        config=config, inputs_embeds=like, attention_mask=None, past_key_values=None, position_ids=positions
    )
    angles = modeling.MistralRotaryEmbedding(config)(like, positions)

    def call(text: Tensor) -> Tensor:
        return layer(text, position_embeddings=angles, attention_mask=mask)[0]

    forward = importlib.import_module("transformers.integrations.sdpa_attention").sdpa_attention_forward

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        read: Tensor = forward(layer, queries, keys, values, mask, scaling=layer.scaling)[0]
        return read

    return MistralPeer(layer, call, attend)
