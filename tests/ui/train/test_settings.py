"""What the controls of the Train tab say becomes the run asked for, or is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from served import (
    ANNA,
    BEN,
    FOREVER,
    NO_NUMBERS,
    STORY,
    controls,
    numeric_controls,
    page_defaults,
    refuses,
    settings,
    story_corpus,
)

from gpt import VARIANTS
from gpt.costs.formulas import flops_per_token
from gpt.runs.limits import CLASSROOM
from gpt.runs.run import Run
from gpt.ui.sizes import SIZES, TRAINED_CONTEXTS
from gpt.ui.train.handlers import TrainHandlers
from gpt.ui.train.settings import PRESETS, Preset, TrainSettings

FOUR_HEADS = next(name for name, size in SIZES.items() if size["num_heads"] == 4)


def test_the_page_opens_with_settings_that_work() -> None:
    opened = TrainSettings(**page_defaults())
    assert [field.name for field in fields(opened)] == list(page_defaults())


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_become_the_variant_asked_for(start: Callable[..., Run], variant: str) -> None:
    run = start(variants=[variant], size=FOUR_HEADS, window_size=6, num_kv_heads=2)
    ((label, config),) = run.request.models
    assert label == variant
    assert config.context_length == 32
    assert config.num_heads == 4
    assert config.window_size == (6 if variant in ("sliding-window", "modern") else None)
    assert config.kv_heads == (2 if variant in ("grouped-query", "modern") else 4)
    assert config.positions == ("rotary" if variant in ("rotary", "modern") else "learned")
    assert config.causal


def test_sliders_send_floats(start: Callable[..., Run]) -> None:
    whole = {name: value for name, value in settings().items() if name in numeric_controls() and value == int(value)}
    floats = {name: float(value) for name, value in whole.items() if name not in ("context_length", "rate_multiple")}
    assert start(ANNA, **floats) is start(BEN)


def test_each_setting_reaches_the_run(start: Callable[..., Run]) -> None:
    run = start(steps=17, batch_size=3, seed=99, seeds=2, rate_multiple=3)
    training = run.request.training
    assert (training.max_steps, training.batch_size, training.seed, run.request.seeds) == (17, 3, 99, 2)
    assert [member.seed for member in run.members] == [99, 100]
    plain = start(BEN).request.training
    assert training.learning_rate == pytest.approx(3 * plain.learning_rate)
    assert training.matrix_learning_rate == pytest.approx(3 * plain.matrix_learning_rate)


def test_byte_pairs_reach_the_run(start: Callable[..., Run]) -> None:
    plain, pairs = start(ANNA), start(BEN, tokens="byte pairs, 320 tokens")
    assert pairs.key != plain.key
    assert start(ANNA, tokens="byte pairs, 320 tokens") is pairs
    ((_, config),) = pairs.request.models
    assert config.vocab_size == pairs.corpus.tokenizer.vocab_size
    assert 256 < config.vocab_size <= 320
    assert pairs.request.corpus_sha256 == plain.request.corpus_sha256


def test_without_positions_nothing_else_is_changed(start: Callable[..., Run]) -> None:
    (_, plain), (label, without) = start(variants=["gpt2", "no-positions"]).request.models
    assert label == "no-positions"
    assert without == replace(plain, positions="none")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.question)
def test_a_class_may_press_every_preset(preset: Preset) -> None:
    asked = replace(
        TrainSettings(**page_defaults()),
        variants=list(preset.variants),
        without_mask=preset.without_mask,
        size=preset.size,
        steps=preset.steps,
    )
    request = asked.request(story_corpus())
    request.check(CLASSROOM)
    per_step = request.training.batch_size * asked.context_length
    flops = 3 * sum(flops_per_token(config) for _, config in request.models) * per_step * request.training.max_steps
    assert flops < 1e12  # two slow cores, at 20 billion a second together, take less than a minute


def test_a_variant_chosen_twice_is_trained_once(start: Callable[..., Run]) -> None:
    run = start(variants=["gpt2", "rotary", "gpt2"], without_mask=True)
    assert [label for label, _ in run.request.models] == ["gpt2", "rotary", "gpt2, no mask", "rotary, no mask"]


def test_recipes_differ(start: Callable[..., Run]) -> None:
    fast, published = (start(visitor, recipe=name) for visitor, name in ((ANNA, "fast"), (BEN, "nanogpt")))
    assert fast.request.training.matrix_learning_rate is not None
    assert published.request.training.matrix_learning_rate is None
    assert published.request.training.schedule == "cosine"


def test_without_the_mask_a_second_model_is_trained(start: Callable[..., Run]) -> None:
    run = start(variants=["gpt2", "rotary"], without_mask=True)
    assert [(label, config.causal) for label, config in run.request.models] == [
        ("gpt2", True), ("rotary", True), ("gpt2, no mask", False), ("rotary, no mask", False)
    ]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused_by_every_control(train_tab: TrainHandlers, value: Any) -> None:
    taken = []
    for name in numeric_controls():
        try:
            with refuses("."):
                train_tab.train(ANNA, [], *controls(**{name: value}))
        except BaseException as error:  # of another kind, or none at all
            taken.append(f"{name}: {error!r}")
    assert not taken


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"variants": []}, "No variant is chosen; choose at least one"),
        ({"variants": ["mamba"]}, "Variants is 'mamba'; choose one of gpt2"),
        ({"variants": "gpt2"}, "give a list of names"),
        ({"variants": None}, "give a list of names"),
        ({"variants": [["gpt2"]]}, "Variants is"),
        ({"variants": list(VARIANTS), "seeds": 3}, "15 models, and at most 6"),
        ({"without_mask": None}, "The mask switch is None"),
        ({"without_mask": 1}, "The mask switch is 1"),
        ({"size": "gigantic"}, "Size is 'gigantic'; choose one of tiny"),
        ({"size": None}, "Size is None"),
        ({"size": []}, r"Size is \[\]"),
        ({"text": "bible"}, "Text is 'bible'; choose one of shakespeare, python-docs"),
        ({"text": "/etc/passwd"}, "Text is '/etc/passwd'"),
        ({"tokens": "words"}, "Tokens is 'words'; choose one of characters, byte pairs, 320"),
        ({"tokens": 320}, "Tokens is 320"),
        ({"tokens": None}, "Tokens is None"),
        ({"tokens": {}}, "Tokens is"),
        ({"recipe": "best"}, "Recipe is 'best'; choose one of fast, showcase, nanogpt"),
        ({"context_length": 33}, "Context is 33; choose one of 32"),
        ({"steps": 0}, "Steps is 0; give 1 or more"),
        ({"steps": 5001}, "Steps is 5001; at most 5,000"),
        ({"steps": 2.5}, "Steps is 2.5; give a whole number"),
        ({"rate_multiple": 0}, "The learning rate's multiple is 0"),
        ({"seeds": 4}, "Seeds is 4; at most 3"),
        (
            {"size": FOUR_HEADS, "variants": ["grouped-query"], "num_kv_heads": 3},
            r"\(4\) must be divisible by .* \(3\)",
        ),
        ({"size": FOUR_HEADS, "variants": ["modern"], "num_kv_heads": 6}, r"\(4\) must be divisible by .*\(6\)"),
        ({"batch_size": 64, "context_length": TRAINED_CONTEXTS[-1], "own_text": STORY * 9}, ""),
    ],
    ids=lambda value: f"{value!r:.50}",
)
def test_what_cannot_be_is_refused(train_tab: TrainHandlers, changes: dict[str, Any], match: str) -> None:
    if match:
        with refuses(match):
            train_tab.train(ANNA, [], *controls(**changes))
    else:  # at the limit, and still allowed
        train_tab.train(ANNA, [], *controls(**changes))


def test_a_refusal_leaves_the_visitors_run_alone(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)
    with refuses("No variant"):
        train_tab.train(ANNA, [run.key], *controls(variants=[]))
    assert not run.is_over
