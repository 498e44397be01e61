"""What a sliding window and fewer key/value heads save while a model writes: bytes of the cache, and time for a token.

Each new token reads all keys and values that are kept of the tokens before it (2 x layers x min(T, W) x key/value heads
x head width numbers), and all weights once. A window bounds the first; the second stays. So how much time is saved is
not how much memory is saved: both are measured here, beside the formula. What the weights are does not matter for
either; they are drawn at random.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator
from dataclasses import dataclass

import torch

from gpt.costs.formulas import cache_bytes
from gpt.experiments.questions import SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, median_of
from gpt.experiments.setups import check_whole_numbers
from gpt.generation.stream import stream_tokens
from gpt.model.config import GPTConfig, check_whole_number, make_config
from gpt.model.gpt2 import GPT2
from gpt.model.seeds import seeded_generator

_HEADS, _VOCABULARY = 8, 65
_AS_MUCH = 0.8  # of the factor by which the cache is smaller still counts as the same factor


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        window_size: W, of the two models with a window.
        num_kv_heads: of the two models with fewer, for 8 query heads.
        longest: text that is read, in tokens; half of it, a quarter and so on are measured, too.
        num_layers, embed_size: of all models.
        tokens: written after each text, whose median time is one measurement.
        repeats: measurements at each length, in turns.
        seed: of the weights and the text.
    """

    window_size: int = 128
    num_kv_heads: int = 2
    longest: int = 4096
    num_layers: int = 4
    embed_size: int = 256
    tokens: int = 12
    repeats: int = 5
    seed: int = SEED

    def __post_init__(self) -> None:
        check_whole_numbers(
            self,
            window_size=(1, 4096),
            longest=(32, 4096),
            num_layers=(1, 8),
            embed_size=(16, 512),
            tokens=(2, 100),
            repeats=(2, 20),
        )
        check_whole_number("num_kv_heads", self.num_kv_heads)
        if _HEADS % self.num_kv_heads:
            raise ValueError(f"num_kv_heads is {self.num_kv_heads}; it has to divide {_HEADS}: give 1, 2, 4 or 8")
        if self.embed_size % (2 * _HEADS):
            raise ValueError(f"embed_size is {self.embed_size}; give a multiple of {2 * _HEADS}")

    @property
    def lengths(self) -> list[int]:
        """Of the texts, ascending: each twice the one before, at most six."""
        return sorted(self.longest >> halvings for halvings in range(6) if self.longest >> halvings >= 16)

    def models(self) -> dict[str, tuple[str, GPTConfig]]:
        """(variant whose colour it takes, configuration) of each model, by its label."""
        few, window = {"num_kv_heads": self.num_kv_heads}, {"window_size": self.window_size}
        size = {
            "num_layers": self.num_layers,
            "num_heads": _HEADS,
            "embed_size": self.embed_size,
            "context_length": self.longest + self.tokens,
            "positions": "rotary",
        }
        choices = {
            "full": ("gpt2", {}),
            "fewer KV heads": ("grouped-query", few),
            "window": ("sliding-window", window),
            "both": ("modern", few | window),
        }
        return {
            label: (variant, make_config("gpt2", _VOCABULARY, **size, **choice))
            for label, (variant, choice) in choices.items()
        }


