"""What can reach an output, against powers of the mask, and what does, against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from gpt import GPTConfig
from gpt.interpret.receptive_field import influence, receptive_field

LENGTH = 14
WINDOWS = [1, 2, 3, 8, LENGTH, LENGTH + 20, None]


def reach_by_powers(num_layers, window_size, causal, length, position):
    """Row k: from where paths of num_layers - k steps along the mask lead to the position; the mask in scalars."""
    mask = torch.tensor(
        [
            [(j <= i or not causal) and (window_size is None or abs(i - j) < window_size) for j in range(length)]
            for i in range(length)
        ]
    ).double()  # (T, T); doubles count paths exactly far beyond what these lengths have
    powers = [torch.linalg.matrix_power(mask, num_layers - k) for k in range(num_layers + 1)]
    return torch.stack([power[position] > 0 for power in powers])


def config_of(num_layers, window_size, causal=True):
    return GPTConfig(5, num_layers=num_layers, window_size=window_size, causal=causal)


# --- By the masks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window_size", WINDOWS)
@pytest.mark.parametrize("num_layers", range(1, 7))
def test_the_field_is_given_by_powers_of_the_mask(num_layers, window_size, causal):
    config = config_of(num_layers, window_size, causal)
    for position in range(LENGTH):
        field = receptive_field(config, LENGTH, position)
        assert field.dtype == torch.bool
        assert torch.equal(field, reach_by_powers(num_layers, window_size, causal, LENGTH, position))


@pytest.mark.parametrize("window_size", WINDOWS)
@pytest.mark.parametrize("num_layers", range(1, 7))
def test_each_layer_adds_a_window_less_one(num_layers, window_size):
    for position in range(LENGTH):
        field = receptive_field(config_of(num_layers, window_size), LENGTH, position)
        assert field.shape == (num_layers + 1, LENGTH)
        assert field[-1].tolist() == [place == position for place in range(LENGTH)]
        for k in range(1, num_layers + 1):
            tokens = position + 1 if window_size is None else min(k * (window_size - 1) + 1, position + 1)
            row = field[num_layers - k]
            assert row.sum() == tokens
            assert row[position + 1 - tokens : position + 1].all()  # the last ones, without a gap


@pytest.mark.parametrize("window_size", WINDOWS)
@pytest.mark.parametrize("num_layers", range(1, 7))
def test_without_the_causal_mask_the_field_is_symmetric(num_layers, window_size):
    config = config_of(num_layers, window_size, causal=False)
    for position in range(LENGTH):
        field = receptive_field(config, LENGTH, position)
        assert torch.equal(field.flip(-1), receptive_field(config, LENGTH, LENGTH - 1 - position))
        reach = LENGTH if window_size is None else num_layers * (window_size - 1)
        assert field[0].sum() == 1 + min(reach, position) + min(reach, LENGTH - 1 - position)


@pytest.mark.parametrize("window_size", [1, 3, None])
def test_a_text_of_one_token(window_size):
    assert receptive_field(config_of(2, window_size), 1, 0).tolist() == [[True], [True], [True]]


@pytest.mark.parametrize("position", [-1, 9, 100])
def test_a_position_outside_the_text_is_refused(small_model, ids, position):
    message = f"no position {position} in a text of 9 tokens; give 0 to 8"
    with pytest.raises(ValueError, match=message):
        receptive_field(config_of(2, 3), 9, position)
    with pytest.raises(ValueError, match=message):
        influence(small_model("modern"), ids(1, 9)[0], position)


# --- By the gradient ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi", "none"])
@pytest.mark.parametrize("num_layers", [1, 2, 5])
def test_what_has_influence_is_what_can_reach(small_model, ids, num_layers, positions, causal):
    """The small models' weights are large enough for no gradient to round to 0 in float32."""
    for window_size, num_kv_heads in ((1, 4), (2, 1), (3, 2), (8, 1), (None, 2)):
        choices = {"window_size": window_size, "num_kv_heads": num_kv_heads, "positions": positions, "causal": causal}
        model, text = small_model("gpt2", num_layers=num_layers, **choices), ids(1, LENGTH)[0]
        for position in (6, LENGTH - 1):
            reach = reach_by_powers(num_layers, window_size, causal, LENGTH, position)
            assert torch.equal(influence(model, text, position) > 0, reach)


