"""Checkpoints from strangers: a zip file, checked before anything of it is unpacked.

People zip a folder with what their system offers, so it comes at any depth, beside what macOS and Windows add of their
own, with backslashes between names, and with the notes they keep in it. All names are checked. Of one folder, the files
that make a model are unpacked, and the rest stays in the zip file, unread.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from gpt.checkpoints.files import CheckpointError, read_json
from gpt.checkpoints.folder import Checkpoint, load_checkpoint, load_model
from gpt.checkpoints.listing import place_of
from gpt.data.tokenizer import OLD_VOCABULARY_FILE, VOCABULARY_FILE, Tokenizer
from gpt.model.gpt2 import GPT2

_LARGEST_FILES = {
    "config.json": 100_000,
    VOCABULARY_FILE: 4_000_000,
    OLD_VOCABULARY_FILE: 4_000_000,
    "model.safetensors": 64_000_000,
    "history.jsonl": 8_000_000,
}
_NEEDED = ("config.json", VOCABULARY_FILE, "model.safetensors")
_LARGEST_ZIP = 64_000_000
_MOST_ENTRIES = 1000
_MOST_LAYERS = 1000
_DIRECTORY_ENTRY = b"PK\x01\x02"  # begins each entry of a zip file's directory
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile inflates the others without a limit

# Names of files that stay in the zip file, whatever they hold.
_LEFT_ALONE = re.compile(
    r"""
    training\.safetensors | shard-\d+-.*\.safetensors  # needed to go on with the training
    | snapshot-\d+\.safetensors  # needed to look back
    | .+ \. (md | txt | log | csv | tsv | json | jsonl | png | jpe?g | svg | pdf | lock)  # notes and pictures
    | \._ .* | \.ds_store | \.localized | icon\r  # macOS
    | thumbs\.db | ehthumbs\.db | desktop\.ini  # Windows
    | \.directory | \.git(attributes|ignore|keep)
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def load_checkpoint_zip(content: bytes, *, largest: int = _LARGEST_ZIP) -> Checkpoint:
    """Load a checkpoint folder that was zipped: by hand, or as "Prepare files to take home" gives it.

    The archive must hold one checkpoint, at any depth. What lies beside its files is left alone if it is a part of a
    checkpoint that is not needed here (such as training.safetensors), a note, a picture, or something that macOS or
    Windows adds; anything else is refused, above all what could be code. Sizes, names and kinds of all entries are read
    from the archive's directory first; then the checkpoint's files are unpacked, under a limit each, into a folder that
    is gone afterwards.

    Args:
        content: the zip file's bytes.
        largest: how many bytes it may have.

    Raises:
        CheckpointError: it is not a zip file, holds anything else, or the checkpoint in it is not sound.
    """
    if len(content) > largest:
        raise CheckpointError(
            f"the file has {len(content):,} bytes; at most {largest:,} are taken; "
            f"of a checkpoint only {', '.join(_NEEDED)} are needed, so leave the other files out of the zip file"
        )
    count = content.count(_DIRECTORY_ENTRY)  # before the directory takes memory
    if count > _MOST_ENTRIES:
        raise CheckpointError(f"the zip file has {count:,} entries; at most {_MOST_ENTRIES:,} are taken")
    with TemporaryDirectory(prefix="gpt-lab-upload-") as place:
        folder = Path(place)
        with _one_sentence(), zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name, entry in _entries_to_read(archive).items():
                _write(folder / name, _unpacked(archive, name, entry))
        try:
            _check_layers(folder / "config.json")
            return load_checkpoint(folder)
        except CheckpointError as error:  # without the name of a place that nobody knows
            message = str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), "the zip file")
            raise CheckpointError(message) from None


def open_model(place: str | Path) -> tuple[GPT2, Tokenizer]:
    """The model and the tokenizer of a checkpoint: a folder, the zip file of one, or one that ships, as shipped/gpt2.

    Raises:
        CheckpointError: it is none of these, or not sound.
    """
    place = place_of(place)
    if not _is_zip(place):
        return load_model(place)
    checkpoint = open_checkpoint(place)
    return checkpoint.model, checkpoint.tokenizer


def open_checkpoint(place: str | Path) -> Checkpoint:
    """A checkpoint with all that was saved beside the model: a folder, the zip file of one, or one that ships.

    Raises:
        CheckpointError: it is none of these, or not sound.
    """
    place = place_of(place)
    if not _is_zip(place):
        return load_checkpoint(place)
    with open(place, "rb") as file:
        return load_checkpoint_zip(file.read(_LARGEST_ZIP + 1))


def _is_zip(place: Path) -> bool:
    return place.suffix.lower() == ".zip" and place.is_file()


