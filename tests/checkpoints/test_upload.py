"""A zip file from a stranger is a checkpoint, or is refused before anything of it is unpacked."""

from __future__ import annotations

import io
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from gpt import CharTokenizer, CheckpointError, save_checkpoint
from gpt.checkpoints.upload import load_checkpoint_zip
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def model() -> GPT2:
    config = make_config("modern", 5, embed_size=8, num_heads=2, num_layers=1, context_length=8)
    return GPT2.from_config(config)


@pytest.fixture
def files(model: GPT2, tmp_path: Path) -> Files:
    """The files of a sound checkpoint, by name."""
    save_checkpoint(tmp_path / "sound", model, CharTokenizer("abcde"))
    return {path.name: path.read_bytes() for path in (tmp_path / "sound").iterdir()}


def zipped(files: Files, folder: str = "") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}{name}", content)
    return packed.getvalue()


@pytest.mark.parametrize("folder", ["", "my-model/"])
def test_a_sound_checkpoint_is_loaded(files: Files, model: GPT2, folder: str) -> None:
    loaded = load_checkpoint_zip(zipped(files, folder))
    assert loaded.config == model.config
    assert loaded.tokenizer.itos == list("abcde")
    for mine, theirs in zip(model.parameters(), loaded.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_only_what_is_needed_is_needed(files: Files) -> None:
    del files["README.md"], files["history.jsonl"]
    load_checkpoint_zip(zipped(files))


def _with(name: str, content: bytes) -> Callable[[Files], bytes]:
    return lambda files: zipped(files | {name: content})


def _link(files: Files) -> bytes:
    packed = io.BytesIO(zipped({name: content for name, content in files.items() if name != "config.json"}))
    with zipfile.ZipFile(packed, "a") as archive:
        info = zipfile.ZipInfo("config.json")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return packed.getvalue()


def _wrong_shape(files: Files) -> bytes:
    tensors = load(files["model.safetensors"])
    tensors["final_norm.bias"] = torch.zeros(9)
    return zipped(files | {"model.safetensors": save(tensors)})


def _not_a_number(files: Files) -> bytes:
    tensors = load(files["model.safetensors"])
    tensors["final_norm.bias"][0] = float("nan")
    return zipped(files | {"model.safetensors": save(tensors)})


def _encrypted(files: Files) -> bytes:
    content = bytearray(zipped(files))
    content[6] |= 1  # the flag of the first local header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and of its entry in the directory
    return bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda files: b"", "not a zip file"),
        (lambda files: b"PK\x03\x04 nothing of the kind", "not a zip file"),
        (lambda files: zipped(files)[:-40], "not a zip file"),
        (lambda files: zipped({}), "lacks config.json"),
        (
            lambda files: zipped({name: files[name] for name in ("config.json", "tokenizer.json")}),
            "lacks model.safetens",
        ),
        (_with("model.pkl", b"\x80\x04."), "a file that no checkpoint has"),
        (_with("pytorch_model.bin", b"\x80\x04."), "a file that no checkpoint has"),
        (_with("../config.json", b"{}"), "a path that leads elsewhere"),
        (_with("/etc/config.json", b"{}"), "a path that leads elsewhere"),
        (_with("a/b/config.json", b"{}"), "a path that leads elsewhere"),
        (_with("a\\config.json", b"{}"), "leads elsewhere|no checkpoint has|more than one"),
        (_with("other/config.json", b"{}"), "more than one checkpoint"),
        (_with("inner.zip", b"PK"), "a file that no checkpoint has"),
        (_with("config.json", b" " * 200_000), "config.json would have 200,000 bytes; at most 100,000"),
        (lambda files: zipped(files | {f"x{i}": b"" for i in range(100)}), "entries; a checkpoint has at most"),
        (_link, "a link or a device"),
        (_wrong_shape, r"final_norm.bias is F32 \[9\], and config.json asks for F32 or F16 \[8\]"),
        (_not_a_number, "not finite"),
        (_encrypted, "not a zip file that can be read"),
        (_with("config.json", b'{"format": "gpt-lab-1", "model": {"vocab_size": 1000000000000}}'), "config.json"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(files: Files, make: Callable[[Files], bytes], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint_zip(make(files))


def test_a_zip_file_larger_than_is_taken_is_refused(files: Files) -> None:
    with pytest.raises(CheckpointError, match=r"the file has \d[\d,]+ bytes; at most 1,000 are taken"):
        load_checkpoint_zip(zipped(files), largest=1000)


def test_a_bomb_costs_no_memory(files: Files) -> None:
    """A gigabyte of zeros packs into a megabyte; its size is refused before a byte is unpacked."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "tokenizer.json"):
            archive.writestr(name, files[name])
        with archive.open("model.safetensors", "w") as file:
            for _ in range(100):
                file.write(bytes(1_000_000))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="would have 100,000,000 bytes"):
        load_checkpoint_zip(packed.getvalue())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_size_that_lies_is_found_out(files: Files) -> None:
    """The directory says 10 bytes; the entry holds more than is ever taken."""
    content = bytearray(zipped(files | {"README.md": b" " * 150_000}))
    directory_entry = content.index(b"PK\x01\x02", content.rindex(b"README.md") - 80)
    assert content[directory_entry + 46 :].startswith(b"README.md")
    content[directory_entry + 24 : directory_entry + 28] = (10).to_bytes(4, "little")
    with pytest.raises(CheckpointError):
        load_checkpoint_zip(bytes(content))
