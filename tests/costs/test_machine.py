"""What the machine says about itself."""

from __future__ import annotations

import pytest
import torch

from gpt.costs import machine
from gpt.costs.machine import bfloat16_units, installed, instructions_text, machine_text
from gpt.training.devices import is_fast_in_bfloat16


def test_the_machine_is_named(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    text = machine_text()
    for part in (
        "CPU ",
        " cores",
        f"PyTorch with {torch.get_num_threads()} thread",
        f"computes  with {torch.backends.cpu.get_cpu_capability()}, ",
        "limited by",
        "ONEDNN_MAX_CPU_ISA=AVX2",
        "Python 3.",
        f"torch {torch.__version__}",
    ):
        assert part in text
    assert installed("no-such-package-of-ours") == "missing"


@pytest.mark.parametrize(("load", "is_said"), [(0.1, False), (1.84, True)])
def test_a_machine_that_others_use_is_said_to_be_busy(monkeypatch, load, is_said):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert ("BUSY      with other programs, a load of 1.8" in machine_text()) == is_said


@pytest.mark.parametrize(
    ("capability", "has_amx", "units", "said"),
    [
        ("AVX512", True, ["AMX", "AVX512_BF16"], "AVX512, bfloat16 by AMX and AVX512_BF16"),
        ("AVX512", False, ["AVX512_BF16"], "AVX512, bfloat16 by AVX512_BF16"),
        ("AVX2", True, [], "AVX2, no bfloat16 units in use"),
    ],
)
def test_a_pytorch_told_to_do_without_avx512_has_no_units_for_bfloat16(monkeypatch, capability, has_amx, units, said):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert bfloat16_units() == units
    assert instructions_text() == said
    assert is_fast_in_bfloat16(torch.device("cpu")) == bool(units)


def test_a_pytorch_that_cannot_be_asked_has_none(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(machine, "_BFLOAT16_UNITS", {"AMX": "_no_such_question"})
    assert bfloat16_units() == []
