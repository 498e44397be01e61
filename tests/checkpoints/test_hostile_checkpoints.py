"""Checkpoint folders that were damaged or made up: refused in a sentence, quickly and in little memory, or loaded.

`GPT_LAB_FUZZ=10000 python -m pytest tests/test_hostile_checkpoints.py -s` tries more of them, and prints the slowest
and the largest.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gpt import GPT2, CheckpointError, Corpus, TrainConfig, Trainer, load_checkpoint, save_checkpoint
from gpt.checkpoints.folder import load_snapshot, load_training_state

EXAMPLES = int(os.environ.get("GPT_LAB_FUZZ", "300"))
MOST_SECONDS = 0.5
MOST_BYTES = 50_000_000

Files = dict[str, bytes]

# --- What is done to a folder ---------------------------------------------------------------------------------------

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.sampled_from([2**31, 2**63, 10**400, -1, 0, 1, 1 << 20, 1 << 40]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "\0", "learned", "rotary", "../../etc/passwd", "<script>", "F32", "x" * 10_000]),
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value: the keys and positions that lead there."""
    if isinstance(value, dict):
        return [path for key in value for path in [(*before, key), *paths(value[key], (*before, key))]]
    if isinstance(value, list):
        return [path for i in range(min(3, len(value))) for path in [(*before, i), *paths(value[i], (*before, i))]]
    return []


@st.composite
def edited_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file with a few values exchanged, removed, added or doubled."""
    value = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        places = paths(value)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = value
        for key in way:
            holder = holder[key]
        match draw(st.sampled_from(["exchange", "remove", "add"])):
            case "exchange":
                holder[last] = draw(ODD_VALUES)
            case "remove":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=8))] = draw(ODD_VALUES)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:
        text = text.replace('"embed_size"', '"embed_size": 7, "embed_size"')  # a key twice
    return text.encode("utf-8", "surrogatepass")


@st.composite
def edited_tensors(draw: st.DrawFn, content: bytes) -> bytes:
    """A safetensors file whose header lies: about types, shapes, places, names, or its own length."""
    (length,) = struct.unpack("<Q", content[:8])
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = draw(st.sampled_from(sorted(header.keys() - {"__metadata__"})))
    match draw(st.sampled_from(["dtype", "shape", "place", "name", "value", "length", "number"])):
        case "dtype":
            header[name]["dtype"] = draw(st.sampled_from(["F64", "F16", "BF16", "I8", "BOOL", "F8_E4M3", "", 7, None]))
        case "shape":
            header[name]["shape"] = draw(
                st.one_of(st.lists(st.integers(-1, 2**40), max_size=5), st.just([0, 2**62]), ODD_VALUES)
            )
        case "place":
            header[name]["data_offsets"] = draw(st.one_of(st.lists(st.integers(-5, 2**40), max_size=3), ODD_VALUES))
        case "name":
            header[draw(st.text(max_size=9))] = header.pop(name)
        case "value":
            header[name] = draw(ODD_VALUES)
        case "number":
            at = draw(st.integers(0, max(0, len(numbers) // 4 - 1))) * 4
            odd = draw(st.sampled_from([float("nan"), float("inf"), -float("inf"), 3e38, 1e-45]))
            numbers = numbers[:at] + struct.pack("<f", odd) + numbers[at + 4 :]
        case "length":
            wrong = draw(st.sampled_from([0, 1, length - 1, length + 1, 10**9, 2**63, 2**64 - 1]))
            return struct.pack("<Q", wrong) + content[8:]
    written = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(written)) + written + numbers


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Any file with bits turned over, its end missing, something behind it, or something else entirely."""
    match draw(st.sampled_from(["turn", "cut", "append", "exchange"])):
        case "turn":
            bits = bytearray(content)
            for _ in range(draw(st.integers(1, 8))):
                bits[draw(st.integers(0, len(bits) - 1))] ^= 1 << draw(st.integers(0, 7))
            return bytes(bits)
        case "cut":
            return content[: draw(st.integers(0, len(content) - 1))]
        case "append":
            return content + draw(st.binary(min_size=1, max_size=50))
    deep = st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b"", b"null", b"NaN", b"{}" * 1000])
    return draw(st.one_of(deep, st.binary(max_size=200)))


@st.composite
def hostile(draw: st.DrawFn, files: Files) -> Files:
    """A folder of which one file, or two, are not as they were."""
    changed = dict(files)
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2, unique=True)):
        kinds: list[Callable[[bytes], st.SearchStrategy[bytes]]] = [damaged]
        if name.endswith(".json"):
            kinds.append(edited_json)
        if name.endswith(".safetensors"):
            kinds.append(edited_tensors)
        changed[name] = draw(draw(st.sampled_from(kinds))(files[name]))
    if draw(st.integers(0, 19)) == 0:
        del changed[draw(st.sampled_from(sorted(changed)))]
    return changed


# --- What comes of it -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a small, unfinished and sound checkpoint."""
    corpus = Corpus.from_text("text", "The quick brown fox jumps over the lazy dog.\n" * 8)
    model = GPT2(corpus.tokenizer.vocab_size, 8, 2, 8, 1, context_length=8, positions="rotary", window_size=4)
    trainer = Trainer(model, corpus, TrainConfig(max_steps=2, batch_size=1, eval_windows=1, sample_length=3))
    events = list(trainer.events())
    folder = tmp_path_factory.mktemp("sound") / "model"
    save_checkpoint(
        folder,
        model,
        corpus.tokenizer,
        history=events,
        train_config=trainer.config,
        corpus={"name": "text", "sha256": corpus.sha256},
        training_state=trainer.state(),
        snapshots={1: trainer.copy_of_weights()},
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_whatever_is_done_to_a_checkpoint_it_is_refused_in_a_sentence_or_sound(
    sound: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slowest, largest, refused = 0.0, 0, 0
    folder = tmp_path / "model"
    folder.mkdir()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),  # to shrink takes long, and a folder cannot be read anyway
        report_multiple_bugs=False,
    )
    @given(hostile(sound))
    def try_one(files: Files) -> None:
        nonlocal slowest, largest, refused
        for path in folder.iterdir():
            path.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        before, started = _most_memory(), time.perf_counter()
        for load in (load_checkpoint, load_training_state, lambda place: load_snapshot(place, 1)):
            message = refusal(load, folder)
            if message is not None:
                refused += 1
                assert "\n" not in message
                assert 10 < len(message) < 600
                message.encode("utf-8")  # the page and the log can show it
        slowest = max(slowest, time.perf_counter() - started)
        largest = max(largest, _most_memory() - before)

    try_one()
    with capsys.disabled():
        print(
            f"\n{EXAMPLES:,} hostile checkpoints: {refused:,} of {3 * EXAMPLES:,} loads refused, "
            f"slowest {slowest:.3f} s, most memory {largest / 1e6:.1f} MB"
        )
    assert refused > EXAMPLES
    assert largest <= MOST_BYTES


def refusal(load: Callable[[Path], object], folder: Path) -> str | None:
    """What is said where a folder is refused; any other error than `CheckpointError` is a fault of ours."""
    try:
        load(folder)
    except CheckpointError as error:
        return str(error)
    return None


def _most_memory() -> int:
    """The most bytes this process ever held in memory."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
