"""Prepared texts: the same as in memory, in little memory, whole or not at all, and refused when they are not sound."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from gpt2_folders import END_OF_TEXT, train_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt import BPETokenizer, CharTokenizer, Corpus, Trainer, load_checkpoint, load_corpus
from gpt.__main__ import main
from gpt.data import byte_pairs, prepare
from gpt.data.batches import BatchStream
from gpt.data.prepare import prepare_text
from gpt.data.text import decode_text
from gpt.data.tokenizer import _bytes_by_character, tokenizer_from_json, tokenizer_to_json
from gpt.folders import writer_of

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("--num-layers", "1", "--num-heads", "2", "--embed-size", "16", "--context-length", "8", "--batch-size", "2"),
    *("--eval-interval", "3", "--steps", "3", "--device", "cpu"),
]


def read_at_a_time(monkeypatch, characters):
    """Have texts read in stretches of so many characters."""
    for module in (prepare, byte_pairs):
        monkeypatch.setattr(module, "LARGEST_STRETCH", characters)


@pytest.fixture
def short_stretches(monkeypatch):
    """Files are read a few characters at a time, so that every kind of border falls between two stretches."""
    read_at_a_time(monkeypatch, 7)


@pytest.fixture
def prepared(tmp_path, tiny_text):
    """A sound prepared text of characters."""
    (tmp_path / "text.txt").write_text(tiny_text)
    prepare_text(tmp_path / "text.txt", tmp_path / "prepared")
    return tmp_path / "prepared"


def equal(one: Corpus, other: Corpus) -> None:
    """Two corpora are the same but for the type of their ids."""
    assert one.tokenizer.itos == other.tokenizer.itos
    assert one.sha256 == other.sha256
    assert torch.equal(one.train_ids.long(), other.train_ids.long())
    assert torch.equal(one.validation_ids.long(), other.validation_ids.long())


# --- The same as in memory ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_corpus_of_the_text_in_memory(tmp_path, seed):
    """Of characters of one to four bytes, and of all line ends, wherever they fall; with a byte-order mark or not."""
    draw = random.Random(seed)
    pieces = draw.choices(["a", "b ", "é", "€", "中", "🙂", "\r\n", "\r", "\n", "\u2028", "\x85", "\ufeff"], k=200)
    content = b"\xef\xbb\xbf" * (seed % 3) + "".join(pieces).encode()
    (tmp_path / "text.txt").write_bytes(content)
    told = prepare_text(tmp_path / "text.txt", tmp_path / "prepared")
    corpus = load_corpus(tmp_path / "prepared")
    expected = Corpus.from_text("text.txt", decode_text("text.txt", content))
    equal(corpus, expected)
    assert corpus.name == told.name == "text.txt"
    assert told.sha256 == expected.sha256
    assert told.tokens == told.characters == len(expected.train_ids) + len(expected.validation_ids)
    assert corpus.train_ids.dtype == torch.uint16
    assert corpus.bigram_loss == pytest.approx(expected.bigram_loss)


def test_stretches_of_the_real_length(tmp_path):
    text = "".join(random.Random(0).choices("abcdefgh é€🙂\n", k=1_300_000))
    (tmp_path / "text.txt").write_text(text)
    prepare_text(tmp_path / "text.txt", tmp_path / "prepared")
    equal(load_corpus(tmp_path / "prepared"), Corpus.from_text("text.txt", text))


def test_a_folder_is_one_text_in_the_order_of_its_paths(tmp_path, tiny_text):
    texts = tmp_path / "texts"
    (texts / "b").mkdir(parents=True)
    (texts / "c.txt").write_text("third")
    (texts / "b" / "z.txt").write_text("second\n")
    (texts / "a.txt").write_bytes(b"\xef\xbb\xbf" + tiny_text.encode())
    (texts / "b" / "z.md").write_text("not a *.txt")
    prepare_text(texts, tmp_path / "prepared")
    expected = Corpus.from_text("texts", "\n".join([tiny_text, "second\n", "third"]))
    equal(load_corpus(tmp_path / "prepared"), expected)
    assert load_corpus(tmp_path / "prepared").name == "texts"
    prepare_text(texts, tmp_path / "other", pattern="*.[mt]*")
    expected = Corpus.from_text("texts", "\n".join([tiny_text, "not a *.txt", "second\n", "third"]))
    equal(load_corpus(tmp_path / "other"), expected)


NAMES = ("a.txt", "B.TXT", "c.Txt", ".hidden.txt", "._a.txt", "~$a.md", "notes.md", "txt", ".DS_Store")
FOLDERS = ("", "b/", "A/", ".ipynb_checkpoints/", "b/.git/", ".git/b/", "__MACOSX/")


@given(places=st.sets(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)).map("".join), max_size=12))
@settings(max_examples=40)
def test_of_a_folder_all_text_files_are_read_and_none_that_is_hidden(places):
    """And what is left out is told, with its number."""
    with TemporaryDirectory() as folder:
        texts = Path(folder) / ".texts"  # that the folder itself is hidden makes no difference
        for place in places:
            (texts / place).parent.mkdir(parents=True, exist_ok=True)
            (texts / place).write_text(f"This is what {place} says.\n")
        texts.mkdir(exist_ok=True)
        read = [place for place in places if place.lower().endswith(".txt") and not re.search(r"(^|/)\.", place)]
        said: list[str] = []
        if not read:
            with pytest.raises(FileNotFoundError, match=r"has a name like '\*.txt'; give another folder, or --pattern"):
                prepare_text(texts, Path(folder) / "prepared", tell=said.append)
            return
        prepare_text(texts, Path(folder) / "prepared", tell=said.append)
        expected = "\n".join(f"This is what {place} says.\n" for place in sorted(read, key=lambda place: Path(place)))
        assert load_corpus(Path(folder) / "prepared").sha256 == Corpus.from_text("x", expected).sha256
        assert len(said) == (len(read) < len(places))
        if said:
            entries = [{*path.relative_to(texts).parents} | {path.relative_to(texts)} for path in texts.rglob("*")]
            seen = [entry for entry in entries if sum(part.name[:1] == "." for part in entry) == 1]
            hidden = sum(max(entry, key=lambda part: len(part.parts)).name[0] == "." for entry in seen)
            others = sum(not place.lower().endswith(".txt") and not re.search(r"(^|/)\.", place) for place in places)
            assert said[0].startswith(f"{texts}: reading {len(read)} of its files; left out: ")
            assert (f"{hidden} hidden (such as ." in said[0]) == (hidden > 0)
            assert (f"{others} with a name unlike '*.txt' (such as " in said[0]) == (others > 0)


def test_hidden_files_are_read_where_the_pattern_asks_for_them(tmp_path):
    (tmp_path / "texts" / ".git").mkdir(parents=True)
    for name in (".notes.txt", "notes.txt", ".git/.notes.txt"):
        (tmp_path / "texts" / name).write_text(f"What {name} says.")
    prepare_text(tmp_path / "texts", tmp_path / "prepared", pattern=".*.txt")
    assert load_corpus(tmp_path / "prepared").sha256 == Corpus.from_text("x", "What .notes.txt says.").sha256


def test_the_command_line_says_what_is_left_out(tmp_path, capsys):
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "._a.txt"):
        (tmp_path / "texts" / name).write_text("This is a text and no other.")
    assert main(["prepare", str(tmp_path / "texts"), "--out", str(tmp_path / "prepared")]) == 0
    printed = capsys.readouterr()
    assert "texts: reading 1 of its files; left out: 1 hidden (such as ._a.txt)" in printed.err
    assert printed.out.startswith("texts: 28 characters became 28 tokens")


def test_links_and_what_is_no_file_are_left_out_and_told(tmp_path):
    """A linked folder may lead to the folder itself, and a pipe would be waited for."""
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("This is a text and no other.")
    (texts / "again").symlink_to(texts)
    os.mkfifo(texts / "pipe.txt")
    (texts / "lost.txt").symlink_to("nowhere")
    said: list[str] = []
    prepare_text(texts, tmp_path / "prepared", tell=said.append)
    assert said == [
        f"{texts}: reading 1 of its files; left out: 1 linking to a folder (such as again), "
        "2 other than a file (such as lost.txt)"
    ]


def test_a_training_sees_the_same_batches(prepared, tmp_path, trainable, quick):
    """Bit for bit: the weights, the losses and the samples."""
    runs = []
    for corpus in (load_corpus(tmp_path / "text.txt"), load_corpus(prepared)):
        model = trainable(vocab_size=corpus.tokenizer.vocab_size)
        model.initialize(1)
        trainer = Trainer(model, corpus, quick(eval_windows=None, sample_length=5))
        losses = [(event.train_loss, event.validation_loss, event.sample) for event in trainer.events()]
        runs.append((losses, trainer.batches_digest))
    assert runs[0] == runs[1]


# --- Byte-pair encoding ---------------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path):
    """A text of words, its lines long and short, with spaces in all places."""
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(1, 7))) for _ in range(300)] + ["né", "🙂"]
    ends = [" ", " ", " ", "  ", "\n", "\n\n", ", ", "...\n", "\n \n", "\t", " 12 "]
    text = "".join(draw.choice(vocabulary) + draw.choice(ends) for _ in range(20_000))
    (tmp_path / "words.txt").write_text(text)
    return text


@pytest.mark.parametrize("stretch", [9_001, 50_000, 1_000_000])
def test_bpe_of_a_text_in_stretches_is_that_of_the_whole(tmp_path, words, monkeypatch, stretch):
    read_at_a_time(monkeypatch, stretch)
    told = prepare_text(tmp_path / "words.txt", tmp_path / "prepared", tokenizer="bpe", vocab_size=700)
    corpus = load_corpus(tmp_path / "prepared")
    assert isinstance(corpus.tokenizer, BPETokenizer)
    ids = torch.cat((corpus.train_ids, corpus.validation_ids)).tolist()
    assert ids == corpus.tokenizer.encode(words)
    assert corpus.tokenizer.decode(ids) == words
    assert (told.tokens, told.vocab_size, corpus.tokenizer.vocab_size) == (len(ids), 700, 700)
    assert len(corpus.train_ids) == int(0.9 * len(ids))
    assert corpus.sha256 == Corpus.from_text("words", words).sha256
    assert len(ids) < len(words) / 2


def test_a_text_without_spaces_is_cut_and_still_the_same_text(tmp_path, monkeypatch):
    read_at_a_time(monkeypatch, 100)
    text = "".join(random.Random(0).choices("日本語中文한국", k=5_050))
    (tmp_path / "text.txt").write_text(text)
    prepare_text(tmp_path / "text.txt", tmp_path / "prepared", tokenizer="bpe", vocab_size=300)
    corpus = load_corpus(tmp_path / "prepared")
    assert corpus.tokenizer.decode(torch.cat((corpus.train_ids, corpus.validation_ids)).tolist()) == text


@pytest.mark.parametrize("letters", ["ACGT", "\n", "กขคงจ", "-"])
def test_a_word_of_a_million_letters_is_learned_from_in_parts(tmp_path, letters):
    """Learning from such a word as a whole would not be done in a quarter of an hour."""
    text = "It begins. " + "".join(random.Random(0).choices(letters, k=300_000 if letters == "กขคงจ" else 1_000_000))
    (tmp_path / "dna.txt").write_text(text)
    said: list[str] = []
    prepare_text(tmp_path / "dna.txt", tmp_path / "prepared", tokenizer="bpe", vocab_size=1000, tell=said.append)
    assert said == ["words of more than 256 bytes, as where there are no spaces, were learned from in parts"]
    corpus = load_corpus(tmp_path / "prepared")
    ids = torch.cat((corpus.train_ids, corpus.validation_ids)).tolist()
    assert corpus.tokenizer.decode(ids) == text
    assert len(ids) < len(text) / 3


def test_of_a_text_without_spaces_no_more_is_learned_than_memory_allows(tmp_path, monkeypatch):
    """In evenly spaced parts."""
    monkeypatch.setattr(prepare, "_UNBROKEN_SAMPLE", 20_000)
    monkeypatch.setattr(prepare, "_LONGEST_PASSAGE", 500)
    read_at_a_time(monkeypatch, 1_000)
    learned = []
    from_texts = BPETokenizer.from_texts
    monkeypatch.setattr(
        BPETokenizer, "from_texts", lambda texts, *more: from_texts((learned.append(t) or t for t in texts), *more)
    )
    text = "".join(random.Random(0).choices("ACGT", k=100_000))
    (tmp_path / "dna.txt").write_text(text)
    prepare_text(tmp_path / "dna.txt", tmp_path / "prepared", tokenizer="bpe", vocab_size=300)
    assert 18_000 <= len("".join(learned)) <= 22_000
    assert text.index(learned[-1]) > 90_000


def test_bpe_learns_from_evenly_spaced_parts_of_a_long_text(tmp_path, words, monkeypatch):
    monkeypatch.setattr(prepare, "_BPE_SAMPLE", 40_000)
    read_at_a_time(monkeypatch, 5_000)
    learned = []
    from_texts = BPETokenizer.from_texts
    monkeypatch.setattr(
        BPETokenizer, "from_texts", lambda texts, *more: from_texts((learned.append(t) or t for t in texts), *more)
    )
    prepare_text(tmp_path / "words.txt", tmp_path / "prepared", tokenizer="bpe", vocab_size=300)
    assert 20_000 < len("".join(learned).encode()) <= 45_000
    starts = [words.index(text) for text in learned]
    assert starts == sorted(starts)
    assert starts[-1] > 0.6 * len(words)


def test_large_vocabularies_take_four_bytes_a_token(tmp_path):
    """Of all pairs of bytes, each a token, the last have ids that two bytes cannot hold."""
    alphabet = list(_bytes_by_character())
    merges = [(one, other) for one in alphabet for other in alphabet]
    vocabulary = {token: index for index, token in enumerate([*alphabet, *map("".join, merges)])}
    tokenizer = tokenizer_from_json(
        {"type": "bpe", "vocabulary": vocabulary, "merges": [list(pair) for pair in merges]}
    )
    text = "zy xy ÿÿ\n" * 50
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "prepared").mkdir()
    reading = prepare._Reading(tmp_path / "text.txt", [tmp_path / "text.txt"], prepare.tqdm(disable=True))
    assert prepare._write(tmp_path / "prepared", reading, tokenizer).ids_type == "uint32"
    corpus = load_corpus(tmp_path / "prepared")
    assert corpus.train_ids.dtype == torch.uint32
    inputs, targets = BatchStream(corpus.train_ids, 8, 16, seed=1, vocab_size=tokenizer.vocab_size)[0]
    assert inputs.dtype == targets.dtype == torch.int64
    ids = torch.cat([corpus.train_ids.long(), corpus.validation_ids.long()]).tolist()
    assert ids == tokenizer.encode(text)


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_prepare_train_continue_and_generate(tmp_path, words, capsys, kind):
    source, folder, out = str(tmp_path / "words.txt"), str(tmp_path / "prepared"), str(tmp_path / "run")
    assert main(["prepare", source, "--out", folder, "--tokenizer", kind, "--vocab-size", "300"]) == 0
    printed = capsys.readouterr()
    assert f"words.txt: {len(words):,} characters became " in printed.out
    assert "ids: 100%" in printed.err
    assert main(["train", "--corpus", folder, "--out", out, *SMALL]) == 0
    assert main(["train", "--corpus", folder, "--out", out, *SMALL, "--steps", "4"]) == 0
    assert "continuing" in capsys.readouterr().out
    assert main(["generate", "--model", out, "--prompt", "né ab", "--max-new-tokens", "9", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("né ab")
    tokenizer = load_corpus(folder).tokenizer
    assert load_checkpoint(out).tokenizer.encode(words[:500]) == tokenizer.encode(words[:500])


# --- In little memory -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of a process's memory")
@pytest.mark.parametrize(("kind", "most"), [("characters", 50), ("bpe", 20)])
def test_memory_does_not_grow_with_the_text(tmp_path, kind, most):
    """A process takes hardly more at its peak for many megabytes of text than for three, and loads no PyTorch."""
    code = (
        "import sys; from pathlib import Path; from gpt.data import byte_pairs, prepare\n"
        "prepare._BPE_SAMPLE = 1_000_000\n"
        "prepare.prepare_text(sys.argv[1], sys.argv[2], tokenizer=sys.argv[3], vocab_size=300)\n"
        "assert 'torch' not in sys.modules\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    line = "The quick brown fox jumps over the lazy dog, and 12 foxes more.\n"
    peaks = []
    for megabytes in (3, most):
        source = tmp_path / f"{megabytes}.txt"
        source.write_text(line * (megabytes * 1_000_000 // len(line)))
        command = [sys.executable, "-c", code, source, tmp_path / f"prepared-{megabytes}", kind]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(1024 * int(finished.stdout))
    assert peaks[1] - peaks[0] < 12_000_000  # the allocator moves by some; the texts differ by more


# --- Whole or not at all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["characters", "bpe"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full"), None])
def test_an_interrupted_preparation_leaves_nothing(tmp_path, tiny_text, monkeypatch, kind, error):
    (tmp_path / "text.txt").write_text(tiny_text)
    write = prepare._write_json

    def interrupted(path, content):
        assert {path.name for path in (tmp_path / "prepared").iterdir()} == {".preparing", ".writer.lock"}
        if path.name == "meta.json" and error is not None:
            raise error
        write(path, content)

    monkeypatch.setattr(prepare, "_write_json", interrupted)
    if error is None:
        prepare_text(tmp_path / "text.txt", tmp_path / "prepared", tokenizer=kind)
        assert {path.name for path in tmp_path.iterdir()} == {"text.txt", "prepared"}
        return
    with pytest.raises(error if isinstance(error, type) else OSError):
        prepare_text(tmp_path / "text.txt", tmp_path / "prepared", tokenizer=kind)
    assert {path.name for path in tmp_path.iterdir()} == {"text.txt"}


def test_what_a_killed_preparation_left_is_cleared_away(tmp_path, tiny_text):
    (tmp_path / "text.txt").write_text(tiny_text)
    (tmp_path / "prepared" / ".preparing").mkdir(parents=True)
    (tmp_path / "prepared" / ".preparing" / "vocabulary.json").write_bytes(b"half")
    (tmp_path / "prepared" / "ids.bin").write_bytes(b"had come to its place")
    prepare_text(tmp_path / "text.txt", tmp_path / "prepared")
    assert {path.name for path in tmp_path.iterdir()} == {"text.txt", "prepared"}
    assert {path.name for path in (tmp_path / "prepared").iterdir()} == {"ids.bin", "vocabulary.json", "meta.json"}


def test_a_text_prepared_by_an_earlier_version_is_read(prepared):
    """Its vocabulary was called tokenizer.json."""
    before = load_corpus(prepared).tokenizer.itos
    (prepared / "vocabulary.json").rename(prepared / "tokenizer.json")
    assert load_corpus(prepared).tokenizer.itos == before


def test_a_disk_just_mounted_and_a_link_are_filled(tmp_path, tiny_text, monkeypatch):
    """The folder itself is neither removed nor renamed."""
    (tmp_path / "text.txt").write_text(tiny_text)
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    (tmp_path / "link").symlink_to("nothing yet")
    monkeypatch.chdir(tmp_path / "disk")
    inode = (tmp_path / "disk").stat().st_ino
    for out in (tmp_path / "link", Path(".")):
        prepare_text(tmp_path / "text.txt", out)
        assert load_corpus(str(out.resolve())).tokenizer.vocab_size > 1
    assert (tmp_path / "disk").stat().st_ino == inode
    assert (tmp_path / "link").is_symlink()


def test_a_folder_is_prepared_by_one_at_a_time_and_what_cannot_work_is_said_first(tmp_path, tiny_text, monkeypatch):
    (tmp_path / "text.txt").write_text(tiny_text)
    with writer_of(tmp_path / "prepared"), ThreadPoolExecutor() as others:
        trial = others.submit(prepare_text, tmp_path / "text.txt", tmp_path / "prepared")
        with pytest.raises(ValueError, match=r"is being written by process .*; wait until it has ended, or choose"):
            trial.result()
    monkeypatch.setattr(prepare, "_collect_characters", lambda _: pytest.fail("the text was read"))
    with pytest.raises(OSError, match="nothing can be saved there, so choose another folder"):
        prepare_text(tmp_path / "text.txt", tmp_path / "text.txt" / "prepared")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


# --- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("kind", ["characters", "bpe"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"words and words \xff and words", "'text.txt' is not UTF-8 text (byte 16); save it as UTF-8"),
        (b"\xef\xbb\xbfwords, words\xc3", "'text.txt' is not UTF-8 text (byte 15); save it as UTF-8"),
        (b"words and words \0 and words", "'text.txt' holds NUL bytes, so it is not a text"),
        (b"", {"characters": "'text.txt' holds no text", "bpe": "'text.txt' has 0 tokens"}),
        (b"abcab", {"characters": "'text.txt' has 5 characters", "bpe": "'text.txt' has 3 tokens; give a text of"}),
    ],
)
def test_what_is_not_a_text_to_learn_from_is_refused(tmp_path, capsys, kind, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    arguments = ["prepare", str(tmp_path / "text.txt"), "--out", str(tmp_path / "prepared"), "--tokenizer", kind]
    assert main(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("gpt: ")
    assert (message if isinstance(message, str) else message[kind]) in last
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_too_many_characters_are_refused_with_the_way_out(tmp_path):
    (tmp_path / "text.txt").write_text("".join(map(chr, range(0x4E00, 0x4E00 + 10_001))))
    with pytest.raises(ValueError, match="10,001 different characters, and at most 10,000 are allowed; take the tok"):
        prepare_text(tmp_path / "text.txt", tmp_path / "prepared")
    prepare_text(tmp_path / "text.txt", tmp_path / "prepared", tokenizer="bpe")


def test_a_text_that_changes_meanwhile_is_refused(tmp_path, tiny_text, monkeypatch):
    (tmp_path / "text.txt").write_text(tiny_text)
    collect = prepare._collect_characters

    def and_change(reading):
        vocabulary = collect(reading)
        (tmp_path / "text.txt").write_text(tiny_text + "é")
        return vocabulary

    monkeypatch.setattr(prepare, "_collect_characters", and_change)
    with pytest.raises(ValueError, match=r"'text.txt' changed while it was read; prepare it when nobody is writing"):
        prepare_text(tmp_path / "text.txt", tmp_path / "prepared")


def test_other_folders_are_left_alone(tmp_path, prepared):
    before = (prepared / "ids.bin").read_bytes()
    for name in ("prepared", "text.txt"):
        with pytest.raises(ValueError, match=rf"{name} exists and is not an empty folder; choose another folder, or"):
            prepare_text(tmp_path / "text.txt", tmp_path / name)
    assert (prepared / "ids.bin").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": "words"}, "there is no tokenizer 'words'; choose one of characters, bpe"),
        ({"tokenizer": "bpe", "vocab_size": 256}, "the vocabulary size is 256; give 257 to 200,000 tokens"),
        ({"tokenizer": "bpe", "vocab_size": 200_001}, "the vocabulary size is 200,001; give 257 to 200,000"),
        ({"source": "nowhere"}, "there is no text file or folder '.*nowhere'; give the path of one"),
        ({"source": ".", "pattern": "*.tex"}, r"no file in .* has a name like '\*.tex'; give another folder, or --pat"),
    ],
)
def test_arguments_that_are_not_allowed(tmp_path, tiny_text, options, message):
    (tmp_path / "text.txt").write_text(tiny_text)
    source = tmp_path / options.pop("source", "text.txt")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare_text(source, tmp_path / "prepared", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def edit(folder, **changes):
    """Set fields of meta.json."""
    content = json.loads((folder / "meta.json").read_text()) | changes
    (folder / "meta.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "ids.bin").write_bytes(b"\0" * 99), "ids.bin has 99 bytes, meta.json says 1,"),
        (lambda f: (f / "ids.bin").unlink(), "No such file"),
        (lambda f: (f / "vocabulary.json").unlink(), "vocabulary.json cannot be read"),
        (lambda f: (f / "vocabulary.json").write_text("{}"), "it is not a vocabulary of characters or of BPE"),
        (lambda f: (f / "vocabulary.json").write_text('{"type": "characters", "characters": ["a"]}'), "has 1 tokens"),
        (lambda f: (f / "meta.json").write_text("{"), "meta.json is not JSON; the file is damaged"),
        (lambda f: (f / "meta.json").write_text("[]"), "meta.json does not say that this is a gpt-lab-text-1"),
        (lambda f: (f / "meta.json").write_bytes(b"[" * 100_000), "meta.json is not JSON"),
        (lambda f: edit(f, format="other"), "meta.json does not say that this is a gpt-lab-text-1"),
        (lambda f: edit(f, more=1), "meta.json has other fields than a prepared text"),
        (lambda f: edit(f, tokens="many"), "its counts are not whole numbers above 0"),
        (lambda f: edit(f, tokens=-1), "its counts are not whole numbers above 0"),
        (lambda f: edit(f, tokens=10**30), "ids.bin has "),
        (lambda f: edit(f, tokens=1) or (f / "ids.bin").write_bytes(b"\0\0"), "ids.bin has 2 bytes"),
        (lambda f: edit(f, ids_type="float64"), "its ids_type is 'float64'; uint16 and uint32 are known"),
        (lambda f: edit(f, ids_type=["uint16"]), "its ids_type is"),
        (lambda f: edit(f, sha256="0"), "its name or sha256 is not one"),
        (lambda f: edit(f, name=None), "its name or sha256 is not one"),
    ],
)
def test_a_damaged_folder_is_refused_in_a_sentence(prepared, damage, message):
    damage(prepared)
    with pytest.raises(ValueError, match="is not a sound prepared text: ") as caught:
        load_corpus(prepared)
    assert message in str(caught.value)
    assert "prepare the text again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["learned", "tested", "first"])
def test_ids_beyond_the_vocabulary_are_refused_where_they_are_used(prepared, tmp_path, capsys, part):
    ids = np.fromfile(prepared / "ids.bin", dtype="<u2")
    split = int(0.9 * len(ids))
    ids[{"learned": slice(split), "tested": slice(split, None), "first": slice(split, split + 1)}[part]] = 60_000
    ids.tofile(prepared / "ids.bin")
    assert main(["train", "--corpus", str(prepared), "--out", str(tmp_path / "run"), *SMALL]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the text holds the token 60000 and its vocabulary ends at" in last
    assert "prepare the text again" in last
    with pytest.raises(ValueError, match="the text holds the token 60000"):
        load_corpus(prepared).bigram_loss  # noqa: B018


# --- Vocabularies as JSON -------------------------------------------------------------------------------------------


def test_vocabularies_come_back_from_json(words):
    for tokenizer in (CharTokenizer.from_text(words), BPETokenizer.from_texts([words], 400)):
        again = tokenizer_from_json(json.loads(json.dumps(tokenizer_to_json(tokenizer))))
        assert again.encode(words) == tokenizer.encode(words)
        assert again.vocab_size == tokenizer.vocab_size


def test_learning_the_same_text_gives_the_same_vocabulary(words):
    first, second = (json.dumps(tokenizer_to_json(BPETokenizer.from_texts([words], 400))) for _ in range(2))
    assert first == second


def test_a_tokenizer_that_cannot_be_written_is_refused():
    encoder = train_encoder()
    assert tokenizer_from_json(tokenizer_to_json(BPETokenizer(encoder))).encode(END_OF_TEXT) == [0]
    encoder.add_tokens(["<the end>"])
    with pytest.raises(ValueError, match="the added token '<the end>' cannot be saved; use a tokenizer without added"):
        tokenizer_to_json(BPETokenizer(encoder))
    with pytest.raises(
        ValueError, match="a tokenizer of the kind Other cannot be saved; use a CharTokenizer or a BPETokenizer"
    ):
        tokenizer_to_json(type("Other", (), {})())
