"""What the Cost tab can be set to, and the check of what its controls say: known before PyTorch is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpt.costs.formulas import flops_by_part
from gpt.model.config import make_config
from gpt.runs.limits import LARGEST_TIMED_WINDOW
from gpt.ui.requests import require_choice, require_whole

PASSES = {"forward and backward": True, "forward only": False}
SHORTEST = 64
LONGEST = (512, 1024, 2048, 4096)
WIDTH, HEADS = 128, 4
CHOSEN_MODELS = "the models chosen above"  # in place of a size, of what parts are counted


@dataclass(frozen=True)
class TimingSettings:
    """What the controls say, checked; the fields are the controls in their order.

    Raises:
        ValueError: a control holds what it cannot; the message is for the person at the controls.
    """

    window_size: Any
    passes: Any
    longest: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "window_size", require_whole("window", self.window_size, 1, LARGEST_TIMED_WINDOW))
        require_choice("what is timed", self.passes, PASSES)
        require_choice("the longest text", self.longest, LONGEST)
        object.__setattr__(self, "longest", int(self.longest))

    @property
    def lengths(self) -> list[int]:
        """T: powers of two, the shortest first."""
        return [length for length in (SHORTEST << i for i in range(12)) if length <= self.longest]

    @property
    def windows(self) -> tuple[int | None, int]:
        """None, which is full attention, and the window."""
        return None, self.window_size

    def names(self) -> list[str]:
        """Of the two curves."""
        return ["full attention", f"window of {self.window_size:,}"]

    def in_words(self) -> str:
        """What a measurement with these settings is of."""
        return f"window of {self.window_size:,}, {self.passes}, up to {self.longest:,} tokens"

    def flops(self, length: int, window_size: int | None) -> float:
        """Multiplications and additions of the layer for one text, by formula."""
        config = make_config(
            "gpt2",
            1,
            embed_size=WIDTH,
            num_heads=HEADS,
            num_layers=1,
            context_length=length,
            window_size=window_size,
        )
        parts = flops_by_part(config)
        per_token = parts["attention projections"] + parts["attention scores and values"]
        return length * per_token * (3 if PASSES[self.passes] else 1)
