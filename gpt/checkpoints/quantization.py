"""Weights in a byte each, for looking back: a model on its way is only looked at, so a quarter of the size will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_SCALE = "/scale"


def quantize(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as whole numbers from -127 to 127 with a scale for each row; vectors, which are few, as they are.

    A weight comes back within half a scale, 1/254 of the largest weight of its row; quantizing twice changes nothing.

    Args:
        weights: name -> float32 tensor of one or two dimensions.

    Returns:
        name -> int8 (rows, columns) and name/scale -> float32 (rows, 1); vectors by their names.
    """
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            tensors[name] = weight.contiguous()
            continue
        scale = weight.abs().amax(dim=1, keepdim=True) / 127
        tensors[name] = (weight / scale.clamp(min=1e-30)).round().to(torch.int8).contiguous()
        tensors[name + _SCALE] = scale.contiguous()
    return tensors


def dequantize(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of `quantize`d tensors, in float32."""
    return {
        name: tensor.float() * tensors[name + _SCALE] if name + _SCALE in tensors else tensor
        for name, tensor in tensors.items()
        if not name.endswith(_SCALE)
    }


def quantized_kinds(shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[tuple[str], Sequence[int]]]:
    """Type, as safetensors writes it, and shape of the `quantize`d tensors of weights of these shapes."""
    kinds: dict[str, tuple[tuple[str], Sequence[int]]] = {}
    for name, shape in shapes.items():
        if len(shape) < 2:
            kinds[name] = (("F32",), shape)
        else:
            kinds[name] = (("I8",), shape)
            kinds[name + _SCALE] = (("F32",), (shape[0], 1))
    return kinds
