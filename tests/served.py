"""What the tests of the page share: two small trained models, the Train tab's controls, and a page on a free port."""

from __future__ import annotations

import base64
import inspect
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt import GPT2, Corpus, TrainConfig, Trainer, save_checkpoint
from gpt.model.config import make_config
from gpt.ui import create_demo, launch  # before gradio, whose telemetry it turns off
from gpt.ui.sizes import SIZES
from gpt.ui.train.settings import TrainSettings

import gradio as gr  # isort: skip

ANNA, BEN = "a" * 32, "b" * 32  # two visitors' secrets
CONTEXT = 32
SHIPPED = ["gpt2", "sliding-window"]
BOTH = [f"shipped/{name}" for name in SHIPPED]
FOREVER = 5000  # steps; no test waits for their end
SNAPSHOT = 3  # the step of the snapshot that the second has
STORY = (
    "The quick brown fox jumps over the lazy dog.\n"
    "A lazy dog dreams, and the fox runs on over the brown hills.\n"
    "Who jumps so quick? The fox, said the dog.\n"
) * 8


def story_corpus() -> Corpus:
    """What the small models have learned from."""
    return Corpus.from_text("story", STORY)


def save_small_models(folder: Path) -> Path:
    """Train a gpt2 and a sliding-window of four heads on `STORY` for a few steps, and save them below `folder`."""
    corpus = story_corpus()
    training = TrainConfig(max_steps=8, batch_size=4, eval_interval=4, eval_windows=2, sample_length=12, device="cpu")
    size = {"embed_size": 32, "num_heads": 4, "num_layers": 2, "context_length": CONTEXT}
    for name in SHIPPED:
        choices = {"window_size": 5} if name == "sliding-window" else {}
        model = GPT2.from_config(make_config(name, corpus.tokenizer.vocab_size, **size, **choices))
        model.initialize(7)
        trainer, events, kept = Trainer(model, corpus, training), [], {}
        for event in trainer.events():
            events.append(event)
            if event.step == SNAPSHOT and name == "sliding-window":
                kept[event.step] = trainer.copy_of_weights()
        trainer.restore_best()
        about = {"name": corpus.name, "sha256": corpus.sha256}
        save_checkpoint(
            folder / name,
            model,
            corpus.tokenizer,
            history=events,
            train_config=training,
            corpus=about,
            snapshots=kept,
        )
    return folder


# --- The Train tab's controls ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def page_defaults() -> dict[str, Any]:
    """What the controls of the Train tab hold when the page opens, by their names in `TrainSettings`."""
    config = create_demo(models_folder=Path("no models here")).config
    inputs = next(event["inputs"] for event in config["dependencies"] if event["api_name"] == "train")
    held = {component["id"]: component["props"].get("value") for component in config["components"]}
    names = [field.name for field in fields(TrainSettings)]
    return dict(zip(names, [held[one] for one in inputs[2:]], strict=True))  # after the secret and the runs seen


def settings(**changes: Any) -> dict[str, Any]:
    """The page's defaults made small and quick, then `changes`; own text is `STORY`."""
    quick = {
        "variants": ["gpt2"],
        "size": next(iter(SIZES)),
        "text": "your own text",
        "own_text": STORY,
        "steps": 10,
        "batch_size": 4,
        "context_length": CONTEXT,
        "seed": 1337,
    }
    unknown = changes.keys() - page_defaults().keys()
    assert not unknown, f"the Train tab has no control {unknown}"
    return page_defaults() | quick | changes


def controls(**changes: Any) -> list[Any]:
    """`settings` as the handlers and the endpoint take them: in their order."""
    return list(settings(**changes).values())


def numeric_controls() -> list[str]:
    """The names of all controls that hold a number."""
    return [
        name
        for name, value in page_defaults().items()
        if isinstance(value, int | float) and value is not True and value is not False
    ]


def key_of(watched: str) -> str:
    """The run that the page is told to watch."""
    return watched.partition(" ")[0]


def press(tab: Any, button: str, visitor: Any, watched: Any, seen: Any = (), **changes: Any) -> Any:
    """Press a button of the Train tab while this run is on the page; handlers take what they need, by name."""
    held = {"secret": visitor, "seen": list(seen), "watched": watched, **settings(**changes)}
    names = inspect.signature(getattr(tab, button)).parameters
    rest = controls(**changes) if "controls" in names else []
    return getattr(tab, button)(*(held[name] for name in names if name != "controls"), *rest)


# --- Answers --------------------------------------------------------------------------------------------------------

# What may arrive in place of a number; a huge whole number does not even fit a float.
NO_NUMBERS = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "nothing": None,
    "a bool": True,
    "a list": [8],
    "an object": {"value": 8},
    "a text": "8",
    "negative": -1,
    "large": 1e300,
    "huge": 10**400,
}


@contextmanager
def refuses(match: str) -> Iterator[None]:
    """Expect a `gr.Error` with one sentence for a person, in which `match` is found."""
    with pytest.raises(gr.Error) as caught:
        yield
    assert_sentence(caught.value.message, match)


def assert_sentence(message: str, match: str) -> None:
    """Fail unless this is one sentence for a person, in which `match` is found."""
    assert re.search(match, message), f"{match!r} is not in {message!r}"
    assert message.endswith((".", "!", "?")), message
    assert not message[0].islower(), message
    assert "\n" not in message, message
    assert len(message) < 600, message
    assert not re.search(r"Traceback|Error\b|object at 0x|NoneType|integer string conversion", message), message


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    """Everything an asynchronous generator yields."""
    return [value async for value in stream]


def unpack_attention(value: dict[str, Any]) -> torch.Tensor:
    """The weights (layers, heads, T, T) in a value of `pack_attention`, by the rule it documents."""
    length = len(value["tokens"])
    causal, window = value["causal"], value["window"]
    cells = [
        (query, key)
        for query in range(length)
        for key in range(length)
        if (not causal or key <= query) and (window is None or abs(query - key) < window)
    ]
    packed = np.frombuffer(zlib.decompress(base64.b64decode(value["weights"])), np.uint8)
    assert packed.size == value["layers"] * value["heads"] * len(cells)
    roots = torch.tensor(packed.astype(np.float32) / 255).view(value["layers"], value["heads"], len(cells))
    weights = torch.zeros(value["layers"], value["heads"], length, length)
    queries, keys = torch.tensor(cells).T
    weights[:, :, queries, keys] = roots**2
    return weights


def assert_same_weights(unpacked: torch.Tensor, weights: torch.Tensor) -> None:
    """Equal up to half of one of the 255 steps of the square root in which they travel."""
    torch.testing.assert_close(unpacked.sqrt(), weights.sqrt(), rtol=0, atol=0.5 / 255 + 1e-5)


# --- The page -------------------------------------------------------------------------------------------------------


@contextmanager
def serve(demo: gr.Blocks, **options: Any) -> Iterator[str]:
    """Show the page as `demo.py` does, on a free port of this machine; gives its address.

    Its trainer processes start with the first press, as most tests make none.
    """
    demo.runs.warm_up = lambda archive=None: None
    launch(demo, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **options)
    try:
        yield demo.local_url
    finally:
        demo.runs.close()
        demo.close(verbose=False)


def hands(view: tuple[Any, ...]) -> list[Any]:
    """The buttons Pause, Step and Stop of a view."""
    return list(view[-3:])


def chart_labels(view: tuple[Any, ...]) -> list[str]:
    """The names of the curves in a view."""
    return [curve["label"] for curve in view[0]["series"]]
