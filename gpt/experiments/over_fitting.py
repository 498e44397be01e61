"""Over-fitting: a model learns a short text nearly by heart, and what helps it on text that it has not seen.

Three remedies are held against stopping in time. Dropout (Srivastava et al., 2014) switches off other random parts of
the model at each step, so that it cannot rely on any of them alone. Weight decay (Krogh and Hertz, 1992; apart from the
gradient: Loshchilov and Hutter, https://arxiv.org/abs/1711.05101) pulls the weights towards zero. A committee (Hansen
and Salamon, 1990) averages the logits of models that differ in their seeds; it cannot be worse than its mean member,
because the cross-entropy is convex in the logits, but how much better it is has to be measured.

The unseen text has two parts. One chooses the step at which each model is best, the other compares the models of these
steps: the loss by which a model was chosen flatters it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt.data.batches import BatchStream, validation_windows
from gpt.data.corpus import Corpus
from gpt.experiments.learning import learn_batches, text_to_learn
from gpt.experiments.questions import SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, mean_of
from gpt.experiments.setups import check_whole_numbers
from gpt.model.config import check_number, make_config
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.seeds import derived_seed
from gpt.training.devices import pick_device, seeded_dropout
from gpt.training.evaluation import mean_and_error, token_losses
from gpt.training.recipes import TrainConfig

_VARIANT = "rotary"  # with learned positions, such a model needs half as many steps again
_CONTEXT = 64
_BATCH = 8
_LOOKED_AT = 40  # windows of each text at which the losses of a curve are measured
_NATS = "nats per character"
_BOUNDS = {
    "characters": (500, 200_000),
    "steps": (1, 400),
    "seeds": (2, 5),
    "interval": (1, 400),
    "windows": (2, 600),
    "embed_size": (8, 96),
    "num_layers": (1, 2),
    "seed": (0, 2**62),
}

Found = TypeVar("Found")


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        characters: of the text that is learned.
        dropout: share of activations dropped, of the models that have it.
        weight_decay: of the models that have it; the others have none.
        steps: updates of each model.
        seeds: models of each kind; the plain ones are the committee.
        interval: steps between two looks at the losses.
        windows: of unseen text, of 64 characters each, on which the models are compared.
        embed_size, num_layers: the size of every model.
        seed: the first of the seeds.
    """

    characters: int = 10_000
    dropout: float = 0.2
    weight_decay: float = 1.0
    steps: int = 200
    seeds: int = 3
    interval: int = 10
    windows: int = 400
    embed_size: int = 64
    num_layers: int = 2
    seed: int = SEED

    def __post_init__(self) -> None:
        check_number("dropout", self.dropout)
        check_number("weight_decay", self.weight_decay)
        if not 0 < self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; give a share above 0 and below 1")
        if not 0 < self.weight_decay <= 10:
            raise ValueError(f"weight_decay is {self.weight_decay}; give more than 0 and at most 10")
        check_whole_numbers(self, **_BOUNDS)
        if self.embed_size % 8:
            raise ValueError(f"embed_size is {self.embed_size}; give a multiple of 8, for 4 heads of rotary positions")
        if self.steps > 50 * self.interval:
            raise ValueError(f"{self.steps} steps with a look every {self.interval} make more than 50 looks; look less")

    def kinds(self) -> dict[str, tuple[float, float]]:
        """(dropout, weight decay) of every kind of model that is trained."""
        return {"stopping": (0.0, 0.0), "dropout": (self.dropout, 0.0), "decay": (0.0, self.weight_decay)}


QUICK = Setup(characters=2_000, steps=30, seeds=2, windows=60, embed_size=48)

_NAMES = {"stopping": "plain", "dropout": "dropout", "decay": "weight decay"}
_CHOICES = (*_NAMES, "committee")


