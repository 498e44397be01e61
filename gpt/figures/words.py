"""Numbers in words: with as many digits as their error allows."""

from __future__ import annotations

import math


def with_error(number: float, error: float, sign: str = "") -> str:
    """A number with its error, and no more digits than that allows.

    Args:
        number: what was measured.
        error: how far it is uncertain; without one, if it is not a number above 0, there are two decimals.
        sign: "+" to write the sign of a positive number, too.
    """
    if not math.isfinite(error) or error <= 0:
        return f"{number:{sign},.2f}".replace("-", "−")
    power = math.floor(math.log10(error))
    digits = min(4, max(0, 1 - power if error < 3 * 10**power else -power))
    return f"{number:{sign},.{digits}f} ± {error:,.{digits}f}".replace("-", "−")
