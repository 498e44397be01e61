"""Characters to ids and back."""

from __future__ import annotations

import json
import random

import pytest
from gpt2_folders import END_OF_TEXT, TEXTS, VOCAB_SIZE, edit_json, save_tokenizer, train_encoder
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from gpt import BPETokenizer, CharTokenizer
from gpt.data.long_words import cut_long_words

_DRAW = random.Random(0)
_WORDS = ["".join(_DRAW.choices("abcdefgh", k=_DRAW.randint(1, 9))) for _ in range(200)] + ["né", "中文字", "-" * 200]
TEXTS_OF_WORDS = "".join(_DRAW.choice(_WORDS) + _DRAW.choice([" ", "  ", "\n", ", ", " 12 "]) for _ in range(3000))


def test_vocabulary_is_in_unicode_order():
    tokenizer = CharTokenizer.from_text("hello, wörld\n")
    assert tokenizer.itos == sorted(set("hello, wörld\n"))
    assert tokenizer.stoi == {character: index for index, character in enumerate(tokenizer.itos)}
    assert tokenizer.vocab_size == len(tokenizer.itos) == 11


@pytest.mark.parametrize("text", ["", "a", "To be, or not to be:\n\tthat is…", "naïve 🙂 é e\u0301 \u2028 中文"])
def test_round_trip(text):
    tokenizer = CharTokenizer.from_text(text + "xyz")
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text


def test_numbering_is_the_order_given():
    tokenizer = CharTokenizer("cab")
    assert tokenizer.encode("abc") == [1, 2, 0]


def test_unknown_characters_are_named_and_not_dropped():
    tokenizer = CharTokenizer("abc\n")
    assert tokenizer.unknown_characters("a?b!?c") == ["?", "!"]
    with pytest.raises(ValueError, match=r"has never seen '\?' '!'; leave these characters out \(it knows 4: abc\)"):
        tokenizer.encode("a?b!?c")


