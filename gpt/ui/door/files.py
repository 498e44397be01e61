"""The files of visitors: what they upload, and what is prepared for them to take home.

All lie in one folder of this process, for its user alone. An upload is read at once, so it is kept for a moment; what
is prepared is kept as long as its page is open. No file outlasts an hour, and all together are bounded.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from gpt.runs.limits import MOST_BYTES_OF_FILES, MOST_FILE_SECONDS
from gpt.ui.door.asking import asking

_PREFIX = "gpt-lab-files-"
_PREPARED = "prepared"  # the folder, in that of the process, of what is prepared
_UPLOAD_SECONDS = 60.0  # that an upload is kept
_MOST_FILES = 500
_MOST_PREPARED = 3  # times that one page may prepare files before the oldest go
_SECONDS_BETWEEN_LOOKS = 10.0
_SECONDS_TO_BE_LEFT = 120.0  # a folder that nobody tidied for so long is of a process that was killed


class Files:
    """The visitors' files of this process. Any thread may call it.

    Args:
        parent: where its folder is made.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._of_page: defaultdict[str, list[Path]] = defaultdict(list)
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        atexit.register(self.close)
        threading.Thread(target=self._look_after, name="files", daemon=True).start()

    def new_folder(self) -> Path:
        """A folder for what is prepared for the page that is asking; its name cannot be guessed."""
        folder = self.folder / _PREPARED / secrets.token_hex(16)
        folder.mkdir(parents=True)
        with self._lock:
            folders = self._of_page[asking().page]
            folders.append(folder)
            too_many = folders[:-_MOST_PREPARED]
            del folders[:-_MOST_PREPARED]
        _remove(too_many)
        return folder

    def leave(self, page: str) -> None:
        """The page is gone, and with it what was prepared for it."""
        with self._lock:
            folders = self._of_page.pop(page, [])
        _remove(folders)

    def tidy(self) -> None:
        """Remove what is too old and, the oldest first, what is too much."""
        now = time.time()
        with self._lock:
            kept = []
            for path, of_file in files_in(self.folder):
                is_prepared = _PREPARED in path.relative_to(self.folder).parts
                if now - of_file.st_mtime > (MOST_FILE_SECONDS if is_prepared else _UPLOAD_SECONDS):
                    _unlink(path)
                else:
                    kept.append((of_file.st_mtime, of_file.st_size, path))
            kept.sort()
            held = sum(size for _, size, _ in kept)
            for number, (_, size, path) in enumerate(kept):
                if held <= MOST_BYTES_OF_FILES and len(kept) - number <= _MOST_FILES:
                    break
                held -= size
                _unlink(path)

    def close(self) -> None:
        """Remove everything, for good."""
        self._is_closed.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _look_after(self) -> None:
        while not self._is_closed.wait(_SECONDS_BETWEEN_LOOKS):
            with suppress(OSError):  # somebody has cleared the temporary folder
                os.utime(self.folder)
                self.tidy()
                self.remove_the_left()

    def remove_the_left(self) -> None:
        """Remove the folders of processes that were killed before they could."""
        for folder in self.folder.parent.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if folder != self.folder and time.time() - folder.stat().st_mtime > _SECONDS_TO_BE_LEFT:
                    shutil.rmtree(folder, ignore_errors=True)


@lru_cache(maxsize=1)
def files_of_process() -> Files:
    """The one for this process, in which Gradio keeps its files, too, from now on."""
    files = Files(Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()))
    os.environ["GRADIO_TEMP_DIR"] = str(files.folder)
    files.remove_the_left()
    return files


class TidyUploads:
    """ASGI middleware that looks after each upload whether all files are still within bounds."""

    def __init__(self, app: ASGIApp, files: Files) -> None:
        self.app = app
        self.files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and tidy up after an upload."""
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] == "http" and scope["path"].startswith("/gradio_api/upload"):
                await asyncio.to_thread(self.files.tidy)


def files_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files below a folder, also while others remove some."""
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                yield Path(place, name), Path(place, name).stat()


def _unlink(path: Path) -> None:
    with suppress(OSError):  # on Windows: somebody is reading it
        path.unlink()
        path.parent.rmdir()  # if it was the last one


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
