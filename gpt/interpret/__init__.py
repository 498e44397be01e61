"""Looking inside a model: where it looks, what surprises it, what each head does, and what can reach a token.

Each file answers one question about a model and a text, with numbers and nothing drawn. The names are imported at once,
not when they are first asked for, because two are called what their files are called.
"""

from gpt.interpret.ablation import (
    Ablation,
    ablated,
    ablation_costs,
    difference_and_error,
    kv_reactions,
    next_token_losses,
)
from gpt.interpret.attention_maps import attention_maps
from gpt.interpret.head_scores import MEASURES, HeadScores, Measure, score_heads
from gpt.interpret.one_head import HeadInNumbers, head_in_numbers
from gpt.interpret.receptive_field import influence, receptive_field
from gpt.interpret.surprise import Reading, read_text

__all__ = [
    "MEASURES",
    "Ablation",
    "HeadInNumbers",
    "HeadScores",
    "Measure",
    "Reading",
    "ablated",
    "ablation_costs",
    "attention_maps",
    "difference_and_error",
    "head_in_numbers",
    "influence",
    "kv_reactions",
    "next_token_losses",
    "read_text",
    "receptive_field",
    "score_heads",
]