@contextmanager
def _one_sentence() -> Iterator[None]:
    """What `zipfile` raises for archives that are damaged or exotic, said as a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError):
        raise CheckpointError(
            "the file is not a zip file that can be read; it may be damaged: zip the checkpoint folder again"
        ) from None


def _entries_to_read(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries of the checkpoint in an archive by their file names; raises CheckpointError if it is not one."""
    found: dict[PurePosixPath, dict[str, zipfile.ZipInfo]] = {}  # by folder
    for info in archive.infolist():
        path, is_folder = _checked_path(info)
        if is_folder:
            continue
        if path.name in _LARGEST_FILES:
            beside = found.setdefault(path.parent, {})
            if path.name in beside:
                raise CheckpointError(f"the zip file holds more than one checkpoint: {path.name} is in it twice")
            beside[path.name] = info
        elif not _LEFT_ALONE.fullmatch(path.name):
            raise CheckpointError(
                f"the zip file holds a file that no checkpoint has, {repr(path.name)[:60]}; zip the checkpoint folder "
                f"by itself, without code, archives and other models"
            )
    folders = [folder for folder, files in found.items() if not files.keys().isdisjoint(_NEEDED)]
    folders = [folder for folder in folders if not _is_aside(folder)] or folders
    if len(folders) > 1:
        named = ", ".join(repr(str(folder))[:40] for folder in sorted(folders)[:3])
        raise CheckpointError(
            f"the zip file holds more than one checkpoint, in {named}{', ...' if len(folders) > 3 else ''}; "
            f"unzip it, and zip one folder by itself"
        )
    entries = found[folders[0]] if folders else {}
    if VOCABULARY_FILE in entries:
        entries.pop(OLD_VOCABULARY_FILE, None)  # not ours
    for name in _NEEDED:
        if name not in entries and not (name == VOCABULARY_FILE and OLD_VOCABULARY_FILE in entries):
            raise CheckpointError(f"the zip file lacks {name}; zip a whole checkpoint folder")
    for name, info in entries.items():
        _check_entry(name, info)
    return entries


def _checked_path(info: zipfile.ZipInfo) -> tuple[PurePosixPath, bool]:
    """An entry's path in the archive, and whether it is a folder; raises CheckpointError for what no folder holds."""
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the system that wrote it has no such kinds
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise CheckpointError("the zip file holds a link or a device; only plain files are taken")
    written = info.filename.replace("\\", "/")  # as Windows separates names
    path, is_folder = PurePosixPath(written), written.endswith("/") or kind == stat.S_IFDIR
    leads_elsewhere = path.is_absolute() or ".." in path.parts or re.search("(^|/)[A-Za-z]:", written)
    is_nameless = "\0" in info.orig_filename or not (path.name or is_folder)  # `filename` ends before a NUL
    if leads_elsewhere or is_nameless:
        raise CheckpointError("the zip file holds a path that leads elsewhere; zip the checkpoint folder itself")
    return path, is_folder


def _is_aside(folder: PurePosixPath) -> bool:
    """Whether a folder is one that systems and editors keep for themselves."""
    return any(part == "__MACOSX" or part.startswith(".") for part in folder.parts)


def _check_entry(name: str, info: zipfile.ZipInfo) -> None:
    """Raise CheckpointError for a file that cannot be unpacked, or not within its limit."""
    if info.flag_bits & 1:
        raise CheckpointError(
            "the file is not a zip file that can be read: it is encrypted; zip the checkpoint folder without a password"
        )
    if info.compress_type not in _METHODS:
        raise CheckpointError(
            f"{name} is packed by a method that is not read (number {info.compress_type}); "
            f"only deflate, which is usual, and storing are: zip the checkpoint folder so"
        )
    if info.file_size > _LARGEST_FILES[name]:
        remedy = "" if name in _NEEDED else "; leave it out of the zip file: the model is read without it"
        raise CheckpointError(
            f"{name} would have {info.file_size:,} bytes; at most {_LARGEST_FILES[name]:,} are taken{remedy}"
        )


def _unpacked(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> bytes:
    """An entry's bytes; what its directory says of the size is not trusted."""
    with archive.open(entry) as file:
        content = file.read(_LARGEST_FILES[name] + 1)
    if len(content) > _LARGEST_FILES[name]:
        raise CheckpointError(f"{name} is larger than the zip file says")
    return content


def _check_layers(path: Path) -> None:
    """Refuse a model that would take long to lay out, though its files are small; the rest is checked when loading."""
    description = read_json(path)
    model = description.get("model") if isinstance(description, dict) else None
    layers = model.get("num_layers") if isinstance(model, dict) else None
    if isinstance(layers, int) and layers > _MOST_LAYERS:
        raise CheckpointError(f"config.json asks for {layers:,} layers; at most {_MOST_LAYERS:,} are loaded")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:  # of this machine, not of the zip file
        raise CheckpointError(
            f"{path.name} could not be unpacked here ({error.strerror}); make room, or try again later"
        ) from None
