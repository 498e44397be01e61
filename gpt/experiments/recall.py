"""Recall at a distance: how far back a model finds a value, with full attention and with a sliding window.

A query in a layer with a window of W sees W tokens, but what it reads there was itself read from W tokens one layer
below: so k layers reach k(W - 1) + 1 tokens (Mistral 7B, https://arxiv.org/abs/2310.06825). Nothing from farther back
can arrive. Whether what lies within the reach but outside the window does arrive depends on whether the layers learn
to hand it on. Associative recall is the plainest test: a key and its value, then the key again (Ba et al., 2016,
https://arxiv.org/abs/1610.06258).

Here one pair stands in each text, and keys, values and the fill between them are tokens of three kinds. So a single
layer can tell what to look for, and nothing is hard about the task but the distance.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt.experiments.learning import learn_batches
from gpt.experiments.questions import SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above
from gpt.experiments.setups import check_whole_numbers
from gpt.model.config import GPTConfig, make_config
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.seeds import derived_seed, seeded_generator
from gpt.training.recipes import TrainConfig

_FILL, _KEYS = 16, 8  # different tokens of these kinds; how many values there are is a setting
_HEADS = 4
_NEAREST = 2  # the value stands between the key and the query
_RELIABLE = 0.9  # share of values found from which a distance counts as found
_AT_ONCE = 200  # texts read side by side in the test
_STEPS_A_POINT = 4  # of the curve of losses
_LABELS = {"full": ("full attention", "gpt2"), "window": ("sliding-window", "sliding-window")}


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        window_size: W of the model with a window, in keys, the query's own among them.
        num_layers: of both models.
        longest: distance d between key and query, in tokens; texts have one token more.
        values: how many different ones there are; guessing finds one in so many.
        embed_size: width of both models.
        steps: updates of the weights, of each model.
        batch_size: texts in an update, each with a distance drawn from all.
        texts: new ones read for each distance and seed.
        seeds: models of each kind, each with its own weights and texts.
        seed: that all of these are derived from.
    """

    window_size: int = 8
    num_layers: int = 2
    longest: int = 32
    values: int = 16
    embed_size: int = 64
    steps: int = 120
    batch_size: int = 64
    texts: int = 200
    seeds: int = 3
    seed: int = SEED

    def __post_init__(self) -> None:
        check_whole_numbers(
            self,
            window_size=(1, 64),
            num_layers=(1, 4),
            longest=(3, 64),
            values=(2, 64),
            embed_size=(_HEADS, 96),
            steps=(1, 300),
            batch_size=(1, 64),
            texts=(2, 500),
            seeds=(1, 3),
        )
        if self.embed_size % _HEADS:
            raise ValueError(f"embed_size is {self.embed_size}; give a multiple of {_HEADS}")

    @property
    def reach(self) -> int:
        """The farthest distance from which a value can arrive in the model with a window."""
        # The value stands one token nearer than its key: what is d back is the (d + 1)th token, its value the dth.
        return self.num_layers * (self.window_size - 1) + 1

    @property
    def distances(self) -> range:
        """All that are learned and tested."""
        return range(_NEAREST, self.longest + 1)

    @property
    def parts(self) -> dict[str, list[int]]:
        """The distances within the window, beyond it but within the reach, and beyond the reach; some may be empty."""
        return {
            "within-window": [d for d in self.distances if d <= self.window_size],
            "within-reach": [d for d in self.distances if self.window_size < d <= self.reach],
            "beyond-reach": [d for d in self.distances if d > self.reach],
        }

    def config(self, kind: str) -> GPTConfig:
        """Of the model with "full" attention or with a "window", which differ in nothing else."""
        return make_config(
            "gpt2",
            _FILL + _KEYS + self.values,
            embed_size=self.embed_size,
            hidden_size=2 * self.embed_size,
            num_heads=_HEADS,
            num_layers=self.num_layers,
            context_length=self.longest + 1,
            window_size=self.window_size if kind == "window" else None,
        )


