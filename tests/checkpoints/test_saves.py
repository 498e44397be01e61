"""A folder that is written while others read it, while the power is cut, and beside what its user keeps in it."""

from __future__ import annotations

import errno
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpt.checkpoints.saves as saves
from gpt import CheckpointError, list_checkpoints, load_checkpoint, save_checkpoint
from gpt.__main__ import main
from gpt.checkpoints.saves import FORMAT, Save, checkpoint_writer, find_save, read_save, write_save
from gpt.folders import LOCK, FolderInUse, writer_of

Files = dict[str, bytes]

OLD_NAMES = ("config.json", "model.safetensors", "history.jsonl", "snapshot-000001.safetensors")
NEW_NAMES = ("config.json", "model.safetensors", "vocabulary.json", "training.safetensors")
POSIX = pytest.mark.skipif(os.name != "posix", reason="it forks")


def files_of(number: int, names: tuple[str, ...] = OLD_NAMES) -> Files:
    """The files of a save, each of which says its number."""
    return {name: json.dumps({"format": FORMAT, "number": number}).encode() for name in names}


def save(folder: Path, files: Files) -> None:
    with checkpoint_writer(folder):
        write_save(folder, files)


def everything(found: Save) -> Files:
    try:
        return {name: path.read_bytes() for name, path in found.places.items()}
    except OSError:
        raise CheckpointError("a file is gone") from None


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """All that lies in a folder, and when it was changed."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")}


# --- Whole or not there ---------------------------------------------------------------------------------------------


def cut_off(call: int, folder: Path, files: Files) -> bool:
    """Save in a process that ends without a word at a call to the file system, this one not made; whether it did."""
    child = os.fork()
    if child == 0:
        count = 0

        def counting(made: Callable[..., Any]) -> Callable[..., Any]:
            def maybe(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == call:
                    if made is fsync and os.path.isfile(f"/proc/self/fd/{arguments[0]}"):
                        os.ftruncate(arguments[0], 5)  # what was not on the disk yet
                    os._exit(9)
                return made(*arguments, **options)

            return maybe

        fsync = os.fsync
        for name in ("mkdir", "open", "fsync", "replace", "unlink", "rmdir", "ftruncate", "write"):
            setattr(os, name, counting(getattr(os, name)))
        save(folder, files)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@POSIX
@pytest.mark.parametrize("before", [files_of(1), {}], ids=["over an older one", "the first"])
def test_the_power_cut_before_any_call_leaves_the_old_save_or_the_new_one(tmp_path: Path, before: Files) -> None:
    after, seen, call = files_of(2, NEW_NAMES), [], 0
    while True:
        call += 1
        folder = tmp_path / str(call)
        if before:
            save(folder, before)
            (folder / "notes.txt").write_text("the user's")
        was_cut = cut_off(call, folder, after)
        there = listing(folder)
        found = read_save(folder, everything)
        assert found in (before, after), call
        assert listing(folder) == there, "a reader has changed something"
        seen.append(found == after)
        with checkpoint_writer(folder):  # the next one finishes it, and nothing is left over
            pass
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        assert names == {*found, *(["notes.txt"] if before else [])}, call
        assert read_save(folder, everything) == found
        if not was_cut:
            break
    assert seen == sorted(seen)
    assert seen.count(False) > 10
    assert seen.count(True) > 10


def test_a_reader_that_meets_a_writer_sees_one_save(tmp_path: Path) -> None:
    """From the first save on: nothing is taken away from the writer, and no file is of another save than the rest."""
    folder, stop = tmp_path / "model", threading.Event()

    def read() -> set[int]:
        numbers = set()
        while not stop.is_set():
            found = read_save(folder, everything)
            assert set(found) in ({*OLD_NAMES}, {*NEW_NAMES}, set())
            assert len(set(found.values())) <= 1
            numbers |= {json.loads(content)["number"] for content in found.values()}
            assert list_checkpoints(tmp_path) in (["model"], [])
        return numbers

    with ThreadPoolExecutor() as readers:
        numbers = [readers.submit(read) for _ in range(2)]
        try:
            for number in range(40):
                save(folder, files_of(number, NEW_NAMES if number % 2 else OLD_NAMES))
        finally:
            stop.set()
        assert all(len(seen.result()) > 1 for seen in numbers)


@pytest.mark.parametrize("at", range(len(OLD_NAMES)))
def test_files_that_change_between_two_reads_are_read_again(tmp_path: Path, at: int) -> None:
    save(tmp_path, files_of(1))
    tries = 0

    def read(found: Save) -> Files:
        nonlocal tries
        tries += 1
        content = {}
        for number, name in enumerate(OLD_NAMES):
            if number == at and tries == 1:
                save(tmp_path, files_of(2, NEW_NAMES))
            content |= everything(Save(tmp_path, {name: found.path(name)}, {})) if tries == 1 else everything(found)
        return content

    assert read_save(tmp_path, read) == files_of(2, NEW_NAMES)
    assert tries == 2


def test_a_file_that_is_damaged_and_stays_so_is_refused_at_once(tmp_path: Path) -> None:
    save(tmp_path, files_of(1))
    with pytest.raises(CheckpointError, match="lacks the fields of 'model'"):
        load_checkpoint(tmp_path)


@POSIX
def test_a_move_that_fails_leaves_a_whole_save_that_the_next_writer_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, files_of(1))
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(target).name == "model.safetensors":
            raise PermissionError(13, "Permission denied", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="Permission denied"):
        save(tmp_path, files_of(2))
    monkeypatch.undo()
    assert read_save(tmp_path, everything) == files_of(2)
    save(tmp_path, files_of(3))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files_of(3)


@POSIX
def test_a_first_save_that_was_cut_off_on_its_way_is_used(tmp_path: Path, trainable: Any, corpus: Any) -> None:
    """No file has come to its place yet, and a command, a listing and the page read all of them."""
    folder = tmp_path / "model"
    save_checkpoint(folder, trainable(), corpus.tokenizer)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    call = next(call for call in itertools.count(1) if cut_off(call, folder, files) and find_save(folder).places)
    assert call
    assert not (folder / "config.json").exists()
    assert list_checkpoints(tmp_path) == ["model"]
    assert main(["generate", "--model", str(folder), "--max-new-tokens", "2"]) == 0
    assert main(["verify", str(folder)]) == 2  # it has no result, which is all that is wrong
    load_checkpoint(folder)


# --- Whoever writes, owns -------------------------------------------------------------------------------------------


def in_another_thread(act: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as other:
        return other.submit(act).result()


def test_a_second_writer_is_refused_by_name_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    monkeypatch.setattr("gpt.checkpoints.train_program.load_corpus", lambda _: pytest.fail("the corpus was read"))
    with checkpoint_writer(folder):
        assert in_another_thread(lambda: main(["train", "--out", str(folder)])) == 2
        save(folder, files_of(1))  # its own saves are its own
        with pytest.raises(FolderInUse):
            in_another_thread(lambda: save(folder, files_of(2)))
    assert f"{folder} is being written by process {os.getpid()} on " in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files_of(1)
    in_another_thread(lambda: save(folder, files_of(2)))


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    program = "import sys; from gpt.folders import *\nwith writer_of(Path(sys.argv[1])): print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(FolderInUse, match=f"is being written by process {writer.pid} on "):
            save(tmp_path, files_of(1))
        writer.kill()
        writer.wait()
    assert (tmp_path / LOCK).is_file()
    save(tmp_path, files_of(1))
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"process": 1}'])
def test_a_lock_that_names_nobody_is_taken_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content)
    save(tmp_path, files_of(1))
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize(("host", "is_locked"), [("elsewhere", True), (platform.node(), None)])
def test_a_writer_that_cannot_be_seen_lives_as_long_as_it_touches_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, is_locked: bool | None
) -> None:
    """On another machine, or where the file system has no locks. A killed container comes back as another machine."""
    monkeypatch.setattr("gpt.folders._TOUCHED_EVERY", 0.05)
    monkeypatch.setattr("gpt.folders._LONGEST_SILENCE", 0.4)
    monkeypatch.setattr("gpt.folders._lock", lambda _: is_locked)
    monkeypatch.setattr("gpt.folders.platform.node", lambda: host)
    with writer_of(tmp_path):
        left = (tmp_path / LOCK).read_bytes()
        monkeypatch.setattr("gpt.folders.platform.node", lambda: "here")
        with pytest.raises(FolderInUse, match=f"by process {os.getpid()} on {host}, since .*; wait until it has ended"):
            in_another_thread(lambda: save(tmp_path, files_of(1)))
        monkeypatch.setattr("gpt.folders.platform.node", lambda: host)
        assert json.loads((tmp_path / LOCK).read_bytes()) == json.loads(left)
    (tmp_path / LOCK).write_bytes(left)  # as one that was killed leaves it
    in_another_thread(lambda: save(tmp_path, files_of(1)))
    assert not (tmp_path / LOCK).exists()


# --- Wherever it lies, whatever lies in it --------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Folders that cannot be renamed, or should not be."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "leads nowhere").symlink_to("not yet")
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)  # as a disk has it that was just mounted
    monkeypatch.chdir(tmp_path / "disk")
    return {name: tmp_path / name for name in ("link", "leads nowhere", "new/and/below")} | {"here": Path(".")}


def test_a_checkpoint_is_saved_wherever_the_folder_lies(places: dict[str, Path], trainable: Any, corpus: Any) -> None:
    before = Path(".").stat().st_ino
    for name, folder in places.items():
        for _ in range(2):
            save_checkpoint(folder, trainable(), corpus.tokenizer)
            load_checkpoint(folder)
        assert folder.is_symlink() == name.startswith("le") or name == "link"
    assert Path(".").resolve().stat().st_ino == before
    assert Path("README.md").read_text().startswith("# disk\n")
    assert sorted(os.listdir(".")) == sorted([*os.listdir(places["link"]), "lost+found"])


def test_what_cannot_be_written_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpt.checkpoints.train_program.load_corpus", lambda _: pytest.fail("the corpus was read"))
    (tmp_path / "file").write_text("the user's")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    for out, said in (
        ("file", "exists and is not a checkpoint; choose another folder, or empty this one"),
        ("thesis", "exists and is not a checkpoint; choose another folder, or empty this one"),
        ("file/below", "not a directory; nothing can be saved there, so choose another folder"),
        (f"{'x' * 300}/y", "file name too long"),
    ):
        assert main(["train", "--out", str(tmp_path / out)]) == 2
        assert said in capsys.readouterr().err.lower()
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "thesis", "chapter1.txt"}


def test_a_command_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    assert main(["train", "--corpus", str(tmp_path / "none.txt"), "--out", str(tmp_path / "a" / "b")]) == 2
    assert not list(tmp_path.iterdir())


NAMES = st.text(st.characters(exclude_characters="/\\\0:", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(NAMES, st.one_of(st.binary(max_size=9), st.none()), max_size=5))
def test_what_a_user_keeps_in_the_folder_stays(tmp_path_factory: pytest.TempPathFactory, kept: dict[str, Any]) -> None:
    folder = tmp_path_factory.getbasetemp() / "kept"
    shutil.rmtree(folder, ignore_errors=True)
    save(folder, files_of(1))
    kept = {name: content for name, content in kept.items() if name not in (".", "..", LOCK, ".saving", *OLD_NAMES)}
    for name, content in kept.items():
        (folder / name).mkdir() if content is None else (folder / name).write_bytes(content)
    for number in (2, 3):
        save(folder, files_of(number, NEW_NAMES if number == 2 else OLD_NAMES))
    expected = {**files_of(3), **kept}
    found = {path.name: None if path.is_dir() else path.read_bytes() for path in folder.iterdir()}
    assert found == expected
    assert find_save(folder).places.keys() == files_of(3).keys()


@pytest.mark.parametrize("description", ['{"model_type":', '{"model_type": "gpt2"}', "[" * 9999, ""])
def test_a_folder_whose_description_is_not_ours_is_not_written(
    tmp_path: Path, trainable: Any, corpus: Any, description: str
) -> None:
    files = {"config.json": description, "model.safetensors": "years of work"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match="exists and is not a checkpoint; choose another folder"):
        save_checkpoint(tmp_path, trainable(), corpus.tokenizer)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_folder_in_the_place_of_a_file_is_named_before_any_work(
    tmp_path: Path, trainable: Any, corpus: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, trainable(), corpus.tokenizer)
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    (tmp_path / "README.md" / "mine.txt").write_text("the user's")
    monkeypatch.setattr("gpt.checkpoints.train_program.load_corpus", lambda _: pytest.fail("the corpus was read"))
    assert main(["train", "--out", str(tmp_path)]) == 2
    assert "README.md: is a folder where a file is to be saved; rename it" in capsys.readouterr().err
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path) if name != "README.md"}
    with pytest.raises(OSError, match="is a folder where a file is to be saved; rename it"):
        save_checkpoint(tmp_path, trainable(), corpus.tokenizer, corpus={"name": "another"})
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path) if name != "README.md"} == before
    load_checkpoint(tmp_path)


def test_windows_waits_for_the_readers_of_a_file_that_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, files_of(1))
    unlink, refused = os.unlink, []

    def unlinked_by_nobody_else(path: Any, **options: Any) -> None:
        if Path(path).name in ("files.json", *OLD_NAMES) and refused.count(path) < 2:
            refused.append(path)
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        unlink(path, **options)

    monkeypatch.setattr("gpt.folders.os.unlink", unlinked_by_nobody_else)
    monkeypatch.setattr("gpt.folders._READERS_HOLD_FILES", True)
    save(tmp_path, files_of(2, NEW_NAMES))
    assert refused
    assert find_save(tmp_path).places.keys() == files_of(2, NEW_NAMES).keys()


def test_a_record_that_cannot_be_read_is_not_cleared_away(tmp_path, monkeypatch):
    """As where too many files are open: what was saved stays, and the writer hears why."""
    folder = tmp_path / "model"
    (folder / ".saving").mkdir(parents=True)
    (folder / ".saving" / "config.json").write_text("{}")
    (folder / ".saving" / "files.json").write_text('{"save": "1", "files": ["config.json"]}')

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            saves._finish(folder)
    assert (folder / ".saving" / "config.json").is_file()
    saves._finish(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json"]
