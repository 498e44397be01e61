"""A stream of tokens, one step at a time, that everything else drains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gpt.generation.core import Core, Text
from gpt.generation.sampling import Sampling

if TYPE_CHECKING:
    from gpt.data.tokenizer import Tokenizer
    from gpt.model.gpt2 import GPT2


def stream_tokens(
    model: GPT2,
    input_ids: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 0.7,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> TokenStream:
    """Continue each row of `input_ids` and give the tokens as they are chosen.

    Beyond the model's `context_length` the last `context_length` tokens count. Keys and values are cached for as long
    as that gives exactly what reading these tokens again would give.

    Args:
        model: any model called as `GPT2` is.
        input_ids: (B, T) token ids, at least one token.
        max_new_tokens: how many tokens to give for each row.
        temperature: divides the logits; 0 always takes the likeliest token.
        top_k: sample among the k likeliest tokens only.
        top_p: sample among the fewest tokens that together have probability p (https://arxiv.org/abs/1904.09751).
        seed: gives the same tokens again, on every device; None draws a new stream.

    Returns:
        An iterator of (B,) token ids, on the model's device.

    Raises:
        ValueError, TypeError: at once, before any token, if a value is outside what is allowed.
    """
    sampling = Sampling(temperature, top_k, top_p, seed)
    return TokenStream(model, Text(model, input_ids, max_new_tokens, sampling))


class TokenStream(Iterator[Tensor]):
    """Tokens as they are chosen, by a core that has this text alone; `stream_tokens` makes one."""

    def __init__(self, model: GPT2, text: Text) -> None:
        self._core = Core(model)
        self._text = text

    def __next__(self) -> Tensor:
        """Read the newest tokens and choose the next: (B,) ids."""
        text = self._text
        if text.left == 0:
            raise StopIteration
        with torch.inference_mode():
            if text.way is None:
                self._core.admit(text)
            else:
                self._core.step(text.way)
        if text.error is not None:
            raise text.error
        return text.newest

    @property
    def tokens_left(self) -> int:
        """How many are still to come."""
        return self._text.left

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values held when the newest token was chosen; 0 where the text is read again for each."""
        return self._text.cache_bytes


def extend_ids(
    model: GPT2,
    input_ids: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 0.7,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Tensor:
    """Drain `stream_tokens`: (B, T) in, (B, T + max_new_tokens) out."""
    stream = stream_tokens(
        model,
        input_ids,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    return torch.cat([input_ids.to(model.device), torch.stack(list(stream), dim=1)], dim=1)


def opening(tokenizer: Tokenizer) -> str:
    """What a model goes on from where nobody says: a line break, or its first token if it has never seen one."""
    return tokenizer.decode([0]) if tokenizer.unknown_characters("\n") else "\n"


def stream_text(
    model: GPT2,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int,
    temperature: float = 0.7,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """Continue a text, yielding a piece for each token; the choices are those of `stream_tokens`.

    A piece is empty where a token ends within a character, which then comes whole in a later piece.

    Raises:
        ValueError: when called, if the prompt is empty or has characters the tokenizer does not know.
    """
    if not prompt:
        raise ValueError("the prompt is empty; give at least one character to continue from")
    stream = stream_tokens(
        model,
        torch.tensor([tokenizer.encode(prompt)]),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    return tokenizer.decode_stream(int(chosen) for chosen in stream)
