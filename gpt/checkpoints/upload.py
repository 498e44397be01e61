"""Checkpoints from strangers: a zip file, checked before anything of it is unpacked."""

from __future__ import annotations

import io
import re
import stat
import zipfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from gpt.checkpoints.folder import Checkpoint, CheckpointError, load_checkpoint

_LARGEST_FILES = {
    "config.json": 100_000,
    "tokenizer.json": 4_000_000,
    "model.safetensors": 64_000_000,
    "history.jsonl": 8_000_000,
    "README.md": 100_000,
}
_NEEDED = ("config.json", "tokenizer.json", "model.safetensors")
_IGNORED = re.compile(r"snapshot-\d{6}\.safetensors")  # parts of a checkpoint that are left where they are
_MOST_ENTRIES = 50


def load_checkpoint_zip(content: bytes, *, largest: int = 64_000_000) -> Checkpoint:
    """Load a checkpoint folder that was zipped, as "Prepare files to take home" gives it.

    The archive must hold one checkpoint's files, by themselves or in one folder. Sizes, names and kinds of all entries
    are read from its directory first; only files a checkpoint has are unpacked, under a limit each, into a folder that
    is gone afterwards.

    Args:
        content: the zip file's bytes.
        largest: how many bytes it may have.

    Raises:
        CheckpointError: it is not a zip file, holds anything else, or the checkpoint in it is not sound.
    """
    if len(content) > largest:
        raise CheckpointError(f"the file has {len(content):,} bytes; at most {largest:,} are taken")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = _checked_entries(archive)
            with TemporaryDirectory(prefix="gpt-lab-upload-") as folder:
                for name, entry in entries.items():
                    (Path(folder) / name).write_bytes(_unpacked(archive, entry, _LARGEST_FILES[name]))
                return load_checkpoint(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        # What zipfile raises for damaged, encrypted or exotic archives.
        raise CheckpointError(f"the file is not a zip file that can be read ({type(error).__name__})") from None


def _checked_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by their name in a checkpoint; raises CheckpointError for anything else in it."""
    infos = archive.infolist()
    if len(infos) > _MOST_ENTRIES:
        raise CheckpointError(
            f"the zip file has {len(infos):,} entries; a checkpoint has at most {len(_LARGEST_FILES)}"
        )
    entries: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in infos:
        if info.is_dir():
            continue
        path = PurePosixPath(info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise CheckpointError("the zip file holds a link or a device; only plain files are taken")
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or len(path.parts) > 2:
            raise CheckpointError("the zip file holds a path that leads elsewhere; zip the checkpoint folder itself")
        if _IGNORED.fullmatch(path.name):
            continue
        if path.name not in _LARGEST_FILES:
            allowed = ", ".join(_LARGEST_FILES)
            raise CheckpointError(f"the zip file holds a file that no checkpoint has; only {allowed} are taken")
        if path.name in entries:
            raise CheckpointError("the zip file holds more than one checkpoint; zip one folder by itself")
        if info.file_size > _LARGEST_FILES[path.name]:
            raise CheckpointError(
                f"{path.name} would have {info.file_size:,} bytes; at most {_LARGEST_FILES[path.name]:,} are taken"
            )
        folders.add(path.parent)
        entries[path.name] = info
    missing = [name for name in _NEEDED if name not in entries]
    if missing:
        raise CheckpointError(f"the zip file lacks {missing[0]}; zip a whole checkpoint folder")
    if len(folders) > 1:
        raise CheckpointError("the zip file holds more than one folder; zip one checkpoint folder by itself")
    return entries


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, largest: int) -> bytes:
    """An entry's bytes; what its directory says of the size is not trusted."""
    with archive.open(entry) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise CheckpointError(f"{PurePosixPath(entry.filename).name} is larger than the zip file says")
    return content
