"""Sampling: a stream of tokens, one step at a time, that everything else drains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gpt.config import check_number, check_whole_number
from gpt.seeds import seeded_generator

if TYPE_CHECKING:
    from gpt.cache import KVCache
    from gpt.model import GPT2
    from gpt.tokenizer import Tokenizer


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch dropout off and gradients off, and leave the model as it was found."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


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
    _check_ids(input_ids, model.config.vocab_size)
    if seed is None:
        generator = torch.Generator()
        generator.seed()
    else:
        check_whole_number("seed", seed, minimum=0)
        generator = seeded_generator(seed, "sampling")

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
        self._model = model
        self._choose_next = choose_next
        self._reader = _Reader(model)
        self._unread = input_ids.to(model.device)

    def __next__(self) -> Tensor:
        """Read the newest tokens and choose the next: (B,) ids."""
        if self.tokens_left == 0:
            raise StopIteration
        with evaluation_mode(self._model):
            chosen = self._choose_next(self._reader.read(self._unread))  # (B, vocab_size) -> (B,)
        self._unread = chosen[:, None]
        self.tokens_left -= 1
        return chosen

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values held now; 0 where the text is read anew for each token."""
        return 0 if self._reader.cache is None else self._reader.cache.nbytes


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


def choose(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, generator: torch.Generator
) -> Tensor:
    """Draw one token for each row of logits (B, vocab_size); returns (B,) on the logits' device.

    The draw is made on the CPU, so that a seed means the same on every device.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = next_token_probabilities(logits, temperature, top_k, top_p).cpu()
    return torch.multinomial(probabilities, num_samples=1, generator=generator)[:, 0].to(logits.device)


def next_token_probabilities(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """The distribution that is sampled from: softmax(logits / temperature), cut to top k, then to top p.

    Args:
        logits: (B, vocab_size).
        temperature: above 0.
        top_k: as in `stream_tokens`.
        top_p: as in `stream_tokens`.

    Returns:
        (B, vocab_size), each row summing to 1.
    """
    # Shifted first, and in double precision: the largest logit stays 0, however small the temperature.
    scaled = logits.double()
    scaled = (scaled - scaled.amax(dim=-1, keepdim=True)) / temperature
    if top_k is not None and top_k < scaled.shape[-1]:
        smallest_kept = scaled.topk(top_k, dim=-1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < smallest_kept, -torch.inf)
    probabilities = scaled.softmax(dim=-1)
    if top_p is not None and top_p < 1:
        descending, order = probabilities.sort(dim=-1, descending=True)
        reached_before = descending.cumsum(dim=-1) - descending >= top_p  # the likeliest token always stays
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, descending.masked_fill(reached_before, 0.0))
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities.float()


def check_sampling(max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ValueError or TypeError, in a sentence, unless these are choices one can sample with."""
    check_whole_number("max_new_tokens", max_new_tokens)
    check_number("temperature", temperature)
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}; give 0 (always the likeliest token) or more")
    if top_k is not None:
        check_whole_number("top_k", top_k)
    if top_p is not None:
        check_number("top_p", top_p)
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p is {top_p}; it is a probability: give more than 0 and at most 1")


def _check_ids(input_ids: Tensor, vocab_size: int) -> None:
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}; give (batch, length), at least one token")
    lowest, highest = int(input_ids.min()), int(input_ids.max())
    if lowest < 0 or highest >= vocab_size:
        raise ValueError(f"input_ids has ids from {lowest} to {highest}; this model knows 0 to {vocab_size - 1}")


class _Reader:
    """Reads a growing text and gives the logits after its last token, with a cache while the cache is exact."""

    def __init__(self, model: GPT2) -> None:
        self.model = model
        self.cache: KVCache | None = model.new_cache() if model.config.causal else None
        self.ids: Tensor | None = None  # (B, up to context_length) the tokens that count

    def read(self, new_ids: Tensor) -> Tensor:
        """Read the tokens (B, T) that come next; return (B, vocab_size)."""
        config = self.model.config
        ids = new_ids if self.ids is None else torch.cat((self.ids, new_ids), dim=1)
        is_first = self.ids is None
        is_cropped = ids.shape[1] > config.context_length
        self.ids = ids[:, -config.context_length :]
        if is_cropped and not is_first and not self._rolls_forever():
            self.cache = None
        if self.cache is None:
            return self.model(self.ids)[:, -1]
        return self.model(self.ids if is_first else new_ids, cache=self.cache)[:, -1]

    def _rolls_forever(self) -> bool:
        """Whether tokens before the last `context_length` cannot reach the output, nor their number matter."""
        config = self.model.config
        reach = config.receptive_field
        return config.positions != "learned" and reach is not None and reach <= config.context_length
