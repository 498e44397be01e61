"""Parameters and arithmetic by part: of every variant at a size, or of models that are here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from gpt.costs.formulas import flops_by_part, parameters_by_part
from gpt.model.config import VARIANTS, adjusted_config, variant_name
from gpt.model.gpt2 import GPT2
from gpt.ui.components.cost_bars import cost_bars_value
from gpt.ui.sizes import SIZES
from gpt.ui.theme import variant_style

_VOCABULARY = 65  # characters of Tiny Shakespeare

_PARAMETER_MARKS = {  # what the names of a part's parameters hold
    "token embedding": "token_embedding",
    "position embedding": "position_embedding",
    "attention": "attention.",
    "feed-forward": "feed_forward.",
    "normalisation": "norm.",
}


def count_by_part(model: GPT2) -> dict[str, int]:
    """Number of weights in each part, counted in the model itself."""
    counted = dict.fromkeys(_PARAMETER_MARKS, 0)
    for name, parameter in model.named_parameters():
        part = next(part for part, mark in _PARAMETER_MARKS.items() if mark in name)
        counted[part] += parameter.numel()
    return counted


@lru_cache(maxsize=16)
def variants_at(size: str, context_length: int, window_size: int) -> list[tuple[str, GPT2]]:
    """Every variant at a size, without numbers in it: (name, a model on the meta device)."""
    models = []
    with torch.device("meta"):
        for name in VARIANTS:
            its_size = SIZES[size] | {"context_length": context_length}
            config = adjusted_config(name, _VOCABULARY, window_size=window_size, **its_size)
            models.append((name, GPT2.from_config(config)))
    return models


def parts_view(models: Sequence[tuple[str, GPT2]], about: str) -> str:
    """Parameters and multiplications of these models (label, model) split by part, for `cost_bars`."""
    styles = [variant_style(variant_name(model.config)) for _, model in models]
    parameters = [
        {"label": label, **style, "computed": parameters_by_part(model.config), "counted": count_by_part(model)}
        for (label, model), style in zip(models, styles, strict=True)
    ]
    flops = [
        {
            "label": label,
            **style,
            "computed": {part: round(count) for part, count in flops_by_part(model.config).items()},
            "counted": None,
        }
        for (label, model), style in zip(models, styles, strict=True)
    ]
    return cost_bars_value(
        [
            {
                "title": "Parameters",
                "note": "bars and upper numbers computed by formula; lower numbers counted in the model",
                "models": parameters,
            },
            {
                "title": "Multiplications and additions per token",
                "note": "computed by formula, forward, for a text that fills the context",
                "models": flops,
            },
        ],
        about,
    )
