"""Ablating attention heads: replacing what a head adds by zero, and measuring what that costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt.model.attention import MultiHeadSelfAttention
from gpt.model.config import GPTConfig
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.layers import GPT2Block


def ablated(model: GPT2, heads: Collection[tuple[int, int]] = (), kv_heads: Collection[tuple[int, int]] = ()) -> GPT2:
    """A model that differs from this one only in that some heads are ablated; it shares all other weights.

    An ablated query head adds nothing to the residual stream: the output projection's columns that read it are zero.
    An ablated key/value head has only zeros as keys and values, so every query head that shares it reads zeros. A
    model made inside `torch.inference_mode` can only be used there.

    Args:
        model: the model, which stays as it is.
        heads: (layer, query head) of each to ablate, from 0.
        kv_heads: (layer, key/value head) of each to ablate, from 0.

    Raises:
        ValueError: the model has no such head.
    """
    _check_heads(heads, "head", model.config, model.config.num_heads)
    _check_heads(kv_heads, "KV head", model.config, model.config.kv_heads)
    touched = [_attention(model, layer) for layer in {layer for layer, _ in (*heads, *kv_heads)}]
    own = {id(parameter) for attention in touched for parameter in attention.parameters()}
    shared = {id(parameter): parameter for parameter in model.parameters() if id(parameter) not in own}
    changed = copy.deepcopy(model, shared)  # what is in the memo is not copied
    width = model.config.head_dim
    with torch.no_grad():
        for layer, head in heads:
            _attention(changed, layer).output.weight[:, head * width : (head + 1) * width] = 0
        for layer, head in kv_heads:
            for part in (_attention(changed, layer).key, _attention(changed, layer).value):
                part.weight[head * width : (head + 1) * width] = 0
                part.bias[head * width : (head + 1) * width] = 0
    return changed


@dataclass(frozen=True, eq=False)
class Ablation:
    """What ablating each head of one layer does to the loss on a text, in nats per token.

    Attributes:
        layer: from 0.
        costs, errors: (num_heads,) how much the loss rises, and the standard error of that.
        kv_costs, kv_errors: (num_kv_heads,) the same for key/value heads.
    """

    layer: int
    costs: Tensor
    errors: Tensor
    kv_costs: Tensor
    kv_errors: Tensor


def ablation_costs(model: GPT2, ids: Tensor) -> Iterator[Ablation]:
    """Ablate every head in turn, one layer after another, and measure what each costs on a text.

    Equal to the losses of `ablated` models, but what lies before a head is computed once, and the heads of a layer
    go through the rest of the model side by side.

    Args:
        model: the model.
        ids: (T,) the text, at least two tokens.

    Raises:
        ValueError: at the first layer, if the text is too short, or longer than the model's learned positions.
    """
    _check_text(ids)
    inputs = ids[None, :-1].to(model.device)
    config = model.config
    whole = next_token_losses(model, ids)
    gates = _one_closed(config).to(model.device)
    with evaluation_mode(model):
        x = model.embed(inputs)
    for layer in range(config.num_layers):
        with evaluation_mode(model):
            losses = _losses_with_gates(model, layer, x, ids, gates)
            x = _block(model, layer)(x)
        costs, errors = difference_and_error(losses, whole)
        heads, groups = slice(config.num_heads), slice(-config.kv_heads, None)
        yield Ablation(layer, costs[heads], errors[heads], costs[groups], errors[groups])


def _one_closed(config: GPTConfig) -> Tensor:
    """Rows of gates (N, num_heads), each 0 at one query head, then each 0 at those that share one key/value head.

    With a key/value head for each query head the two are the same, and stand there once.
    """
    heads = torch.arange(config.num_heads)
    groups = heads // (config.num_heads // config.kv_heads)
    query_rows = heads[:, None] != heads
    if config.kv_heads == config.num_heads:
        return query_rows.float()
    kv_rows = torch.arange(config.kv_heads)[:, None] != groups
    return torch.cat((query_rows, kv_rows)).float()


def _losses_with_gates(model: GPT2, layer: int, x: Tensor, ids: Tensor, gates: Tensor) -> Tensor:
    """Token losses (N, T - 1) from layer `layer` on, in each row with its heads multiplied by gates (N, H)."""
    block = _block(model, layer)
    outputs = block.attention.head_outputs(block.attention_norm(x))  # (1, T, H, head_dim)
    gated = outputs * gates[:, None, :, None]  # (N, T, H, head_dim)
    y = x + block.attention.output(gated.flatten(-2))
    y = y + block.feed_forward(block.feed_forward_norm(y))
    for later in range(layer + 1, model.config.num_layers):
        y = _block(model, later)(y)
    logits = model.output_layer(model.final_norm(y))  # (N, T - 1, vocab_size)
    targets = ids[1:].to(logits.device).expand(len(gates), -1)
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").cpu()


def next_token_losses(model: GPT2, ids: Tensor) -> Tensor:
    """The loss of each token of a text (T,) but the first, in nats, from one reading: (T - 1,)."""
    _check_text(ids)
    with evaluation_mode(model):
        logits = model(ids[None, :-1].to(model.device))[0]
        return F.cross_entropy(logits, ids[1:].to(logits.device), reduction="none").cpu()


def difference_and_error(losses: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the token losses (..., N) less those of a reference (N,), and its standard error.

    Both are of the same tokens, so their differences are what varies; they are taken as independent of each other.
    The error of a single token's difference is not known: it is infinite.
    """
    differences = losses.double() - reference.double()
    count = differences.shape[-1]
    if count == 1:
        return differences[..., 0], torch.full(differences.shape[:-1], math.inf, dtype=torch.double)
    return differences.mean(dim=-1), differences.std(dim=-1) / math.sqrt(count)


