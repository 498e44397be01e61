"""What a model costs, by formula: parameters, arithmetic, and the bytes of its cache."""

from __future__ import annotations

from gpt.model.config import GPTConfig


def parameters_by_part(config: GPTConfig) -> dict[str, int]:
    """Number of weights in each part of a `GPT2`; the output layer shares the token embedding's."""
    width, kv_width = config.embed_size, config.kv_heads * config.head_dim
    attention = 2 * (width * width + width) + 2 * (width * kv_width + kv_width)  # query, output; key, value
    feed_forward = 2 * width * config.hidden_size + config.hidden_size + width
    return {
        "token embedding": config.vocab_size * width,
        "position embedding": config.context_length * width if config.positions == "learned" else 0,
        "attention": config.num_layers * attention,
        "feed-forward": config.num_layers * feed_forward,
        "normalisation": (2 * config.num_layers + 1) * 2 * width,
    }


def parameter_count(config: GPTConfig) -> int:
    """Number of weights of a `GPT2`, each counted once."""
    return sum(parameters_by_part(config).values())


def keys_per_query(config: GPTConfig, length: int) -> float:
    """Keys that a query may see, on average over a text of `length` tokens."""
    if not config.causal:
        reach = length if config.window_size is None else config.window_size
        return sum(min(i + 1, reach) + min(length - i, reach) - 1 for i in range(length)) / length
    window = length if config.window_size is None else min(config.window_size, length)
    return window * (window + 1) / 2 / length + window * (length - window) / length


def flops_by_part(config: GPTConfig, length: int | None = None) -> dict[str, float]:
    """Multiplications and additions in each part of a forward pass, per token of a text of `length`.

    Two for each weight of a linear layer, and for each query, head and key it may see 4 x head_dim (its score, and
    the sum of values). A training step takes about three times as many.

    Args:
        config: of the model.
        length: T, tokens in the text; None is the model's context.
    """
    width, kv_width = config.embed_size, config.kv_heads * config.head_dim
    seen = keys_per_query(config, config.context_length if length is None else length)
    return {
        "attention projections": config.num_layers * 2 * (2 * width * width + 2 * width * kv_width),
        "attention scores and values": config.num_layers * 4 * width * seen,
        "feed-forward": config.num_layers * 2 * 2 * width * config.hidden_size,
        "output layer": 2 * config.vocab_size * width,
    }


def flops_per_token(config: GPTConfig, length: int | None = None) -> float:
    """Multiplications and additions of one forward pass, per token of a text of `length`, in all parts."""
    return sum(flops_by_part(config, length).values())


def cache_bytes(config: GPTConfig, length: int, *, batch: int = 1, bytes_per_number: int = 4) -> int:
    """Bytes of keys and values that a generation holds after `length` tokens: 2 B L min(T, W) G head_dim bytes."""
    kept = length if config.window_size is None else min(length, config.window_size)
    return 2 * batch * config.num_layers * kept * config.kv_heads * config.head_dim * bytes_per_number


# Bytes that a training step takes at its peak for each token and each number of the model's width. In every layer, for
# the backward pass, in float32 and in bfloat16, which halves the inputs of linear layers:
_AROUND_ATTENTION = (42, 46)
_IN_FEED_FORWARD = (32, 16)  # where that is four times as wide
_TURNED = 9  # queries and keys, by their positions
_IN_BLOCKS = 13  # copies of keys and values for the blocks of a window
_NOT_SHARED_OUT = -8  # there, a key and a value are held once for all heads of a group
_LARGEST_BLOCK = 128  # keys beside the window that a block of queries is given, at most
_WORKSPACE = 55  # in one layer at a time: gradients on their way back


def training_bytes(config: GPTConfig, tokens: int, *, in_bfloat16: bool) -> int:
    """Bytes that a training step takes at its peak beside weights, gradients and the optimizer's memory, about.

    Fitted to what processes took, for every variant at 2 to 6 layers, 64 to 192 wide, 4,096 to 16,384 tokens.
    `tests/reliability/memory.py` measures it.

    Args:
        config: of the model.
        tokens: in the batch.
        in_bfloat16: whether linear layers are computed in bfloat16.
    """
    shared, inner = config.kv_heads / config.num_heads, config.hidden_size / (4 * config.embed_size)
    per_layer = _AROUND_ATTENTION[in_bfloat16] + inner * _IN_FEED_FORWARD[in_bfloat16]
    if config.positions == "rotary":
        per_layer += _TURNED * (1 + shared) / 2
    if config.window_size is not None:
        per_layer += _IN_BLOCKS * shared + _NOT_SHARED_OUT * (1 - shared)
    by_width = config.embed_size * (config.num_layers * per_layer + max(1, inner) * _WORKSPACE)
    by_vocabulary = 12 * config.vocab_size  # logits in float32, with their gradients
    by_weights = 0.0
    if config.positions == "alibi":  # PyTorch then keeps the weights of attention
        reach = config.context_length if config.window_size is None else config.window_size + _LARGEST_BLOCK
        by_weights = 4 * config.num_layers * config.num_heads * min(config.context_length, reach)
    return round(tokens * (by_width + by_vocabulary + by_weights))
