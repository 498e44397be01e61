"""What can reach an output, by the masks, and what does, by the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt.model.config import GPTConfig
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.masks import attention_mask


def receptive_field(config: GPTConfig, length: int, position: int) -> Tensor:
    """The positions that can reach the output at `position`, layer by layer, from the masks alone.

    With a causal window of W, k layers reach k(W - 1) + 1 tokens, the position itself included.

    Args:
        config: of the model.
        length: T, tokens in the text.
        position: of the output, from 0.

    Returns:
        (num_layers + 1, T) bool: row k is what of layer k's input counts, row 0 that of the embeddings, and the last
        row the position alone.

    Raises:
        ValueError: the text has no such position.
    """
    _check_position(position, length)
    positions = torch.arange(length)
    allowed = attention_mask(positions, positions, config.window_size, config.causal)
    reaches = torch.zeros(config.num_layers + 1, length, dtype=torch.bool)
    reaches[-1, position] = True
    for layer in reversed(range(config.num_layers)):
        reaches[layer] = allowed[reaches[layer + 1]].any(dim=0)  # the position itself among them: it sees itself
    return reaches


def influence(model: GPT2, ids: Tensor, position: int, token: int | None = None) -> Tensor:
    """How strongly one logit depends on what stands at each position, layer by layer.

    Args:
        model: the model.
        ids: (T,) the text.
        position: where the logit is read, from 0.
        token: whose logit; by default the likeliest's.

    Returns:
        (num_layers + 1, T): the length of the logit's gradient by the vector at each position, in the order of
        `receptive_field`. It is exactly 0 wherever nothing can reach the output.

    Raises:
        ValueError: the text has no such position, or the model no such token.
    """
    _check_position(position, len(ids))
    if token is not None and not 0 <= token < model.config.vocab_size:
        raise ValueError(f"there is no token {token}; this model knows 0 to {model.config.vocab_size - 1}")
    with evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
        x = model.embed(ids[None].to(model.device)).detach().requires_grad_()
        streams = [x]
        for block in model.blocks:
            streams.append(block(streams[-1]))
        logits = model.output_layer(model.final_norm(streams[-1]))[0, position]
        logit = logits.max() if token is None else logits[token]
        gradients = torch.autograd.grad(logit, streams)
    return torch.stack([gradient[0].norm(dim=-1) for gradient in gradients]).cpu()


def _check_position(position: int, length: int) -> None:
    if not 0 <= position < length:
        raise ValueError(f"there is no position {position} in a text of {length} tokens; give 0 to {length - 1}")
