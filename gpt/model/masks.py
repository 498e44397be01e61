"""Which key may a query see: one function of absolute positions, used everywhere.

Training, prefill, decoding and the picture on the screen all ask this function, so what is hatched on the screen is
what the model used.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attention_mask(
    query_positions: Tensor, key_positions: Tensor, window_size: int | None = None, causal: bool = True
) -> Tensor:
    """Say for every query which keys it may look at.

    A query at position i may look at the key at position j if j <= i (causal) and |i - j| < W (window). With both,
    a window of W means W keys, the token itself included: 0 <= i - j < W, as in Mistral 7B
    (https://arxiv.org/abs/2310.06825) and Hugging Face's masks.

    Args:
        query_positions: (Q,) absolute positions, whole numbers.
        key_positions: (K,) absolute positions, whole numbers, in any order.
        window_size: W, or None for no window.
        causal: whether keys after the query are hidden.

    Returns:
        (Q, K) bool, True where the query may look.
    """
    distance = query_positions[:, None] - key_positions[None, :]  # (Q, K)
    allowed = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if window_size is not None:
        allowed = allowed & (distance.abs() < window_size)
    return allowed
