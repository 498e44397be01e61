"""The files of a checkpoint folder, changed all at once though the folder stays: it may be a mount point, a link, or
hold files of its user's.

    <folder>/.saving/              the files of a save, on their way
    <folder>/.saving/files.json    their names, and one for the save; written last, at once: from then on it counts

Then the files move to their places one by one. Where the power is cut before files.json is there, nothing has happened;
where it is cut later, the next writer moves what is left. Readers move nothing: while files.json is there, they take
what is still in `.saving` from there. A reader looks up where the files are, reads them, and looks again: if any is
another one by now, or lies elsewhere, it has met a writer, and reads again.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gpt.checkpoints.files import CheckpointError, read_json
from gpt.data.tokenizer import OLD_VOCABULARY_FILE, VOCABULARY_FILE
from gpt.folders import flush_folder, is_vacant, move, remove, write_to_disk, writer_of

FORMAT = "gpt-lab-1"  # what config.json calls it

PARTS = "training.sharded"  # the folder of a training that is saved in parts, see `training_folder`

_NAMES = ("config.json", VOCABULARY_FILE, "model.safetensors", "history.jsonl", "README.md", "training.safetensors")
_SNAPSHOT = re.compile(r"snapshot-(\d{6}|[1-9]\d{6,18})\.safetensors")
_SAVING = ".saving"
_RECORD = "files.json"
_PATIENCE = 10.0  # seconds; a writer that changes the folder all the time must not keep a reader for ever

Read = TypeVar("Read")
_Identity = tuple[int, int, int]  # of a file's content, wherever the file is moved: inode, time of change, size


@dataclass(frozen=True)
class Save:
    """The files of the last save in a folder, where they lie at a moment.

    Attributes:
        folder: the checkpoint folder.
        places: the path of each file by its name.
        identities: what changes where a file is replaced, by its name.
    """

    folder: Path
    places: Mapping[str, Path]
    identities: Mapping[str, _Identity]

    def path(self, name: str) -> Path:
        """Where a file is to be read; where it belongs if there is none."""
        return self.places.get(name, self.folder / name)

    @property
    def vocabulary(self) -> Path:
        """Where the vocabulary is to be read, which an earlier version called by another name."""
        is_old = VOCABULARY_FILE not in self.places and OLD_VOCABULARY_FILE in self.places
        return self.path(OLD_VOCABULARY_FILE if is_old else VOCABULARY_FILE)

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """The steps of which it has snapshots, ascending."""
        found = (_SNAPSHOT.fullmatch(name) for name in self.places)
        return tuple(sorted(int(match[1]) for match in found if match))


def snapshot_name(step: int) -> str:
    """The file of a snapshot in its checkpoint folder."""
    return f"snapshot-{step:06}.safetensors"


def _is_ours_by_name(name: object) -> bool:
    names = (*_NAMES, OLD_VOCABULARY_FILE)
    return isinstance(name, str) and (name in names or _SNAPSHOT.fullmatch(name) is not None)


# --- Reading --------------------------------------------------------------------------------------------------------


def find_save(folder: Path) -> Save:
    """The last whole save in a folder, nothing of it read; without files if there is none."""
    saving = folder / _SAVING
    while True:
        record = _record(saving)
        recorded = _recorded_names(record)
        places: dict[str, Path] = {}
        identities: dict[str, _Identity] = {}
        for name in recorded or _file_names(folder):
            for place in (saving / name, folder / name) if recorded else (folder / name,):
                try:
                    status = place.stat()
                except OSError:
                    continue
                places[name] = place
                identities[name] = (status.st_ino, status.st_mtime_ns, status.st_size)
                break
        if _record(saving) == record:  # else `.saving` was that of one save first, and then of another or of none
            return Save(folder, places, identities)


def read_save(folder: Path, read: Callable[[Save], Read]) -> Read:
    """What a function reads of the last save in a folder, whose files all belong together.

    Args:
        folder: the checkpoint folder.
        read: is called again where the files were changed meanwhile.

    Raises:
        CheckpointError: as `read` has it, or the folder is changed all the time.
    """
    give_up = time.monotonic() + _PATIENCE
    while True:
        save = find_save(folder)
        try:
            result = read(save)
            if find_save(folder) == save:
                return result
        except (CheckpointError, OSError):  # of a file that was moved away, or of one that is damaged
            if find_save(folder) == save:
                raise
        if time.monotonic() > give_up:
            raise CheckpointError(f"{folder} is being written again and again; try again when its writer has finished")
        time.sleep(0.001)  # its writer, another process, tells nobody when it has finished


def _record(saving: Path) -> bytes:
    """What files.json says; empty if there is no save on its way."""
    try:
        return (saving / _RECORD).read_bytes()
    except OSError:
        return b""


def _recorded_names(record: bytes) -> list[str]:
    """The names of the files of a save on its way."""
    try:
        return [name for name in json.loads(record)["files"] if _is_ours_by_name(name)]
    except (ValueError, TypeError, KeyError):
        return []


def _file_names(folder: Path) -> list[str]:
    """The names of a save's files in their places; beside a vocabulary, what has its old name is somebody else's."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _is_ours_by_name(entry.name) and entry.is_file()]
    except OSError:
        return []
    return [name for name in names if name != OLD_VOCABULARY_FILE or VOCABULARY_FILE not in names]


