"""One part of GPT-2 taken away or changed, beside a healthy model that starts from the same weights.

What each part is for is told in three papers: the mask and the layer norm after each sum in "Attention Is All You Need"
(Vaswani et al., https://arxiv.org/abs/1706.03762), the norm before each branch and the smaller start of residual
layers in GPT-2's (Radford et al., 2019), and why the place of the norm matters in "On Layer Normalization in the
Transformer Architecture" (Xiong et al., https://arxiv.org/abs/2002.04745). A model without the causal mask is measured
twice: reading whole texts, as it was trained, and given only what stands before each character, as when it writes.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt.data.batches import BatchStream
from gpt.data.corpus import Corpus
from gpt.experiments.learning import learn_batches, text_to_learn, unseen_windows
from gpt.experiments.questions import QUESTIONS, SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, mean_of
from gpt.experiments.setups import check_choice, check_whole_numbers
from gpt.model.cache import LayerCache
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.layers import GPT2Block
from gpt.training.recipes import TrainConfig

CHANGES: dict[str, str] = dict(QUESTIONS["break-it"].controls[0].choices)
_ABOUT = 0.05  # nats per character: a difference below it counts as learning about as well
_HEALTHY = "healthy GPT-2"
_CONTEXT = 64
_HEADS = 4
_EVALUATIONS = 6  # while a model learns, after the one before its first step
_MOST_TOKENS = 2048  # read at once: a stop is heard between two readings
_SPARSE = 8  # every so many windows are read prefix by prefix while a model learns; all of them at the end
_UNIT = "nats per character"


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        change: what is broken, one of `CHANGES`.
        steps: updates of each model.
        batch_size: texts of 64 characters in a batch.
        num_layers: blocks of each model.
        embed_size: width of each model; a multiple of 4, the heads.
        windows: of 64 characters, of the text not learned from, on which losses are measured.
        seed: of the starting weights and the batches.
    """

    change: str = "no-mask"
    steps: int = 120
    batch_size: int = 32
    num_layers: int = 3
    embed_size: int = 96
    windows: int = 200
    seed: int = SEED

    def __post_init__(self) -> None:
        check_choice("change", self.change, CHANGES)
        check_whole_numbers(
            self,
            steps=(1, 300),
            batch_size=(1, 32),
            num_layers=(1, 4),
            embed_size=(4, 128),
            windows=(2, 400),
        )
        if self.embed_size % _HEADS:
            raise ValueError(f"embed_size is {self.embed_size}; give a multiple of {_HEADS}, the number of heads")


QUICK = Setup(steps=30, batch_size=16, num_layers=2, embed_size=64, windows=16)


class PostNormBlock(nn.Module):
    """The parts of a block in the order of the original Transformer: a norm after each sum, and none before a branch.

    Args:
        block: whose parts, with their weights and names, are used.
    """

    def __init__(self, block: GPT2Block) -> None:
        super().__init__()
        self.attention_norm, self.attention = block.attention_norm, block.attention
        self.feed_forward_norm, self.feed_forward = block.feed_forward_norm, block.feed_forward

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """(B, T, embed_size) -> (B, T, embed_size)."""
        x = self.attention_norm(x + self.attention(x, cache))
        return self.feed_forward_norm(x + self.feed_forward(x))


def make_model(vocab_size: int, setup: Setup, change: str = "") -> GPT2:
    """A GPT-2 with one part broken, or a healthy one; tensors that both have by name and shape start equal.

    Args:
        vocab_size: of the text.
        setup: the sizes, and the seed of the weights.
        change: one of `CHANGES`, or "" for none; "rate-times-ten" leaves the model healthy.
    """
    model = GPT2(
        vocab_size,
        setup.embed_size,
        _HEADS,
        4 * setup.embed_size,
        setup.num_layers,
        context_length=_CONTEXT,
        causal=change != "no-mask",
        positions="none" if change == "no-positions" else "learned",
    )
    model.initialize(setup.seed)
    if change == "no-residual-scaling":
        _undo_residual_scaling(model)
    elif change == "no-normalisation":
        for block in model.blocks:
            assert isinstance(block, GPT2Block)
            block.attention_norm = block.feed_forward_norm = nn.Identity()  # type: ignore[assignment]
        model.final_norm = nn.Identity()  # type: ignore[assignment]
    elif change == "post-norm":
        model.blocks = nn.ModuleList(PostNormBlock(block) for block in model.blocks)  # type: ignore[arg-type]
        model.final_norm = nn.Identity()  # type: ignore[assignment]  # the last block ends with a norm
    return model


