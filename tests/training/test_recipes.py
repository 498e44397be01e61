"""Muon against torch's and the published iteration, the schedule, and which weights go to which optimizer."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from references import newton_schulz
from torch.optim import _muon
from torch.testing import assert_close

from gpt import RECIPES, TrainConfig
from gpt.training import optimizers
from gpt.training.optimizers import StackedMuon, build_optimizers, orthogonalized
from gpt.training.recipes import rate_factor, training_config

SHAPES = [(16, 16), (16, 16), (16, 64), (64, 16), (64, 16), (8, 16), (3, 1), (1, 5)]


def moved_by(make_optimizer, *, steps, rates, seed=0):
    """The weights of all shapes after some steps with given gradients and a changing rate."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    optimizer = make_optimizer(weights)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator) * 10 ** (step - 2)
        optimizer.step()
    return [weight.detach() for weight in weights]


def torch_muon(weights, *, lr, weight_decay):
    return torch.optim.Muon(
        weights,
        lr=lr,
        weight_decay=weight_decay,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315),
        ns_steps=5,
        adjust_lr_fn="original",
    )


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_muon_equals_torch_in_float32(monkeypatch, weight_decay):
    """Torch orthogonalises in bfloat16; with the iteration in float32 the rest of the two must agree to rounding."""
    monkeypatch.setattr(_muon, "_zeropower_via_newtonschulz", lambda grad, _, steps, __: newton_schulz(grad, steps))
    rates = [0.05, 0.02, 0.1, 0.0, 0.03]
    ours = moved_by(lambda ws: StackedMuon(ws, lr=0.05, weight_decay=weight_decay), steps=5, rates=rates)
    theirs = moved_by(lambda ws: torch_muon(ws, lr=0.05, weight_decay=weight_decay), steps=5, rates=rates)
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine, other, atol=1e-5, rtol=1e-5)


def test_muon_equals_torch_as_it_is_within_bfloat16():
    rates = [0.05] * 5
    start = moved_by(lambda ws: StackedMuon(ws, lr=0.05), steps=0, rates=rates)
    ours = moved_by(lambda ws: StackedMuon(ws, lr=0.05), steps=5, rates=rates)
    theirs = moved_by(lambda ws: torch_muon(ws, lr=0.05, weight_decay=0.0), steps=5, rates=rates)
    for before, mine, other in zip(start, ours, theirs, strict=True):
        assert (mine - other).norm() < 0.05 * (other - before).norm()  # 5 steps of 8 bits


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (1, 7), (30, 31)])
def test_orthogonalised_stack_equals_one_matrix_after_another(shape):
    stack = torch.randn(5, *shape) * torch.tensor([1e-3, 1.0, 5.0, 100.0, 1e4])[:, None, None]
    for direction, matrix in zip(orthogonalized(stack), stack, strict=True):
        assert_close(direction, newton_schulz(matrix), atol=1e-5, rtol=1e-5)
        assert_close(direction.T, newton_schulz(matrix.T), atol=1e-5, rtol=1e-5)  # tall ones, as the step stacks them


def test_orthogonalised_directions_have_singular_values_near_one():
    u, _, v = torch.linalg.svd(torch.randn(12, 40), full_matrices=False)
    matrix = u @ torch.diag(torch.linspace(0.3, 3.0, 12)) @ v
    direction = orthogonalized(matrix[None])[0]
    values = torch.linalg.svdvals(direction)
    assert 0.6 < values.min() < values.max() < 1.25
    inner = u.T @ direction @ v.T  # the same directions: diagonal in the matrix's own singular vectors
    assert_close(inner, torch.diag(inner.diagonal()), atol=1e-4, rtol=0)


def test_a_gradient_of_zero_moves_nothing():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = StackedMuon([weight], lr=0.1)
    optimizer.step()  # no gradient at all
    weight.grad = torch.zeros(4, 4)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(4, 4))


