"""What is written into folders stands on this: who may write there, what may lie there, and when it is on the disk.

A folder has one writer at a time, which holds a lock in it:

    <folder>/.writer.lock    {"process", "thread", "host", "since"} of its writer

The system's own lock on that file tells whether its writer is alive: it ends with the process that holds it, however
that ends. So a lock that a killed process left is taken over, though another process may have its number by now. Other
machines may not see that lock, and some disks have none: so a writer also touches the file every few seconds, and a
lock of another machine that stays still for longer is taken over too. A container that was killed comes back as
another machine.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

LOCK = ".writer.lock"
_READERS_HOLD_FILES = os.name == "nt"  # Windows neither moves nor removes a file that somebody has open
_TOUCHED_EVERY = 3.0  # seconds
_LONGEST_SILENCE = 12.0  # seconds after which a writer that this machine cannot see has ended
_OF_THE_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN", "desktop.ini", "Thumbs.db")

_log = logging.getLogger(__name__)


class FolderInUse(ValueError):
    """Another process, or another thread, is writing a folder; the message names it."""


def is_vacant(folder: Path, left: Collection[str] = ()) -> bool:
    """Whether there is no folder, or one that holds nothing of anybody's, such as a disk that was just mounted.

    Args:
        folder: anything may be in its place.
        left: names that do not count.
    """
    if not folder.is_dir():
        return not folder.exists()  # nothing, or a link that leads nowhere yet
    names = {path.name for path in folder.iterdir()} - {*_OF_THE_SYSTEM, *left}
    return all(name.startswith(".") for name in names)


@contextmanager
def writer_of(folder: Path) -> Iterator[None]:
    """Be the one writer of a folder until the end of the block. The folder is made; it goes again if it stays empty.

    A thread that is the writer already goes on as it. That the folder can be written to is known at the beginning, so
    this comes before any work.

    Raises:
        FolderInUse: another one is writing it.
        OSError: it cannot be made, or nothing can be written in it.
    """
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        os.makedirs(os.path.realpath(folder), exist_ok=True)  # of a link that leads nowhere yet, what it leads to
        lock = _open_lock(folder)
    except OSError as error:
        _remove_empty(made)
        reason = f"{error.strerror}; nothing can be saved there, so choose another folder"
        raise OSError(error.errno, reason, str(folder)) from None
    try:
        with nullcontext() if lock is None else _signs_of_life(lock):
            yield
    finally:
        if lock is not None:
            _release(lock, folder / LOCK)
        _remove_empty(made)


def check_vacant(folder: Path, left: Collection[str] = ()) -> None:
    """Raise ValueError unless `is_vacant`."""
    if not is_vacant(folder, left):
        raise ValueError(f"{folder} exists and is not an empty folder; choose another folder, or remove this one")


@contextmanager
def whole_folder(folder: Path, workplace: str, names: Sequence[str], old: Collection[str] = ()) -> Iterator[Path]:
    """A place to write the files of a new folder, which come to theirs at the end of the block, or not at all.

    Args:
        folder: to make, or one that holds nothing yet; it may be a link, or the root of a disk.
        workplace: name of the place, in the folder; with it, what a writer left that was killed is told and cleared.
        names: of the files, in the order in which they come to their places: without the last, nobody takes the folder
            for what it is.
        old: other names that a killed writer of an earlier version may have left.

    Raises:
        ValueError: something else is in its place, or another process is writing it.
        OSError: it cannot be written.
    """
    place = folder / workplace

    def check() -> None:
        check_vacant(folder, left=(*names[:-1], *old) if place.is_dir() else ())

    check()
    with writer_of(folder):
        check()  # now that nobody else fills it
        try:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            yield place
            for name in names:
                flush_folder(folder)
                move(place / name, folder / name)
            flush_folder(folder)
        except BaseException:
            for name in reversed(names):
                (folder / name).unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(place, ignore_errors=True)


def write_to_disk(path: Path, content: bytes) -> None:
    """Write a file, and have it on the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that; Windows cannot."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems of networks have no such thing
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def move(source: Path, target: Path) -> None:
    """Give a file another name at once, in place of what has it; on Windows as soon as nobody reads one of them."""
    _once_nobody_reads(lambda: os.replace(source, target))


