"""Texts longer than those a model has learned from, read by models that differ in how they know positions.

ALiBi was made for this ("Train Short, Test Long", Press et al., https://arxiv.org/abs/2108.12409): its scores fall with
distance, so that what is far away counts little, however far. A table of learned positions ends at the trained length,
rotary angles (https://arxiv.org/abs/2104.09864) go on into distances never seen, and a window sees to it that they do
not come up. Models without positions are those of Haviv et al. (https://arxiv.org/abs/2203.16634). The loss of the
models is measured at every position, on the same windows of text.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt.data.batches import BatchStream
from gpt.data.corpus import Corpus
from gpt.experiments.learning import learn_batches, text_to_learn, unseen_windows
from gpt.experiments.questions import SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, mean_of
from gpt.experiments.setups import check_whole_numbers
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.training.recipes import TrainConfig

_TRAINED = 64  # characters in the texts learned from
_LONGER = 4 * _TRAINED
_HEADS = 4
_MOST_TOKENS = 2048  # read at once: a stop is heard between two readings
_WITHIN = f"positions {_TRAINED // 2 + 1} to {_TRAINED}"
_BEYOND = f"positions {_LONGER - _TRAINED + 1} to {_LONGER}"
_BIN = 8  # positions drawn as one dot
_UNIT = "nats per character"

# What each model is called, and whose colour it takes.
MODELS = {
    "learned": ("learned positions", "gpt2"),
    "rotary": ("rotary", "rotary"),
    "alibi": ("ALiBi", "other"),
    "none": ("no positions", "other"),
    "window": ("rotary with window", "sliding-window"),
}
_READ_ON = tuple(name for name in MODELS if name != "learned")  # those that can


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        window_size: keys a query may see, of the model with a window.
        steps: updates of each model.
        batch_size: texts of 64 characters in a batch.
        num_layers: blocks of each model.
        embed_size: width of each model; a multiple of 8: four heads, whose width rotary positions need to be even.
        windows: of 256 characters, of the text not learned from, on which losses are measured.
        seed: of the starting weights and the batches.
    """

    window_size: int = 16
    steps: int = 120
    batch_size: int = 16
    num_layers: int = 3
    embed_size: int = 96
    windows: int = 240
    seed: int = SEED

    def __post_init__(self) -> None:
        check_whole_numbers(
            self,
            window_size=(1, _TRAINED),
            steps=(1, 300),
            batch_size=(1, 32),
            num_layers=(1, 4),
            embed_size=(8, 128),
            windows=(2, 400),
        )
        if self.embed_size % (2 * _HEADS):
            raise ValueError(f"embed_size is {self.embed_size}; give a multiple of {2 * _HEADS}")


QUICK = Setup(steps=15, batch_size=8, num_layers=2, embed_size=64, windows=30)


