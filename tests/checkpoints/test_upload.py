"""A zip file from a stranger is a checkpoint, or is refused before anything of it is unpacked."""

from __future__ import annotations

import io
import json
import shutil
import stat
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from gpt import CharTokenizer, CheckpointError, Corpus, TrainConfig, TrainEvent, load_checkpoint, save_checkpoint
from gpt.__main__ import main
from gpt.checkpoints.folder import Checkpoint
from gpt.checkpoints.upload import load_checkpoint_zip
from gpt.costs.formulas import parameter_count
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2
from gpt.runs.exports import export_run
from gpt.runs.limits import LAPTOP, LARGEST_UPLOAD
from gpt.runs.request import RunRequest
from gpt.runs.run import BestWeights, Run

Files = dict[str, bytes]
NEEDED = ("config.json", "vocabulary.json", "model.safetensors")


@pytest.fixture(scope="module")
def model() -> GPT2:
    config = make_config("modern", 5, embed_size=8, num_heads=2, num_layers=1, context_length=8)
    return GPT2.from_config(config)


@pytest.fixture(scope="module")
def files(model: GPT2, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a sound checkpoint, by name."""
    folder = tmp_path_factory.mktemp("saved") / "sound"
    save_checkpoint(folder, model, CharTokenizer("abcde"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def zipped(files: Files, folder: str = "", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}{name}"), content, method)
    return packed.getvalue()


def assert_same_model(mine: GPT2, theirs: GPT2) -> None:
    assert mine.config == theirs.config
    for weight, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(weight, other)


def refused(content: bytes, message: str) -> None:
    """It is refused, in one sentence that does not say where on this machine it was looked at."""
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint_zip(content)
    assert "\n" not in str(caught.value)
    assert tempfile.gettempdir() not in str(caught.value)


def opened(content: bytes) -> Checkpoint | CheckpointError:
    """What comes of it, a checkpoint or a refusal in one line; any other exception is a failure."""
    try:
        return load_checkpoint_zip(content)
    except CheckpointError as error:
        return error


# --- What people zip ------------------------------------------------------------------------------------------------

LEFT_ALONE = [
    *("training.safetensors", "snapshot-000010.safetensors", "snapshot-1000000.safetensors"),
    *(".DS_Store", "._model.safetensors", "._ein Bild.png", "Icon\r", "Thumbs.db", "desktop.ini", "Desktop.ini"),
    *("notes.txt", "plots/loss of today.PNG", "plots/Verluste für März.svg", "losses.csv", ".gitattributes"),
]
FOLDER_NAMES = st.one_of(
    st.sampled_from(
        ["my model", "modèle é", "mode\u0300le", "モデル", "run 12:30", "v1.0", "a'b\"c", "-x", "~", "..."]
    ),
    st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
).filter(lambda name: name not in (".", "..") and not name.startswith(".") and name[1:2] != ":")


@given(
    folders=st.lists(FOLDER_NAMES, max_size=4),
    beside=st.lists(st.sampled_from(LEFT_ALONE), unique=True),
    separator=st.sampled_from("/\\"),
    is_from_macos=st.booleans(),
    names_folders=st.booleans(),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None)
def test_a_checkpoint_is_found_as_systems_zip_it(
    files, model, folders, beside, separator, is_from_macos, names_folders, method, random
):
    place = "".join(f"{name}/" for name in folders)
    written = {f"{place}{name}": content for name, content in files.items()}
    written |= {f"{place}{name}": b"not read" for name in beside}
    if is_from_macos:
        written |= {f"__MACOSX/{place}._{name}": b"\0\5\x16\7" for name in (*files, *beside)}
        written |= {f"__MACOSX/{place}{NEEDED[0]}": b"", "__MACOSX/.DS_Store": b""}
    if names_folders:
        parents = ["/".join(folders[: depth + 1]) for depth in range(len(folders))]
        written |= {f"{parent}/": b"" for parent in [*parents, f"{place}plots"]}
    names = list(written)
    random.shuffle(names)
    in_zip = {name.replace("/", separator): written[name] for name in names}
    assert_same_model(load_checkpoint_zip(zipped(in_zip, method=method)).model, model)


@pytest.mark.parametrize("encoding", ["cp437", "latin-1", "shift-jis", "utf-8"])
def test_names_of_any_encoding_are_read(files: Files, model: GPT2, encoding: str) -> None:
    """Old tools write names in their system's encoding and do not say which."""
    name = "モデル表" if encoding == "shift-jis" else "Modèle ü"
    packed = zipped(files, "?" * len(name.encode(encoding)) + "/")
    packed = packed.replace(b"?" * len(name.encode(encoding)), name.encode(encoding))
    assert_same_model(load_checkpoint_zip(packed).model, model)


def test_what_train_leaves_is_read_without_its_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--num-layers", "1", "--num-heads", "2", "--embed-size", "16", "--context-length", "16"]
    run = ["--steps", "4", "--eval-interval", "2", "--snapshots", "1", "3", "--batch-size", "4"]
    folder = tmp_path / "meine Läufe" / "erster Versuch"
    assert main(["train", "--corpus", "python-docs", "--out", str(folder), *size, *run]) == 0
    assert (folder / "training.safetensors").is_file()
    trained = load_checkpoint(folder)
    content = Path(shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path, "meine Läufe")).read_bytes()
    with mock.patch("zipfile.ZipFile.open", autospec=True, side_effect=zipfile.ZipFile.open) as unpacked:
        loaded = load_checkpoint_zip(content)
    assert {Path(call.args[1].filename).name for call in unpacked.mock_calls if len(call.args) > 1} == {
        *NEEDED,
        "history.jsonl",
    }
    assert loaded.history == trained.history
    assert_same_model(loaded.model, trained.model)


