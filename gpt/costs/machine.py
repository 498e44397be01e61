"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from gpt.costs.cores import usable_cores

PACKAGES = ("torch", "gradio", "transformers")

# With these a processor is made to compute as an older one would: PyTorch itself, and the two libraries it multiplies
# matrices with.
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")

# Units that multiply in bfloat16, and how PyTorch is asked for them. It keeps these to itself, so they may go.
_BFLOAT16_UNITS = {"AMX": "_is_amx_tile_supported", "AVX512_BF16": "_is_avx512_bf16_supported"}


def machine_text() -> str:
    """The processor, its instructions, the threads, and the versions of what takes part, in a few lines."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {installed(name)}" for name in PACKAGES)]
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    return (
        f"CPU       {processor()}, {usable_cores()} cores, PyTorch with {threads_text()}\n"
        f"computes  with {instructions_text()}{', limited by ' if limits else ''}{' '.join(limits)}\n"
        f"versions  {', '.join(versions)}" + (f"\nBUSY      {busy}" if (busy := _busy_text()) else "")
    )


def _busy_text() -> str:
    """That other programs compute as well, where they do: threads that wait for each other then wait for them, too."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # of the last minute; Windows does not tell
    if load < 0.5:
        return ""
    return f"with other programs, a load of {load:.1f} in the last minute: times on several threads say little"


def instructions_text() -> str:
    """The instruction set that PyTorch uses, and whether there are units that multiply in bfloat16, in words."""
    units = bfloat16_units()
    return f"{torch.backends.cpu.get_cpu_capability()}, " + (
        f"bfloat16 by {' and '.join(units)}" if units else "no bfloat16 units in use"
    )


def bfloat16_units() -> list[str]:
    """The processor's units for products in bfloat16 that PyTorch may use: AMX, AVX512_BF16, both or none.

    Both need AVX-512. A PyTorch that was told to do without it (ATEN_CPU_CAPABILITY=avx2) is taken at its word.
    """
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX", "AVX2"):
        return []
    return [unit for unit, name in _BFLOAT16_UNITS.items() if getattr(torch.cpu, name, lambda: False)()]


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def threads_text() -> str:
    """With how many threads PyTorch computes now, in words."""
    number = torch.get_num_threads()
    return f"{number} thread" + ("s" if number > 1 else "")


def installed(package: str) -> str:
    """The version of an installed package, or "missing"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
