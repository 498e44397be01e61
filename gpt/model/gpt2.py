"""GPT-2, with the choices of `GPTConfig` open: text in as token ids, a logit for every next token out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from gpt.model.attention import MultiHeadSelfAttention
from gpt.model.cache import KVCache
from gpt.model.config import GPTConfig, check_whole_number
from gpt.model.layers import GPT2Block, GPT2LayerNorm, GPT2OutputLayer
from gpt.model.positions import RotaryPositionalEncoding
from gpt.model.seeds import seeded_generator


class _NothingDrawn(TorchFunctionMode):
    """Layers made under this draw no starting values, as `initialize` does: no global random stream is touched."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (nn.init.normal_, nn.init.kaiming_uniform_, nn.init.uniform_, Tensor.normal_, Tensor.uniform_):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


class GPT2(nn.Module):
    """The transformer of "Language Models are Unsupervised Multitask Learners" (Radford et al., 2019).

    Normalisation before each branch and once at the end, biases everywhere but in the output layer, whose weight is
    the token embedding's. The arguments are the fields of `GPTConfig`, in their order. A model is made with seeded
    weights: the same sizes give the same weights on every device (see `initialize`).

    Attributes:
        config: what the model is.
        checkpoint_activations: whether the backward pass computes each block again instead of having kept all of it:
            less memory for more arithmetic, and the same result (Chen et al., https://arxiv.org/abs/1604.06174).

    Example:
        >>> model = GPT2(vocab_size=65, embed_size=128, num_heads=4, hidden_size=512, num_layers=4)
        >>> model(torch.zeros(1, 6, dtype=torch.long)).shape
        torch.Size([1, 6, 65])

    Raises:
        ValueError, TypeError: as `GPTConfig`.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_size: int = 768,
        num_heads: int = 12,
        hidden_size: int = 3072,
        num_layers: int = 12,
        *,
        context_length: int = 1024,
        num_kv_heads: int | None = None,
        window_size: int | None = None,
        positions: str = "learned",
        causal: bool = True,
        dropout: float = 0.0,
        rope_base: float = 10000.0,
    ) -> None:
        super().__init__()
        self.checkpoint_activations = False
        self.config = GPTConfig(
            vocab_size,
            embed_size,
            num_heads,
            hidden_size,
            num_layers,
            context_length=context_length,
            num_kv_heads=num_kv_heads,
            window_size=window_size,
            positions=positions,
            causal=causal,
            dropout=dropout,
            rope_base=rope_base,
        )
        with _NothingDrawn():
            self.token_embedding = nn.Embedding(vocab_size, embed_size)
            self.position_embedding = nn.Embedding(context_length, embed_size) if positions == "learned" else None
            self.dropout = nn.Dropout(dropout)
            self.blocks = nn.ModuleList(self._block() for _ in range(num_layers))
            self.final_norm = GPT2LayerNorm(embed_size)
            self.output_layer = GPT2OutputLayer(embed_size, vocab_size)
        self.output_layer.weight = self.token_embedding.weight
        if self.device.type != "meta":
            self.initialize()

    def _block(self) -> GPT2Block:
        config = self.config
        rotary = RotaryPositionalEncoding(config.head_dim, config.rope_base) if config.positions == "rotary" else None
        attention = MultiHeadSelfAttention(
            config.embed_size,
            config.num_heads,
            num_kv_heads=config.num_kv_heads,
            window_size=config.window_size,
            rotary=rotary,
            alibi=config.positions == "alibi",
            causal=config.causal,
            dropout=config.dropout,
        )
        return GPT2Block(
            config.embed_size, config.num_heads, config.hidden_size, attention=attention, dropout=config.dropout
        )

    @classmethod
    def from_config(cls, config: GPTConfig) -> GPT2:
        """The model that a configuration describes."""
        return cls(**asdict(config))

    def initialize(self, seed: int = 1337) -> None:
        """Draw all weights: N(0, 0.02), biases 0, norms 1, residual projections scaled by 1/sqrt(2 x num_layers).

        Every tensor has a stream of its own, named after it and drawn on the CPU. So a tensor that two variants
        share by name and shape starts equal in both, and no other random stream is touched.
        """
        residual_scale = 1 / math.sqrt(2 * self.config.num_layers)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("norm.weight"):
                    parameter.fill_(1.0)
                elif name.endswith("bias"):
                    parameter.zero_()
                else:
                    is_residual = name.endswith(("attention.output.weight", "feed_forward.project.weight"))
                    scale = 0.02 * residual_scale if is_residual else 0.02
                    draw = torch.empty(parameter.shape, device="cpu")
                    parameter.copy_(draw.normal_(0.0, scale, generator=seeded_generator(seed, name)))

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights by name, as `named_parameters` gives them (the tied output weight once)."""
        for name, parameter in self.named_parameters():
            parameter.copy_(weights[name])

    @overload
    def forward(self, input_ids: Tensor, targets: None = None, *, cache: KVCache | None = None) -> Tensor: ...

    @overload
    def forward(self, input_ids: Tensor, targets: Tensor, *, cache: None = None) -> tuple[Tensor, Tensor]: ...

    def forward(
        self, input_ids: Tensor, targets: Tensor | None = None, *, cache: KVCache | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Give a logit for every token that may come next, at every position.

        Args:
            input_ids: (B, T) token ids.
            targets: (B, T) the token that does come next at each position; -100 leaves a position out.
            cache: what earlier calls of one generation have read; these T tokens follow, and are taken in.

        Returns:
            logits (B, T, vocab_size); with targets (logits, loss), the loss being the mean cross-entropy in nats.

        Raises:
            ValueError: a wrong shape, or more tokens than the table of learned positions has rows.
        """
        x = self.embed(input_ids, start=0 if cache is None else cache.length)  # (B, T, embed_size)
        if cache is not None and not self.config.causal:
            raise ValueError("a model with causal=False reads its text again for each token; call it without a cache")
        layer_caches = [None] * len(self.blocks) if cache is None else cache.layers
        for block, layer_cache in zip(self.blocks, layer_caches, strict=True):
            if self.checkpoint_activations and self.training:
                x = checkpoint(block, x, layer_cache, use_reentrant=False)
            else:
                x = block(x, layer_cache)
        logits = self.output_layer(self.final_norm(x))  # (B, T, vocab_size)
        if targets is None:
            return logits
        if targets.shape != input_ids.shape:
            raise ValueError(
                f"targets has shape {tuple(targets.shape)} and input_ids {tuple(input_ids.shape)}; "
                f"give them equal shapes"
            )
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def embed(self, input_ids: Tensor, start: int = 0) -> Tensor:
        """What the first block reads of (B, T) ids that stand from position `start` on: (B, T, embed_size)."""
        if input_ids.ndim != 2 or input_ids.shape[1] == 0:
            raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}; give (batch, length), at least one token")
        x = self.token_embedding(input_ids)
        if self.position_embedding is not None:
            end = start + input_ids.shape[1]
            if end > self.config.context_length:
                raise ValueError(
                    f"the text has {end} tokens and this model has learned {self.config.context_length} positions; "
                    f"give its last {self.config.context_length} tokens, or use rotary or ALiBi positions"
                )
            x = x + self.position_embedding.weight[start:end]
        return self.dropout(x)

    def new_cache(self) -> KVCache:
        """An empty cache for one generation by this model."""
        return KVCache(self.config.num_layers, self.config.window_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.token_embedding.weight.device

    def generate(
        self,
        input_ids: Tensor,
        max_length: int = 50,
        num_return_sequences: int = 1,
        temperature: float = 0.7,
        *,
        max_new_tokens: int | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """Continue each row of `input_ids` by sampling; see `gpt.generation.Sampling` for the choices.

        Args:
            input_ids: (B, T) token ids.
            max_length: tokens in a result, the prompt's T counted, as in Hugging Face's `generate`.
            num_return_sequences: continuations of each row; row b's are rows b x N to b x N + N - 1 of the result.
            temperature: 0 always takes the likeliest token.
            max_new_tokens: tokens to add; replaces `max_length`.
            top_k: sample among the k likeliest tokens only.
            top_p: sample among the fewest tokens that together have probability p.
            seed: gives the same text again; None draws a new one.

        Returns:
            (B x num_return_sequences, length) token ids, the prompt first.

        Raises:
            ValueError, TypeError: a value is outside what is allowed, or the prompt leaves no room in `max_length`.
        """
        from gpt.generation.stream import extend_ids  # the one import upwards: generation continues what a model begins

        check_whole_number("num_return_sequences", num_return_sequences)
        if max_new_tokens is None:
            check_whole_number("max_length", max_length)
            max_new_tokens = max_length - input_ids.shape[-1]
            if max_new_tokens < 1:
                raise ValueError(
                    f"the prompt has {input_ids.shape[-1]} tokens and max_length is {max_length}, which counts the "
                    f"prompt; give a larger max_length, or max_new_tokens"
                )
        rows = input_ids.repeat_interleave(num_return_sequences, dim=0)
        return extend_ids(
            self, rows, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch dropout off and gradients off, and leave the model as it was found."""
    in_training = [part for part in model.modules() if part.training]
    for part in in_training:
        part.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for part in in_training:
            part.training = True