def test_every_kind_at_every_position(kind, small_model, ids):
    model, text = small_model(kind, num_layers=3), ids(1, LENGTH)[0]
    for position in range(LENGTH):
        strengths = influence(model, text, position, token=position % 13)
        assert strengths.shape == (4, LENGTH)
        assert strengths.isfinite().all()
        assert torch.equal(strengths > 0, reach_by_powers(3, model.config.window_size, True, LENGTH, position))


@torch.no_grad()
@pytest.mark.parametrize("token", [None, 7])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [("gpt2", {}), ("alibi-window-multi-query", {"window_size": 3}), ("none", {"causal": False, "num_kv_heads": 2})],
)
def test_influence_equals_finite_differences(small_model, ids, kind, changes, token):
    """In float64, where a step can be small; not for rotary positions, which turn in float32."""
    size = {"embed_size": 16, "hidden_size": 32, "context_length": 8}
    model, text, position, step = small_model(kind, **size, **changes).double(), ids(1, 6)[0], 4, 1e-5
    chosen = int(model(text[None])[0, position].argmax()) if token is None else token
    expected, x = [], model.embed(text[None])  # (1, T, C)
    for layer in range(3):
        steps = step * torch.eye(x.numel(), dtype=torch.double).view(-1, *x.shape[1:])  # (T C, T, C): one number each
        above, below = x + steps, x - steps
        for block in model.blocks[layer:]:
            above, below = block(above), block(below)
        logits = [model.output_layer(model.final_norm(side))[:, position, chosen] for side in (above, below)]
        gradient = (logits[0] - logits[1]).view(x.shape[1:]) / (2 * step)
        expected.append((gradient**2).sum(dim=-1).sqrt())
        if layer < 2:
            x = model.blocks[layer](x)
    assert_close(influence(model, text, position, token), torch.stack(expected), atol=1e-7, rtol=1e-6)


def test_by_default_the_likeliest_token_counts(kind, small_model, ids):
    model, text = small_model(kind), ids(1, LENGTH)[0]
    with torch.no_grad():
        likeliest = int(model(text[None])[0, 5].argmax())
    assert torch.equal(influence(model, text, 5), influence(model, text, 5, likeliest))
    assert not torch.equal(influence(model, text, 5), influence(model, text, 5, (likeliest + 1) % 13))


def test_the_model_is_left_as_it_was_found(small_model, ids):
    model, text = small_model("modern", dropout=0.5).train(), ids(1, LENGTH)[0]
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    strengths = influence(model, text, 9)
    assert torch.equal(strengths, influence(model, text, 9))  # no dropout
    assert not strengths.requires_grad
    assert model.training
    for name, parameter in model.named_parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
        assert torch.equal(parameter, before[name])


def test_gradients_gathered_before_are_kept(small_model, ids):
    model, text = small_model("gpt2"), ids(1, LENGTH)[0]
    model(text[None, :-1], text[None, 1:])[1].backward()
    before = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    influence(model, text, 9)
    assert all(torch.equal(parameter.grad, before[name]) for name, parameter in model.named_parameters())


def test_gradients_may_be_off_outside_and_stay_off(small_model, ids):
    model, text = small_model("modern"), ids(1, LENGTH)[0]
    expected = influence(model, text, 9)
    with torch.no_grad():
        assert torch.equal(influence(model, text, 9), expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.equal(influence(model, text, 9), expected)
        assert torch.is_inference_mode_enabled()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(influence(model, text, 9), expected)