@torch.no_grad()
def _undo_residual_scaling(model: GPT2) -> None:
    """Let the layers that write into the residual stream start at 0.02, as all others do."""
    for block in model.blocks:
        assert isinstance(block, GPT2Block)
        for weight in (block.attention.output.weight, block.feed_forward.project.weight):
            weight.mul_(math.sqrt(2 * model.config.num_layers))


def make_recipe(setup: Setup, change: str = "") -> TrainConfig:
    """The fast recipe, with all rates ten times as high if that is what is broken."""
    recipe = TrainConfig(max_steps=setup.steps, batch_size=setup.batch_size)
    if change != "rate-times-ten":
        return recipe
    assert recipe.matrix_learning_rate is not None
    return replace(
        recipe, learning_rate=10 * recipe.learning_rate, matrix_learning_rate=10 * recipe.matrix_learning_rate
    )


@dataclass
class _Course:
    """What was measured while one model learned.

    Attributes:
        batches: the training loss of each batch.
        losses: (updates made, mean loss of each window (N,)) at every evaluation; NaN at the last one of a training
            whose loss was no number any more.
        from_past: the same, given only what stands before each character; empty where the mask sees to that.
        steps: updates made.
    """

    batches: list[float] = field(default_factory=list)
    losses: list[tuple[int, Tensor]] = field(default_factory=list)
    from_past: list[tuple[int, Tensor]] = field(default_factory=list)
    steps: int = 0


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Train the healthy model, then the broken one, and measure both on the same windows."""
    yield Progress(0.0, "reading the text")
    corpus = text_to_learn()
    windows = unseen_windows(corpus, _CONTEXT, setup.windows)
    courses = []
    for place, change in enumerate(("", setup.change)):
        course = _Course()
        for share in _learned(corpus, setup, change, windows, course):
            yield Progress((place + share) / 2, f"training: {CHANGES[change] if change else _HEALTHY}")
        courses.append(course)
    healthy, broken = courses
    measures = _measures(setup, healthy, broken, _guesses(corpus, windows))
    return Result("break-it", vars(setup), measures, _charts(setup, healthy, broken, measures))


def _learned(
    corpus: Corpus, setup: Setup, change: str, windows: tuple[Tensor, Tensor], course: _Course
) -> Generator[float, None, None]:
    """Train one model and note its course; yields the share that is done."""
    model = make_model(corpus.tokenizer.vocab_size, setup, change)
    batches = BatchStream(corpus.train_ids, setup.batch_size, _CONTEXT, setup.seed, "random")
    sees_future = not model.config.causal
    few = (windows[0][::_SPARSE], windows[1][::_SPARSE])
    learning = 0.8 if sees_future else 1.0  # the share of the time that training takes
    every = math.ceil(setup.steps / _EVALUATIONS)
    yield from (0.0 for _ in _evaluated(model, windows, course))
    if sees_future:
        yield from (0.0 for _ in _evaluated_from_past(model, few, course))
    for step, loss in learn_batches(model, batches.__getitem__, make_recipe(setup, change)):
        share = learning * step / setup.steps
        yield share
        if not math.isfinite(loss):  # what the weights from before this update gave
            nothing = torch.full((len(windows[0]),), math.nan)
            course.losses.append((course.steps, nothing))
            if sees_future:
                course.from_past.append((course.steps, nothing))
            return
        course.batches.append(loss)
        course.steps = step
        if step % every == 0 or step == setup.steps:
            yield from (share for _ in _evaluated(model, windows, course))
            if sees_future and step < setup.steps:
                yield from (share for _ in _evaluated_from_past(model, few, course))
    if sees_future:
        yield from (learning + (1 - learning) * done for done in _evaluated_from_past(model, windows, course))


def _evaluated(model: GPT2, windows: tuple[Tensor, Tensor], course: _Course) -> Generator[None, None, None]:
    """Note the loss of each window, with all of it in the model's sight that its mask allows."""
    losses = []
    parts = (part.split(_MOST_TOKENS // _CONTEXT) for part in windows)
    for inputs, targets in zip(*parts, strict=True):
        with evaluation_mode(model):
            logits = model(inputs)  # (N, T, vocab_size)
            losses.append(F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(dim=1))
        yield
    course.losses.append((course.steps, torch.cat(losses)))


def _evaluated_from_past(model: GPT2, windows: tuple[Tensor, Tensor], course: _Course) -> Generator[float, None, None]:
    """Note the loss of each window where every character is foreseen from the text cut before it.

    For each character the model reads what stands before it in the window and nothing else, and the logits of the last
    position are taken, as when it writes. A causal mask put on now would not be the same: the positions before the last
    would no longer see each other both ways, as they have learned to. Yields the share that is done.
    """
    inputs, targets = windows
    total = torch.zeros(len(inputs))
    for length in range(1, _CONTEXT + 1):
        losses = []
        for some, following in zip(
            inputs[:, :length].split(_MOST_TOKENS // length),
            targets[:, length - 1].split(_MOST_TOKENS // length),
            strict=True,
        ):
            with evaluation_mode(model):
                losses.append(F.cross_entropy(model(some)[:, -1], following, reduction="none"))
            yield (length / _CONTEXT) ** 2
        total += torch.cat(losses)
    course.from_past.append((course.steps, total / _CONTEXT))


def _guesses(corpus: Corpus, windows: tuple[Tensor, Tensor]) -> list[Measure]:
    """The loss of two that learn next to nothing: one knows how many characters there are, one how frequent each is."""
    vocab_size = corpus.tokenizer.vocab_size
    counts = torch.bincount(corpus.train_ids, minlength=vocab_size) + 1.0
    losses = -(counts / counts.sum()).log()[windows[1]]  # (N, T)
    return [
        Measure("guess/uniform", math.log(vocab_size), unit=_UNIT),
        mean_of("guess/frequencies", losses.mean(dim=1).tolist(), _UNIT, "windows"),
    ]


def _measures(setup: Setup, healthy: _Course, broken: _Course, guesses: Sequence[Measure]) -> tuple[Measure, ...]:
    plain = healthy.losses[-1][1]
    measures = [_mean("healthy/loss", plain), Measure("broken/steps", broken.steps, unit="steps")]
    for name, losses in (("loss", broken.losses), ("loss-from-past", broken.from_past)):
        if losses:
            last = losses[-1][1]
            measures += [_mean(f"broken/{name}", last), _mean(f"difference/{name}", last - plain)]
    return (*measures, *guesses)


def _mean(name: str, losses: Tensor) -> Measure:
    of = f"{len(losses):,} windows, one seed"
    if not losses.isfinite().all():
        return Measure(name, math.nan, unit=_UNIT, of=of)
    return replace(mean_of(name, losses.tolist(), _UNIT), of=of)


def _charts(setup: Setup, healthy: _Course, broken: _Course, measures: Sequence[Measure]) -> tuple[Chart, ...]:
    name, loss = CHANGES[setup.change], f"loss ({_UNIT})"
    found = {measure.name: measure for measure in measures}
    marks = ((found["guess/uniform"].value, "all characters alike"),)
    curves = [_curve(_HEALTHY, healthy.losses, "gpt2"), _curve(name, broken.losses)]
    if broken.from_past:
        curves.append(_curve(f"{name}, given only the past", broken.from_past))
    batches = tuple(
        Curve(label, tuple(range(1, len(course.batches) + 1)), tuple(course.batches), variant=variant)
        for label, course, variant in ((_HEALTHY, healthy, "gpt2"), (name, broken, "other"))
    )
    return (
        Chart("Loss on text it has not learned from", "training step", loss, tuple(curves), y_marks=marks),
        _final_chart(name, found, marks),
        Chart("Loss on each batch, before it is learned from", "training step", loss, batches, y_marks=marks),
    )


def _final_chart(name: str, found: Mapping[str, Measure], marks: tuple[tuple[float, str], ...]) -> Chart:
    """The losses after the last step, below each other, those that could be measured."""
    rows = {
        "healthy/loss": _HEALTHY,
        "broken/loss": name,
        "broken/loss-from-past": f"{name}, given only the past",
        "guess/frequencies": "frequencies of characters",
    }
    known = {row: found[key] for key, row in rows.items() if key in found and math.isfinite(found[key].value)}
    curve = _dots("loss", range(len(known)), list(known.values()))
    return Chart("The same after the last step", "", f"loss ({_UNIT})", (curve,), y_marks=marks, rows=tuple(known))


def _curve(label: str, losses: Sequence[tuple[int, Tensor]], variant: str = "other") -> Curve:
    return _dots(label, [steps for steps, _ in losses], [_mean(label, one) for _, one in losses], variant)


def _dots(label: str, at: Sequence[int], means: Sequence[Measure], variant: str = "other") -> Curve:
    errors = tuple(one.error for one in means)
    return Curve(label, tuple(float(x) for x in at), tuple(one.value for one in means), errors, variant)


def _judged(result: Result) -> str:
    """Which loss tells what was learned: without the mask, the one given only the past."""
    return "loss-from-past" if result.setup["change"] == "no-mask" else "loss"


def _sign(difference: Measure) -> int:
    """1 above zero, -1 below, by more than twice its error; else 0."""
    return is_above(difference, 0.0) - is_above(Measure("zero", 0.0), difference)


def answer(result: Result) -> str:
    """The prediction that the losses bear out."""
    loss, difference = (result[f"{what}/{_judged(result)}"] for what in ("broken", "difference"))
    if not math.isfinite(result["healthy/loss"].value):
        return ""
    if not math.isfinite(loss.value):
        return "fails"
    as_trained = result["difference/loss"]
    if _sign(difference) > 0 and _sign(as_trained) < 0 and as_trained.value < -_ABOUT:  # two losses, so of no-mask
        return "cheats"
    if not is_above(result["guess/frequencies"], loss):
        return "fails"
    if difference.value <= _ABOUT:
        return "same"
    return "worse" if _sign(difference) > 0 else ""


_BROKEN = {
    "no-mask": "Without the causal mask",
    "no-positions": "Without positions",
    "no-residual-scaling": "Without the smaller start of residual layers",
    "no-normalisation": "Without layer norm",
    "post-norm": "With the layer norm after each sum",
    "rate-times-ten": "With ten times the learning rate",
}


def sentences(result: Result) -> list[str]:
    """What was measured, in words."""
    healthy, broken = result["healthy/loss"], _BROKEN[result.setup["change"]]
    said = [
        f"Healthy GPT-2 has a loss of {healthy} {_UNIT} after {result.setup['steps']} steps, on text it has not "
        f"learned from (±: standard error over {healthy.of})."
    ]
    if not math.isfinite(result["broken/loss"].value):
        steps = result["broken/steps"]
        return [*said, f"{broken}, training diverged: after {steps} steps, the loss was no longer a number."]
    said.append(f"{broken}, the loss is {result['broken/loss']}: {_compared_in_words(result['difference/loss'])}.")
    if _judged(result) != "loss":
        said.append(
            f"The same weights, given only the text before each character, as when they write, have a loss of "
            f"{result['broken/loss-from-past']}: {_compared_in_words(result['difference/loss-from-past'])}."
        )
    return [*said, _beside_guesses(result)]


def _compared_in_words(difference: Measure) -> str:
    sign = _sign(difference)
    if not sign:
        return f"too close to the healthy one's to tell apart (difference {difference})"
    size = replace(difference, value=abs(difference.value))
    small = f" (less than {_ABOUT:g}: about as well)" if size.value <= _ABOUT else ""
    return f"{size} {'higher' if sign > 0 else 'lower'} than the healthy one's on the same windows{small}"


def _beside_guesses(result: Result) -> str:
    """The broken model beside two that know next to nothing."""
    loss = result[f"broken/{_judged(result)}"]
    frequencies, uniform = result["guess/frequencies"], result["guess/uniform"]
    if is_above(loss, uniform):
        return f"That is worse than taking all characters as equally likely ({uniform})."
    if is_above(loss, frequencies):
        return f"That is worse than knowing only how frequent each character is ({frequencies})."
    if is_above(frequencies, loss):
        return f"Knowing only how frequent each character is would give {frequencies}: it has learned more than that."
    return f"Knowing only how frequent each character is would give {frequencies}: about the same."
