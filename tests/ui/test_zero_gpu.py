"""A Space with ZeroGPU: the function it asks for is registered there, before PyTorch is loaded, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpt.ui.zero_gpu import name_of_gpu, register_with_zero_gpu

ROOT = Path(__file__).resolve().parents[2]

# What the package does: it remembers what is decorated, and says so when the page is launched.
SPACES = """
import sys
assert "torch" not in sys.modules, "PyTorch was loaded before"
decorated = []
def GPU(task=None, duration=None):
    if task is None:
        return lambda task: GPU(task, duration)
    decorated.append((task.__name__, duration))
    return task
"""

# Runs the program up to where the page would be shown.
PROGRAM = """
import sys
from gpt.ui import program
program.create_demo = lambda **options: "page"
program.launch = lambda page, **options: print("shown", getattr(sys.modules.get("spaces"), "decorated", None))
program.main([])
"""


def shown(folder: Path, monkeypatch: pytest.MonkeyPatch, flag: str | None) -> str:
    """What is decorated when the page is shown, in a process whose `spaces` lies in a folder."""
    monkeypatch.setenv("PYTHONPATH", f"{folder}")
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    if flag is not None:
        monkeypatch.setenv("SPACES_ZERO_GPU", flag)
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_one_function_is_registered_before_the_page_is_shown(tmp_path, monkeypatch):
    (tmp_path / "spaces.py").write_text(SPACES)
    assert shown(tmp_path, monkeypatch, "true") == "shown [('name_of_gpu', 10)]"


def test_without_the_package_nothing_changes(tmp_path, monkeypatch):
    (tmp_path / "spaces.py").write_text("raise ImportError")
    assert shown(tmp_path, monkeypatch, "true") == "shown None"


@pytest.mark.parametrize("flag", [None, "", "false"])
def test_elsewhere_the_package_is_left_alone(flag, monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    if flag is not None:
        monkeypatch.setenv("SPACES_ZERO_GPU", flag)
    monkeypatch.setitem(sys.modules, "spaces", None)  # importing it would fail
    assert register_with_zero_gpu() is None


def test_the_function_works_without_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert name_of_gpu() == "none"
