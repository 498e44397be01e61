"""What every setup is held to, before anything is made of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gpt.model.config import check_whole_number

_LARGEST_SEED = 2**32


def check_whole_numbers(setup: Any, **bounds: tuple[int, int]) -> None:
    """Raise ValueError or TypeError, in a sentence, unless these fields of a setup, and its seed, are within bounds.

    Args:
        setup: any of the experiments' setups.
        bounds: by field, the least and the most that it may be.
    """
    for name, (least, most) in {**bounds, "seed": (0, _LARGEST_SEED)}.items():
        value = getattr(setup, name)
        check_whole_number(name, value, minimum=least)
        if value > most:
            raise ValueError(f"{name} is {value}; at most {most:,} is allowed")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Raise ValueError, in a sentence, unless a value is one of these."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(choices)}")
