"""Corpora: where they come from, what is refused, and how they are cut into batches and windows."""

from __future__ import annotations

import hashlib
import itertools
import math
import socket

import pytest
import torch

import gpt.data.corpus
from gpt import CORPORA, Corpus, CorpusUnavailable, load_corpus
from gpt.data.batches import BatchStream, validation_windows
from gpt.data.text import decode_text

TEXT = "To be, or not to be: that is the question.\n" * 3


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to connect fails the test, whatever the code makes of the error."""

    def refuse(*_, **__):
        pytest.fail("this must not touch the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_text_is_split_nine_to_one():
    corpus = Corpus.from_text("mine", TEXT)
    assert len(corpus.train_ids) == int(0.9 * len(TEXT))
    both = torch.cat((corpus.train_ids, corpus.validation_ids))
    assert corpus.tokenizer.decode(both.tolist()) == TEXT
    assert corpus.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


def test_the_vocabulary_is_of_the_whole_text():
    """Else the validation part could hold characters that the model has no token for."""
    corpus = Corpus.from_text("mine", "ab" * 50 + "xyz")
    assert corpus.tokenizer.itos == list("abxyz")
    assert "x" not in corpus.tokenizer.decode(corpus.train_ids.tolist())


@pytest.mark.usefixtures("no_network")
def test_python_docs_needs_no_network():
    corpus = load_corpus("python-docs")
    assert len(corpus.train_ids) > 300_000
    assert "statement" in corpus.tokenizer.decode(corpus.train_ids[:100_000].tolist())
    assert load_corpus("python-docs").sha256 == corpus.sha256
    assert set(CORPORA) == {"shakespeare", "python-docs"}


@pytest.mark.usefixtures("no_network")
def test_the_local_folder_comes_first(tmp_path, monkeypatch):
    content = ("First Citizen:\n" + TEXT).encode()
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_bytes(content)
    monkeypatch.setenv("GPT_LAB_DATA", str(tmp_path))
    monkeypatch.setattr(gpt.data.corpus, "_SHAKESPEARE_SHA256", hashlib.sha256(content).hexdigest())
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


def test_line_ends():
    assert decode_text("x", b"a\r\nb\rc\nd\r\n") == "a\nb\nc\nd\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("utf-16"), "'mine.txt' is not UTF-8 text .byte 0.; save it as UTF-8"),
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


def test_a_giant_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "giant.txt"
    with path.open("wb") as file:
        file.truncate(50_000_001)  # a hole: takes no disk
    with pytest.raises(ValueError, match=r"'giant.txt' has 50,000,001 bytes; at most 50,000,000 are read"):
        load_corpus(path)


@pytest.mark.parametrize("name", ["nowhere.txt", "", "."])
def test_what_is_not_there_is_answered_with_the_list(name):
    with pytest.raises(FileNotFoundError, match=r"there is no corpus or text file .*shakespeare, python-docs"):
        load_corpus(name)


def test_bigram_loss_by_hand():
    corpus = Corpus.from_text("mine", "abcab" * 20)
    train, validation = corpus.train_ids.tolist(), corpus.validation_ids.tolist()
    losses = []
    for previous, following in itertools.pairwise(validation):
        pairs = [pair for pair in itertools.pairwise(train) if pair[0] == previous]
        losses.append(-math.log((pairs.count((previous, following)) + 1) / (len(pairs) + 3)))
    assert corpus.bigram_loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


# --- Batches --------------------------------------------------------------------------------------------------------


def test_targets_are_the_inputs_one_token_further():
    text = torch.arange(100)
    inputs, targets = BatchStream(text, batch_size=5, context_length=8, seed=1)[0]
    assert inputs.shape == targets.shape == (5, 8)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(inputs, inputs[:, :1] + torch.arange(8))


def test_a_batch_depends_on_the_seed_and_its_number_alone():
    text = torch.randint(7, (500,))
    stream = BatchStream(text, 4, 8, seed=1)
    in_order = [stream[number] for number in range(6)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = BatchStream(text, 4, 8, seed=1)
    for number in (5, 0, 3, 3):
        assert torch.equal(again[number][0], in_order[number][0])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(in_order[0][0], in_order[1][0])
    assert not torch.equal(BatchStream(text, 4, 8, seed=2)[0][0], in_order[0][0])


def test_random_windows_may_start_anywhere_but_beyond_the_end():
    stream = BatchStream(torch.arange(12), batch_size=50, context_length=8, seed=1, order="random")
    starts = {int(start) for number in range(5) for start in stream[number][0][:, 0]}
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize("length", [9, 12, 16, 17, 500])
@pytest.mark.parametrize("batch_size", [1, 4, 150])
def test_a_pass_reads_every_window_once_and_passes_differ(length, batch_size):
    context = 8
    stream = BatchStream(torch.arange(length), batch_size, context, seed=1)
    per_pass = max(1, (length - context) // context)
    batches = -(-3 * per_pass // batch_size)
    starts = torch.cat([stream[number][0][:, 0] for number in range(batches)]).tolist()
    passes = [starts[i * per_pass : (i + 1) * per_pass] for i in range(3)]
    for one in passes:
        in_order = sorted(one)
        assert in_order == list(range(in_order[0], in_order[0] + per_pass * context, context))
        assert in_order[0] < context
        assert in_order[-1] + context < length
    if length == 500:
        assert len({tuple(one) for one in passes}) == 3
        assert passes[0] != sorted(passes[0])
        assert len({min(one) for one in passes}) > 1


def test_a_text_shorter_than_a_row_is_refused():
    BatchStream(torch.arange(9), 4, 8, seed=1)[0]
    with pytest.raises(ValueError, match="has 8 tokens, and a context of 8 needs at least 9; give a longer text"):
        BatchStream(torch.arange(8), 4, 8, seed=1)


# --- Validation windows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "context"), [(100, 7), (65, 8), (64, 8), (2, 8), (9, 8), (1000, 3)])
def test_windows_cover_the_text_and_do_not_overlap(length, context):
    """Every token but the first is predicted exactly once."""
    windows = list(validation_windows(torch.arange(length), context))
    predicted = torch.cat([targets.flatten() for _, targets in windows]).tolist()
    read = torch.cat([inputs.flatten() for inputs, _ in windows]).tolist()
    assert predicted == list(range(1, length))
    assert read == list(range(length - 1))
    assert all(inputs.numel() <= 4096 for inputs, _ in windows)


@pytest.mark.parametrize("most", [1, 3, 8, 9, 100])
def test_fewer_windows_are_evenly_spaced_ones_of_the_same(most):
    text = torch.arange(8 * 9 + 1)
    every = torch.cat([inputs for inputs, _ in validation_windows(text, 8)])
    some = torch.cat([inputs for inputs, _ in validation_windows(text, 8, most)])
    assert len(every) == 9
    assert len(some) == min(most, 9)
    starts = (some[:, 0] // 8).tolist()
    assert len(set(starts)) == len(starts)
    gaps = {after - before for before, after in itertools.pairwise(starts)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert torch.equal(some, every[torch.tensor(starts)])


@pytest.mark.parametrize("length", [0, 1])
def test_nothing_to_predict_is_refused(length):
    with pytest.raises(ValueError, match=f"the text to evaluate on has {length} tokens; it needs at least 2"):
        list(validation_windows(torch.arange(length), 8))
