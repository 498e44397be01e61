"""Keys and values of many texts side by side, which grow by a token at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gpt.model.config import GPTConfig
from gpt.model.positions import alibi_slopes

_FEWEST_COLUMNS = 64  # the least to make room for: a line of text


class Past(NamedTuple):
    """What some texts of one length leave behind for the tokens that follow them.

    Attributes:
        held: (num_layers, 2, B, num_kv_heads, K, head_dim) the keys and values of the last K tokens, oldest first.
        length: tokens read; K is the same, or the window if that is shorter.
    """

    held: Tensor
    length: int


class Slots:
    """Keys and values of several texts, the rows, that grow by a token each at a time; a row is of any length.

    All rows write the key and value of their newest token into the same column, the next one to the right, so that
    they end together and begin where their length says. Rows of 5, 2 and 3 tokens after one more, m, n and o:

        column   0  1  2  3  4  5
        row 0    a  b  c  d  e  m
        row 1    .  .  .  f  g  n
        row 2    .  .  h  i  j  o

    What lies before the beginning of a row is masked. When the columns are used up, those that some row still sees
    move to the left, into more columns if need be. With a window of W there are never more than W: once a row has
    filled them, the newest token takes the column of the one that has just left the window.

    Rows come and go between tokens; the last row moves into the place of one that goes.

    Attributes:
        lengths: tokens read in each row.
    """

    def __init__(self, config: GPTConfig) -> None:
        self.lengths: list[int] = []
        self._config = config
        self._most = min(config.context_length, config.window_size or config.context_length)  # columns a token sees
        self._numbers = torch.empty(0)  # (num_layers, 2, rows or more, num_kv_heads, columns, head_dim)
        self._columns = 0
        self._token_bytes = 0  # of a token in a row
        self._written = 0  # tokens since column 0: the next goes to this column, modulo their number
        self._views = (self._numbers,) * 3
        self._slopes: Tensor | None = None
        if config.positions == "alibi":
            self._slopes = alibi_slopes(config.num_heads).view(config.kv_heads, -1, 1)  # (G, H / G, 1)

    def add(self, past: Past) -> None:
        """Append rows that have read what `past` holds."""
        first, (_, _, rows, _, held, _) = len(self.lengths), past.held.shape
        room = self._numbers.shape[2] if self.lengths else 0
        if first + rows > room or held > self._written:
            self._move(past.held, max(first + rows, min(2 * first, 2 * room)), max(held, self._longest()))
        place = self._numbers[:, :, first : first + rows]
        _clear(place[:, :, :, :, : self._written])
        place[:, :, :, :, self._last_columns(held)] = past.held
        self.lengths += [past.length] * rows
        self._look()

    def past(self, row: int, count: int = 1) -> Past:
        """What `count` rows of one length from `row` on have read, to `add` them again later."""
        columns = self._last_columns(self._held(row))
        return Past(self._numbers[:, :, row : row + count, :, columns].clone(), self.lengths[row])

    def remove(self, row: int) -> None:
        """Let a row go; the last row, if it is another, takes its number."""
        last = len(self.lengths) - 1
        if row != last:
            self._numbers[:, :, row] = self._numbers[:, :, last]
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths:
            self._numbers, self._written = torch.empty(0), 0
        else:
            self._look()

    def row_bytes(self, row: int) -> int:
        """Bytes of a row's keys and values: 2 x layers x min(T, W) x num_kv_heads x head_dim x bytes per number."""
        return self._token_bytes * self._held(row)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows' keys and values: constant once the window is full."""
        return sum(self.row_bytes(row) for row in range(len(self.lengths)))

    def extend(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...], Tensor | None]:
        """Count one token more in every row; returns where its keys and values go, and what it sees.

        Returns:
            For each layer a place (2, rows, G, head_dim), to be filled with keys and values of the new tokens;
            for each layer the keys (rows x G, head_dim, K) and the values (rows x G, K, head_dim), the new among them;
            what is to be added to the scores, (rows x G, H / G or 1, K), or None for nothing.
        """
        longest = self._longest()
        if self._written >= self._columns and longest < self._most:
            self._move(self._numbers, self._numbers.shape[2], longest)
            self._look()
        column = self._written % self._columns  # where some row's window is full, that of the token that leaves it
        self._written += 1
        self.lengths = [length + 1 for length in self.lengths]
        first, end = 0, self._columns
        if self._written <= self._columns:  # as long as it has not gone round, all that are seen stand together
            first, end = self._written - min(longest + 1, self._most), self._written
        places, keys, values = self._views
        return (
            places.select(4, column).unbind(),
            keys.narrow(3, first, end - first).unbind(),
            values.narrow(2, first, end - first).unbind(),
            self._bias(first, end, column),
        )

    def _bias(self, first: int, end: int, column: int) -> Tensor | None:
        """-inf hides what lies before a row's beginning; ALiBi lowers a score with the age of the key."""
        are_equal = min(self.lengths) == max(self.lengths)
        if are_equal and self._slopes is None:
            return None
        like, rows = self._numbers, len(self.lengths)
        age = (column - torch.arange(first, end, device=like.device)) % self._columns  # (K,) 0 for the newest
        bias = like.new_zeros(1, 1, 1, end - first)
        if self._slopes is not None:
            bias = (-self._slopes.to(like.device) * age).to(like.dtype)[None]  # (1, G, H / G, K)
        if not are_equal:
            hidden = age >= torch.tensor(self.lengths, device=like.device)[:, None, None, None]  # (rows, 1, 1, K)
            bias = bias.masked_fill(hidden, -math.inf)  # (rows, 1 or G, 1 or H / G, K)
        return bias.expand(rows, self._config.kv_heads, -1, -1).flatten(0, 1)  # (rows x G, 1 or H / G, K)

    def _held(self, row: int) -> int:
        return min(self.lengths[row], self._most)

    def _longest(self) -> int:
        return min(max(self.lengths, default=0), self._most)

    def _last_columns(self, count: int) -> slice | Tensor:
        """The columns written last, oldest first."""
        first = self._written - count
        if self._written <= self._columns:
            return slice(first, self._written)
        return torch.arange(first, self._written, device=self._numbers.device) % self._columns  # (count,)

    def _move(self, like: Tensor, room: int, longest: int) -> None:
        """Make room for so many rows, and for more columns than `longest` on both sides of what is seen.

        To the right for the tokens to come, to the left for rows that join and have read more than any so far.
        """
        layers, pair, _, kv_heads, _, head_dim = like.shape
        columns = min(self._most, max(_FEWEST_COLUMNS, 2 * longest))
        written = max(longest, columns // 2)
        moved = like.new_empty(layers, pair, room, kv_heads, columns, head_dim)
        if self.lengths:
            rows, seen = len(self.lengths), self._longest()
            _clear(moved[:, :, :rows, :, : written - seen])
            moved[:, :, :rows, :, written - seen : written] = self._numbers[:, :, :rows, :, self._last_columns(seen)]
        self._numbers, self._columns, self._written = moved, columns, written
        self._token_bytes = layers * pair * kv_heads * head_dim * moved.element_size()

    def _look(self) -> None:
        """Keep the views that every token needs, until rows or columns change."""
        rows = self._numbers[:, :, : len(self.lengths)]  # (layers, 2, rows, G, columns, head_dim)
        keys, values = rows.flatten(2, 3).unbind(1)  # (layers, rows x G, columns, head_dim) each
        self._views = (rows, keys.transpose(2, 3), values)


def _clear(numbers: Tensor) -> None:
    """Wipe what was here before: a masked key weighs nothing, but 0 x nan would be nan."""
    numbers.zero_()