@dataclass(frozen=True, eq=False)
class _Learned:
    """What came of one training.

    Attributes:
        model: with the weights of its best step.
        best_step: where its loss on unseen text was lowest.
        steps: where it was looked at.
        unseen, seen: its loss there on unseen text, and of plain models on the text that they learn.
    """

    model: GPT2
    best_step: int
    steps: tuple[int, ...]
    unseen: tuple[float, ...]
    seen: tuple[float, ...]


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Train every kind of model from every seed, and compare the best of each on text that chose none of them."""
    yield Progress(0.0, "reading the text")
    corpus = text_to_learn()
    half = len(corpus.validation_ids) // 2
    chooses, compares = corpus.validation_ids[:half], corpus.validation_ids[half:]
    trained: dict[str, list[_Learned]] = {kind: [] for kind in setup.kinds()}
    trainings = [(kind, setup.seed + number) for number in range(setup.seeds) for kind in trained]
    parts = len(trainings) + 1
    for number, (kind, seed) in enumerate(trainings):
        learning = _learn(setup, kind, seed, corpus, chooses)
        learned = yield from _telling(learning, number, parts, f"learning: {_NAMES[kind]}, seed {seed}")
        trained[kind].append(learned)
    groups = {kind: [[learned.model] for learned in found] for kind, found in trained.items()}
    groups["committee"] = [[learned.model for learned in trained["stopping"]]]
    comparing = _compare(groups, compares, setup.windows)
    losses = yield from _telling(comparing, parts - 1, parts, "comparing on other text")
    measures = (*_measures_of_curves(trained["stopping"]), *_measures_of_bests(trained, losses))
    return Result("over-fitting", vars(setup), measures, (_curves_chart(trained), _gains_chart(measures, setup)))


def _telling(
    running: Generator[float, None, Found], number: int, parts: int, doing: str
) -> Generator[Progress, None, Found]:
    """The progress of one of so many equal parts of the work, which tells the share of it that is done."""
    while True:
        try:
            share = next(running)
        except StopIteration as end:
            found: Found = end.value
            return found
        yield Progress((number + share) / parts, doing)


def _learn(setup: Setup, kind: str, seed: int, corpus: Corpus, chooses: Tensor) -> Generator[float, None, _Learned]:
    """Train one model, and keep it as it was where it was best; yields the share of the steps that are made."""
    dropout, weight_decay = setup.kinds()[kind]
    config = make_config(
        _VARIANT,
        corpus.tokenizer.vocab_size,
        embed_size=setup.embed_size,
        num_heads=4,
        num_layers=setup.num_layers,
        context_length=_CONTEXT,
        dropout=dropout,
    )
    model = GPT2.from_config(config)
    model.initialize(seed)
    training = TrainConfig(
        max_steps=setup.steps,
        matrix_learning_rate=0.04,
        decay_share=0.0,  # a rate that falls would hide over-fitting, because it ends the learning
        weight_decay=weight_decay,
    )
    text = corpus.train_ids[: setup.characters]
    batches = BatchStream(text, _BATCH, _CONTEXT, seed, "passes")
    learning = learn_batches(model, lambda step: batches[step], training)
    best_loss, best_step, best = math.inf, 0, _copy_of(model)
    steps, unseen, seen = [], [], []
    for step in range(setup.steps + 1):
        if step:
            with seeded_dropout(pick_device("cpu"), derived_seed(seed, "dropout", step)):
                next(learning)
        yield step / setup.steps
        if step % setup.interval == 0 or step == setup.steps:
            steps.append(step)
            unseen.append(_loss(model, chooses))
            if kind == "stopping":
                seen.append(_loss(model, text))
            if unseen[-1] < best_loss:
                best_loss, best_step, best = unseen[-1], step, _copy_of(model)
    model.load_weights(best)
    return _Learned(model, best_step, tuple(steps), tuple(unseen), tuple(seen))


def _copy_of(model: GPT2) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def _loss(model: GPT2, ids: Tensor) -> float:
    return mean_and_error(token_losses(model, ids, most_windows=_LOOKED_AT))[0]


def _compare(
    groups: Mapping[str, Sequence[Sequence[GPT2]]], ids: Tensor, most: int
) -> Generator[float, None, dict[str, Tensor]]:
    """The losses of committees, most of them of one model, on the same windows: (committees, windows) by name."""
    losses: dict[str, Tensor] = {}
    for done, (name, committees) in enumerate(groups.items()):
        rows = []
        for models in committees:
            some = []
            for measured in window_losses(models, ids, most):
                some.append(measured)
                yield done / len(groups)
            rows.append(torch.cat(some))
        losses[name] = torch.stack(rows)
    return losses


def window_losses(models: Sequence[GPT2], ids: Tensor, most: int) -> Iterator[Tensor]:
    """The loss of a committee on up to `most` windows of a text (N,), some of them at a time: (windows,) each.

    Its logits are the mean of its models'.
    """
    whole = ids[: (len(ids) - 1) // _CONTEXT * _CONTEXT + 1]  # so that no window is shorter than the others
    for inputs, targets in validation_windows(whole, _CONTEXT, most):
        logits = torch.zeros(())
        for model in models:
            with evaluation_mode(model):
                logits = logits + model(inputs) / len(models)  # (B, T, vocab_size)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        yield loss.view(targets.shape).double().mean(dim=1)


# --- What came of it --------------------------------------------------------------------------------------------------


def over_models_and_windows(name: str, losses: Tensor) -> Measure:
    """The mean of losses, or of their differences, (models, windows), uncertain by its models and by its windows.

    The error is that of the mean window, and where there are several models that of the mean model beside it.
    """
    models, windows = losses.shape
    error = (losses.mean(dim=0).std() / math.sqrt(windows)).item()
    of = f"{windows:,} windows"
    if models > 1:
        error = math.hypot(error, (losses.mean(dim=1).std() / math.sqrt(models)).item())
        of = f"{models} seeds and {of}"
    return Measure(name, losses.mean().item(), error, _NATS, of)


def _measures_of_curves(plain: Sequence[_Learned]) -> list[Measure]:
    """How far the plain models over-fit."""
    rises = [learned.unseen[-1] - min(learned.unseen) for learned in plain]
    return [
        mean_of("plain/best-step", [float(learned.best_step) for learned in plain], "steps", "seeds"),
        mean_of("plain/rise-on-unseen-text", rises, _NATS, "seeds"),
        mean_of("plain/last-loss-on-unseen-text", [learned.unseen[-1] for learned in plain], _NATS, "seeds"),
        mean_of("plain/last-loss-on-its-own-text", [learned.seen[-1] for learned in plain], _NATS, "seeds"),
    ]


def _measures_of_bests(trained: Mapping[str, Sequence[_Learned]], losses: Mapping[str, Tensor]) -> list[Measure]:
    """The loss of each choice on the text that compares, and by how much any two differ on the same windows."""
    measures = [over_models_and_windows(f"{choice}/loss", losses[choice]) for choice in _CHOICES]
    for place, one in enumerate(_CHOICES):
        for other in _CHOICES[place + 1 :]:
            measures.append(over_models_and_windows(f"{one}-minus-{other}", losses[one] - losses[other]))
    gain = losses["stopping"].mean(dim=0, keepdim=True) - losses["committee"]
    measures.append(over_models_and_windows("committee/gain-on-its-mean-member", gain))
    for kind in ("dropout", "decay"):
        steps = [float(learned.best_step) for learned in trained[kind]]
        measures.append(mean_of(f"{kind}/best-step", steps, "steps", "seeds"))
    return measures


def _curves_chart(trained: Mapping[str, Sequence[_Learned]]) -> Chart:
    curves = [
        _curve(f"{_NAMES[kind]}, unseen text", found[0].steps, [learned.unseen for learned in found], kind)
        for kind, found in trained.items()
    ]
    plain = trained["stopping"]
    curves.append(_curve("plain, the text it learns", plain[0].steps, [learned.seen for learned in plain]))
    title = f"Loss while they learn, mean of {len(plain)} seeds with its standard error"
    return Chart(title, "training step", f"loss ({_NATS})", tuple(curves))


def _curve(label: str, steps: Sequence[int], losses: Sequence[Sequence[float]], kind: str = "") -> Curve:
    means = [mean_of("", [one[place] for one in losses]) for place in range(len(steps))]
    return Curve(
        label,
        tuple(float(step) for step in steps),
        tuple(mean.value for mean in means),
        tuple(mean.error for mean in means),
        _VARIANT if kind == "stopping" else "other",
    )


def _gains_chart(measures: Sequence[Measure], setup: Setup) -> Chart:
    """How far each remedy's loss lies below that of the plain models, stopped in time."""
    found = {measure.name: measure for measure in measures}
    gains = [found[f"stopping-minus-{choice}"] for choice in _CHOICES[1:]]
    curve = Curve(
        "lower loss than the plain model at its best step",
        tuple(float(place) for place in range(len(gains))),
        tuple(gain.value for gain in gains),
        tuple(gain.error for gain in gains),
    )
    rows = ("dropout", "weight decay", f"committee of {setup.seeds}")
    title = f"How much each lowers the loss on other text; error of the difference over {gains[0].of}"
    return Chart(title, "", f"gain ({_NATS})", (curve,), y_marks=((0.0, "stopped in time"),), rows=rows)


