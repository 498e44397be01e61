"""A text cut into what is learned from and evaluated on: batches, and windows that do not overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from gpt.model.seeds import seeded_generator

_MOST_TOKENS_AT_ONCE = 4096  # evaluated side by side: as quick as more, with far less memory than a training step


def as_indices(ids: Tensor, vocab_size: int | None) -> Tensor:
    """Token ids as int64; those of a prepared text come from a file, so they are held against the vocabulary.

    Raises:
        ValueError: an id is beyond the vocabulary, where its size is given.
    """
    ids = ids.long()
    if vocab_size is not None and ids.numel() and ids.max() >= vocab_size:
        raise ValueError(
            f"the text holds the token {ids.max()} and its vocabulary ends at {vocab_size - 1}; "
            f"its file of ids is damaged; prepare the text again"
        )
    return ids


@dataclass(frozen=True, eq=False)
class BatchStream:
    """The batches of a run: batch number n depends on the seed and on n alone.

    So variants trained side by side see the same batches, and a resumed run needs no memory of the ones before.

    Attributes:
        ids: (N,) the text to draw from, of any integer type.
        batch_size, context_length: rows B and length T of a batch.
        seed: chooses the stream.
        order: "passes" goes through the text again and again, each time cut again at another offset, into windows that
            do not overlap, which come in another random order; "random" takes windows anywhere.
        vocab_size: refuse a batch with ids beyond it; None trusts the ids.

    Raises:
        ValueError: the text is shorter than one row and the token after it.
    """

    ids: Tensor
    batch_size: int
    context_length: int
    seed: int
    order: str = "passes"
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        if len(self.ids) <= self.context_length:
            raise ValueError(
                f"the training part of the text has {len(self.ids)} tokens, but a context of {self.context_length} "
                f"needs at least {self.context_length + 1}; "
                f"give a longer text or a shorter context"
            )

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of batch `number`, (B, T) each: windows of the text, the targets one token further."""
        starts = self._passing_starts(number) if self.order == "passes" else self._random_starts(number)
        windows = self.ids[starts[:, None] + torch.arange(self.context_length + 1)]  # (B, T + 1)
        windows = as_indices(windows, self.vocab_size)
        return windows[:, :-1], windows[:, 1:]

    def _random_starts(self, number: int) -> Tensor:
        generator = seeded_generator(self.seed, "batch", number)
        return torch.randint(len(self.ids) - self.context_length, (self.batch_size,), generator=generator)

    def _passing_starts(self, number: int) -> Tensor:
        next_row, missing = number * self.batch_size, self.batch_size
        parts: list[Tensor] = []
        while missing:
            pass_number, done = divmod(next_row, self._windows_per_pass)
            parts.append(self._pass_starts(pass_number)[done : done + missing])
            next_row, missing = next_row + len(parts[-1]), missing - len(parts[-1])
        return torch.cat(parts)

    @property
    def _windows_per_pass(self) -> int:
        return max(1, (len(self.ids) - self.context_length) // self.context_length)

    def _pass_starts(self, pass_number: int) -> Tensor:
        """Where the windows of one pass over the text start, in their order: (windows per pass,)."""
        spare = len(self.ids) - self._windows_per_pass * self.context_length
        return _pass_starts(
            self.seed, pass_number, self._windows_per_pass, self.context_length, min(spare, self.context_length)
        )


@lru_cache(maxsize=4)  # the same for all variants that are trained side by side
def _pass_starts(seed: int, pass_number: int, windows: int, context_length: int, offsets: int) -> Tensor:
    generator = seeded_generator(seed, "pass", pass_number)
    offset = torch.randint(offsets, (1,), generator=generator)
    # In place: a gigabyte of text has millions of windows.
    return torch.randperm(windows, generator=generator).mul_(context_length).add_(offset)


def validation_windows(
    ids: Tensor, context_length: int, most: int | None = None, *, vocab_size: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a text into fixed windows that do not overlap: inputs and targets (B, T) of up to 4,096 tokens at a time.

    Every token but the first is a target exactly once. The last window may be shorter than the others, and then comes
    by itself.

    Args:
        ids: (N,) the text, of any integer type.
        context_length: T.
        most: use only this many windows, evenly spaced; None uses all.
        vocab_size: refuse ids beyond it; None trusts the ids.

    Raises:
        ValueError: fewer than two tokens, so that there is nothing to predict; or an id beyond the vocabulary.
    """
    if len(ids) < 2:
        raise ValueError(f"the text to evaluate on has {len(ids)} tokens; it needs at least 2")
    count = -(-(len(ids) - 1) // context_length)
    chosen = torch.arange(count) if most is None or most >= count else torch.arange(most) * count // most
    starts = chosen * context_length
    is_whole = starts + context_length < len(ids)
    for some in starts[is_whole].split(max(1, _MOST_TOKENS_AT_ONCE // context_length)):
        windows = as_indices(ids[some[:, None] + torch.arange(context_length + 1)], vocab_size)  # (B, T + 1)
        if len(windows):
            yield windows[:, :-1], windows[:, 1:]
    for start in starts[~is_whole].tolist():
        window = as_indices(ids[None, start:], vocab_size)
        yield window[:, :-1], window[:, 1:]
