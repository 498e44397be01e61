"""The texts to learn from: those that have a name, a visitor's own, how one begins, and what it is made of."""

from __future__ import annotations

import threading
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import gradio as gr

from gpt.data.corpora import CORPORA, CorpusUnavailable, load_corpus
from gpt.data.text import clean_text
from gpt.runs.limits import LARGEST_OWN_TEXT, MOST_OWN_FILES
from gpt.ui.requests import one_sentence, require_choice, require_text, require_whole, sentence
from gpt.ui.train.settings import OWN_TEXT, TOKENS, TrainSettings

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus
    from gpt.data.tokenizer import Tokenizer

_SHOWN_CHARACTERS = 600  # of the beginning of a text
_LONGEST_FILE_NAME = 1000  # characters, with its folders
_NAMED_FILES = 8  # in a sentence
_PROBLEMS = {"size": "too long", "encoding": "not UTF-8 text"}  # that a page may tell of a file
_learning = threading.Lock()  # byte pairs are learned for one visitor at a time: it takes a core for seconds


@lru_cache(maxsize=16)
def _named_corpus(name: str, byte_pairs: int | None = None) -> Corpus:
    return load_corpus(name) if byte_pairs is None else load_corpus(name, byte_pairs)


def _corpus(choice: str, own_text: str, byte_pairs: int | None) -> Corpus:
    if byte_pairs is not None:
        with _learning:
            return _corpus_now(choice, own_text, byte_pairs)
    return _corpus_now(choice, own_text, None)


def _corpus_now(choice: str, own_text: str, byte_pairs: int | None) -> Corpus:
    if choice != OWN_TEXT:
        return _named_corpus(choice, byte_pairs)
    from gpt.data.corpus import Corpus  # here, because the page is made before PyTorch is loaded

    return Corpus.from_text(OWN_TEXT, own_text, byte_pairs)


def corpus_for(settings: TrainSettings, vocabulary: Tokenizer | None = None) -> tuple[Corpus, str]:
    """The corpus asked for, and a notice: empty, or why it is another one.

    Args:
        settings: which.
        vocabulary: of the model to begin from, whose tokens the text is cut into then, whatever the settings say.

    Raises:
        ValueError: the text is none to learn from, or that model does not know all its characters.
    """
    byte_pairs = TOKENS[settings.tokens] if vocabulary is None else None
    notice = ""
    try:
        corpus = _corpus(settings.text, settings.own_text, byte_pairs)
    except CorpusUnavailable as error:
        corpus = _corpus("python-docs", "", byte_pairs)
        notice = f"{sentence(error)} Training on python-docs instead."
    return corpus if vocabulary is None else corpus.written_with(vocabulary), notice


# --- How a text begins ----------------------------------------------------------------------------------------------


def preview_text(choice: Any, own_text: Any, tokens: Any) -> dict[str, Any]:
    """How a text begins, cut into its tokens, with its size, vocabulary and split, as `token_text` takes it."""
    try:
        require_choice("tokens", tokens, TOKENS)
        require_choice("text", choice, [*CORPORA, OWN_TEXT])
        own = require_text(OWN_TEXT, own_text or "", LARGEST_OWN_TEXT) if choice == OWN_TEXT else ""
        corpus = _corpus(choice, own, TOKENS[tokens])
    except (ValueError, CorpusUnavailable) as error:
        return {"sentence": sentence(error), "is_error": True, "tokens": []}
    learned, kept = len(corpus.train_ids), len(corpus.validation_ids)
    size = f"{learned + kept:,} characters"
    if corpus.tokenizer_sha256:
        size = f"{learned + kept:,} tokens of {1 / corpus.tokens_per_character:.2f} characters each, on average"
    return {
        "sentence": f"{size}, {corpus.tokenizer.vocab_size} different ones; the first {learned:,} are for training, "
        f"the last {kept:,} for validation.",
        "is_error": False,
        "tokens": _first_tokens(corpus),
    }


def _first_tokens(corpus: Corpus) -> list[str]:
    ids = corpus.train_ids[:_SHOWN_CHARACTERS].tolist()
    pieces, shown = [], 0
    for piece in islice(corpus.tokenizer.decode_stream(ids), len(ids)):  # not what is left of a character cut in two
        shown += len(piece)
        if shown > _SHOWN_CHARACTERS:
            break
        pieces.append(piece)
    return pieces


# --- Files ----------------------------------------------------------------------------------------------------------


def read_files(sent: gr.EventData) -> tuple[str, dict[str, Any]]:
    """The text of the files that a page has read, and what `text_files` is to say of them."""
    with one_sentence():
        others = require_whole("the number of other files", getattr(sent, "others", None), 0, 10**9)
        return join_files(getattr(sent, "files", None), others)


def join_files(files: Any, others: int = 0) -> tuple[str, dict[str, Any]]:
    """One text of several files, in the order of their names, with a line end between one and the next.

    Args:
        files: a list of {"name", "text", "problem"}, as `text_files` sends it.
        others: how many more were left out.

    Returns:
        The text, and {"sentences"} on what was taken and what was left out: hidden files, those with another ending,
        those without text, and what is too much.

    Raises:
        ValueError: it is no such list, or nothing is left of it.
    """
    if not isinstance(files, list) or not 0 < len(files) <= 2 * MOST_OWN_FILES:
        raise ValueError(f"no files arrived; choose 1 to {MOST_OWN_FILES} text files, or a folder of them")
    taken: dict[str, str] = {}
    left_out: list[str] = []
    named = [(require_text("a file's name", _part(file, "name"), _LONGEST_FILE_NAME), file) for file in files]
    for name, file in sorted(named, key=lambda pair: pair[0]):
        room = LARGEST_OWN_TEXT - sum(len(text) + 1 for text in taken.values())
        text, why = _content(name, _part(file, "text"), _part(file, "problem"), room)
        if why:
            left_out.append(f"{name} ({why})")
        else:
            taken[name] = text
    if not taken:
        raise ValueError(f"there is no text to learn from in these files: {_some(left_out, others)}")
    joined = "\n".join(taken.values())
    sentences = [f"Taken, in this order: {_some(list(taken))}; {len(joined):,} characters in all."]
    if left_out or others:
        sentences.append(f"Left out: {_some(left_out, others)}.")
    return joined, {"sentences": sentences}


def _part(file: Any, key: str) -> Any:
    return file.get(key) if isinstance(file, dict) else None


def _content(name: str, text: Any, problem: Any, room: int) -> tuple[str, str]:
    """A file's text, and why it is left out, or ""."""
    if any(part.startswith(".") for part in name.split("/")):
        return "", "hidden"
    if not name.lower().endswith(".txt"):
        return "", "not a .txt file"
    if not isinstance(text, str):
        return "", _PROBLEMS.get(problem, "not read") if isinstance(problem, str) else "not read"
    try:
        text = clean_text(name, text)
    except ValueError:
        return "", "not a text"
    if not text:
        return "", "empty"
    return (text, "") if len(text) <= room else ("", f"would make more than {LARGEST_OWN_TEXT:,} characters in all")


def _some(names: list[str], others: int = 0) -> str:
    """The first of these names, and how many more there are."""
    more = max(0, len(names) - _NAMED_FILES) + others
    return ", ".join([*names[:_NAMED_FILES], *([f"{more:,} more"] if more else [])])