def remove(path: Path) -> None:
    """Remove a file; on Windows as soon as nobody reads it."""
    _once_nobody_reads(lambda: os.unlink(path))


def _once_nobody_reads(change: Callable[[], None]) -> None:
    give_up = time.monotonic() + 30
    while True:
        try:
            change()
            return
        except PermissionError:
            if not _READERS_HOLD_FILES or time.monotonic() > give_up:
                raise
            time.sleep(0.01)  # Windows tells nobody when a reader has let go of a file


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            os.rmdir(folder)
        except OSError:
            return


# --- The lock -------------------------------------------------------------------------------------------------------


def _open_lock(folder: Path) -> int | None:
    """The file descriptor of the lock, now ours; None if this thread has it already."""
    path = folder / LOCK
    ours = {"process": os.getpid(), "thread": threading.get_ident(), "host": platform.node()}
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            is_locked = _lock(lock)
            if is_locked is not False and not _is_still(lock, path):
                os.close(lock)  # its writer has just ended and removed it
                continue
            said = _said(lock)
            if not is_locked and all(said.get(name) == value for name, value in ours.items()):
                os.close(lock)
                return None
            is_unseen = bool(said) and (is_locked is None or said["host"] != ours["host"])
            if is_locked is False or (is_unseen and _shows_life(path, _in_use(folder, said))):
                raise FolderInUse(f"{_in_use(folder, said)}; wait until it has ended, or choose another folder")
            if is_unseen and not _is_still(lock, path):
                os.close(lock)  # it ended while we watched
                continue
            os.ftruncate(lock, 0)
            os.lseek(lock, 0, os.SEEK_SET)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.write(lock, json.dumps({**ours, "since": since}).encode("utf-8"))
        except BaseException:
            with suppress(OSError):
                os.close(lock)
            raise
        return lock


def _release(lock: int, path: Path) -> None:
    if os.name == "nt":  # where a file that is open cannot be removed, so nobody else's is
        os.close(lock)
        with suppress(OSError):
            os.unlink(path)
        return
    with suppress(OSError):
        if _is_still(lock, path):
            os.unlink(path)
    os.close(lock)


def _lock(file: int) -> bool | None:
    """Take the system's lock on a file: whether it was free, and None where the file system has no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(file, 1 << 30, os.SEEK_SET)  # far from what the file says, which stays readable
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK) else None
    return True


def _is_still(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _said(file: int) -> dict[str, Any]:
    """Whom a lock names; empty if it names nobody."""
    os.lseek(file, 0, os.SEEK_SET)
    try:
        said = json.loads(os.read(file, 10_000))
        return {name: said[name] for name in ("process", "thread", "host", "since")}
    except (ValueError, TypeError, KeyError):
        return {}


def _in_use(folder: Path, said: dict[str, Any]) -> str:
    """Who writes a folder, as its lock has it."""
    who = f"process {said['process']} on {said['host']}, since {said['since']}" if said else "another process"
    return f"{folder} is being written by {who}"


@contextmanager
def _signs_of_life(lock: int) -> Iterator[None]:
    """Touch our lock every few seconds until the end of the block."""
    has_ended = threading.Event()

    def touch() -> None:
        while not has_ended.wait(_TOUCHED_EVERY):
            with suppress(OSError):  # of a network that is away for a moment
                os.lseek(lock, 0, os.SEEK_SET)
                os.write(lock, b"{")  # what it begins with; the disk's own clock tells when

    toucher = threading.Thread(target=touch, name="folder-lock", daemon=True)
    toucher.start()
    try:
        yield
    finally:
        has_ended.set()
        toucher.join()


def _shows_life(path: Path, in_use: str) -> bool:
    """Whether a lock is touched while we watch it; whose clock is right does not matter."""
    first, give_up = _touched(path), time.monotonic() + _LONGEST_SILENCE
    _log.warning("%s by its lock; it may have ended, which %.0f s will show", in_use, _LONGEST_SILENCE)
    while time.monotonic() < give_up:  # nothing tells us when another machine has touched a file, so we look
        time.sleep(min(0.25, _LONGEST_SILENCE / 10))
        touched = _touched(path)
        if touched != first:
            return touched is not None
    return False


def _touched(path: Path) -> tuple[int, int] | None:
    """Which file lies there, and when it was last touched; opened each time, as networks remember what was asked."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
