"""What all tests share: small models of every kind, a tiny corpus that needs no network, and a seed for each test."""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from trainer_threads import trainers_on_threads

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # so that plain `pytest` finds the package, as `python -m pytest` does
    sys.path.insert(0, str(ROOT))

from gpt import GPT2, Corpus, GPTConfig, TrainConfig  # noqa: E402
from gpt.model.config import make_config  # noqa: E402
from gpt.runs.limits import Limits  # noqa: E402
from gpt.runs.request import RunRequest  # noqa: E402
from gpt.runs.scheduler import Runs  # noqa: E402

torch.set_num_threads(1)  # bit-exactness holds at a fixed number of threads, and these models are too small for two

VOCAB_SIZE = 13
SIZE = {"embed_size": 32, "num_heads": 4, "hidden_size": 64, "num_layers": 2, "context_length": 48}

# The variants, then the kinds of positions that no variant has, with and without a window.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "rotary": ("rotary", {}),
    "grouped-query": ("grouped-query", {}),
    "sliding-window": ("sliding-window", {}),
    "modern": ("modern", {}),
    "alibi": ("gpt2", {"positions": "alibi"}),
    "none": ("gpt2", {"positions": "none"}),
    "alibi-window-multi-query": ("sliding-window", {"positions": "alibi", "num_kv_heads": 1}),
    "none-window": ("sliding-window", {"positions": "none"}),
}

TEXT = (
    "The quick brown fox jumps over the lazy dog.\n"
    "A lazy dog dreams, and the fox runs on over the brown hills.\n"
    "Who jumps so quick? The fox, said the dog.\n"
) * 8


@pytest.fixture(autouse=True)
def _seed(request: pytest.FixtureRequest) -> None:
    """Each test has a seed of its own, whatever ran before it."""
    torch.manual_seed(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of model in turn."""
    return request.param


def make_small_config(kind: str, **changes: Any) -> GPTConfig:
    """The configuration of a small model of this kind; changes override any field."""
    variant, choices = KINDS[kind]
    return make_config(variant, **{"vocab_size": VOCAB_SIZE, **SIZE, **choices, **changes})


@pytest.fixture
def small_config() -> Callable[..., GPTConfig]:
    """`small_config(kind, **changes)`."""
    return make_small_config


@pytest.fixture
def small_model() -> Callable[..., GPT2]:
    """`small_model(kind, **changes)`, in evaluation mode.

    Its weights, biases and norms are far from their small initial values: with those, attention is nearly uniform and
    most mistakes would disappear in the rounding.
    """

    def make(kind: str, *, seed: int = 0, **changes: Any) -> GPT2:
        model = GPT2.from_config(make_small_config(kind, **changes)).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.empty(parameter.shape).normal_(0.0, 0.3, generator=generator)
                parameter.copy_(noise if parameter.ndim == 2 else parameter + noise)
        return model

    return make


@pytest.fixture(scope="session")
def tiny_text() -> str:
    """A thousand characters of prose."""
    return TEXT


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """A text of a thousand characters."""
    return Corpus.from_text("tiny", TEXT)


@pytest.fixture
def quick() -> Callable[..., TrainConfig]:
    """`quick(**changes)`: a training of a few small steps, evaluated on four windows, without samples."""

    def make(**changes: Any) -> TrainConfig:
        settings = {"max_steps": 8, "batch_size": 4, "eval_interval": 4, "eval_windows": 4, "sample_length": 0}
        return TrainConfig(**{**settings, "device": "cpu", **changes})

    return make


@pytest.fixture
def trainable(corpus: Corpus) -> Callable[..., GPT2]:
    """`trainable(kind, **changes)`: a freshly initialised model that fits the corpus."""

    def make(kind: str = "gpt2", **changes: Any) -> GPT2:
        size = {"embed_size": 16, "num_heads": 2, "hidden_size": 32, "num_layers": 2, "context_length": 16}
        fit = {"vocab_size": corpus.tokenizer.vocab_size, **size}
        return GPT2.from_config(make_small_config(kind, **{**fit, **changes}))

    return make


@pytest.fixture
def ids() -> Callable[..., torch.Tensor]:
    """`ids(batch, length)`: random token ids of the small models."""
    return lambda batch, length: torch.randint(VOCAB_SIZE, (batch, length))


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """`wait_until(condition, what)`: look until it holds; fail if it never does."""

    def wait(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
        give_up = time.monotonic() + seconds  # far more than any of these takes: only a hang comes to this
        while not condition():
            if time.monotonic() > give_up:
                pytest.fail(f"waited in vain for {what}")
            time.sleep(0.002)

    return wait


@pytest.fixture
def lab() -> Iterator[Callable[..., Runs]]:
    """`lab(**limits)`: a server's runs, closed afterwards; threads train them, one core's worth at a time."""
    opened: list[Runs] = []
    trainers = trainers_on_threads()

    def make(**limits: Any) -> Runs:
        allowed = Limits(**({"most_steps": 20_000, "unwatched_seconds": 60.0, "cores": 1, "workers": 1} | limits))
        opened.append(Runs(allowed, trainers))
        return opened[-1]

    yield make
    for runs in opened:
        runs.close()
    trainers.close()


@pytest.fixture
def request_for(
    corpus: Corpus, quick: Callable[..., TrainConfig], trainable: Callable[..., GPT2]
) -> Callable[..., RunRequest]:
    """`request_for(*kinds, seeds, **training)`: what to ask a lab for."""

    def make(*kinds: str, seeds: int = 1, **training: Any) -> RunRequest:
        models = tuple((kind, trainable(kind).config) for kind in kinds or ("gpt2",))
        return RunRequest(models, corpus.sha256, quick(**training), seeds)

    return make
