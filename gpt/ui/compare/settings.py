"""How the Compare tab can be set to write, and the check of what its controls say: known before PyTorch is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpt.runs.limits import MOST_NEW_TOKENS
from gpt.ui.requests import require_number, require_whole

if TYPE_CHECKING:
    from gpt.generation.sampling import Sampling

VIEWS = ("write", "step", "read")
SECOND_TEMPERATURES = (0.0, 0.2, 0.5, 1.0, 1.2, 1.5, 2.0)
LENGTHS = (20, MOST_NEW_TOKENS)  # the ends of the sliders; programs may ask for more
TEMPERATURES = (0, 2)
TOP_KS = (0, 50)
TOP_PS = (0.05, 1)
LARGEST_SEED = 2**31


@dataclass(frozen=True)
class SamplingSettings:
    """The choices of how to write, checked; the fields are the controls in their order.

    Raises:
        ValueError: a control holds what it cannot; the message is for the person at the controls.
    """

    temperature: Any
    top_k: Any
    top_p: Any
    seed: Any

    def __post_init__(self) -> None:
        require_number("temperature", self.temperature, 0, 5)
        object.__setattr__(self, "top_k", require_whole("top-k", self.top_k, 0, 10_000))
        require_number("top-p", self.top_p, 0.01, 1)
        object.__setattr__(self, "seed", require_whole("seed", self.seed, 0, LARGEST_SEED))

    def sampling(self) -> Sampling:
        """What they mean: a top-k of 0 and a top-p of 1 leave nothing out."""
        from gpt.generation.sampling import Sampling  # with PyTorch, for which the page does not wait

        return Sampling(self.temperature, self.top_k or None, None if self.top_p == 1 else self.top_p, self.seed)
