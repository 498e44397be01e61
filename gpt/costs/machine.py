"""What the numbers were measured on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from gpt.costs.cores import usable_cores

PACKAGES = ("torch", "gradio", "transformers")


def machine_text() -> str:
    """The processor, the threads, and the versions of what takes part, in two lines."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {installed(name)}" for name in PACKAGES)]
    return (
        f"CPU       {processor()} ({torch.backends.cpu.get_cpu_capability()}), {usable_cores()} cores, "
        f"PyTorch with {threads_text()}\n"
        f"versions  {', '.join(versions)}"
    )


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
