"""GPTConfig and the variants."""

from __future__ import annotations

import dataclasses
import math

import pytest

from gpt import GPT2, VARIANTS, GPTConfig
from gpt.model.config import changes_from_gpt2, make_config, variant_name

SIZE = {"vocab_size": 65, "embed_size": 128, "num_heads": 4, "num_layers": 4, "context_length": 64}


def test_field_order_is_the_positional_order_of_gpt2():
    assert [field.name for field in dataclasses.fields(GPTConfig)] == [
        *("vocab_size", "embed_size", "num_heads", "hidden_size", "num_layers"),
        *("context_length", "num_kv_heads", "window_size", "positions", "causal", "dropout", "rope_base"),
    ]
    assert GPT2(5, 8, 2, 16, 1).config == GPTConfig(5, 8, 2, 16, 1)


def test_defaults_are_those_of_the_smallest_gpt2():
    config = GPTConfig(50257)
    assert (config.embed_size, config.num_heads, config.hidden_size) == (768, 12, 3072)
    assert (config.num_layers, config.context_length, config.head_dim) == (12, 1024, 64)
    assert changes_from_gpt2(config) == []


def test_a_config_is_a_value():
    config = VARIANTS["modern"](**SIZE)
    assert config == GPTConfig(**dataclasses.asdict(config))
    assert hash(config) == hash(VARIANTS["modern"](**SIZE))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.window_size = 3


@pytest.mark.parametrize(
    ("variant", "changed"),
    [
        ("gpt2", {}),
        ("rotary", {"positions": "rotary"}),
        ("grouped-query", {"num_kv_heads": 2}),
        ("sliding-window", {"window_size": 8}),
        ("modern", {"positions": "rotary", "num_kv_heads": 2, "window_size": 8}),
    ],
)
def test_a_variant_is_its_change_and_nothing_else(variant, changed):
    config = VARIANTS[variant](**SIZE)
    assert config == dataclasses.replace(VARIANTS["gpt2"](**SIZE), **changed)
    assert config.hidden_size == 4 * config.embed_size
    assert variant_name(config) == variant
    assert len(changes_from_gpt2(config)) == len(changed)


def test_a_named_choice_overrides_the_variant():
    assert VARIANTS["sliding-window"](**SIZE, window_size=16).window_size == 16
    assert VARIANTS["modern"](**SIZE, num_kv_heads=4, window_size=None).window_size is None
    assert VARIANTS["gpt2"](**SIZE, hidden_size=99).hidden_size == 99


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("num_heads", "context_length"), [(1, 1), (2, 4), (3, 7), (6, 256), (12, 1024)])
def test_variants_are_valid_at_every_size(variant, num_heads, context_length):
    config = VARIANTS[variant](65, embed_size=12 * num_heads, num_heads=num_heads, context_length=context_length)
    assert num_heads % config.kv_heads == 0


def test_other_combinations_have_no_variant_name():
    for changes in ({"positions": "alibi"}, {"causal": False}, {"positions": "rotary", "window_size": 4}):
        assert variant_name(make_config("gpt2", **SIZE, **changes)) == "other"


def test_changes_in_words():
    config = make_config("modern", **SIZE, num_kv_heads=1, causal=False)
    assert changes_from_gpt2(config) == [
        *("rotary positions", "1 KV head for 4 query heads", "window of 8", "no causal mask"),
    ]
    assert changes_from_gpt2(make_config("gpt2", **SIZE, positions="none")) == ["no positions"]
    assert changes_from_gpt2(make_config("gpt2", **SIZE, num_kv_heads=4)) == []


def test_receptive_field():
    assert GPTConfig(5).receptive_field is None
    assert GPTConfig(5, num_layers=3, window_size=4).receptive_field == 3 * 3 + 1
    assert GPTConfig(5, num_layers=3, window_size=1).receptive_field == 1
    assert GPTConfig(5, num_layers=3, window_size=4, causal=False).receptive_field == 2 * 3 * 3 + 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"vocab_size": 0}, ValueError, "vocab_size is 0; give 1 or more"),
        ({"num_layers": 2.0}, TypeError, "num_layers is 2.0; give a whole number"),
        ({"num_layers": True}, TypeError, "num_layers is True; give a whole number"),
        ({"context_length": "8"}, TypeError, "context_length is '8'; give a whole number"),
        ({"num_heads": 7}, ValueError, r"embed_size \(128\) must be divisible by num_heads \(7\).*1, 2, 4, 8"),
        ({"num_kv_heads": 3}, ValueError, r"num_heads \(4\) must be divisible by num_kv_heads \(3\).*1, 2, 4"),
        ({"window_size": 0}, ValueError, "window_size is 0; give 1 or more"),
        ({"positions": "sinus"}, ValueError, "positions is 'sinus'; choose one of learned, rotary, alibi, none"),
        ({"positions": None}, ValueError, "positions is None; choose one of"),
        ({"causal": 1}, TypeError, "causal is 1; give True or False"),
        ({"dropout": 1.0}, ValueError, "dropout is 1.0; it is a probability"),
        ({"dropout": -0.1}, ValueError, "dropout is -0.1; it is a probability"),
        ({"dropout": math.nan}, ValueError, "dropout is nan; give a finite number"),
        ({"dropout": "0"}, TypeError, "dropout is '0'; give a number"),
        ({"rope_base": 1}, ValueError, "rope_base is 1; give a number above 1"),
        ({"rope_base": math.inf}, ValueError, "rope_base is inf; give a finite number"),
        ({"embed_size": 20, "positions": "rotary"}, ValueError, "must be even; 20 / 4 = 5"),
    ],
)
def test_errors_say_what_was_given_and_what_is_allowed(changes, error, message):
    with pytest.raises(error, match=message):
        GPTConfig(**{**SIZE, **changes})


@pytest.mark.parametrize("name", ["dropout", "rope_base"])
def test_a_number_too_large_for_a_float_is_refused_in_a_sentence(name):
    """JSON can hold such a number, and `math.isfinite` raises OverflowError for it."""
    with pytest.raises(ValueError, match=f"{name} is "):
        GPTConfig(**SIZE, **{name: 10**400})


def test_an_unknown_variant_is_answered_with_the_list():
    with pytest.raises(ValueError, match="there is no variant 'gpt3'; choose one of gpt2, rotary, grouped-query"):
        make_config("gpt3", 65)
