"""Induction: what followed this token the last time follows again.

In "In-context Learning and Induction Heads" (Olsson et al., 2022, https://arxiv.org/abs/2209.11895), models of two
layers or more come to copy what they have read, and do so suddenly: a head of one layer brings to each token which one
stood before it, and a head of a later layer, the induction head, looks for the place whose token before is the one that
it reads now. That head's weight on what followed the same token before, the prefix match, rises as the loss falls. With
one layer there is nothing to look for: no place says yet what stood before it.

Texts are random tokens and then the same again. Where all copies are of one length there is another way, for which one
layer is enough: to look that many tokens back. So by default each text has a length of its own.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt.experiments.learning import learn_batches
from gpt.experiments.questions import SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, mean_of
from gpt.experiments.setups import check_choice, check_whole_numbers
from gpt.interpret import attention_maps, score_heads
from gpt.model.config import GPTConfig, make_config
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.masks import attention_mask
from gpt.model.seeds import derived_seed, seeded_generator
from gpt.training.recipes import TrainConfig

_HEADS = 3
_LEARNED = 0.5  # share of the second copy foreseen from which a model counts as having learned it
_NO_DIFFERENCE = 0.001  # nats, below which no difference is told
_LAYERS = {"one": 1, "two": 2}
_LABELS = {"one": "one layer", "two": "two layers"}


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        positions: "alibi", "learned" or "rotary", of both models.
        copy_length: tokens in a copy, or the most of them.
        lengths: "vary" from half of that to all of it, or "same".
        tokens: how many different ones there are.
        embed_size: width of both models.
        steps: updates of the weights, of each model.
        batch_size: texts in an update.
        evaluations: after the one before the first step, evenly spaced.
        texts: that the loss is measured on, new ones for each seed.
        mapped: of these, texts on which the heads are scored.
        seeds: models of each depth, each with its own weights and texts.
        seed: that all of these are derived from.
    """

    positions: str = "alibi"
    copy_length: int = 24
    lengths: str = "vary"
    tokens: int = 64
    embed_size: int = 72
    steps: int = 200
    batch_size: int = 32
    evaluations: int = 20
    texts: int = 64
    mapped: int = 8
    seeds: int = 3
    seed: int = SEED

    def __post_init__(self) -> None:
        check_choice("positions", self.positions, ("alibi", "learned", "rotary"))
        check_choice("lengths", self.lengths, ("vary", "same"))
        check_whole_numbers(
            self,
            copy_length=(4, 48),
            tokens=(4, 256),
            embed_size=(2 * _HEADS, 96),
            steps=(1, 400),
            batch_size=(1, 48),
            evaluations=(1, 40),
            texts=(2, 128),
            mapped=(2, 16),
            seeds=(1, 3),
        )
        if self.embed_size % (2 * _HEADS):
            raise ValueError(f"embed_size is {self.embed_size}; give a multiple of {2 * _HEADS}")
        if self.evaluations > self.steps:
            raise ValueError(f"evaluations is {self.evaluations} and steps {self.steps}; give as many steps or more")
        if self.mapped > self.texts:
            raise ValueError(f"mapped is {self.mapped} and texts {self.texts}; give as many texts or more")

    @property
    def shortest(self) -> int:
        """Tokens in the shortest copy."""
        return self.copy_length // 2 if self.lengths == "vary" else self.copy_length

    @property
    def evaluated(self) -> list[int]:
        """The steps after which there is an evaluation; 0 is before the first."""
        return [round(self.steps * number / self.evaluations) for number in range(self.evaluations + 1)]

    def config(self, kind: str) -> GPTConfig:
        """Of the model with "one" layer or "two"; the feed-forward layer is no wider than the model."""
        return make_config(
            "gpt2",
            self.tokens,
            embed_size=self.embed_size,
            hidden_size=self.embed_size,
            num_heads=_HEADS,
            num_layers=_LAYERS[kind],
            context_length=2 * self.copy_length,
            positions=self.positions,
        )


QUICK = Setup(
    copy_length=20, tokens=24, embed_size=60, steps=150, batch_size=32, evaluations=10, texts=32, mapped=4, seeds=1
)


@dataclass
class _Trace:
    """What was measured of one model, at each evaluation, for each text.

    Attributes:
        losses: (texts,) each, on the second copy, in nats per token.
        right: (texts,) each, the share of the second copy foreseen.
        heads: (texts mapped, layers, heads) each, the prefix match.
        even: (texts mapped,) the prefix match of attention that is spread evenly.
    """

    losses: list[Tensor] = field(default_factory=list)
    right: list[Tensor] = field(default_factory=list)
    heads: list[Tensor] = field(default_factory=list)
    even: Tensor = field(default_factory=lambda: torch.empty(0))


