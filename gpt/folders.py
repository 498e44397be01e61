"""Which checkpoints lie in a folder, known without loading any."""

from __future__ import annotations

from pathlib import Path


def list_checkpoints(parent: str | Path) -> list[str]:
    """Names of the checkpoint folders directly below a folder, sorted."""
    return sorted(path.parent.name for path in Path(parent).glob("*/config.json") if path.parent.name[0] != ".")
