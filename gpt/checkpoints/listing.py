"""Which checkpoints lie in a folder and what is in them, known without loading any."""

from __future__ import annotations

import re
from pathlib import Path

_SNAPSHOT = re.compile(r"snapshot-(\d{6})\.safetensors")


def list_checkpoints(parent: str | Path) -> list[str]:
    """Names of the checkpoint folders directly below a folder, sorted."""
    return sorted(path.parent.name for path in Path(parent).glob("*/config.json") if path.parent.name[0] != ".")


def snapshot_steps(folder: str | Path) -> tuple[int, ...]:
    """The steps after which a checkpoint folder has the weights, apart from those of its model; ascending."""
    found = (_SNAPSHOT.fullmatch(path.name) for path in Path(folder).iterdir())
    return tuple(sorted(int(match[1]) for match in found if match))


def snapshot_name(step: int) -> str:
    """The file of a snapshot in its checkpoint folder."""
    return f"snapshot-{step:06}.safetensors"