def draw_texts(setup: Setup, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Texts that end in two copies of the same random tokens; where these are short, other random tokens come first.

    Returns:
        ids (count, 2 x copy_length), and targets of that shape: the next token where it belongs to the second copy
        and is not its first, else -100.
    """
    length = 2 * setup.copy_length
    ids = torch.randint(setup.tokens, (count, length), generator=generator)
    copied = torch.randint(setup.shortest, setup.copy_length + 1, (count, 1), generator=generator)
    places = torch.arange(length)
    in_second = places >= length - copied  # (count, length)
    ids = ids.gather(1, torch.where(in_second, places - copied, places))
    targets = torch.full_like(ids, -100)
    targets[:, :-1] = torch.where(in_second[:, :-1], ids[:, 1:], -100)
    return ids, targets


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Train a model of one layer and one of two from each seed, and measure both as they learn."""
    traces: dict[str, list[_Trace]] = {kind: [] for kind in _LAYERS}
    work = setup.seeds * sum(_LAYERS.values())
    done = 0
    for number in range(setup.seeds):
        seed = derived_seed(setup.seed, "induction", number)
        for kind, layers in _LAYERS.items():
            traces[kind].append(_Trace())
            for share in _followed(setup, kind, seed, traces[kind][-1]):
                yield Progress((done + layers * share) / work, f"{_LABELS[kind]}, seed {number + 1}")
            done += layers
    return _result(setup, traces)


def _followed(setup: Setup, kind: str, seed: int, trace: _Trace) -> Generator[float, None, None]:
    """Train one model and write down what it does; yields the share of the steps that are made."""
    model = GPT2.from_config(setup.config(kind))
    model.initialize(seed)
    generator = seeded_generator(seed, "texts to learn from")
    ids, targets = draw_texts(setup, setup.texts, seeded_generator(seed, "texts to be tested on"))
    config = TrainConfig(
        max_steps=setup.steps,
        learning_rate=0.01,
        matrix_learning_rate=0.03,
        weight_decay=0.0,
        precision="float32",
    )
    evaluated = set(setup.evaluated)
    for _ in _evaluated(model, ids, targets, setup, trace):
        yield 0.0
    for step, _ in learn_batches(model, lambda _: draw_texts(setup, setup.batch_size, generator), config):
        yield step / setup.steps
        if step in evaluated:
            for _ in _evaluated(model, ids, targets, setup, trace):
                yield step / setup.steps


def _evaluated(model: GPT2, ids: Tensor, targets: Tensor, setup: Setup, trace: _Trace) -> Generator[None, None, None]:
    """Measure a model and add that to the trace."""
    counts = targets != -100
    with evaluation_mode(model):
        logits = model(ids)
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")  # 0 where none counts
        right = logits.argmax(dim=-1) == targets
    trace.losses.append(losses.sum(dim=1) / counts.sum(dim=1))
    trace.right.append(right.sum(dim=1) / counts.sum(dim=1))
    yield
    weights = attention_maps(model, ids[: setup.mapped])  # (layers, texts, heads, T, T)
    places = torch.arange(ids.shape[1])
    allowed = attention_mask(places, places)
    scored = [score_heads(weights[:, text], allowed, ids[text])["prefix"] for text in range(setup.mapped)]
    trace.heads.append(torch.stack([scores.means for scores in scored]))
    trace.even = torch.tensor([scores.even for scores in scored])
    yield


def _mean(name: str, seeds: Sequence[Tensor], unit: str = "") -> Measure:
    """The mean of what each text gave, (texts,) for each seed: its error is over seeds, or over texts of only one."""
    if len(seeds) > 1:
        return mean_of(name, [texts.mean().item() for texts in seeds], unit, "seeds")
    return mean_of(name, seeds[0].tolist(), unit, "texts")


def _result(setup: Setup, traces: dict[str, list[_Trace]]) -> Result:
    nats = "nats per token"
    measures = [Measure("uniform", math.log(setup.tokens), unit=nats)]
    for kind, seeds in traces.items():
        measures.append(_mean(f"{kind}/loss", [trace.losses[-1] for trace in seeds], nats))
        measures.append(_mean(f"{kind}/right", [trace.right[-1] for trace in seeds]))
        for layer in range(_LAYERS[kind]):
            heads = [trace.heads[-1][:, layer] for trace in seeds]  # (texts, heads) each
            best = [texts[:, texts.mean(dim=0).argmax()] for texts in heads]
            measures.append(_mean(f"{kind}/layer-{layer + 1}/prefix-match", best))
    pairs = zip(traces["one"], traces["two"], strict=True)  # which read the same texts
    measures.append(_mean("difference/loss", [one.losses[-1] - two.losses[-1] for one, two in pairs], nats))
    measures.append(_mean("even/prefix-match", [trace.even for trace in traces["two"]]))
    return Result("induction", vars(setup), tuple(measures), (_loss_chart(setup, traces), _heads_chart(setup, traces)))


def _loss_chart(setup: Setup, traces: dict[str, list[_Trace]]) -> Chart:
    steps = tuple(float(step) for step in setup.evaluated)
    curves = []
    for kind, seeds in traces.items():
        points = [_mean("", losses) for losses in zip(*(trace.losses for trace in seeds), strict=True)]
        curves.append(Curve(_LABELS[kind], steps, tuple(p.value for p in points), tuple(p.error for p in points)))
    return Chart(
        f"Loss on the second copy, mean of {setup.seeds} seed{'s' * (setup.seeds > 1)}",
        "step",
        "loss (nats per token)",
        tuple(curves),
        y_range=(0.0, 1.1 * math.log(setup.tokens)),
        y_marks=((math.log(setup.tokens), f"uniform guessing, ln {setup.tokens}"),),
    )


def _heads_chart(setup: Setup, traces: dict[str, list[_Trace]]) -> Chart:
    """Of the first seed alone: which head becomes what is for each model to find."""
    steps = tuple(float(step) for step in setup.evaluated)
    trace = traces["two"][0]
    curves = []
    for layer in range(_LAYERS["two"]):
        for head in range(_HEADS):
            points = [_mean("", [scores[:, layer, head]]) for scores in trace.heads]
            label = f"layer {layer + 1}, head {head + 1}"
            curves.append(Curve(label, steps, tuple(p.value for p in points), tuple(p.error for p in points)))
    return Chart(
        "Prefix match of each head of the model of two layers, first seed",
        "step",
        "weight on what followed last time",
        tuple(curves),
        y_range=(0.0, 1.0),
        y_limits=(0.0, 1.0),
    )


def _has_learned(result: Result, kind: str) -> bool | None:
    """Whether a model foresees half of the second copy; None if its errors leave that open."""
    right, half = result[f"{kind}/right"], Measure("", _LEARNED)
    return True if is_above(right, half) else False if is_above(half, right) else None


def answer(result: Result) -> str:
    """Which of the models foresee half of the second copy or more."""
    one, two = _has_learned(result, "one"), _has_learned(result, "two")
    if one:
        return "one"
    if one is None or two is None:
        return ""
    return "two" if two else "neither"


def sentences(result: Result) -> list[str]:
    """What both models foresee in the end, and where their heads look."""
    setup = Setup(**result.setup)
    said = [_on_what_is_foreseen(result, setup), _on_the_difference(result), _on_prefix_match(result)]
    if setup.lengths == "same" and _has_learned(result, "one"):
        said.append(
            "All copies were of one length, for which looking a fixed distance back is enough; whether one layer "
            "predicts copies of other lengths was not measured."
        )
    return said


def _on_what_is_foreseen(result: Result, setup: Setup) -> str:
    verdicts: dict[tuple[bool | None, bool | None], str] = {
        (False, True): "two layers predict more than half of it, one layer less",
        (True, False): "one layer predicts more than half of it, two layers less",
        (True, True): "both predict more than half of it",
        (False, False): "both predict less than half of it",
    }
    learned = _has_learned(result, "one"), _has_learned(result, "two")
    verdict = verdicts.get(learned, "whether each predicts half of it is not certain")
    errors = f" (±: standard error over {result['two/right'].of}{', one seed' * (setup.seeds == 1)})"
    return (
        f"After {setup.steps} steps, two layers predict a share of {result['two/right']} of the second copy, one layer "
        f"{result['one/right']}{errors}: {verdict}."
    )


def _on_the_difference(result: Result) -> str:
    difference = result["difference/loss"]
    if abs(difference.value) < _NO_DIFFERENCE:
        verdict = f"less than {_NO_DIFFERENCE} apart"
    elif is_above(difference, 0.0):
        verdict = f"lower by {difference} with two layers"
    elif is_above(Measure("", 0.0), difference):
        verdict = f"higher by {Measure('', -difference.value, difference.error)} with two layers"
    else:
        verdict = "too close to tell apart"
    return (
        f"Loss on the second copy is {result['two/loss']} nats with two layers and {result['one/loss']} with one, "
        f"{verdict}; uniform guessing has {result['uniform']}."
    )


def _on_prefix_match(result: Result) -> str:
    even = result["even/prefix-match"]
    names = {
        "two/layer-2/prefix-match": "in the second of two layers",
        "two/layer-1/prefix-match": "in the first",
        "one/layer-1/prefix-match": "in a single layer",
    }
    told: Sequence[str] = [
        f"{result[name]} {where} ({'above' if is_above(result[name], even) else 'not above'} even attention)"
        for name, where in names.items()
    ]
    return (
        f"The head that attends most to what followed the same token before gives it a share of {told[0]}, {told[1]}, "
        f"and {told[2]}; attention spread evenly gives it {even}."
    )
