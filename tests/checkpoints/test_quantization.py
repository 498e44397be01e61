"""Weights in a byte each: how far off they may be, and that doing it twice changes nothing."""

from __future__ import annotations

import torch

from gpt.checkpoints.quantization import dequantize, quantize, quantized_kinds


def test_each_weight_comes_back_within_half_a_step_of_its_row():
    weights = {"a": torch.randn(5, 9) * torch.tensor([1e-6, 1.0, 30.0, 0.0, 1.0])[:, None], "b": torch.randn(7)}
    tensors = quantize(weights)
    assert tensors["a"].dtype == torch.int8
    assert tensors["a"].abs().amax(dim=1).tolist() == [127, 127, 127, 0, 127]
    back = dequantize(tensors)
    assert list(back) == ["a", "b"]
    assert ((back["a"] - weights["a"]).abs() <= weights["a"].abs().amax(dim=1, keepdim=True) / 253).all()
    assert torch.equal(back["b"], weights["b"])


def test_rounding_twice_changes_nothing():
    once = quantize({"a": torch.randn(40, 30)})
    twice = quantize(dequantize(once))
    assert torch.equal(once["a"], twice["a"])
    torch.testing.assert_close(once["a/scale"], twice["a/scale"])


def test_the_kinds_are_those_of_the_tensors():
    weights = {"a": torch.randn(5, 9), "b": torch.randn(7)}
    names = {torch.int8: "I8", torch.float32: "F32"}
    found = {name: ((names[t.dtype],), tuple(t.shape)) for name, t in quantize(weights).items()}
    assert found == quantized_kinds({name: tuple(weight.shape) for name, weight in weights.items()})