QUICK = Setup(longest=1024, repeats=3)


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Let every model read a text of each length and write on, in turns."""
    models = {}
    for label, (_, config) in setup.models().items():
        models[label] = GPT2.from_config(config).eval()
        models[label].initialize(setup.seed)
    generator = seeded_generator(setup.seed, "text to read")
    text = torch.randint(_VOCABULARY, (1, setup.longest), generator=generator)
    milliseconds: dict[tuple[str, int], list[float]] = {(label, n): [] for label in models for n in setup.lengths}
    held: dict[tuple[str, int], int] = {}
    done, all_work = 0.0, float(sum(setup.lengths) * (1 + setup.repeats))
    for repeat in range(setup.repeats + 1):  # the first warms up caches and kernels, and is not counted
        for length in setup.lengths:
            for label, model in models.items():
                yield Progress(done / all_work, f"{label}, {length:,} tokens")
                seconds, bytes_held = _write(model, text[:, :length], setup.tokens)
                held[label, length] = bytes_held
                if repeat:
                    milliseconds[label, length].append(1000 * seconds)
            done += length
    return _result(setup, milliseconds, held)


def _write(model: GPT2, text: torch.Tensor, tokens: int) -> tuple[float, int]:
    """Median seconds for a token after this text, and the bytes that are held after the text alone."""
    stream = stream_tokens(model, text, max_new_tokens=tokens, temperature=0)
    next(stream)  # which reads the text
    bytes_held = stream.cache_bytes
    seconds = []
    for _ in range(tokens - 1):
        started = time.perf_counter()
        next(stream)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), bytes_held


def _result(setup: Setup, milliseconds: dict[tuple[str, int], list[float]], held: dict[tuple[str, int], int]) -> Result:
    measures, times, caches = [], [], []
    agree = 0
    for label, (variant, config) in setup.models().items():
        of = [median_of(f"{label}/{n}/ms", milliseconds[label, n], "ms a token", "repeats") for n in setup.lengths]
        sizes = [held[label, n] / 1e6 for n in setup.lengths]
        formula = [cache_bytes(config, n) / 1e6 for n in setup.lengths]
        agree += sum(held[label, n] == cache_bytes(config, n) for n in setup.lengths)
        measures += of
        measures += [Measure(f"{label}/{n}/cache", mb, unit="MB") for n, mb in zip(setup.lengths, sizes, strict=True)]
        measures += [
            Measure(f"{label}/{n}/formula", mb, unit="MB") for n, mb in zip(setup.lengths, formula, strict=True)
        ]
        lengths = tuple(float(n) for n in setup.lengths)
        times.append(Curve(label, lengths, tuple(m.value for m in of), tuple(m.error for m in of), variant))
        caches.append(Curve(label, lengths, tuple(sizes), (), variant))
    measures.append(Measure("formula/equal", agree, of=f"{len(held)} sizes"))
    measures.append(Measure("formula/compared", len(held)))
    last = setup.longest
    for label in ("fewer KV heads", "window", "both"):
        pairs = zip(milliseconds["full", last], milliseconds[label, last], strict=True)
        measures.append(median_of(f"{label}/times-as-fast", [full / one for full, one in pairs], of="repeats"))
        measures.append(Measure(f"{label}/times-as-small", held["full", last] / held[label, last]))
    charts = (
        Chart("Time for a token", "tokens read", "ms a token", tuple(times), x_scale="log", y_range=(0.0, 0.0)),
        Chart("Keys and values held", "tokens read", "MB, measured", tuple(caches), x_scale="log", y_scale="log"),
    )
    return Result("savings", vars(setup), tuple(measures), charts)


def answer(result: Result) -> str:
    """Whether a token is written as many times as fast as the window's cache is smaller."""
    faster, smaller = result["window/times-as-fast"], result["window/times-as-small"].value
    if not is_above(faster, 1.0):
        return "none"
    return "as-much" if not is_above(Measure("", _AS_MUCH * smaller), faster) else "less"


def sentences(result: Result) -> list[str]:
    """What was measured at the longest text."""
    longest, window = result.setup["longest"], result.setup["window_size"]
    faster, smaller = result["window/times-as-fast"], result["window/times-as-small"]
    verdict = {
        "as-much": "as many times as fast, within a fifth",
        "less": "faster, but by a smaller factor",
        "none": "not measurably faster",
    }[answer(result)]
    said = [
        f"After {longest:,} tokens, the cache of a window of {window:,} is {smaller} times as small as that of full "
        f"attention, and a token is written {faster} times as fast ({faster.of}): {verdict}."
    ]
    for label in ("fewer KV heads", "both"):
        times = result[f"{label}/times-as-fast"]
        known = "faster" if is_above(times, 1.0) else "slower" if is_above(Measure("", 1.0), times) else ""
        told = f"{known} beyond twice its error" if known else "which cannot be told from no change"
        said.append(f"With {label}: {result[f'{label}/times-as-small']} times as small, {times} times as fast, {told}.")
    equal, compared = result["formula/equal"].value, result["formula/compared"].value
    exact = "every time" if equal == compared else f"{equal:.0f} times"
    said.append(f"The bytes held were compared with the formula {compared:.0f} times, and were equal {exact}.")
    return said