def test_compare_takes_the_largest_model_that_train_makes(tmp_path: Path) -> None:
    """As many weights as a laptop allows, of noise that does not pack, and as many steps."""
    size = {"embed_size": 192, "num_heads": 6, "num_layers": 6, "context_length": 256}
    room = LAPTOP.most_parameters - parameter_count(make_config("gpt2", 1, **size))
    corpus = Corpus.from_text("your own text", "".join(chr(0x4E00 + n) for n in range(1 + room // 192)) * 2)
    config = make_config("gpt2", corpus.tokenizer.vocab_size, **size)
    assert LAPTOP.most_parameters - 192 < parameter_count(config) <= LAPTOP.most_parameters
    training = TrainConfig(max_steps=LAPTOP.most_steps, device="cpu")
    run = Run(RunRequest((("gpt2", config),), corpus.sha256, training), corpus, "visitor")
    noise = {name: torch.randn(weight.shape) for name, weight in GPT2.from_config(config).named_parameters()}
    run.members[0].best = BestWeights(0, noise)
    run.members[0].events = [_event(step) for step in range(LAPTOP.most_steps + 1)]
    export_run(run, tmp_path)
    content = (tmp_path / "gpt2-seed-1337.zip").read_bytes()
    loaded = load_checkpoint_zip(content, largest=LARGEST_UPLOAD)
    assert_same_model(loaded.model, run.members[0].model_at())
    assert loaded.tokenizer.itos == corpus.tokenizer.itos
    assert list(loaded.history) == run.members[0].events


def _event(step: int) -> TrainEvent:
    sample = None if step % 10 else f"{step} " * 40
    return TrainEvent(
        step, 12_288 * step, step / 7, 1 / (step + 3), 1 / (step + 9), 1e-3 / 7, 3e-4 / 7, 1e5 / 7, sample
    )


def test_only_what_is_needed_is_needed(files: Files) -> None:
    load_checkpoint_zip(zipped({name: files[name] for name in NEEDED}))


# --- What is refused ------------------------------------------------------------------------------------------------


def _with(name: str, content: bytes) -> Callable[[Files], bytes]:
    return lambda files: zipped(files | {name: content})


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


def _method(number: int) -> Callable[[Files], bytes]:
    def make(files: Files) -> bytes:
        content = bytearray(zipped(files))
        entry = content.rindex(b"config.json") - 46
        assert content[entry:].startswith(b"PK\x01\x02")
        content[entry + 10] = number
        return bytes(content)

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda files: b"", "not a zip file"),
        (lambda files: b"PK\x03\x04 nothing of the kind", "not a zip file"),
        (lambda files: zipped(files)[:-40], "not a zip file"),
        (lambda files: zipped({}), "lacks config.json"),
        (
            lambda files: zipped({name: files[name] for name in ("config.json", "vocabulary.json")}),
            "lacks model.safetens",
        ),
        (
            _with("a/b/config.json", b"{}"),
            "more than one checkpoint, in '.', 'a/b'; unzip it, and zip one folder by itself",
        ),
        (_with("a\\config.json", b"{}"), "more than one checkpoint"),
        (_with("./config.json", b"{}"), "more than one checkpoint: config.json is in it twice"),
        (
            lambda files: zipped({f"{i}/{name}": files[name] for i in range(5) for name in NEEDED}),
            "in '0', '1', '2', ...;",
        ),
        (_with("config.json", b" " * 200_000), "config.json would have 200,000 bytes; at most 100,000"),
        (_wrong_shape, r"final_norm.bias is F32 \[9\], and config.json asks for F32 or F16 \[8\]"),
        (_not_a_number, "not finite"),
        (_encrypted, "not a zip file that can be read: it is encrypted; zip the checkpoint folder without a password"),
        (_method(12), r"config.json is packed by a method that is not read \(number 12\); only deflate"),  # bzip2
        (_method(9), r"packed by a method that is not read \(number 9\)"),  # deflate64
        (_with("history.jsonl", b" " * 9_000_000), "leave it out of the zip file: the model is read without it"),
        (lambda files: zipped({f"{i}/config.json": b"" for i in range(1001)}), "has 1,001 entries; at most 1,000 are"),
        (lambda files: zipped(files | {"config.json": b"{}"}), "config.json does not say that this is a gpt-lab-1"),
        (
            lambda files: zipped(files | {"config.json": b'{"format": "gpt-lab-1"}'}),
            "config.json in the zip file lacks",
        ),
        (_with("config.json", b'{"format": "gpt-lab-1", "model": {"vocab_size": 1000000000000}}'), "config.json"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(files: Files, make: Callable[[Files], bytes], message: str) -> None:
    refused(make(files), message)


def test_a_model_that_would_take_long_to_lay_out_is_refused(files: Files) -> None:
    config = json.loads(files["config.json"])
    config["model"]["num_layers"] = 1001
    refused(zipped(files | {"config.json": json.dumps(config).encode()}), "1,001 layers; at most 1,000 are loaded")


def test_a_folder_of_an_unfinished_training_in_parts_is_read(files: Files) -> None:
    """As torchrun leaves it, also while it goes on."""
    more = ("training.sharded/step-4/shard-00001-model-00001-of-00001.safetensors", ".writer.lock")
    load_checkpoint_zip(zipped(files | dict.fromkeys((*more, ".saving/files.json"), b"{}"), "run/"))


CODE = [
    "model.pkl",
    "pytorch_model.bin",
    "ckpt.pt",
    "model.PTH",
    "model.py",
    "x/train.ipynb",
    "run.sh",
    "a.so",
    "x.dll",
]
NOT_TAKEN = ["inner.zip", "other.safetensors", "config", "a/.git/HEAD", "config.json.exe", "snapshot-1.safetensors.py"]


@pytest.mark.parametrize("name", [*CODE, *NOT_TAKEN, *(f"__MACOSX/{name}" for name in CODE)])
def test_what_no_checkpoint_has_is_refused_wherever_it_lies(files: Files, name: str) -> None:
    refused(zipped(files | {name: b"\x80\x04."}), rf"a file that no checkpoint has, '{Path(name).name}'; zip the ch")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
@pytest.mark.parametrize("name", ["config.json", "notes.txt", "plots/", ".DS_Store"])
def test_links_and_devices_are_refused_under_any_name(files: Files, name: str, kind: int) -> None:
    packed = io.BytesIO(zipped({kept: content for kept, content in files.items() if kept != name}))
    with zipfile.ZipFile(packed, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refused(packed.getvalue(), "a link or a device")


PIECES = st.sampled_from(["..", ".", "", "a", "é ", "C:", "d:", "~", "__MACOSX", ".git", "x" * 300])
LAST = st.sampled_from([*NEEDED, "plots/", "notes.txt", "model.pt", ".DS_Store", "..", "C:x", "a\0b"])


@given(pieces=st.lists(PIECES, max_size=4), last=LAST, separators=st.lists(st.sampled_from("/\\"), min_size=4))
@settings(max_examples=300, deadline=None)
@example([".."], "notes.txt", ["\\"] * 4)
@example(["C:"], "notes.txt", ["\\"] * 4)
@example(["", ""], "notes.txt", ["\\"] * 4)  # \\server
@example(["a", ".."], "plots", ["/"] * 4)
def test_no_entry_name_leads_elsewhere(files, model, pieces, last, separators):
    """Whatever an entry is called, the archive is read as if it were not there, or refused; nothing is written."""
    name = "".join(map("".join, zip(pieces, separators, strict=False))) + last
    parts = name.replace("\\", "/").split("/")
    climbs = ".." in parts or name[0] in "/\\" or any(part[:2] in ("C:", "d:") for part in parts) or "\0" in name
    content = zipped({f"mine/{kept}": files[kept] for kept in NEEDED} | {"?" * len(name.encode()): b"theirs"})
    content = content.replace(b"?" * len(name.encode()), name.encode())
    with mock.patch.object(Path, "write_bytes", autospec=True, side_effect=Path.write_bytes) as written:
        outcome = opened(content)
    if climbs:
        assert "a path that leads elsewhere" in str(outcome)
    elif isinstance(outcome, Checkpoint):
        assert_same_model(outcome.model, model)
    assert {call.args[0].name for call in written.mock_calls} <= set(NEEDED)


@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    share=st.sampled_from([1.0, 1.0, 0.5, 0.9]),
)
@settings(max_examples=300, deadline=None)
def test_damage_is_told_in_a_sentence(files, changes, share):
    """With some bytes changed, most of them in headers, and the end cut off."""
    content = bytearray(zipped({f"mö/{name}": b"x" * 50 for name in NEEDED}))
    for place, value in changes:
        content[place % len(content)] = value
    refused(bytes(content[: int(share * len(content))]), ".")


def test_a_zip_file_larger_than_is_taken_is_refused(files: Files) -> None:
    with pytest.raises(
        CheckpointError, match=r"the file has [\d,]+ bytes; at most 1,000 are taken; .* leave the other"
    ):
        load_checkpoint_zip(zipped(files), largest=1000)


def test_a_zip_file_of_an_earlier_version_is_read(files: Files, model: GPT2) -> None:
    """Its vocabulary was called tokenizer.json; beside vocabulary.json, that is somebody else's file."""
    old = {("tokenizer.json" if name == "vocabulary.json" else name): content for name, content in files.items()}
    for content in (old, {**files, "tokenizer.json": b"not JSON"}):
        loaded = load_checkpoint_zip(zipped(content))
        assert_same_model(model, loaded.model)
        assert loaded.tokenizer.decode([0, 4]) == "ae"


def test_a_zip_file_in_the_layout_of_transformers_is_told_from_a_checkpoint(files: Files) -> None:
    theirs = {"config.json": b'{"model_type": "gpt2"}', "tokenizer.json": b'{"model": {"type": "WordLevel"}}'}
    with pytest.raises(CheckpointError, match="is of a model in the layout of transformers, and not of a checkpoint"):
        load_checkpoint_zip(zipped(files | theirs))


def test_a_bomb_costs_no_memory(files: Files) -> None:
    """A gigabyte of zeros packs into a megabyte; its size is refused before a byte is unpacked."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "vocabulary.json"):
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
    content = bytearray(zipped(files | {"config.json": b" " * 150_000}))
    directory_entry = content.rindex(b"config.json") - 46
    assert content[directory_entry:].startswith(b"PK\x01\x02")
    content[directory_entry + 24 : directory_entry + 28] = (10).to_bytes(4, "little")
    refused(bytes(content), "not a zip file that can be read")