# --- What is said of it -----------------------------------------------------------------------------------------------


def _gap(result: Result, one: str, other: str) -> Measure:
    """By how much the loss of a choice lies above that of another."""
    if _CHOICES.index(one) < _CHOICES.index(other):
        return result[f"{one}-minus-{other}"]
    measure = result[f"{other}-minus-{one}"]
    return Measure(f"{one}-minus-{other}", -measure.value, measure.error, measure.unit, measure.of)


def answer(result: Result) -> str:
    """The choice that is better than every other; stopping, if none is better than that; else none."""

    def beats(one: str, other: str) -> bool:
        return is_above(_gap(result, other, one), 0.0)

    if not any(beats(choice, "stopping") for choice in _CHOICES[1:]):
        return "stopping"
    ahead = [choice for choice in _CHOICES if all(beats(choice, other) for other in _CHOICES if other != choice)]
    return ahead[0] if ahead else ""


def sentences(result: Result) -> list[str]:
    """What the losses were, and which of them can be told apart."""
    rise, best_step = result["plain/rise-on-unseen-text"], result["plain/best-step"]
    rose = f"rose by {rise} after it" if is_above(rise, 0.0) else f"did not measurably rise after it ({rise})"
    said = [
        f"On text it does not learn, the plain model was best at step {best_step}, and its loss {rose}; after "
        f"{result.setup['steps']} steps it was {result['plain/last-loss-on-unseen-text']} there and "
        f"{result['plain/last-loss-on-its-own-text']} on its own text ({rise.of}).",
        f"At its best step, on other text: plain {result['stopping/loss']}, with dropout {result['dropout/loss']} "
        f"(step {result['dropout/best-step']}), with weight decay {result['decay/loss']} "
        f"(step {result['decay/best-step']}), the committee {result['committee/loss']} {_NATS}.",
    ]
    named = {"dropout": "dropout", "decay": "weight decay", "committee": "the committee"}
    compared = [f"{name} {_told_apart(_gap(result, 'stopping', choice))}" for choice, name in named.items()]
    said.append(
        f"On the same windows, against the plain model stopped in time: {'; '.join(compared)} "
        f"(±: standard error over {result['stopping-minus-dropout'].of})."
    )
    gain = result["committee/gain-on-its-mean-member"]
    if is_above(gain, 0.0):
        said.append(f"The committee's loss is lower than that of its mean member by {gain}, over {gain.of}.")
    verdicts = {
        "stopping": "Nothing here is measurably better than stopping the plain model in time.",
        "dropout": "Dropout is better than each of the others.",
        "decay": "Weight decay is better than each of the others.",
        "committee": "The committee is better than each of the others.",
        "": "More than one of them may be the best: these numbers do not decide.",
    }
    said.append(verdicts[answer(result)])
    return said


def _told_apart(gain: Measure) -> str:
    size = Measure(gain.name, abs(gain.value), gain.error)
    if is_above(gain, 0.0):
        return f"is better by {size}"
    if is_above(Measure(gain.name, -gain.value, gain.error), 0.0):
        return f"is worse by {size}"
    return f"cannot be told apart from it (a difference of {size})"
