"""What figures are written in: the fonts that this machine has, and code points for what none of them has."""

from __future__ import annotations

import re
from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.ft2font import FT2Font

# Fonts of Chinese, Japanese, Korean and signs, in outlines: matplotlib cannot draw the pictures of coloured ones.
_FALLBACKS = (
    "DejaVu Sans",  # comes with matplotlib, and has more than its monospace
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR"),
    *("Source Han Sans SC", "Source Han Sans", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("PingFang SC", "Hiragino Sans GB", "Hiragino Sans", "Heiti TC", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "Segoe UI Symbol", "Segoe UI Emoji"),
    *("Noto Emoji", "Symbola", "Unifont", "GNU Unifont"),
)


@lru_cache
def families(base: str) -> list[str]:
    """The font families to draw a text with, for a character the first that has it: `base`, then what is installed."""
    installed = {font.name for font in fontManager.ttflist}
    return [base, *(name for name in _FALLBACKS if name in installed)]


def drawable(text: str, base: str = "sans-serif") -> str:
    """A text as it can be drawn: a character that cannot be printed, or that no font has, as a code point, U+4E2D."""
    missing = {character for character in set(text) if not character.isprintable() or not _is_drawn(character, base)}
    if not missing:
        return text
    runs = re.compile(f"[{re.escape(''.join(missing))}]+")
    return runs.sub(lambda run: " ".join(f"U+{ord(character):04X}" for character in run[0]), text)


def _is_drawn(character: str, base: str) -> bool:
    return any(font(name).get_char_index(ord(character)) for name in families(base))


def font(family: str) -> FT2Font:
    """The font file that matplotlib takes for a family."""
    return get_font(findfont(FontProperties(family=[family])))
