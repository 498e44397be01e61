"""Which checkpoints lie in a folder and what is in them, known without loading any."""

from __future__ import annotations

from pathlib import Path

from gpt.checkpoints.files import CheckpointError
from gpt.checkpoints.saves import find_save

_SHIPPED = "shipped"


def _find_trained_models() -> Path:
    package = Path(__file__).parents[1]
    installed = package / "trained_models"  # where a wheel has them; a clone has them beside the package
    return installed if installed.is_dir() else package.parent / "trained_models"


TRAINED_MODELS = _find_trained_models()  # the checkpoints that ship


def place_of(name_or_path: str | Path) -> Path:
    """Where a checkpoint lies: "shipped/gpt2" is the one of that name in `TRAINED_MODELS`, all else is a path.

    Raises:
        CheckpointError: no model of that name ships.
    """
    path = Path(name_or_path)
    if len(path.parts) != 2 or path.parts[0] != _SHIPPED or path.exists():
        return path
    names = list_checkpoints(TRAINED_MODELS)
    if path.name not in names:
        there_are = f"choose from {', '.join(names)}" if names else f"there are none in {TRAINED_MODELS}"
        raise CheckpointError(f"no model {path.name!r} ships; {there_are}")
    return TRAINED_MODELS / path.name


def list_checkpoints(parent: str | Path) -> list[str]:
    """Names of the checkpoint folders directly below a folder, sorted."""
    return sorted(path.name for path in Path(parent).glob("*") if path.name[0] != "." and holds_checkpoint(path))


def holds_checkpoint(folder: str | Path) -> bool:
    """Whether something was saved in a folder; it may be damaged."""
    return "config.json" in find_save(Path(folder)).places


def snapshot_steps(folder: str | Path) -> tuple[int, ...]:
    """The steps after which a checkpoint folder has the weights, apart from those of its model; ascending."""
    return find_save(Path(folder)).snapshot_steps
