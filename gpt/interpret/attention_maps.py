"""How much each position of a text reads from each other one."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.layers import GPT2Block


def attention_maps(model: GPT2, input_ids: Tensor) -> Tensor:
    """How much each position reads from each other one, in every layer and head.

    The weights come from an explicit softmax over the same queries, keys and mask that the model computes with.

    Args:
        model: the model to look into.
        input_ids: (B, T) token ids.

    Returns:
        (num_layers, B, num_heads, T queries, T keys); each row sums to 1 over the keys that the query may see, and
        all others are exactly 0.
    """
    weights = []
    with evaluation_mode(model):
        x = model.embed(input_ids.to(model.device))
        for block in model.blocks:
            assert isinstance(block, GPT2Block)  # tells the type checker what a ModuleList holds
            weights.append(block.attention.attention_weights(block.attention_norm(x)))
            x = block(x)
    return torch.stack(weights)
