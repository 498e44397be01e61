"""nanoGPT's model, written from its README and the papers it names, as the peer that people train on a laptop.

GPT-2 as nanoGPT trains it (https://github.com/karpathy/nanoGPT): query, key and value in one linear layer, PyTorch's
`scaled_dot_product_attention`, GELU in its exact form, the output layer tied to the token embedding, and no biases. Its
parts are named as ours, so `build_optimizers` and `evaluate` take it; with GELU's tanh form and biases it is our GPT-2,
to which a test holds it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt.model.config import GPTConfig
from gpt.model.seeds import seeded_generator


class NanoGPT(nn.Module):
    """The model, with seeded weights.

    Args:
        config: the sizes; positions are learned, and attention is full and causal.
        bias: whether linear layers and normalisations have biases; nanoGPT trains without.
        gelu: "none" for the exact form, or "tanh".
    """

    def __init__(self, config: GPTConfig, *, bias: bool = False, gelu: str = "none") -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.embed_size)
        self.position_embedding = nn.Embedding(config.context_length, config.embed_size)
        self.blocks = nn.ModuleList(Block(config, bias, gelu) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.embed_size, bias=bias)
        self.output_layer = nn.Linear(config.embed_size, config.vocab_size, bias=False)
        self.output_layer.weight = self.token_embedding.weight
        self.initialize()

    def initialize(self, seed: int = 1337) -> None:
        """Draw all weights: N(0, 0.02), projections into the residual stream scaled by 1/sqrt(2 x num_layers)."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim < 2:
                    parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
                    continue
                scale = 0.02 / math.sqrt(2 * len(self.blocks)) if name.endswith("project.weight") else 0.02
                parameter.normal_(0.0, scale, generator=seeded_generator(seed, name))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.token_embedding.weight.device

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) token ids -> logits (B, T, vocab_size)."""
        x = self.token_embedding(input_ids) + self.position_embedding.weight[: input_ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.output_layer(self.final_norm(x))
        return logits


class Block(nn.Module):
    """Attention, then feed-forward, each after a normalisation and added to its input."""

    def __init__(self, config: GPTConfig, bias: bool, gelu: str) -> None:
        super().__init__()
        width, inner = config.embed_size, config.hidden_size
        self.num_heads, self.gelu = config.num_heads, gelu
        self.attention_norm = nn.LayerNorm(width, bias=bias)
        self.attend = nn.Linear(width, 3 * width, bias=bias)
        self.attention_project = nn.Linear(width, width, bias=bias)
        self.feed_forward_norm = nn.LayerNorm(width, bias=bias)
        self.expand = nn.Linear(width, inner, bias=bias)
        self.project = nn.Linear(inner, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, embed_size) -> (B, T, embed_size)."""
        joined = self.attend(self.attention_norm(x)).unflatten(-1, (3, self.num_heads, -1))  # (B, T, 3, H, head_dim)
        queries, keys, values = joined.permute(2, 0, 3, 1, 4)  # (B, H, T, head_dim) each
        read = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.attention_project(read.transpose(1, 2).flatten(-2))
        hidden = F.gelu(self.expand(self.feed_forward_norm(x)), approximate=self.gelu)
        return x + self.project(hidden)
