"""The models that ship: one recipe for all, the command that makes each again, and how each is held to its card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt.checkpoints.card import MOST_WINDOWS, card_text, samples
from gpt.checkpoints.files import CheckpointError, read_bytes
from gpt.checkpoints.folder import load_checkpoint, read_description
from gpt.checkpoints.saves import read_save
from gpt.data.corpora import CORPORA, CorpusUnavailable, load_corpus
from gpt.data.corpus import Corpus
from gpt.model.config import VARIANTS
from gpt.training.evaluation import evaluate

# Matched: the same data, seed, batches and steps for every variant.
SHIPPED = tuple(VARIANTS)
_SIZE = ("--num-layers", "6", "--num-heads", "6", "--embed-size", "192", "--context-length", "256")
_KEPT = ("--snapshots", "30", "100", "300", "--final")
_LARGEST_DIFFERENCE = 1e-3  # nats per token, between this machine's arithmetic and the one a card was made on


def training_arguments(variant: str, parent: str | Path) -> list[str]:
    """What to give `python -m gpt` to train a shipped model into a folder of its name below `parent`."""
    place = Path(parent) / variant
    return ["train", "--recipe", "showcase", "--variant", variant, *_SIZE, *_KEPT, "--out", place.as_posix()]


@dataclass(frozen=True)
class Finding:
    """One thing that a card says, compared with what its folder holds.

    Attributes:
        what: was compared, in a few words.
        is_right: whether it is as the card says; None where it could not be compared.
        detail: the figures, or why not.
    """

    what: str
    is_right: bool | None
    detail: str


def corpus_of(folder: str | Path) -> Corpus | None:
    """The text a checkpoint learned from, if it is one of ours and can be had.

    Raises:
        CheckpointError: the folder is not a sound checkpoint.
    """
    name = load_checkpoint(folder).corpus.get("name")
    try:
        return load_corpus(str(name)) if name in CORPORA else None
    except CorpusUnavailable:
        return None


def findings(folder: str | Path, corpus: Corpus | None) -> Iterator[Finding]:
    """Compare a card with the weights beside it: checksum, text, loss over the validation text, samples.

    Args:
        folder: a checkpoint that was finished with a result.
        corpus: the text it learned from; None where that is not at hand.

    Raises:
        CheckpointError: the folder is not a sound checkpoint, or its config.json holds no result.
    """
    folder = Path(folder)
    checkpoint, description = load_checkpoint(folder), read_description(folder)
    said = checkpoint.result
    if not said:
        raise CheckpointError(f"{folder} holds no result to compare; `python -m gpt train --final` saves one")
    weights, card = read_save(
        folder, lambda save: [read_bytes(save.path(n)) for n in ("model.safetensors", "README.md")]
    )
    digest = hashlib.sha256(weights).hexdigest()
    yield Finding("checksum of the weights", digest == said["weights_sha256"], digest[:16])
    text = card.decode("utf-8", "replace").replace("\r\n", "\n")  # as git may write it
    title = text.partition("\n")[0].removeprefix("# ")  # the folder's name once, and folders are renamed
    is_same_card = text == card_text(title, description, checkpoint.history)
    yield Finding("card", is_same_card, "says what config.json and history.jsonl say")
    for ours, theirs in zip(samples(checkpoint.model, checkpoint.tokenizer), said["samples"], strict=True):
        yield Finding(f"sample of seed {theirs['seed']}", ours == theirs, repr(ours["text"][:40]))
    if corpus is None:
        yield Finding("loss", None, f"the text {checkpoint.corpus.get('name')} is not here")
        return
    yield Finding("checksum of the text", corpus.sha256 == checkpoint.corpus.get("sha256"), corpus.sha256[:16])
    loss = evaluate(checkpoint.model, corpus, most_windows=MOST_WINDOWS)
    difference = loss - said["validation_loss"]
    yield Finding("loss", abs(difference) <= _LARGEST_DIFFERENCE, f"{loss:.5f} ({difference:+.1e})")
