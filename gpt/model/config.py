"""What a model is: its sizes, and the handful of choices in which the variants of this project differ.

A `GPTConfig` is a value. It is checked when it is made, so that whatever holds one may rely on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Any

POSITIONS = ("learned", "rotary", "alibi", "none")


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and choices of one GPT; the field order is the positional order of `GPT2(...)`.

    Attributes:
        vocab_size: number of different tokens.
        embed_size: width of the residual stream (`n_embd` in GPT-2, `hidden_size` in Hugging Face configs).
        num_heads: query heads per layer; must divide `embed_size`.
        hidden_size: inner width of the feed-forward layer (4 x `embed_size` in GPT-2).
        num_layers: number of blocks.
        context_length: tokens the model is made for; the table of learned positions has this many rows.
        num_kv_heads: key/value heads, each shared by `num_heads / num_kv_heads` query heads; None is `num_heads`.
        window_size: keys a query may see, itself included; None is all.
        positions: "learned", "rotary", "alibi" or "none".
        causal: whether the future is hidden. False exists to show what goes wrong without it.
        dropout: probability of dropping an activation in training.
        rope_base: base of the rotary angles.

    Raises:
        TypeError: a size is not a whole number, or a choice is not of its type.
        ValueError: a value is outside what is allowed; the message says what is.
    """

    vocab_size: int
    embed_size: int = 768
    num_heads: int = 12
    hidden_size: int = 3072
    num_layers: int = 12
    _: KW_ONLY
    context_length: int = 1024
    num_kv_heads: int | None = None
    window_size: int | None = None
    positions: str = "learned"
    causal: bool = True
    dropout: float = 0.0
    rope_base: float = 10000.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embed_size", "num_heads", "hidden_size", "num_layers", "context_length"):
            check_whole_number(name, getattr(self, name))
        check_attention(
            self.embed_size, self.num_heads, self.num_kv_heads, self.window_size, rotary=self.positions == "rotary"
        )
        if self.positions not in POSITIONS:
            raise ValueError(f"positions is {self.positions!r}; choose one of {', '.join(POSITIONS)}")
        if not isinstance(self.causal, bool):
            raise TypeError(f"causal is {self.causal!r}; give True or False")
        check_number("dropout", self.dropout)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it is a probability: give 0 or more and less than 1")
        check_number("rope_base", self.rope_base)
        if not self.rope_base > 1:
            raise ValueError(f"rope_base is {self.rope_base}; give a number above 1 (10000 is usual)")
        for name in ("dropout", "rope_base"):
            object.__setattr__(self, name, float(getattr(self, name)))  # so that 0 and 0.0 are the same to everyone

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.embed_size // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Key/value heads per layer, with the default filled in."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def receptive_field(self) -> int | None:
        """Tokens that can reach one output, itself included: k(W-1)+1 for k causal layers; None without a window."""
        if self.window_size is None:
            return None
        reach = self.num_layers * (self.window_size - 1)
        return reach + 1 if self.causal else 2 * reach + 1


def check_whole_number(name: str, value: Any, minimum: int = 1) -> None:
    """Raise unless `value` is an int (not a bool) of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}; give a whole number")
    if value < minimum:
        raise ValueError(f"{name} is {value}; give {minimum} or more")


def check_number(name: str, value: Any) -> None:
    """Raise unless `value` is a finite int or float (not a bool)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r}; give a number")
    try:
        is_finite = math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        is_finite = False
    if not is_finite:
        given = value if isinstance(value, float) else "too large"
        raise ValueError(f"{name} is {given}; give a finite number")


def check_attention(
    embed_size: int, num_heads: int, num_kv_heads: int | None, window_size: int | None, *, rotary: bool
) -> None:
    """Raise unless these sizes make an attention layer; the message says which does not fit and what would."""
    check_whole_number("embed_size", embed_size)
    check_whole_number("num_heads", num_heads)
    if embed_size % num_heads:
        raise ValueError(
            f"embed_size ({embed_size}) must be divisible by num_heads ({num_heads}); "
            f"with {embed_size}, num_heads can be {_divisors(embed_size)}"
        )
    if num_kv_heads is not None:
        check_whole_number("num_kv_heads", num_kv_heads)
        if num_heads % num_kv_heads:
            raise ValueError(
                f"num_heads ({num_heads}) must be divisible by num_kv_heads ({num_kv_heads}); "
                f"with {num_heads} heads, num_kv_heads can be {_divisors(num_heads)}"
            )
    if window_size is not None:
        check_whole_number("window_size", window_size)
    head_dim = embed_size // num_heads
    if rotary and head_dim % 2:
        raise ValueError(
            f"rotary positions turn pairs of numbers, so the head width embed_size / num_heads must be even; "
            f"{embed_size} / {num_heads} = {head_dim}"
        )


def _divisors(number: int) -> str:
    divisors = [d for d in range(1, min(number, 1024) + 1) if number % d == 0]
    listed = ", ".join(str(d) for d in divisors[:12])
    return listed + (", ..." if len(divisors) > 12 else "")


# --- Variants -------------------------------------------------------------------------------------------------------


