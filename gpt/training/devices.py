"""Where a model is trained: the device, how precisely it computes, and its stream of random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpt.costs.machine import bfloat16_units
from gpt.training.recipes import TrainConfig


def pick_device(device: str = "auto") -> torch.device:
    """The device by name; "auto" is cuda, else mps, else cpu. Raises ValueError if it is not on this machine."""
    present = {"cpu": True, "mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if present[name])
    if not present[device]:
        raise ValueError(f"this machine has no {device} device; choose auto or cpu")
    return torch.device(device)


def is_fast_in_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies matrices in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(bfloat16_units())


def learns_in_bfloat16(config: TrainConfig, device: torch.device) -> bool:
    """Whether a training makes the products of its linear layers in bfloat16 on this device."""
    return config.precision == "bfloat16" or (config.precision == "auto" and is_fast_in_bfloat16(device))


@contextmanager
def seeded_dropout(device: torch.device, seed: int) -> Iterator[None]:
    """Until the end of the block, dropout on this device draws from a stream of this seed.

    Dropout draws from PyTorch's global stream of its device. That stream is left as it was found, and those of other
    devices are not touched.
    """
    generator = _global_generator(device)
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)


def _global_generator(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        torch.cuda.init()  # before which there are no generators
        number = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[number]
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()
    return torch.default_generator
