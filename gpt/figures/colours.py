"""One colour and one dash pattern for each variant, on the page and in files."""

from __future__ import annotations

# Okabe-Ito colours, told apart without colour vision, as (light page, dark page). Purple and amber are darkened on the
# light page, where the published ones stay under a contrast of 3 : 1; all are lightened on the dark page.
VARIANT_COLOURS = {
    "gpt2": ("#0072B2", "#56B4E9"),
    "rotary": ("#D55E00", "#FF8A4C"),
    "grouped-query": ("#009E73", "#3CCBA0"),
    "sliding-window": ("#BF6498", "#E39AC4"),
    "modern": ("#B57D00", "#F5B93D"),
    "other": ("#6B7075", "#9AA0A6"),
}

# Colour is never the only sign: each variant has its own dash pattern, too (dash, gap, ... in pixels; empty is solid).
VARIANT_DASHES: dict[str, tuple[int, ...]] = {
    "gpt2": (),
    "rotary": (7, 3),
    "grouped-query": (2, 3),
    "sliding-window": (10, 3, 2, 3),
    "modern": (14, 4),
    "other": (4, 4),
}

_SPARE_DASH = (5, 2)  # of a variant that was given none

# Several models that are no known variant share the grey; these tell them apart.
OTHER_DASHES: tuple[tuple[int, ...], ...] = ((4, 4), (1, 4), (12, 3, 3, 3), (8, 8))


def variant_dash(variant: str) -> tuple[int, ...]:
    """The dash pattern of a variant that has a colour."""
    return VARIANT_DASHES.get(variant, _SPARE_DASH)
