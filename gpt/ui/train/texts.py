"""The texts to learn from: those that have a name, a visitor's own, and how one begins."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import gradio as gr

from gpt.data.corpora import CORPORA, CorpusUnavailable, load_corpus
from gpt.data.text import decode_text
from gpt.runs.limits import LARGEST_OWN_TEXT
from gpt.ui.requests import one_sentence, require_choice, require_text, sentence
from gpt.ui.train.settings import OWN_TEXT, TrainSettings

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus


@lru_cache(maxsize=4)
def _named_corpus(name: str) -> Corpus:
    return load_corpus(name)


def _own_corpus(text: str) -> Corpus:
    from gpt.data.corpus import Corpus  # here, because the page is made before PyTorch is loaded

    return Corpus.from_text(OWN_TEXT, text)


def corpus_for(settings: TrainSettings) -> tuple[Corpus, str]:
    """The corpus asked for, and a notice: empty, or why it is another one."""
    if settings.text == OWN_TEXT:
        return _own_corpus(settings.own_text), ""
    try:
        return _named_corpus(settings.text), ""
    except CorpusUnavailable as error:
        return _named_corpus("python-docs"), f"{sentence(error)} Training on python-docs instead."


def preview_text(choice: Any, own_text: Any) -> gr.Textbox:
    """How a text begins, with its size, vocabulary and split."""
    try:
        if choice == OWN_TEXT:
            corpus = _own_corpus(require_text(OWN_TEXT, own_text or "", LARGEST_OWN_TEXT))
        else:
            require_choice("text", choice, CORPORA)
            corpus = _named_corpus(choice)
    except (ValueError, CorpusUnavailable) as error:
        return gr.Textbox("", info=sentence(error), show_label=True, label="The text")
    learned, kept = len(corpus.train_ids), len(corpus.validation_ids)
    info = (
        f"{learned + kept:,} characters, {corpus.tokenizer.vocab_size} different ones; "
        f"the first {learned:,} are learned from, the last {kept:,} tested on."
    )
    begins = corpus.tokenizer.decode(corpus.train_ids[:600].tolist())
    return gr.Textbox(begins, info=info, show_label=True, label="The text")


def read_upload(content: Any) -> str:
    """The text of an uploaded file."""
    with one_sentence():
        if not isinstance(content, bytes) or len(content) > 4 * LARGEST_OWN_TEXT:
            raise ValueError(f"this is not a text file of at most {LARGEST_OWN_TEXT:,} characters; choose another")
        return require_text("the file", decode_text("the file", content), LARGEST_OWN_TEXT)