def test_a_long_list_of_unknown_characters_is_cut():
    with pytest.raises(ValueError, match="and 16 more"):
        CharTokenizer("AB").encode("abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize("index", [-1, 3, 100])
def test_ids_outside_the_vocabulary_are_refused(index):
    with pytest.raises(ValueError, match=f"there is no token {index}; ids go from 0 to 2"):
        CharTokenizer("abc").decode([0, index])


@pytest.mark.parametrize("entry", ["", "ab", 3, None])
def test_entries_must_be_single_characters(entry):
    with pytest.raises(ValueError, match="is not a single character"):
        CharTokenizer(["a", entry])


def test_entries_may_appear_once():
    with pytest.raises(ValueError, match="a character appears twice"):
        CharTokenizer("aba")


def test_characters_stream_one_by_one():
    assert list(CharTokenizer("abc").decode_stream(iter([2, 0]))) == ["c", "a"]


# --- Byte-level BPE -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["whole", "parts"])
def bpe(request, tmp_path_factory):
    """Our tokenizer read from each form of files, and transformers'."""
    folder = tmp_path_factory.mktemp(request.param)
    reference = save_tokenizer(folder, request.param)
    return BPETokenizer.from_folder(folder), reference


@pytest.fixture(scope="module")
def words():
    return BPETokenizer(train_encoder())


def test_its_tokens_are_those_of_transformers(bpe):
    tokenizer, reference = bpe
    assert tokenizer.vocab_size == len(reference) == VOCAB_SIZE
    for text in TEXTS:
        assert tokenizer.encode(text) == reference(text).input_ids
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.unknown_characters(text) == []


def test_any_ids_decode_as_in_transformers_whole_or_streamed(bpe):
    """Random tokens are mostly not UTF-8: what stands for the broken bytes has to be the same, too."""
    tokenizer, reference = bpe
    draw = random.Random(0)
    for _ in range(500):
        ids = draw.choices(range(VOCAB_SIZE), k=draw.randrange(30))
        expected = reference.decode(ids, clean_up_tokenization_spaces=False)
        assert tokenizer.decode(ids) == expected
        assert "".join(tokenizer.decode_stream(iter(ids))) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_no_piece_ends_within_a_character(words, text):
    """One piece a token, empty while a character is incomplete, and at each moment a beginning of the text."""
    ids, so_far = words.encode(text), ""
    pieces = list(words.decode_stream(ids))
    assert len(pieces) == len(ids)
    for piece in pieces:
        so_far += piece
        assert text.startswith(so_far)
    assert so_far == text


def test_a_stream_holds_an_emoji_back_until_it_is_whole(words):
    ids = words.encode("a👩")
    assert list(words.decode_stream(ids)) == ["a", *[""] * (len(ids) - 2), "👩"]
    assert list(words.decode_stream(ids[:-1])) == ["a", *[""] * (len(ids) - 2), "\ufffd"]


def test_a_stream_asks_for_no_token_ahead(words):
    asked = []
    stream = words.decode_stream(asked.append(index) or index for index in words.encode("The fox"))
    assert asked == []
    next(stream)
    assert len(asked) == 1


@pytest.mark.parametrize("index", [-1, VOCAB_SIZE])
def test_bpe_ids_outside_the_vocabulary_are_refused(words, index):
    with pytest.raises(ValueError, match=f"there is no token {index}; ids go from 0 to {VOCAB_SIZE - 1}"):
        words.decode([0, index])


def test_half_a_surrogate_pair_is_no_text(words):
    assert words.unknown_characters("a\ud800b\udfff\ud800") == ["\ud800", "\udfff"]
    with pytest.raises(ValueError, match="half of a character; leave it out") as caught:
        words.encode("a\ud800")
    str(caught.value).encode("utf-8")


def test_an_added_token_is_written_as_it_is():
    encoder = train_encoder()
    encoder.add_tokens(["<the end>"])
    tokenizer = BPETokenizer(encoder)
    assert tokenizer.encode("x<the end>")[-1] == VOCAB_SIZE
    assert tokenizer.decode([VOCAB_SIZE]) == "<the end>"


def test_older_files_and_settings_that_would_change_a_text(tmp_path):
    """The hub's tokenizer.json names no type of model and writes merges as text; padding and cutting are not ours."""
    save_tokenizer(tmp_path)
    expected = BPETokenizer.from_folder(tmp_path).encode(TEXTS[1])
    model = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    del model["type"]
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    edit_json(tmp_path / "tokenizer.json", model=model, truncation=cut)
    assert BPETokenizer.from_folder(tmp_path).encode(TEXTS[1]) == expected


def test_windows_line_ends_in_merges(tmp_path):
    reference = save_tokenizer(tmp_path, "parts")
    content = (tmp_path / "merges.txt").read_bytes()
    (tmp_path / "merges.txt").write_bytes(content.replace(b"\n", b"\r\n"))
    assert BPETokenizer.from_folder(tmp_path).encode(TEXTS[1]) == reference(TEXTS[1]).input_ids


def test_other_kinds_of_tokenizers_are_refused():
    with pytest.raises(ValueError, match="it is not a byte-level BPE; give the tokenizer of an original GPT-2"):
        BPETokenizer(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    encoder = train_encoder()
    encoder.normalizer = normalizers.Lowercase()
    with pytest.raises(ValueError, match="it is not a byte-level BPE"):
        BPETokenizer(encoder)
    for vocabulary, message in (
        ({"a": 0, "b": 1}, "it has no tokens for 254 of the 256 bytes"),
        ({"a": 0, "b": 2}, "it has 2 tokens, and their ids do not run from 0 upwards"),
    ):
        encoder = Tokenizer(models.BPE(vocabulary, []))
        encoder.pre_tokenizer = pre_tokenizers.ByteLevel()
        with pytest.raises(ValueError, match=message):
            BPETokenizer(encoder)


@pytest.mark.parametrize("form", ["whole", "parts"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"/etc/passwd"', b"[" * 100_000, b'{"a": -1}', b'{"a": "b"}', b"\xff"]
)
def test_damaged_bpe_files_are_refused_in_a_sentence(tmp_path, form, content):
    save_tokenizer(tmp_path, form)
    name = "tokenizer.json" if form == "whole" else "vocab.json"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} .*is not|{name} is not UTF-8 text") as caught:
        BPETokenizer.from_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_and_oversized_bpe_files(tmp_path):
    save_tokenizer(tmp_path, "parts")
    with open(tmp_path / "vocab.json", "ab") as file:
        file.truncate(20_000_001)
    with pytest.raises(ValueError, match=r"vocab.json has 20,000,001 bytes; at most 20,000,000 are read"):
        BPETokenizer.from_folder(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(
        ValueError, match=r"no tokenizer is in .*; put tokenizer.json there, or vocab.json and merges.txt"
    ):
        BPETokenizer.from_folder(tmp_path)


def test_merges_of_tokens_that_are_not_there(tmp_path):
    save_tokenizer(tmp_path, "parts")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nnot there\n")
    with pytest.raises(ValueError, match=r"vocab.json with merges.txt in .* is not sound: .*out of vocabulary"):
        BPETokenizer.from_folder(tmp_path)


def test_the_end_of_text_is_one_token(bpe):
    assert len(bpe[0].encode(END_OF_TEXT)) == 1


def test_merges_of_ordinary_text_are_those_of_whole_words():
    """That longer words than these would be learned from in parts changes nothing."""
    text = TEXTS_OF_WORDS
    encoder = Tokenizer(models.BPE())
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    encoder.train_from_iterator(
        [text],
        trainers.BpeTrainer(
            vocab_size=600, min_frequency=2, initial_alphabet=alphabet, max_token_length=64, show_progress=False
        ),
    )
    assert cut_long_words(text) == [text]
    assert BPETokenizer.from_texts([text], 600).parts() == BPETokenizer(encoder).parts()


def test_a_long_text_is_encoded_as_a_short_one():
    tokenizer = BPETokenizer.from_texts([TEXTS_OF_WORDS], 400)
    long = TEXTS_OF_WORDS * 10
    assert len(long) > 100_000
    assert tokenizer.encode(long) == tokenizer._encoder.encode(long).ids
