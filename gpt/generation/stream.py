"""Sampling: a stream of tokens, one step at a time, that everything else drains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gpt.generation.decoder import Decoder, can_decode, read_prompt, rolls_forever
from gpt.generation.sampling import check_sampling, choose, sampling_generator
from gpt.model.gpt2 import evaluation_mode

if TYPE_CHECKING:
    from gpt.data.tokenizer import Tokenizer
    from gpt.model.cache import KVCache
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
    as that gives exactly what reading these tokens anew would give.

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
    check_sampling(max_new_tokens, temperature, top_k, top_p)
    check_ids(input_ids, model.config.vocab_size)
    generator = sampling_generator(seed)

    def choose_next(logits: Tensor) -> Tensor:
        return choose(logits, temperature, top_k, top_p, generator)

    return TokenStream(model, input_ids, max_new_tokens, choose_next)


class TokenStream(Iterator[Tensor]):
    """Tokens as they are chosen; `stream_tokens` makes one.

    Attributes:
        tokens_left: how many are still to come.
    """

    def __init__(
        self, model: GPT2, input_ids: Tensor, max_new_tokens: int, choose_next: Callable[[Tensor], Tensor]
    ) -> None:
        self.tokens_left = max_new_tokens
        self._choose_next = choose_next
        self._reader = _Reader(model)
        self._unread = input_ids.to(model.device).unbind(dim=1)  # (B,) each

    def __next__(self) -> Tensor:
        """Read the newest tokens and choose the next: (B,) ids."""
        if self.tokens_left == 0:
            raise StopIteration
        with torch.inference_mode():
            chosen = self._choose_next(self._reader.read(self._unread))  # (B, vocab_size) -> (B,)
        self._unread = (chosen,)
        self.tokens_left -= 1
        return chosen

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values held now; 0 where the text is read anew for each token."""
        return self._reader.nbytes


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


def check_ids(input_ids: Tensor, vocab_size: int) -> None:
    """Raise ValueError unless these are (B, T) ids, at least one, that a model with this vocabulary knows."""
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}; give (batch, length), at least one token")
    lowest, highest = int(input_ids.min()), int(input_ids.max())
    if lowest < 0 or highest >= vocab_size:
        raise ValueError(f"input_ids has ids from {lowest} to {highest}; this model knows 0 to {vocab_size - 1}")


class _Reader:
    """Reads growing texts and gives the logits after their last token, in the fastest way that is exact.

    While keys and values of earlier tokens stay what they are, by a `Decoder`, or, for a model that has to be called,
    with the model's own cache. Else by reading the last `context_length` tokens anew.
    """

    def __init__(self, model: GPT2) -> None:
        self.model = model
        self.decoder: Decoder | None = None
        self.cache: KVCache | None = None
        self.columns: deque[Tensor] = deque(maxlen=model.config.context_length)  # (B,) each: the tokens that count

    def read(self, new_columns: Sequence[Tensor]) -> Tensor:
        """Read the tokens that come next, (B,) for each position; return (B, vocab_size)."""
        is_first, is_full = not self.columns, len(self.columns) == self.columns.maxlen
        self.columns.extend(new_columns)
        if is_full and not rolls_forever(self.model.config):
            self.decoder = self.cache = None
        if self.decoder is not None:
            return self.decoder.read(*new_columns)
        with evaluation_mode(self.model):
            if is_first and self.model.config.causal:
                return self._read_prompt()
            if self.cache is not None:
                return self.model(torch.stack(tuple(new_columns), dim=1), cache=self.cache)[:, -1]
            return self.model(self._ids())[:, -1]

    def _read_prompt(self) -> Tensor:
        if can_decode(self.model):
            past, logits = read_prompt(self.model, self._ids())
            self.decoder = Decoder(self.model)
            self.decoder.slots.add(past)
            return logits
        self.cache = self.model.new_cache()
        return self.model(self._ids(), cache=self.cache)[:, -1]

    def _ids(self) -> Tensor:
        return torch.stack(tuple(self.columns), dim=1)  # (B, up to context_length)

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values held."""
        held = self.cache if self.decoder is None else self.decoder.slots
        return 0 if held is None else held.nbytes
