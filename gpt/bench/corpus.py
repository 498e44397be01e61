"""The text the benchmarks learn from."""

from __future__ import annotations

from gpt.bench.turns import progress
from gpt.data.corpora import CorpusUnavailable, load_corpus
from gpt.data.corpus import Corpus


def shakespeare_or_docs(given: Corpus | None = None) -> tuple[Corpus, str]:
    """The text given, else Tiny Shakespeare, else Python's own documentation; and a sentence on which it is."""
    if given is not None:
        return given, f"The text is {given.name}."
    try:
        return load_corpus("shakespeare"), "The text is Tiny Shakespeare."
    except CorpusUnavailable as error:
        progress(str(error))
        return load_corpus("python-docs"), "The text is python-docs, as Tiny Shakespeare is not here."
