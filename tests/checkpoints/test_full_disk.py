"""A disk that takes no more: what was saved before stays as it was, and one sentence says what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpt import load_checkpoint

PROJECT = Path(__file__).parents[2]
TEXT = "the quick brown fox jumps over the lazy dog and runs away. " * 40
SMALL = ["--num-layers", "1", "--num-heads", "2", "--embed-size", "32", "--context-length", "16", "--batch-size", "2"]


def train(folder: Path, steps: int, *, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """Train, or train on, in a process that may write no larger files than this."""
    text = folder / "text.txt"
    text.write_text(TEXT)
    command = ["-m", "gpt", "train", "--corpus", str(text), "--out", str(folder / "model"), "--steps", str(steps)]
    limit = ""
    if largest_file is not None:
        limit = (
            "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file})); "
        )
    arguments = ["gpt", *command[2:], *SMALL]
    program = f"{limit}import runpy, sys; sys.argv = {arguments!r}; runpy.run_module('gpt', run_name='__main__')"
    return subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_leaves_the_old_checkpoint_and_a_sentence(tmp_path: Path) -> None:
    assert train(tmp_path, 4).returncode == 0
    model = tmp_path / "model"
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    failed = train(tmp_path, 8, largest_file=max(map(len, before.values())) // 2)
    assert failed.returncode != 0
    assert "Traceback" not in failed.stderr
    last = failed.stderr.strip().splitlines()[-1]  # after the bar of progress
    assert "model: file too large; this save was given up, and what was saved before is whole" in last
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert load_checkpoint(model).history[-1].step == 4
    assert train(tmp_path, 8).returncode == 0  # with room again, it goes on
    assert load_checkpoint(model).history[-1].step == 8
