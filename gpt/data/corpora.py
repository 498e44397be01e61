"""The texts to learn from, by name or path: fetched, built in, or your own.

Their names are known without PyTorch, which is loaded with the first text.
"""

from __future__ import annotations

import hashlib
import os
import shlex
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
    "python-docs": "Python's own reference prose, half a million characters that every Python brings along",
    **{f"{_TASK}{name}": f"Toy task: {task.meaning}, such as {task.line}" for name, task in TASKS.items()},
}


_SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


_LARGEST_FILE = 50_000_000  # bytes


class CorpusUnavailable(RuntimeError):
    """A corpus that has to be fetched could not be; the message says why and what to do."""


def load_corpus(name_or_path: str | Path) -> Corpus:
    """Load a corpus by name (see `CORPORA`), or by its path a UTF-8 text file of your own, or a prepared text.

    A prepared text, of any length, is a folder that `prepare_text` made; its ids stay in their file. In a file's place
    may be a pipe, such as /dev/stdin, or "-" for standard input, which is read to its end.

    Tiny Shakespeare is looked for in the folder named by the environment variable GPT_LAB_DATA (as
    `tinyshakespeare/input.txt`), then in the user's cache folder, and else fetched, with its checksum verified.

    Raises:
        CorpusUnavailable: Tiny Shakespeare is not here and cannot be fetched.
        FileNotFoundError: there is no corpus and no file of that name.
        ValueError: the file is not a text to learn from, or the folder not a sound prepared text.
        OSError: the file cannot be read.
    """
    from gpt.data.corpus import Corpus
    from gpt.data.prepare import load_prepared

    if name_or_path == "shakespeare":
        return Corpus.from_text("shakespeare", _tiny_shakespeare())
    if name_or_path == "python-docs":
        return Corpus.from_text("python-docs", _python_docs())
    if name_or_path in CORPORA:
        name = str(name_or_path)
        return Corpus.from_text(name, task_text(name.removeprefix(_TASK)))
    path = Path(name_or_path)
    if (path / "meta.json").is_file():
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
    return Corpus.from_text(text_name(name_or_path), _read_text(name_or_path))


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

    try:
        return Path(
            pooch.retrieve(
                _SHAKESPEARE_URL,
                known_hash=f"sha256:{_SHAKESPEARE_SHA256}",
                fname="tinyshakespeare.txt",
                path=pooch.os_cache("gpt-lab"),
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=20),
            )
        )
    except (OSError, ValueError) as error:  # no network, an error from the server, a wrong checksum
        raise CorpusUnavailable(
            f"Tiny Shakespeare could not be fetched ({type(error).__name__}); use the corpus python-docs, which needs "
            f"no network, or put the file in a folder as tinyshakespeare/input.txt and name the folder in "
            f"{DATA_FOLDER_VARIABLE}"
        ) from error


def _python_docs() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))
