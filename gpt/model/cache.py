"""Keys and values of the tokens a generation has already read, so that each is computed once.

A cache belongs to one generation, never to a layer: two readers of one model do not meet. Keys arrive already turned
by their absolute position, so that they never need to be touched again.
"""

from __future__ import annotations

import torch
from torch import Tensor


class GrowingCache:
    """One layer's past without a window: every key and value, in order, in a buffer that doubles when it is full."""

    def __init__(self) -> None:
        self.length = 0  # tokens read so far
        self._keys = self._values = torch.empty(0)  # (B, num_kv_heads, slots, head_dim) from the first token on

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take in the next T tokens; give back all that they may see.

        Args:
            keys: (B, num_kv_heads, T, head_dim).
            values: of the same shape.

        Returns:
            Keys and values (B, num_kv_heads, K, head_dim) and the absolute positions (K,) of these keys.
        """
        start, end = self.length, self.length + keys.shape[2]
        if start == 0 or end > self._keys.shape[2]:
            slots = max(end, 2 * start)
            self._keys = _enlarged(self._keys, keys, start, slots)
            self._values = _enlarged(self._values, values, start, slots)
        self._keys[:, :, start:end] = keys.detach()
        self._values[:, :, start:end] = values.detach()
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end], torch.arange(end, device=keys.device)

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values held."""
        held = self._keys[:, :, : self.length] if self.length else self._keys
        return 2 * held.nbytes


def _enlarged(buffer: Tensor, like: Tensor, held: int, slots: int) -> Tensor:
    """A buffer of more slots, (B, num_kv_heads, slots, head_dim) of the kind of `like`, with the first ones kept."""
    batch, kv_heads, _, head_dim = like.shape
    larger = like.new_empty(batch, kv_heads, slots, head_dim)
    if held:
        larger[:, :, :held] = buffer[:, :, :held]
    return larger


class RollingCache:
    """One layer's past with a window of W: the key of position p lies in slot p mod W, over the key of p - W.

    No later token may see the key that is written over. For W = 4, after seven tokens:

        slot      0  1  2  3
        position  4  5  6  3

    The order of the slots does not matter, because the mask looks at positions. Until the window is full the slots are
    as many as were needed so far, at most doubled.
    """

    def __init__(self, window_size: int) -> None:
        self.window_size = window_size
        self.length = 0  # tokens read so far
        self._keys = self._values = torch.empty(0)  # (B, num_kv_heads, slots, head_dim) from the first token on
        self._positions = torch.empty(0, dtype=torch.long)  # (slots,)

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `GrowingCache.extend`; a chunk may be longer than the window.

        The first tokens of a chunk see keys that its last ones push out, so a chunk is given the old keys and its
        own side by side, and the window is trimmed after.
        """
        positions = torch.arange(self.length, self.length + keys.shape[2], device=keys.device)
        if keys.shape[2] == 1:
            self._roll(keys, values, positions)
            return self._held()
        seen = (keys, values, positions)
        if self.length:
            old_keys, old_values, old_positions = self._held()
            seen = (
                torch.cat((old_keys, keys), dim=2),
                torch.cat((old_values, values), dim=2),
                torch.cat((old_positions, positions)),
            )
        self._roll(keys, values, positions)
        return seen

    def _roll(self, keys: Tensor, values: Tensor, positions: Tensor) -> None:
        held, self.length = min(self.length, self.window_size), self.length + len(positions)
        needed = min(self.length, self.window_size)
        if held == 0 or needed > len(self._positions):
            slots = min(self.window_size, max(needed, 2 * held))
            self._keys = _enlarged(self._keys, keys, held, slots)
            self._values = _enlarged(self._values, values, held, slots)
            self._positions = torch.cat((self._positions[:held], positions.new_empty(slots - held)))
        kept = slice(-self.window_size, None)
        places = positions[kept] % self.window_size
        self._keys[:, :, places] = keys[:, :, kept].detach()
        self._values[:, :, places] = values[:, :, kept].detach()
        self._positions[places] = positions[kept]

    def _held(self) -> tuple[Tensor, Tensor, Tensor]:
        filled = min(self.length, self.window_size)
        return self._keys[:, :, :filled], self._values[:, :, :filled], self._positions[:filled]

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values held: constant once the window is full."""
        return 2 * self._held()[0].nbytes if self.length else 0


LayerCache = GrowingCache | RollingCache


class KVCache:
    """The cache of a whole model: one `GrowingCache` or `RollingCache` for each layer.

    Four layers, one row, 64 tokens, 2 key/value heads of width 32 in float32 hold
    2 x 4 x 1 x 64 x 2 x 32 x 4 bytes = 128 KiB; with a window of 8 instead of 64 tokens, 16 KiB.

    Args:
        num_layers: layers of the model.
        window_size: the model's window, or None.
    """

    def __init__(self, num_layers: int, window_size: int | None = None) -> None:
        self.layers: list[LayerCache] = [
            GrowingCache() if window_size is None else RollingCache(window_size) for _ in range(num_layers)
        ]

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.layers[0].length

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values held: 2 x layers x B x min(T, W) x num_kv_heads x head_dim x bytes each."""
        return sum(layer.nbytes for layer in self.layers)
