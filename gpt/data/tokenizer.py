"""From text to token ids and back: one token for each character, or GPT-2's pieces of words."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gpt.data.byte_level import END_OF_TEXT, is_vocabulary, make_encoder, read_encoder
from gpt.data.interruptible import interruptibly
from gpt.data.long_words import LONGEST_WORD, cut_long_words

if TYPE_CHECKING:
    import tokenizers

VOCABULARY_FILE = "vocabulary.json"  # where our folders keep one, as `tokenizer_to_json` gives it
OLD_VOCABULARY_FILE = "tokenizer.json"  # where earlier versions did: the name of another format elsewhere

_LARGEST_BPE = 200_000  # tokens that are learned; the largest in common use have as many
_LONGEST_TOKEN = 64  # bytes of a learned token: else long rules of dashes become tokens of thousands
_LONG_TEXT = 100_000  # characters that are encoded in about 0.1 s


class Tokenizer(Protocol):
    """What the rest of the library asks of a tokenizer; `CharTokenizer` and `BPETokenizer` are two."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens; their ids are 0 to vocab_size - 1."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; raises ValueError naming the characters that it has no tokens for."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; raises ValueError for an id outside the vocabulary."""

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The same text in pieces, as the ids come in; no piece ends within a character."""

    def unknown_characters(self, text: str) -> list[str]:
        """The characters that `encode` refuses, each once, in order of appearance."""

    def characters_begun(self) -> list[int]:
        """How many characters begin in each token, by id: the sum over a text's tokens is its number of characters."""


