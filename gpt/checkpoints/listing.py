"""Which checkpoints lie in a folder and what is in them, known without loading any."""

from __future__ import annotations

from pathlib import Path

from gpt.checkpoints.saves import find_save

TRAINED_MODELS = Path(__file__).parents[2] / "trained_models"  # the checkpoints that ship


def list_checkpoints(parent: str | Path) -> list[str]:
    """Names of the checkpoint folders directly below a folder, sorted."""
    return sorted(path.name for path in Path(parent).glob("*") if path.name[0] != "." and holds_checkpoint(path))


def holds_checkpoint(folder: str | Path) -> bool:
    """Whether something was saved in a folder; it may be damaged."""
    return "config.json" in find_save(Path(folder)).places


def snapshot_steps(folder: str | Path) -> tuple[int, ...]:
    """The steps after which a checkpoint folder has the weights, apart from those of its model; ascending."""
    return find_save(Path(folder)).snapshot_steps