QUICK = Setup(window_size=4, longest=16, steps=80, batch_size=48, seeds=1)


def draw_texts(setup: Setup, distances: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Texts with one key and its value, and the key again at the end.

    Args:
        setup: says how long they are, and how many values there are.
        distances: (N,) tokens from the key to the end, for each text.
        generator: of the tokens.

    Returns:
        ids (N, longest + 1), and the values (N,) that have to follow.
    """
    count, last = len(distances), setup.longest
    rows = torch.arange(count)
    ids = torch.randint(_FILL, (count, last + 1), generator=generator)
    keys = _FILL + torch.randint(_KEYS, (count,), generator=generator)
    values = _FILL + _KEYS + torch.randint(setup.values, (count,), generator=generator)
    ids[rows, last - distances] = keys
    ids[rows, last - distances + 1] = values
    ids[:, last] = keys
    return ids, values


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Train models of both kinds from each seed, and let both read the same new texts."""
    losses: dict[str, list[list[float]]] = {kind: [] for kind in _LABELS}
    found: dict[str, list[Tensor]] = {kind: [] for kind in _LABELS}  # of each seed (distances, texts)
    models = setup.seeds * len(_LABELS)
    for number in range(setup.seeds):
        seed = derived_seed(setup.seed, "recall", number)
        for kind, (label, _) in _LABELS.items():
            model = GPT2.from_config(setup.config(kind))
            model.initialize(seed)
            done = sum(len(ended) for ended in found.values())
            losses[kind].append([])
            for loss in _learned(model, setup, seed):
                losses[kind][-1].append(loss)
                share = 0.8 * (len(losses[kind][-1]) / setup.steps)
                yield Progress((done + share) / models, f"{label} learns, seed {number + 1}")
            rows: list[Tensor] = []
            for row in _tested(model, setup, seed):
                rows += [] if row is None else [row]
                share = 0.8 + 0.2 * len(rows) / len(setup.distances)
                yield Progress((done + share) / models, f"{label} is tested, seed {number + 1}")
            found[kind].append(torch.stack(rows))
    return _result(setup, losses, {kind: torch.stack(seeds) for kind, seeds in found.items()})


def _learned(model: GPT2, setup: Setup, seed: int) -> Generator[float, None, None]:
    """Train on texts of all distances; yields the loss of each step."""
    generator = seeded_generator(seed, "texts to learn from")

    def draw(_: int) -> tuple[Tensor, Tensor]:
        distances = torch.randint(_NEAREST, setup.longest + 1, (setup.batch_size,), generator=generator)
        ids, values = draw_texts(setup, distances, generator)
        targets = torch.full_like(ids, -100)
        targets[:, -1] = values
        return ids, targets

    config = TrainConfig(max_steps=setup.steps, learning_rate=0.01, weight_decay=0.0, precision="float32")
    for _, loss in learn_batches(model, draw, config):
        yield loss


def _tested(model: GPT2, setup: Setup, seed: int) -> Generator[Tensor | None, None, None]:
    """Whether the value is the likeliest token, (texts,) for each distance in turn; None in between."""
    for distance in setup.distances:
        generator = seeded_generator(seed, "texts to be tested on", distance)
        ids, values = draw_texts(setup, torch.full((setup.texts,), distance), generator)
        right = []
        for some, wanted in zip(ids.split(_AT_ONCE), values.split(_AT_ONCE), strict=True):
            yield None
            with evaluation_mode(model):
                right.append(model(some)[:, -1].argmax(dim=-1) == wanted)
        yield torch.cat(right)


def _mean(name: str, scores: Tensor) -> Measure:
    """The mean of scores (seeds, texts) between -1 and 1, with its standard error.

    That is the larger of the error that drawing the texts makes and, with several seeds, of how the seeds differ. For
    shares the first is binomial, with one text found and one not found added, so that it is never 0.
    """
    seeds, count = scores.shape[0], scores.numel()
    if not count:
        return Measure(name, math.nan)
    padded = torch.cat((scores.flatten().double(), torch.tensor([0.0, 1.0], dtype=torch.double)))
    error = padded.std(correction=0).item() / math.sqrt(len(padded))
    if seeds > 1:
        error = max(error, scores.double().mean(dim=1).std().item() / math.sqrt(seeds))
    of = f"{count:,} texts" + (f" of {seeds} seeds" if seeds > 1 else "")
    return Measure(name, scores.double().mean().item(), error, of=of)


def _result(setup: Setup, losses: dict[str, list[list[float]]], found: dict[str, Tensor]) -> Result:
    """From losses by kind, seed and step, and what was found: (seeds, distances, texts) by kind."""
    by_distance = {
        kind: [_mean(f"{kind}/{d}", found[kind][:, place]) for place, d in enumerate(setup.distances)]
        for kind in _LABELS
    }
    measures = [Measure("chance", 1 / setup.values)]
    for kind, shares in by_distance.items():
        worst = min(shares, key=lambda share: share.value)
        reliable = [share.value >= _RELIABLE for share in shares]
        first_lost = reliable.index(False) if False in reliable else len(reliable)
        measures += [_mean(f"{kind}/{part}", _part(setup, found[kind], part)) for part in setup.parts]
        measures.append(Measure(f"{kind}/worst", worst.value, worst.error, of=worst.of))
        measures.append(Measure(f"{kind}/found-to", first_lost + _NEAREST - 1 if first_lost else 0, unit="tokens"))
    more = found["full"].int() - found["window"].int()  # of the same texts
    measures += [_mean(f"difference/{part}", _part(setup, more, part)) for part in setup.parts]
    return Result(
        "recall", vars(setup), tuple(measures), (_found_chart(setup, by_distance), _loss_chart(setup, losses))
    )


def _part(setup: Setup, scores: Tensor, part: str) -> Tensor:
    """Of scores (seeds, distances, texts) those of a part of the distances: (seeds, texts of all these)."""
    return scores[:, [distance - _NEAREST for distance in setup.parts[part]]].flatten(1)


def _found_chart(setup: Setup, by_distance: dict[str, list[Measure]]) -> Chart:
    distances = tuple(float(distance) for distance in setup.distances)
    curves = tuple(
        Curve(label, distances, tuple(s.value for s in shares), tuple(s.error for s in shares), variant)
        for (label, variant), shares in zip(_LABELS.values(), by_distance.values(), strict=True)
    )
    ends = distances[0], distances[-1]
    chance = Curve("chance", ends, (1 / setup.values,) * 2)
    marks = [(setup.window_size, "window"), (setup.reach, "reach")]
    if setup.reach == setup.window_size:
        marks = [(setup.window_size, "both")]
    layers = "1 layer" if setup.num_layers == 1 else f"{setup.num_layers} layers"
    return Chart(
        f"Values found: {layers}, window W = {setup.window_size}, reach k(W−1)+1 = {setup.reach}",
        "distance d (tokens)",
        "share of values found",
        (*curves, chance),
        y_range=(0.0, 1.0),
        y_limits=(0.0, 1.0),
        x_marks=tuple((float(at), what) for at, what in marks if at <= setup.longest),
    )


def _loss_chart(setup: Setup, losses: dict[str, list[list[float]]]) -> Chart:
    curves = []
    for kind, (label, variant) in _LABELS.items():
        firsts = range(0, setup.steps, _STEPS_A_POINT)
        points = [_mean_of_steps([steps[first : first + _STEPS_A_POINT] for steps in losses[kind]]) for first in firsts]
        x = tuple(float(min(first + _STEPS_A_POINT, setup.steps)) for first in firsts)
        curves.append(Curve(label, x, tuple(p[0] for p in points), tuple(p[1] for p in points), variant))
    guessed = len(setup.parts["beyond-reach"]) / len(setup.distances)
    if guessed:
        best = guessed * math.log(setup.values)
        curves.append(Curve("sure within the reach, guessing beyond it", (0.0, float(setup.steps)), (best, best)))
    return Chart("While they learn", "step", "loss (nats per value)", tuple(curves), y_range=(0.0, 0.0))


def _mean_of_steps(seeds: list[list[float]]) -> tuple[float, float]:
    """The mean of some steps of each seed, and its standard error over seeds; NaN for one seed."""
    means = [statistics.fmean(steps) for steps in seeds]
    error = statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return statistics.fmean(means), error


def _of(result: Result) -> Setup:
    return Setup(**result.setup)


def answer(result: Result) -> str:
    """How far each model finds 9 of 10 values or more."""
    setup = _of(result)
    full, window = result["full/found-to"].value, result["window/found-to"].value
    one_window = min(setup.window_size, setup.longest)
    if full < setup.longest:
        return "neither" if window < one_window else ""
    if window >= setup.longest:
        return "both"
    if window < one_window:
        return ""
    handed_on = is_above(result["window/within-reach"], result["chance"], errors=3)
    if window >= setup.reach > setup.window_size:
        return "reach"
    return "part" if handed_on else "window"


def sentences(result: Result) -> list[str]:
    """What was found within the window, within the reach, and beyond."""
    setup = _of(result)
    return [_on_full_attention(result, setup), _on_the_window(result, setup), *_on_the_reach(result, setup)]


def _on_full_attention(result: Result, setup: Setup) -> str:
    to, worst = result["full/found-to"].value, result["full/worst"]
    if to >= setup.longest:
        return (
            f"With full attention the value is found at every distance up to {setup.longest}: a share of {worst} at "
            f"the worst of them (±: standard error, {worst.of})."
        )
    up_to = f"only up to a distance of {to:.0f}" if to else "at no distance"
    return (
        f"With full attention a share of {_RELIABLE} or more is found {up_to}; at the worst distance it is {worst} "
        f"(±: standard error, {worst.of})."
    )


def _on_the_window(result: Result, setup: Setup) -> str:
    share, full = result["window/within-window"], result["full/within-window"]
    if math.isnan(share.value):
        return f"A window of {setup.window_size} is too short for a key with its value and the key again."
    return (
        f"Within its window of {setup.window_size} tokens, the model with a window finds {share} of the values, and "
        f"full attention {full} of the same: {_compared(result['difference/within-window'])}."
    )


def _on_the_reach(result: Result, setup: Setup) -> list[str]:
    said = []
    between, beyond, chance = result["window/within-reach"], result["window/beyond-reach"], result["chance"]
    if not math.isnan(between.value):
        if result["window/found-to"].value >= min(setup.reach, setup.longest):
            handed_on = "its layers hand the value on"
        elif is_above(between, chance, errors=3):
            handed_on = "its layers hand the value on, but not reliably"
        else:
            handed_on = "its layers have not learned to hand the value on"
        said.append(
            f"Farther back, but within the {setup.reach} tokens that {setup.num_layers} layers reach, it finds "
            f"{between}: {handed_on}."
        )
    if math.isnan(beyond.value):
        return [*said, f"No distance lies beyond the {setup.reach} tokens that it reaches."]
    more, fewer = is_above(beyond, chance, errors=3), is_above(chance, beyond, errors=3)
    luck = "more than" if more else "less than" if fewer else "which cannot be told from"
    said.append(
        f"Beyond the {setup.reach} tokens that it reaches, it finds {beyond}, {luck} chance (1/{setup.values}), and "
        f"full attention {result['full/beyond-reach']} of the same: {_compared(result['difference/beyond-reach'])}."
    )
    return said


def _compared(difference: Measure) -> str:
    """A paired difference, full attention less window, in words."""
    if is_above(difference, 0.0):
        return f"{difference} more with full attention"
    if is_above(Measure("", 0.0), difference):
        return f"{Measure('', -difference.value, difference.error)} more with the window"
    return "they cannot be told apart"