class CharTokenizer:
    """A vocabulary of single characters, numbered in the order given.

    Attributes:
        stoi: character -> id.
        itos: id -> character.

    Example:
        >>> tokenizer = CharTokenizer.from_text("hello")
        >>> tokenizer.encode("hole")
        [1, 3, 2, 0]
        >>> tokenizer.decode([1, 3, 2, 0])
        'hole'

    Raises:
        ValueError: an entry is not a single character, or one appears twice.
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self.itos = list(characters)
        for character in self.itos:
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"{character!r} is not a single character; a vocabulary lists single characters")
        self.stoi = {character: index for index, character in enumerate(self.itos)}
        if len(self.stoi) != len(self.itos):
            raise ValueError("a character appears twice in the vocabulary; each may appear once")

    @classmethod
    def from_text(cls, text: str) -> CharTokenizer:
        """The vocabulary of all characters of a text, in Unicode order."""
        return cls(sorted(set(text)))

    @property
    def vocab_size(self) -> int:
        """Number of characters."""
        return len(self.itos)

    def unknown_characters(self, text: str) -> list[str]:
        """The characters of a text that are not in the vocabulary, each once, in order of appearance."""
        return list(dict.fromkeys(character for character in text if character not in self.stoi))

    def characters_begun(self) -> list[int]:
        """One in each token."""
        return [1] * self.vocab_size

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; raises ValueError naming the characters that are not in the vocabulary."""
        try:
            return [self.stoi[character] for character in text]
        except KeyError:
            unknown = self.unknown_characters(text)
            named = " ".join(repr(character) for character in unknown[:10])
            more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
            raise ValueError(
                f"this model has never seen {named}{more}; leave these characters out "
                f"(it knows {self.vocab_size}: {self._alphabet()})"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; raises ValueError for an id outside the vocabulary."""
        indices = list(ids)
        for index in indices:
            if not 0 <= index < len(self.itos):
                raise ValueError(f"there is no token {index}; ids go from 0 to {len(self.itos) - 1}")
        return "".join(self.itos[index] for index in indices)

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of token ids as they come in, a character for each."""
        return (self.decode([index]) for index in ids)

    def _alphabet(self) -> str:
        shown = "".join(character for character in self.itos if character.isprintable())
        return shown if len(shown) <= 100 else shown[:100] + "..."


class BPETokenizer:
    """GPT-2's byte-level byte-pair encoding (Radford et al., 2019; pairs by Sennrich et al., 1508.07909).

    A text is taken as its UTF-8 bytes, so every character has tokens; common sequences of bytes were merged into one
    token, by rules that `tokenizers` applies. A character may be made of several tokens, and a token need not be text
    by itself: read tokens one by one with `decode_stream`. The text "<|endoftext|>" is one token, as in the original,
    and so is the text of every token that was added later.

    Args:
        encoder: a `tokenizers.Tokenizer` with a byte-level BPE; `BPETokenizer.from_folder` makes one.

    Raises:
        ValueError: the encoder is of another kind, lacks a byte, or leaves ids out.
    """

    def __init__(self, encoder: tokenizers.Tokenizer) -> None:
        from tokenizers import models, pre_tokenizers  # imported where it is used: `import gpt` stays light

        is_byte_level = isinstance(encoder.pre_tokenizer, pre_tokenizers.ByteLevel) and encoder.normalizer is None
        if not isinstance(encoder.model, models.BPE) or not is_byte_level:
            raise ValueError("it is not a byte-level BPE; give the tokenizer of an original GPT-2")
        vocabulary = encoder.get_vocab(with_added_tokens=True)
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise ValueError(f"it has {len(vocabulary):,} tokens, and their ids do not run from 0 upwards, each once")
        byte_of = _bytes_by_character()
        missing = byte_of.keys() - vocabulary.keys()
        if missing:
            raise ValueError(f"it has no tokens for {len(missing)} of the 256 bytes; a byte-level BPE has all of them")
        encoder.no_truncation()
        encoder.no_padding()
        self._encoder = encoder
        self._bytes = [b""] * len(vocabulary)  # of each token
        added = encoder.get_added_tokens_decoder()  # written as they are, and the others as bytes
        for token, index in vocabulary.items():
            if index not in added and all(character in byte_of for character in token):
                self._bytes[index] = bytes(byte_of[character] for character in token)
            else:
                self._bytes[index] = token.encode("utf-8")

    @classmethod
    def from_folder(cls, folder: str | Path) -> BPETokenizer:
        """Read `tokenizer.json`, or else `vocab.json` and `merges.txt`, as Hugging Face publishes GPT-2's.

        Tokens that were added later are in these, or in `added_tokens.json` or `tokenizer_config.json` beside them.

        Raises:
            ValueError: the files are not there, too large, damaged, or not those of a byte-level BPE.
        """
        encoder = read_encoder(Path(folder))
        try:
            return cls(encoder)
        except ValueError as error:
            raise ValueError(f"the tokenizer in {folder} is not sound: {error}") from None

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], vocab_size: int, tell: Callable[[str], None] = lambda sentence: None
    ) -> BPETokenizer:
        """Learn a vocabulary: the 256 bytes, then again and again the commonest pair of neighbours as one more token.

        Pairs do not reach across words, numbers and marks, as in the original, nor across two of the texts, nor, in a
        word of more than `LONGEST_WORD` bytes (DNA on one line has such words), across its parts of that length. There
        are fewer tokens than `vocab_size` where no pair is left that occurs twice.

        Args:
            texts: what to learn from.
            vocab_size: how many tokens there are to be.
            tell: is given a sentence if there were words to be cut.

        Raises:
            ValueError: a vocabulary without room for merges, or larger than any in use.
        """
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        if not 256 < vocab_size <= _LARGEST_BPE:
            raise ValueError(f"the vocabulary size is {vocab_size:,}; give 257 to {_LARGEST_BPE:,} tokens for BPE")
        encoder = Tokenizer(models.BPE())
        encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            max_token_length=_LONGEST_TOKEN,
            show_progress=False,
        )
        is_cut = False

        def parts() -> Iterator[str]:
            nonlocal is_cut
            for text in texts:
                some = cut_long_words(text)
                is_cut = is_cut or len(some) > 1
                yield from some

        interruptibly(lambda wanted: encoder.train_from_iterator(wanted(parts()), trainer))
        if is_cut:
            tell(f"words of more than {LONGEST_WORD} bytes, as where there are no spaces, were learned from in parts")
        return cls(encoder)

    @property
    def vocab_size(self) -> int:
        """Number of tokens; 50,257 in the original."""
        return len(self._bytes)

    def parts(self) -> dict[str, Any]:
        """What makes this tokenizer: {"vocabulary": token -> id, "merges": pairs of tokens, the first made first}.

        Raises:
            ValueError: it has added tokens of its own besides the end of a text, which are not among these parts.
        """
        content = json.loads(self._encoder.to_str())
        added = [token["content"] for token in content["added_tokens"] if token["content"] != END_OF_TEXT]
        if added:
            raise ValueError(f"the added token {added[0]!r} cannot be saved; use a tokenizer without added tokens")
        by_id = sorted(self._encoder.get_vocab().items(), key=lambda item: item[1])  # it comes in any order
        return {"vocabulary": dict(by_id), "merges": content["model"]["merges"]}

    def unknown_characters(self, text: str) -> list[str]:
        """None: every character has its bytes. (Half a surrogate pair is no character, and is named.)"""
        return list(dict.fromkeys(character for character in text if "\ud800" <= character <= "\udfff"))

    def characters_begun(self) -> list[int]:
        """How many characters begin in each token, by id: its bytes less those that go on with a character."""
        return [sum(byte & 0xC0 != 0x80 for byte in token) for token in self._bytes]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; raises ValueError if it holds half a surrogate pair, which is no text."""
        unknown = self.unknown_characters(text)
        if unknown:
            raise ValueError(f"the text holds {unknown[0]!r}, half of a character; leave it out")
        if len(text) > _LONG_TEXT:
            return self.encode_batch([text])[0]
        return self._encoder.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each of many texts; `encode` on as many threads as there are."""
        encodings = interruptibly(lambda _: self._encoder.encode_batch_fast(texts, add_special_tokens=False))
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, with U+FFFD for bytes that are not UTF-8; raises ValueError for an unknown id."""
        return "".join(self.decode_stream(ids))

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of token ids as they come in: a piece for each, empty while a character is incomplete.

        If the last character stays incomplete, one more piece says so with U+FFFD. Together the pieces are
        `decode(ids)`.
        """
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for index in ids:
            if not 0 <= index < len(self._bytes):
                raise ValueError(f"there is no token {index}; ids go from 0 to {len(self._bytes) - 1}")
            yield decoder.decode(self._bytes[index])
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest


