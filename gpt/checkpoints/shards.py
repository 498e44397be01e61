"""The weights in a folder as other tools write them: in one safetensors file, or in several (shards) and an index.

model.safetensors                   everything; if it is there, nothing else is looked at
model.safetensors.index.json        {"weight_map": {tensor: shard}}, where the weights are split
model-00001-of-00002.safetensors    a shard, beside its index
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gpt.checkpoints.files import CheckpointError, list_tensors, read_json, read_tensors

_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")  # endings of files that PyTorch writes with pickle


@dataclass(frozen=True)
class SavedWeights:
    """What a folder's weights are, known from the beginnings of their files.

    Attributes:
        name: of the file that lists them, for messages.
        listed: name of a tensor -> (dtype, shape), as `list_tensors` gives them.
        files: name of a tensor -> the file it lies in.
        largest: how many bytes may be read.
    """

    name: str
    listed: Mapping[str, tuple[str, list[int]]]
    files: Mapping[str, Path]
    largest: int

    def read(self, names: Collection[str]) -> dict[str, Tensor]:
        """The tensors of these names, a file at a time.

        Raises:
            CheckpointError: as `read_tensors`.
        """
        tensors: dict[str, Tensor] = {}
        for file in sorted({self.files[name] for name in names}):
            tensors |= read_tensors(file, self.largest, [name for name in names if self.files[name] == file])
        return tensors


def find_weights(folder: Path, largest: int) -> SavedWeights:
    """Look up the weights in a folder; none are read.

    Args:
        folder: of the model.
        largest: how many bytes the weights may take, all shards together.

    Raises:
        CheckpointError: there are none, they are a pickle, a shard is missing or lies elsewhere, a file is too large or
            damaged.
    """
    if (folder / _WHOLE).is_file():
        listed = list_tensors(folder / _WHOLE, largest)
        return SavedWeights(_WHOLE, listed, dict.fromkeys(listed, folder / _WHOLE), largest)
    if (folder / _INDEX).is_file():
        return _find_shards(folder, largest)
    raise CheckpointError(_what_lies_there_instead(folder))


def _find_shards(folder: Path, largest: int) -> SavedWeights:
    shard_of = _read_index(folder / _INDEX)
    shards = sorted(set(shard_of.values()))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise CheckpointError(
            f"{missing[0]} is missing in {folder}, one of the {len(shards):,} files over which the weights are split; "
            f"copy or fetch all of them"
        )
    size = sum((folder / shard).stat().st_size for shard in shards)
    if size > largest:
        raise CheckpointError(f"the weights in {folder} have {size:,} bytes together; at most {largest:,} are read")
    found = {shard: list_tensors(folder / shard, largest) for shard in shards}
    for name, shard in shard_of.items():
        if name not in found[shard]:
            raise CheckpointError(
                f"{shard} lacks the tensor {name!r} that {_INDEX} says it has; take all from one model"
            )
    listed = {name: found[shard][name] for name, shard in shard_of.items()}
    return SavedWeights(_INDEX, listed, {name: folder / shard for name, shard in shard_of.items()}, largest)


def _read_index(path: Path) -> dict[str, str]:
    """Which tensor lies in which file beside an index."""
    index = read_json(path)
    shard_of = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shard_of, dict) or not shard_of:
        raise CheckpointError(f"{path.name} has no weight_map, the names of tensors and of their files; it is damaged")
    for shard in shard_of.values():
        is_beside = isinstance(shard, str) and not any(sign in shard for sign in "/\\:\0")
        if not is_beside or not shard.endswith(".safetensors"):
            raise CheckpointError(
                f"{path.name} names {repr(shard)[:60]} as a file of weights; only .safetensors files beside it are read"
            )
    return shard_of


def _what_lies_there_instead(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    pickles = [name for name in names if name.endswith(_PICKLES)]
    others = [name for name in names if name.endswith(".safetensors")]
    if any("-of-" in name for name in others):
        return f"{_INDEX} is missing in {folder}, which says where the weights are that are split; copy or fetch it too"
    if others:
        return f"there is no {_WHOLE} in {folder}; if {others[0]} has the weights, give it that name"
    convert = f"GPT2LMHeadModel.from_pretrained(folder).save_pretrained(new_folder) in transformers writes {_WHOLE}"
    if pickles:
        pickle = next((name for name in pickles if name.startswith("pytorch_model")), pickles[0])
        return (
            f"the weights in {folder} are a pickle ({pickle}), which could run code and is never loaded; "
            f"if you trust its maker, convert it: {convert}"
        )
    return f"there is no {_WHOLE} in {folder}; {convert}"
