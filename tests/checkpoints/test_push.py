"""Pushing to the Hugging Face hub: what is sent, and one sentence for whatever keeps it from arriving. No network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from gpt import CharTokenizer, save_checkpoint
from gpt.__main__ import main

ADDRESS = "https://huggingface.co/someone/small"


class FakeHub:
    """What `HfApi` is asked for, and the files that it was given."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bool]] = []
        self.files: dict[str, bytes] = {}
        self.fails: Exception | None = None

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        self.made.append((repo_id, private))
        return ADDRESS

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        if self.fails is not None:
            raise self.fails
        assert repo_id == self.made[-1][0]
        assert commit_message
        self.files = {path.name: path.read_bytes() for path in folder_path.iterdir()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A hub where somebody is logged in."""
    fake = FakeHub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    return fake


@pytest.fixture
def checkpoint(tmp_path: Path, small_model: Callable[..., Any]) -> Path:
    save_checkpoint(tmp_path / "small", small_model("modern"), CharTokenizer("abcdefghijklm"))
    (tmp_path / "small" / "notes.txt").write_text("not for others")
    (tmp_path / "small" / "training.safetensors").write_bytes(b"what going on needs")
    return tmp_path / "small"


def push(checkpoint: Path, *options: str, repo: str = "someone/small") -> int:
    return main(["push", str(checkpoint), "--repo", repo, *options])


def refused(capsys: pytest.CaptureFixture[str], message: str) -> None:
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert "hf_secret" not in said


def test_the_files_of_a_checkpoint_are_pushed(hub: FakeHub, checkpoint: Path, capsys: Any) -> None:
    assert push(checkpoint, "--private") == 0
    assert hub.made == [("someone/small", True)]
    names = {"README.md", "config.json", "history.jsonl", "model.safetensors", "vocabulary.json"}
    assert hub.files == {name: (checkpoint / name).read_bytes() for name in names}
    assert ADDRESS in capsys.readouterr().out


def test_a_model_is_pushed_as_transformers_opens_it(hub: FakeHub, checkpoint: Path) -> None:
    assert push(checkpoint, "--to", "transformers") == 0
    assert hub.made == [("someone/small", False)]
    assert {"README.md", "config.json", "generation_config.json", "tokenizer.json"} <= hub.files.keys()
    card = hub.files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "from_pretrained('someone/small')" in card


@pytest.mark.parametrize(
    "name", ["small", "a/b/c", "some one/small", "/small", "someone/", "a--b/c", "a/b.git", "../x"]
)
def test_a_malformed_name_is_refused_before_anything_is_sent(
    hub: FakeHub, checkpoint: Path, capsys: Any, name: str
) -> None:
    assert push(checkpoint, repo=name) == 2
    refused(capsys, "is not one of the hub's; give user/name")
    assert hub.made == []


def test_nobody_is_logged_in(hub: FakeHub, checkpoint: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert push(checkpoint) == 2
    refused(capsys, "nobody is logged in to the Hugging Face hub here; run `hf auth login`, then push again")
    assert hub.made == []


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "the hub does not know the login that is kept here; run `hf auth login` again"),
        (403, "the hub lets this login write nothing to someone/small; push under your own name"),
        (500, "the hub refused someone/small (status 500); try again later"),
        (None, "someone/small could not be pushed to huggingface.co (RuntimeError); connect to the network"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    hub: FakeHub, checkpoint: Path, capsys: Any, status: int | None, message: str
) -> None:
    hub.fails = RuntimeError("several\nlines")
    if status is not None:
        hub.fails.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    assert push(checkpoint) == 2
    refused(capsys, message)


def test_without_a_network_it_is_one_sentence(checkpoint: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real library, which is told to stay offline."""
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert push(checkpoint) == 2
    refused(capsys, "could not be pushed to huggingface.co (OfflineModeIsEnabled); connect to the network")


def test_what_is_no_checkpoint_is_refused_before_anything_is_sent(hub: FakeHub, checkpoint: Path, capsys: Any) -> None:
    assert push(checkpoint.parent / "nothing") == 2
    refused(capsys, "there is no checkpoint folder")
    (checkpoint / "model.safetensors").write_bytes(b"damaged")
    assert push(checkpoint) == 2
    refused(capsys, "model.safetensors is damaged")
    assert hub.made == []