def _gpt2(vocab_size: int, **size: Any) -> GPTConfig:
    """The base of every variant: GPT-2, with the feed-forward layer four times as wide as the model by default."""
    if "embed_size" in size:
        check_whole_number("embed_size", size["embed_size"])
        size.setdefault("hidden_size", 4 * size["embed_size"])
    return GPTConfig(vocab_size, **size)


def _rotary(vocab_size: int, **size: Any) -> GPTConfig:
    return _gpt2(vocab_size, **({"positions": "rotary"} | size))


def _grouped_query(vocab_size: int, **size: Any) -> GPTConfig:
    return _gpt2(vocab_size, **({"num_kv_heads": _fewer_kv_heads(size)} | size))


def _sliding_window(vocab_size: int, **size: Any) -> GPTConfig:
    return _gpt2(vocab_size, **({"window_size": _window(size)} | size))


def _modern(vocab_size: int, **size: Any) -> GPTConfig:
    changes = {"positions": "rotary", "num_kv_heads": _fewer_kv_heads(size), "window_size": _window(size)}
    return _gpt2(vocab_size, **(changes | size))


def _fewer_kv_heads(size: dict[str, Any]) -> int:
    """Two key/value heads where that is fewer than one each, else one shared by all."""
    num_heads = size.get("num_heads", GPTConfig.num_heads)
    check_whole_number("num_heads", num_heads)
    return 2 if num_heads > 2 and num_heads % 2 == 0 else 1


def _window(size: dict[str, Any]) -> int:
    """An eighth of the context: short enough to see, long enough to work."""
    context_length = size.get("context_length", GPTConfig.context_length)
    check_whole_number("context_length", context_length)
    return max(1, context_length // 8)


# Each variant but the last is one change from "gpt2"; "modern" is all three. Called with a size
# (`VARIANTS["rotary"](vocab_size=65, embed_size=128, num_heads=4, num_layers=4, context_length=64)`) a variant gives
# its configuration; naming a choice (`window_size=16`) overrides the variant's own.
VARIANTS: dict[str, Callable[..., GPTConfig]] = {
    "gpt2": _gpt2,
    "rotary": _rotary,
    "grouped-query": _grouped_query,
    "sliding-window": _sliding_window,
    "modern": _modern,
}


def make_config(variant: str, vocab_size: int, **size: Any) -> GPTConfig:
    """The configuration of a variant by name; raises ValueError that lists the names if there is no such variant."""
    if variant not in VARIANTS:
        raise ValueError(f"there is no variant {variant!r}; choose one of {', '.join(VARIANTS)}")
    return VARIANTS[variant](vocab_size, **size)


def adjusted_config(
    variant: str, vocab_size: int, *, window_size: int, num_kv_heads: int | None = None, **size: Any
) -> GPTConfig:
    """The configuration of a variant with this window and these key/value heads, if it is of those that have them."""
    plain = make_config(variant, vocab_size, **size)
    own: dict[str, Any] = {}
    if plain.window_size is not None:
        own["window_size"] = window_size
    if plain.kv_heads != plain.num_heads and num_kv_heads is not None:
        own["num_kv_heads"] = num_kv_heads
    return make_config(variant, vocab_size, **size, **own)


def variant_name(config: GPTConfig) -> str:
    """The name of the variant a configuration belongs to, or "other".

    It belongs to the one that makes the same choices at its size, or else to the first that makes choices of the same
    kinds: a window of 5 is of the sliding-window variant.
    """
    return _variant_name(config, tuple(VARIANTS.items()))


@lru_cache(maxsize=512)
def _variant_name(config: GPTConfig, variants: tuple[tuple[str, Callable[..., GPTConfig]], ...]) -> str:
    size = {
        name: getattr(config, name)
        for name in ("embed_size", "num_heads", "hidden_size", "num_layers", "context_length")
    }
    same_kinds = []
    for name, make in variants:
        try:
            made = make(config.vocab_size, **size)
        except ValueError:  # it cannot be had at this size
            continue
        if _choices(made) == _choices(config):
            return name
        if _kinds(made) == _kinds(config):
            same_kinds.append(name)
    return next(iter(same_kinds), "other")


def _choices(config: GPTConfig) -> tuple[Any, ...]:
    return config.positions, config.kv_heads, config.window_size, config.causal


def _kinds(config: GPTConfig) -> tuple[Any, ...]:
    return config.positions, config.kv_heads != config.num_heads, config.window_size is not None, config.causal


def changes_from_gpt2(config: GPTConfig) -> list[str]:
    """In words, every way in which a configuration departs from GPT-2's architecture; empty for GPT-2 itself."""
    changes = []
    if config.positions != "learned":
        changes.append("no positions" if config.positions == "none" else f"{config.positions} positions")
    if config.kv_heads != config.num_heads:
        heads = "1 KV head" if config.kv_heads == 1 else f"{config.kv_heads} KV heads"
        changes.append(f"{heads} for {config.num_heads} query heads")
    if config.window_size is not None:
        changes.append(f"window of {config.window_size}")
    if not config.causal:
        changes.append("no causal mask")
    return changes
