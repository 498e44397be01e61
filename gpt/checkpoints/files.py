"""Reading the files of a model's folder as a stranger's: checked before use, and never run.

How large they may be is for those to say who take them from strangers; one's own are read however large.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_JSON = 20_000_000  # bytes
_LARGEST_HEADER = 100_000_000  # bytes, as the format has it


class CheckpointError(ValueError):
    """A folder is not a checkpoint, or not a sound one; the message says what is wrong with which file.

    Messages quote what a stranger wrote, so they become one line that can be shown, the middle of a long one left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.encode("utf-8", "replace").decode("utf-8").split())
        super().__init__(line if len(line) <= 500 else f"{line[:300]} ... {line[-150:]}")


def read_bytes(path: Path, largest: int | None = None) -> bytes:
    """A file's bytes, read at once (a mapped file that shrinks would end the process).

    Raises:
        CheckpointError: the file cannot be read, or is larger than `largest` bytes where that is given.
    """
    try:
        _check_size(path, largest)
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def read_json(path: Path, largest: int | None = _LARGEST_JSON) -> Any:
    """What a JSON file holds; raises CheckpointError if it cannot be read, is too large, or is not JSON."""
    content = read_bytes(path, largest)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path.name} is not JSON; the file is damaged") from None


def list_tensors(path: Path, largest: int | None = None) -> dict[str, tuple[str, list[int]]]:
    """What a safetensors file says it holds: name -> (dtype, shape), such as ("F32", [65, 128]).

    Only the beginning of the file is read, so a file that does not fit costs neither time nor memory.

    Raises:
        CheckpointError: as `read_bytes`, or the file does not begin as a safetensors file does.
    """
    try:
        _check_size(path, largest)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            start = file.read(min(length, _LARGEST_HEADER))
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        header = json.loads(start)
        listed = {name: header[name] for name in header if name != "__metadata__"}
        return {name: (entry["dtype"], entry["shape"]) for name, entry in listed.items()}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CheckpointError(f"{path.name} is damaged; it does not begin as a safetensors file does") from None


def check_tensors(
    name: str, found: Mapping[str, tuple[str, list[int]]], expected: Mapping[str, tuple[Sequence[str], Sequence[int]]]
) -> None:
    """Raise CheckpointError unless a file's tensors are those that config.json asks for, by name, shape and type.

    Args:
        name: of the file, for the message.
        found: as `list_tensors` gives it.
        expected: name -> (the types allowed, as safetensors writes them; shape).
    """
    different = sorted(found.keys() ^ expected.keys())
    if different:
        raise CheckpointError(f"{name} does not fit config.json: one has the tensor {different[0]!r} and one has not")
    for tensor, (dtypes, shape) in expected.items():
        dtype, found_shape = found[tensor]
        if dtype not in dtypes or found_shape != list(shape):
            asked = f"{' or '.join(dtypes)} {list(shape)}"
            raise CheckpointError(f"{name}: {tensor} is {dtype} {found_shape}, and config.json asks for {asked}")


def read_tensors(path: Path, largest: int | None = None, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Tensors of a safetensors file: all, or those of these names, which have to be in it.

    Raises:
        CheckpointError: as `read_bytes`, or the file is damaged, or a value in a tensor is not a finite number.
    """
    import torch  # takes long, and what lies in a folder is known without it
    from safetensors.torch import load

    try:
        tensors = load(read_bytes(path, largest))
    except SafetensorError:
        raise CheckpointError(f"{path.name} is damaged; its tensors cannot be read") from None
    if names is not None:
        tensors = {name: tensors[name] for name in names}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path.name} holds values in {name} that are not finite numbers")
    return tensors


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a model's weights, by name and as float32, whatever file they came from."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(name.encode() + weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _check_size(path: Path, largest: int | None) -> None:
    size = path.stat().st_size
    if largest is not None and size > largest:
        raise CheckpointError(f"{path.name} has {size:,} bytes; at most {largest:,} are read")


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read ({error.strerror}); is this a checkpoint folder?")