def make_model(name: str, vocab_size: int, setup: Setup) -> GPT2:
    """One of `MODELS`; tensors that two of them have by name and shape start equal."""
    choices: dict[str, Any] = {"positions": name}
    if name == "window":
        choices = {"positions": "rotary", "window_size": setup.window_size}
    model = GPT2(
        vocab_size,
        setup.embed_size,
        _HEADS,
        4 * setup.embed_size,
        setup.num_layers,
        context_length=_TRAINED,
        **choices,
    )
    model.initialize(setup.seed)
    return model


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Train every model on short texts, and let it read long ones."""
    yield Progress(0.0, "reading the text")
    corpus = text_to_learn()
    windows = unseen_windows(corpus, _LONGER, setup.windows)
    losses: dict[str, Tensor] = {}
    for place, (name, (words, _)) in enumerate(MODELS.items()):
        model = make_model(name, corpus.tokenizer.vocab_size, setup)
        for share in _learned(model, corpus, setup):
            yield Progress((place + 0.8 * share) / len(MODELS), f"training: {words}")
        read: list[Tensor] = []
        for share in _read(model, *windows, read):
            yield Progress((place + 0.8 + 0.2 * share) / len(MODELS), f"reading long texts: {words}")
        losses[name] = torch.cat(read)
    measures = _measures(losses)
    return Result("longer-texts", vars(setup), tuple(measures), _charts(losses, measures))


def _learned(model: GPT2, corpus: Corpus, setup: Setup) -> Generator[float, None, None]:
    """Train on texts of 64 characters, for all models the same; yields the share that is done."""
    batches = BatchStream(corpus.train_ids, setup.batch_size, _TRAINED, setup.seed, "random")
    recipe = TrainConfig(max_steps=setup.steps, batch_size=setup.batch_size)
    yield from (step / setup.steps for step, _ in learn_batches(model, batches.__getitem__, recipe))


def _read(model: GPT2, inputs: Tensor, targets: Tensor, losses: list[Tensor]) -> Generator[float, None, None]:
    """The loss of every character, (N, 256) in parts, or (N, 64) where the model knows no more positions."""
    length = _TRAINED if model.config.positions == "learned" else _LONGER
    parts = list(zip(*(part[:, :length].split(_MOST_TOKENS // length) for part in (inputs, targets)), strict=True))
    for number, (some, following) in enumerate(parts, start=1):
        with evaluation_mode(model):
            losses.append(F.cross_entropy(model(some).transpose(1, 2), following, reduction="none"))
        yield number / len(parts)


def _within(losses: Tensor) -> Tensor:
    """The mean loss of each window at positions 33 to 64: trained, with some text before them."""
    return losses[:, _TRAINED // 2 : _TRAINED].mean(dim=1)


def _beyond(losses: Tensor) -> Tensor:
    """The mean loss of each window at positions 193 to 256: farther from the start than any text learned from."""
    return losses[:, -_TRAINED:].mean(dim=1)


def _measures(losses: Mapping[str, Tensor]) -> list[Measure]:
    """The loss within and beyond the trained length, how much it changes, and all models beside each other."""
    measures = [_mean("learned/within", _within(losses["learned"]))]
    for name in _READ_ON:
        within, beyond = _within(losses[name]), _beyond(losses[name])
        measures += [
            _mean(f"{name}/within", within),
            _mean(f"{name}/beyond", beyond),
            _mean(f"{name}/change", beyond - within),
        ]
    for one, other in combinations(_READ_ON, 2):
        measures.append(_mean(f"{one}-minus-{other}/beyond", _beyond(losses[one]) - _beyond(losses[other])))
    return measures


def _mean(name: str, losses: Tensor) -> Measure:
    of = f"{len(losses):,} windows, one seed"
    if not losses.isfinite().all():
        return Measure(name, math.nan, unit=_UNIT, of=of)
    return replace(mean_of(name, losses.tolist(), _UNIT), of=of)


def _charts(losses: Mapping[str, Tensor], measures: list[Measure]) -> tuple[Chart, ...]:
    loss = f"loss ({_UNIT})"
    found = {measure.name: measure for measure in measures}
    curves = tuple(_by_position(*MODELS[name], losses[name]) for name in MODELS)
    values = [y for curve in curves for y in curve.y if math.isfinite(y)]
    by_position = Chart(
        f"Loss by position, the mean of {_BIN} positions each",
        "position in the text",
        loss,
        curves,
        # Room above the curves for what is written there.
        y_range=(min(values), max(values) + (max(values) - min(values)) / 2) if values else None,
        x_marks=((_TRAINED + 0.5, "length learned from"),),
    )
    rows = tuple(words for words, _ in MODELS.values())
    both = (_row_of_each(_WITHIN, "within", found), _row_of_each(_BEYOND, "beyond", found))
    return by_position, Chart("Within and beyond the texts learned from", "", loss, both, rows=rows)


def _row_of_each(label: str, place: str, found: Mapping[str, Measure]) -> Curve:
    known = [(row, found[f"{name}/{place}"]) for row, name in enumerate(MODELS) if f"{name}/{place}" in found]
    return Curve(
        label,
        tuple(float(row) for row, _ in known),
        tuple(one.value for _, one in known),
        tuple(one.error for _, one in known),
    )


def _by_position(label: str, variant: str, losses: Tensor) -> Curve:
    means = [_mean(label, some.mean(dim=1)) for some in losses.split(_BIN, dim=1)]
    return Curve(
        label,
        tuple(place * _BIN + (_BIN + 1) / 2 for place in range(len(means))),
        tuple(one.value for one in means),
        tuple(one.error for one in means),
        variant,
    )


def _sign(difference: Measure) -> int:
    """1 above zero, -1 below, by more than twice its error; else 0."""
    return is_above(difference, 0.0) - is_above(Measure("zero", 0.0), difference)


def _first_two(result: Result) -> tuple[str, str, Measure]:
    """The two models of the lowest losses beyond the trained length, and how far the second lies above the first."""
    best, second = sorted(_READ_ON, key=lambda name: result[f"{name}/beyond"].value)[:2]
    one, other = sorted((best, second), key=_READ_ON.index)
    difference = result[f"{one}-minus-{other}/beyond"]
    return best, second, replace(difference, value=abs(difference.value))


def answer(result: Result) -> str:
    """The model of the lowest loss beyond the trained length, if it is told apart from the next one."""
    if not all(math.isfinite(result[f"{name}/beyond"].value) for name in _READ_ON):
        return ""
    best, _, ahead = _first_two(result)
    return best if _sign(ahead) > 0 else ""


def sentences(result: Result) -> list[str]:
    """What was measured, in words."""
    changes = "; ".join(f"{MODELS[name][0]}: {_change(result[f'{name}/change'])}" for name in _READ_ON)
    return [
        _lowest(result),
        f"Loss there, against {_WITHIN}: {changes}.",
        f"Learned positions end at the {_TRAINED}th; at {_WITHIN}, that model's loss is {result['learned/within']}.",
    ]


def _lowest(result: Result) -> str:
    """Who reads best beyond the trained length, and by how much."""
    unknown = [MODELS[name][0] for name in _READ_ON if not math.isfinite(result[f"{name}/beyond"].value)]
    if unknown:
        return f"At {_BEYOND}, not all losses are numbers: not that of {', '.join(unknown)}."
    best, second, ahead = _first_two(result)
    lowest, next_ = (result[f"{name}/beyond"] for name in (best, second))
    first, then = MODELS[best][0], MODELS[second][0]
    errors = f"(±: standard error over {lowest.of})"
    if _sign(ahead) > 0:
        return (
            f"At {_BEYOND}, the lowest loss is that of {first}: {lowest} {_UNIT} {errors}. "
            f"Next comes {then} with {next_}, {ahead} higher on the same windows."
        )
    return (
        f"At {_BEYOND}, the two lowest losses are not told apart: {first} has {lowest} {_UNIT}, {then} {next_} "
        f"{errors}; the difference on the same windows is {ahead}."
    )


def _change(change: Measure) -> str:
    if not math.isfinite(change.value):
        return "not measured"
    sign = _sign(change)
    if not sign:
        return f"not measurably changed ({change})"
    return f"{'up' if sign > 0 else 'down'} by {replace(change, value=abs(change.value))}"
