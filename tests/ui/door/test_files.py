"""Visitors' files: bounded, gone with their page, and never left behind."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpt.ui.door.files as files_module
from gpt.ui.door.asking import answering
from gpt.ui.door.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """The files of a process of their own."""
    made = Files(tmp_path)
    yield made
    made.close()


def upload(files: Files, name: str, size: int, age: float = 0.0) -> Path:
    """A file as Gradio keeps it."""
    path = files.folder / name / "x.zip"
    path.parent.mkdir()
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_only_the_servers_user_may_look(files: Files) -> None:
    if os.name == "posix":
        assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700


def test_what_was_prepared_goes_with_its_page(files: Files) -> None:
    with answering("page", ""):
        folders = [files.new_folder() for _ in range(4)]
    with answering("other", ""):
        other = files.new_folder()
    assert [folder.exists() for folder in folders] == [False, True, True, True]  # a page has three
    assert all(len(folder.name) == 32 for folder in folders)
    files.leave("page")
    assert not any(folder.exists() for folder in folders)
    assert other.exists()


def test_old_uploads_go_and_so_do_the_oldest_of_too_many(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "MOST_BYTES_OF_FILES", 250)
    monkeypatch.setattr(files_module, "_MOST_FILES", 4)
    old = upload(files, "old", 1, age=1000.0)
    large = [upload(files, f"large {n}", 100, age=50.0 - n) for n in range(3)]
    prepared = files.new_folder() / "models.zip"
    prepared.write_bytes(b"x")
    os.utime(prepared, (time.time() - 1000,) * 2)  # less than an hour ago
    files.tidy()
    assert [path.exists() for path in (old, *large, prepared)] == [False, False, True, True, False]
    small = [upload(files, f"small {n}", 1, age=10.0 - n) for n in range(4)]
    files.tidy()
    assert [path.exists() for path in (*large[1:], *small)] == [False, False, True, True, True, True]
    assert not any(path.is_dir() and not any(path.iterdir()) for path in files.folder.rglob("large*"))


def test_what_a_killed_server_left_is_removed(files: Files, tmp_path: Path) -> None:
    left, busy, foreign = (tmp_path / name for name in ("gpt-lab-files-left", "gpt-lab-files-busy", "notes"))
    for folder in (left, busy, foreign):
        folder.mkdir()
        (folder / "text.txt").write_text("mine")
    for folder in (left, foreign):
        os.utime(folder, (time.time() - 1000,) * 2)
    files.remove_the_left()
    assert [folder.exists() for folder in (left, busy, foreign, files.folder)] == [False, True, True, True]
