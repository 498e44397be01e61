"""Parameters and arithmetic by part: counted in the models, and computed for the variants."""

from __future__ import annotations

import json
from typing import Any

import pytest
from served import BOTH, NO_NUMBERS, refuses

from gpt.costs.formulas import flops_by_part, parameters_by_part
from gpt.model.config import VARIANTS
from gpt.ui.catalogue import Catalogue
from gpt.ui.cost.handlers import CHOSEN_MODELS, CostHandlers
from gpt.ui.sizes import SIZES, SMALL


@pytest.mark.parametrize("size", SIZES)
def test_variants_are_counted_by_part(cost: CostHandlers, size: str) -> None:
    parameters, flops = json.loads(cost.count_parts(size, 256, 16, None))["blocks"]
    assert [model["label"] for model in parameters["models"]] == list(VARIANTS)
    for model in parameters["models"]:
        assert model["computed"] == model["counted"]
        assert model["colour"] == f"var(--variant-{model['label']})"
    by_name = {model["label"]: model["computed"] for model in flops["models"]}
    attention = "attention scores and values"
    assert by_name["sliding-window"][attention] < by_name["gpt2"][attention]
    assert all(model["counted"] is None for model in flops["models"])


def test_chosen_models_are_counted_by_part(cost: CostHandlers, catalogue: Catalogue) -> None:
    parameters, flops = json.loads(cost.count_parts(CHOSEN_MODELS, None, None, BOTH))["blocks"]
    for name, counted, work in zip(BOTH, parameters["models"], flops["models"], strict=True):
        config = catalogue.get(name).model.config
        assert counted["computed"] == counted["counted"] == parameters_by_part(config)
        assert work["computed"] == {part: round(count) for part, count in flops_by_part(config).items()}
        assert counted["label"].endswith(f", context {config.context_length}")


@pytest.mark.parametrize("value", [*NO_NUMBERS.values(), "large", 100])
def test_what_cannot_be_counted_is_refused(cost: CostHandlers, value: Any) -> None:
    with refuses("What is counted is"):
        cost.count_parts(value, 256, 64, BOTH)
    with refuses("The context is"):
        cost.count_parts(SMALL, value, 64, BOTH)


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_the_variants_window_is_checked(cost: CostHandlers, name: str) -> None:
    with refuses("[Ww]indow"):
        cost.count_parts(SMALL, 256, NO_NUMBERS[name], BOTH)