# --- Writing --------------------------------------------------------------------------------------------------------


@contextmanager
def checkpoint_writer(folder: Path) -> Iterator[None]:
    """Be the one writer of a checkpoint folder until the end of the block, and finish what another has left undone.

    Raises:
        CheckpointError: something that is not a checkpoint lies in the folder's place.
        FolderInUse, OSError: as `writer_of`.
    """
    if not is_vacant(folder, left=(PARTS,)) and not _is_ours(folder):
        raise CheckpointError(f"{folder} exists and is not a checkpoint; choose another folder, or empty this one")
    with writer_of(folder):
        _finish(folder)
        _check_places(folder, _NAMES)
        yield


def write_save(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a checkpoint folder, in place of those that are there; other files stay as they are.

    Only the folder's writer may do this.

    Raises:
        OSError: the disk is full or the place cannot be written. The last save is whole: as a rule the one before, and
            this one if all of it was written and a file could not be moved to its place, for the next writer to do.
    """
    saving = folder / _SAVING
    _finish(folder)
    _check_places(folder, files)  # before the save counts, as it could not be finished then
    try:
        os.mkdir(saving)
        for name, content in files.items():
            write_to_disk(saving / name, content)
        record = {"save": secrets.token_hex(8), "files": list(files)}  # so that no two records are the same
        write_to_disk(saving / f"{_RECORD}.new", json.dumps(record).encode("utf-8"))
        flush_folder(saving)
        flush_folder(folder)
        move(saving / f"{_RECORD}.new", saving / _RECORD)
    except BaseException as error:
        if not (saving / _RECORD).is_file():
            shutil.rmtree(saving, ignore_errors=True)
        if isinstance(error, OSError):
            reason = f"{error.strerror}; this save was given up, and what was saved before is whole"
            raise OSError(error.errno, reason, str(folder)) from None
        raise
    _finish(folder)


def _check_places(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).is_dir():
            raise OSError(errno.EISDIR, "is a folder where a file is to be saved; rename it", str(folder / name))


def _finish(folder: Path) -> None:
    """Move the files of a whole save to their places, and clear away what is left of one."""
    saving = folder / _SAVING
    names = _recorded_names(_record(saving))
    if not names and (saving / _RECORD).exists():
        (saving / _RECORD).read_bytes()  # raises what keeps it from being read: it stands for a whole save
    if names:
        flush_folder(saving)
        outdated = set(_file_names(folder)) - set(names)
        for name in names:
            if (saving / name).is_file():
                move(saving / name, folder / name)
        for name in outdated:
            remove(folder / name)
        flush_folder(folder)
        remove(saving / _RECORD)
    shutil.rmtree(saving, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether a folder's config.json is that of a checkpoint; one that is too damaged to say may be anybody's."""
    try:
        description = read_save(folder, lambda save: read_json(save.path("config.json")) if save.places else None)
    except CheckpointError:
        return False
    return isinstance(description, dict) and description.get("format") == FORMAT
