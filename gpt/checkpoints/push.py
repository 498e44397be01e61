"""A trained model to the Hugging Face hub, with its card, by `huggingface_hub` and the login it keeps."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from gpt.checkpoints.files import CheckpointError, read_bytes
from gpt.checkpoints.saves import Save, read_save
from gpt.checkpoints.transformers_export import transformers_files
from gpt.checkpoints.upload import open_checkpoint

TARGETS = ("transformers",)  # layouts to export to, besides our own

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9])?")  # of a user or of a model
_KEPT_HERE = "training.safetensors"  # what going on needs, larger than all the rest


class PushFailed(RuntimeError):
    """A model could not be pushed; the message says why and what to do."""


def push_checkpoint(source: str | Path, repo: str, *, private: bool = False, to: str | None = None) -> str:
    """Push a checkpoint as a model of the hub; the hub keeps what was pushed under that name before as a version.

    Args:
        source: the checkpoint folder; or with `to`, its zip file as well.
        repo: "user/name" or "organisation/name" on the hub; made if it is not there.
        private: whether only its owner sees it, if it is made.
        to: one of `TARGETS` to push it in that layout; None pushes the files of the checkpoint as they are.

    Returns:
        Its address.

    Raises:
        ValueError: the name is malformed, the checkpoint is not sound, or transformers has no place for it.
        PushFailed: nobody is logged in, the hub refused, or it could not be reached.
    """
    user, slash, name = repo.partition("/")
    is_written_so = slash and all(
        _NAME.fullmatch(part) and "--" not in part and ".." not in part for part in (user, name)
    )
    if not is_written_so or name.endswith(".git"):
        raise ValueError(
            f"the name {repo[:120]!r} is not one of the hub's; give user/name, both of letters, digits, '-', '_', '.'"
        )
    files = _own_files(Path(source)) if to is None else transformers_files(open_checkpoint(source), name, place=repo)
    with TemporaryDirectory(prefix="gpt-lab-push-") as place:
        for file, content in files.items():
            Path(place, file).write_bytes(content)
        return _upload(Path(place), repo, private)


def _own_files(folder: Path) -> dict[str, bytes]:
    """The files of the last save in a checkpoint folder, which is known to be sound."""
    if not folder.is_dir():
        raise CheckpointError(
            f"there is no checkpoint folder {str(folder)!r}; give one that `python -m gpt train` made"
        )
    open_checkpoint(folder)

    def read(save: Save) -> dict[str, bytes]:
        return {name: read_bytes(path) for name, path in save.places.items() if name != _KEPT_HERE}

    return read_save(folder, read)


def _upload(folder: Path, repo: str, private: bool) -> str:
    import huggingface_hub  # only where something is pushed

    try:
        if huggingface_hub.get_token() is None:
            raise PushFailed("nobody is logged in to the Hugging Face hub here; run `hf auth login`, then push again")
        api = huggingface_hub.HfApi()
        address = str(api.create_repo(repo, private=private, exist_ok=True))
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Push a model of GPT Lab")
    except PushFailed:
        raise
    except Exception as error:  # no network, an error of the hub: the libraries below have many kinds
        raise PushFailed(_why(error, repo)) from error
    return address


def _why(error: Exception, repo: str) -> str:
    """Why a push has failed, in a sentence."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return "the hub does not know the login that is kept here; run `hf auth login` again, then push again"
    if status == 403:
        return (
            f"the hub lets this login write nothing to {repo}; push under your own name, or log in by `hf auth login` "
            f"with a token that may write"
        )
    if status is not None:
        return f"the hub refused {repo} (status {status}); try again later"
    return (
        f"{repo} could not be pushed to huggingface.co ({type(error).__name__}); connect to the network and try again"
    )
