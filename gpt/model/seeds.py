"""Many independent random streams out of one seed.

Each purpose names its own stream, so that drawing more from one never shifts another: sampling a text in the middle of
training does not change what is learned.
"""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A seed that depends on the seed and the named purpose alone; 32 bits, all that PyTorch's CPU generator uses."""
    name = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")


def seeded_generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for the named purpose: the same on every device, and whatever else is drawn before or beside."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))
