"""What is written into folders stands on this: who may write there, what may lie there, and when it is on the disk.

A folder has one writer at a time, which holds a lock in it:

    <folder>/.writer.lock    {"process", "thread", "host", "since"} of its writer

The system's own lock on that file tells whether its writer is alive: it ends with the process that holds it, however
that ends. So a lock that a killed process left is taken over, though another process may have its number by now. What
the file says is for people, and for other machines, whose processes this one cannot see.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCK = ".writer.lock"
_OF_THE_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN", "desktop.ini", "Thumbs.db")


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
        yield
    finally:
        if lock is not None:
            _release(lock, folder / LOCK)
        _remove_empty(made)


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
    """Give a file another name at once, in place of what has it; on Windows as soon as nobody reads what had it."""
    give_up = time.monotonic() + 30
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


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
            if is_locked is False or (said and (is_locked is None or said["host"] != ours["host"])):
                raise FolderInUse(
                    _in_use(folder, said, is_seen=is_locked is False and said.get("host") == ours["host"])
                )
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


def _in_use(folder: Path, said: dict[str, Any], *, is_seen: bool) -> str:
    """The sentence for a writer that this machine sees is there, or can only read of."""
    who = f"process {said['process']} on {said['host']}, since {said['since']}" if said else "another process"
    remedy = "wait until it has ended, or choose another folder"
    if not is_seen:
        remedy = f"wait until it has ended, or, if it runs no more, remove {folder / LOCK}"
    return f"{folder} is being written by {who}; {remedy}"