def test_a_matrix_of_another_rate_moves_as_with_it_and_shares_its_stack(monkeypatch):
    stacks = []
    iteration = optimizers.orthogonalized
    monkeypatch.setattr(optimizers, "orthogonalized", lambda stack: stacks.append(len(stack)) or iteration(stack))

    def moved(lr, *multiples):
        stacks.clear()
        rates = [lr, lr / 2, lr / 3]
        make = lambda ws: StackedMuon(ws, lr, 0.1, rate_multiples=dict(zip(ws, multiples, strict=False)))  # noqa: E731
        return moved_by(make, steps=3, rates=rates)

    plain, twice = moved(0.05), moved(0.1)
    expected_stacks = stacks.copy()
    mixed = moved(0.05, 1.0, 2.0, 1.0, 2.0)  # of two squares and of a wide and a tall matrix of the same sides
    assert stacks == expected_stacks
    for number, weight in enumerate(mixed):
        assert_close(weight, (twice if number in (1, 3) else plain)[number], atol=1e-6, rtol=1e-5)


# --- Schedule -------------------------------------------------------------------------------------------------------


def test_rates_rise_hold_and_fall():
    config = TrainConfig(max_steps=100, warmup_steps=10, decay_share=0.5, final_rate=0.1)
    factors = [rate_factor(step, config) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10:51] == pytest.approx([1.0] * 41)
    assert factors[75] == pytest.approx(1 - 0.9 * 0.5)
    assert factors[100] == pytest.approx(0.1)
    assert all(before >= after for before, after in itertools.pairwise(factors[50:]))


def test_cosine_is_half_way_in_the_middle_and_flat_at_its_ends():
    config = TrainConfig(max_steps=100, warmup_steps=0, decay_share=1.0, final_rate=0.0, schedule="cosine")
    for step in (0, 10, 50, 90, 100):
        assert rate_factor(step, config) == pytest.approx((1 + math.cos(math.pi * step / 100)) / 2)


def test_no_warm_up_and_no_decay_is_constant():
    config = TrainConfig(max_steps=5, warmup_steps=0, decay_share=0.0)
    assert [rate_factor(step, config) for step in range(5)] == [1.0] * 5


def test_what_was_saved_before_a_setting_existed_keeps_its_way():
    saved = dataclasses.asdict(TrainConfig())
    assert training_config(**saved) == TrainConfig()
    del saved["feed_forward_rate_multiple"]
    assert training_config(**saved) == dataclasses.replace(TrainConfig(), feed_forward_rate_multiple=1.0)


# --- Who moves what -------------------------------------------------------------------------------------------------


def test_recipes_are_settings_of_train_config():
    assert TrainConfig(**RECIPES["fast"]) == TrainConfig()
    nanogpt = TrainConfig(**RECIPES["nanogpt"])
    assert (nanogpt.max_steps, nanogpt.batch_size, nanogpt.learning_rate) == (2000, 12, 1e-3)
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert all(set(recipe) <= names for recipe in RECIPES.values())


def test_every_weight_is_moved_by_exactly_one_optimizer(kind, small_model):
    model = small_model(kind)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    adamw, muon = build_optimizers(model, TrainConfig(position_learning_rate=0.02))
    *decayed, plain = ({names[id(p)] for p in group["params"]} for group in adamw.param_groups)
    decayed = set().union(*decayed)
    inside = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert decayed | plain | inside == set(names.values())
    assert len(decayed) + len(plain) + len(inside) == len(names)
    assert decayed == {name for name in names.values() if name.endswith("embedding.weight")}
    assert all(name.endswith("bias") or "norm" in name for name in plain)
    assert [group["weight_decay"] for group in adamw.param_groups][-2:] == [0.1, 0.0]
    assert muon.param_groups[0]["weight_decay"] == 0.1
    rates = {names[id(p)]: group["initial_lr"] for group in adamw.param_groups for p in group["params"]}
    assert rates.pop("position_embedding.weight", 0.02) == 0.02
    assert set(rates.values()) == {5e-3}
    assert muon.param_groups[0]["initial_lr"] == 0.05
    multiples = {names[id(p)]: multiple for p, multiple in muon.rate_multiples.items()}
    assert multiples == {name: 2.0 for name in inside if name.endswith(("expand.weight", "project.weight"))}
    assert len(multiples) == 2 * model.config.num_layers


def test_without_a_matrix_rate_adamw_moves_all(small_model):
    model = small_model("gpt2")
    (adamw,) = build_optimizers(model, TrainConfig(**RECIPES["nanogpt"]))
    assert sum(len(group["params"]) for group in adamw.param_groups) == len(list(model.parameters()))
    assert [{p.ndim for p in group["params"]} for group in adamw.param_groups] == [{2}, {2}, {1}]
    assert {group["initial_lr"] for group in adamw.param_groups} == {1e-3}
    assert adamw.param_groups[0]["betas"] == (0.9, 0.99)