def kv_reactions(model: GPT2, ids: Tensor) -> Tensor:
    """How much each query head's output changes, in its layer, when a key/value head is ablated.

    Args:
        model: the model.
        ids: (T,) the text it reads.

    Returns:
        (num_layers, num_kv_heads, num_heads): length of the change over length of the output, over all positions.
    """
    config = model.config
    reactions = torch.zeros(config.num_layers, config.kv_heads, config.num_heads)
    with evaluation_mode(model):
        x = model.embed(ids[None].to(model.device))
        for layer in range(config.num_layers):
            block = _block(model, layer)
            seen = block.attention_norm(x)
            outputs = block.attention.head_outputs(seen)  # (1, T, H, head_dim)
            before = torch.linalg.vector_norm(outputs, dim=(0, 1, 3))  # (H,)
            for group in range(config.kv_heads):
                without = _attention(ablated(model, kv_heads=[(layer, group)]), layer)
                change = torch.linalg.vector_norm(without.head_outputs(seen) - outputs, dim=(0, 1, 3))
                reactions[layer, group] = (change / before).where(before > 0, 0)  # zero before: nothing to change
            x = block(x)
    return reactions


def _block(model: GPT2, layer: int) -> GPT2Block:
    block = model.blocks[layer]
    assert isinstance(block, GPT2Block)  # tells the type checker what a ModuleList holds
    return block


def _attention(model: GPT2, layer: int) -> MultiHeadSelfAttention:
    return _block(model, layer).attention


def _check_heads(chosen: Collection[tuple[int, int]], kind: str, config: GPTConfig, count: int) -> None:
    for layer, head in chosen:
        if not (0 <= layer < config.num_layers and 0 <= head < count):
            raise ValueError(
                f"there is no {kind} {head} in layer {layer}; layers go from 0 to {config.num_layers - 1} and "
                f"{kind}s from 0 to {count - 1}"
            )


def _check_text(ids: Tensor) -> None:
    if ids.ndim != 1 or len(ids) < 2:
        raise ValueError(f"the text has shape {tuple(ids.shape)}; give (length,) with at least 2 tokens to predict one")
