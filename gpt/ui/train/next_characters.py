"""The characters that a model expects next, as bars under the chart of a run."""

from __future__ import annotations

from typing import Any

from gpt.generation.sampling import next_token_probabilities
from gpt.ui.catalogue import ReadyModel
from gpt.ui.expectation import next_logits
from gpt.ui.theme import variant_style


def next_character_bars(ready: ReadyModel, prompt: str, most: int = 8) -> dict[str, Any]:
    """The likeliest next characters after a prompt: {"label", "colour", "bars": [[character, probability], ...]}."""
    if not prompt:
        raise ValueError("the prompt is empty; give at least one character")
    probabilities = next_token_probabilities(next_logits(ready, prompt)[None])[0]
    likeliest = probabilities.topk(min(most, len(probabilities)))
    bars = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return {
        "label": ready.label,
        **variant_style(ready.variant),
        "bars": [[ready.tokenizer.decode([index]), round(probability, 4)] for index, probability in bars],
    }
