"""A program ends as it should, whatever its output is connected to."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.terminal import _writable, sentence

ROOT = Path(__file__).resolve().parent.parent
BEGINNING = "import sys; from gpt.terminal import as_program\n"


def run(code: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a small program through a shell, with bash's way to get at the first status of a pipe."""
    command = f'"$0" -c "$1" {redirection}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, sys.executable, BEGINNING + code],
        cwd=ROOT,
        capture_output=True,
        env=os.environ | environment,
    )


PRINTS = "sys.exit(as_program(lambda: print('a é 中 🙂') or print('said', file=sys.stderr) or 7))"


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", "a é 中 🙂"),
        ("cp1252", "a é \\u4e2d \\U0001f642"),
        ("ascii", "a \\xe9 \\u4e2d \\U0001f642"),
        ("ascii:replace", "a ? ? ?"),  # as somebody has chosen
        ("utf-16", "a é 中 🙂"),
    ],
)
def test_every_encoding_can_be_written(encoding, written):
    done = run(PRINTS, PYTHONIOENCODING=encoding)
    name = encoding.split(":")[0]
    assert (done.stdout.decode(name).strip(), done.stderr.decode(name).strip()) == (written, "said")
    assert done.returncode == 7


@given(
    st.text(st.characters(codec=None)), st.sampled_from(["ascii", "cp1252", "cp437", "shift_jis", "utf-8", "koi8-r"])
)
def test_no_character_is_refused(text, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="")
    print(text, end="", file=_writable(stream))
    stream.flush()
    stream.seek(0)
    assert stream.read() == text.encode(encoding, "backslashreplace").decode(encoding)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nobody_listening(tmp_path, redirection):
    """Nor does the next file opened get what is printed."""
    code = (
        "def main():\n"
        f"    with open({str(tmp_path / 'file')!r}, 'w') as file:\n"
        "        assert file.fileno() > 2\n"
        "    print('out'); sys.stdout.flush(); print('err', file=sys.stderr); sys.stderr.write('more'); return 7\n"
        "sys.exit(as_program(main))"
    )
    done = run(code, redirection)
    assert done.returncode == 7
    assert done.stdout == (b"" if " >&-" in f" {redirection}" else b"out\n")
    assert done.stderr == (b"" if "2>&-" in redirection else b"err\nmore")
    assert (tmp_path / "file").read_bytes() == b""


def test_whoever_reads_on_no_more_ends_it_quietly():
    endless = "sys.exit(as_program(lambda: [print(number) for number in range(10**9)] and 0))"
    done = run(endless, "| head -1")
    assert (done.stdout, done.stderr, done.returncode) == (b"0\n", b"", 141)
    unterminated = "sys.exit(as_program(lambda: [print(number, end='') for number in range(10**9)] and 0))"
    done = run(unterminated, "| true")
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 141)
    from_argparse = "import argparse\nsys.exit(as_program(lambda: argparse.ArgumentParser().parse_args(['--help'])))"
    done = run(from_argparse, "| true")
    assert (done.stdout, done.stderr) == (b"", b"")


def test_standard_error_that_nobody_reads_ends_nothing():
    code = "sys.exit(as_program(lambda: [print(n, file=sys.stderr) for n in range(10**5)] and print('done') or 0))"
    done = run(code, "2> >(true)")
    assert (done.stdout, done.returncode) == (b"done\n", 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_said():
    for code in ("print('x') or 0", "print('x', end='') or 0", "[print('x') for _ in range(99999)] and 0"):
        done = run(f"sys.exit(as_program(lambda: {code}))", "> /dev/full")
        assert done.stderr == b"gpt: standard output: no space left on device\n"
        assert done.returncode == 2
    done = run("sys.exit(as_program(lambda: print('x', file=sys.stderr) or 7))", "2> /dev/full")
    assert done.returncode == 7


def test_the_status_is_that_of_the_program():
    for code, status in (("0", 0), ("3", 3), ("sys.exit(2)", 2), ("sys.exit()", 0)):
        assert run(f"sys.exit(as_program(lambda: {code}))").returncode == status


def test_errors_of_the_system_are_words():
    with pytest.raises(FileNotFoundError) as caught:
        os.stat("/nowhere/at all")
    assert sentence(caught.value) == "/nowhere/at all: no such file or directory"
    with pytest.raises(OSError, match="nowhere") as caught:
        os.rename("/nowhere", "/neither")
    assert sentence(caught.value) == "/nowhere and /neither: no such file or directory"
    assert sentence(OSError(28, "No space left on device")) == "no space left on device"
    assert sentence(OSError("the disk is full; make room")) == "the disk is full; make room"
    assert sentence(ValueError("it is 7; give 8")) == "it is 7; give 8"