def _bytes_by_character() -> dict[str, int]:
    """The characters in which a byte-level vocabulary writes bytes (`bytes_to_unicode` in OpenAI's encoder.py).

    A printable character stands for the byte of its own number; for the other 68 bytes stand, in order, the
    characters from U+0100 on. So a space is written "Ġ".
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


# --- As JSON --------------------------------------------------------------------------------------------------------


def tokenizer_to_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """A tokenizer as the JSON object that our folders keep in `VOCABULARY_FILE`; `tokenizer_from_json` reads it.

    Raises:
        ValueError: it is of another kind than ours, or has added tokens of its own besides the end of a text.
    """
    if isinstance(tokenizer, CharTokenizer):
        return {"type": "characters", "characters": tokenizer.itos}
    if isinstance(tokenizer, BPETokenizer):
        return {"type": "bpe", **tokenizer.parts()}
    raise ValueError(
        f"a tokenizer of the kind {type(tokenizer).__name__} cannot be saved; use a CharTokenizer or a BPETokenizer"
    )


def tokenizer_from_json(content: Any) -> Tokenizer:
    """The tokenizer of a JSON object that `tokenizer_to_json` made.

    Only tokens and merges are taken from it, so a stranger's file can choose what is encoded and nothing of how.

    Raises:
        ValueError: it is not such an object, or what it holds is not a vocabulary.
    """
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "characters":
        if not isinstance(content.get("characters"), list):
            raise ValueError("it lacks its list of characters")
        return CharTokenizer(content["characters"])
    if kind == "bpe":
        return _bpe_from_json(content)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        raise ValueError(
            "it is a tokenizer in Hugging Face's format, and a checkpoint of GPT Lab has its vocabulary in "
            f"{VOCABULARY_FILE}; open a folder in the layout of transformers with load_pretrained"
        )
    raise ValueError("it is not a vocabulary of characters or of BPE")


def _bpe_from_json(content: dict[str, Any]) -> BPETokenizer:
    token_ids, merges = content.get("vocabulary"), content.get("merges")
    if not is_vocabulary(token_ids):
        raise ValueError("it lacks its tokens and their ids")
    if not isinstance(merges, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in merges):
        raise ValueError("it lacks its list of merges, each a pair of tokens")
    try:
        return BPETokenizer(make_encoder(token_ids, [(left, right) for left, right in merges]))
    except Exception as error:  # `tokenizers` raises plain ones, some of several lines
        raise ValueError(" ".join(str(error).split())[:200]) from None
