"""Another text: a model that has learned one text goes on with another. What does it keep, and what is it spared?

A network that learns something new changes the weights in which the old lies: catastrophic forgetting (McCloskey and
Cohen, 1989). The same weights are also a better start than random ones, as whoever fine-tunes a model relies on
(Howard and Ruder, https://arxiv.org/abs/1801.06146). Both are measured here on the way, against a new model that learns
the same rows of the new text in as many steps. The oldest remedy for the first is rehearsal (Robins, 1995): some rows
of each batch come from the old text.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt.checkpoints.folder import load_checkpoint
from gpt.checkpoints.listing import TRAINED_MODELS, list_checkpoints
from gpt.data.batches import BatchStream, validation_windows
from gpt.data.corpora import load_corpus
from gpt.data.corpus import Corpus
from gpt.data.tokenizer import Tokenizer
from gpt.experiments.learning import DrawBatch, learn_batches, text_of
from gpt.experiments.questions import SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, mean_of
from gpt.experiments.setups import check_choice, check_whole_numbers
from gpt.model.config import check_number
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.seeds import derived_seed
from gpt.training.recipes import TrainConfig

_OLD, _NEW = "shakespeare", "python-docs"
_CONTEXT = 64  # characters in a row or a window: the models that ship can read four times as many
_MOMENTS = 10  # at which losses are measured
_AT_ONCE = 16  # windows
_NATS = "nats per character"
_FORGOTTEN = 0.2  # rise of the old text's loss, in nats per character, from which we call it forgetting
_LARGEST_RATE = 2.0

# Characters of the new text that the old one has not, and what is learned in their place; all others are left out.
_INSTEAD = {
    **dict.fromkeys('"“”‘’', "'"),
    **dict.fromkeys("012456789", "3"),
    **dict.fromkeys("_–—", "-"),
    "…": ".",
}

_Losses = dict[str, list[Tensor]]  # by the text, at each moment: (windows,)


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        model: of those that ship.
        rate_multiple: of the fast recipe's learning rates, for the model that goes on; the new model has the recipe's.
        kept_share: share of each batch's rows that come from Shakespeare, for the model that goes on.
        steps: updates of both models.
        batch_size: rows of 64 characters in a batch.
        windows: of each text that is not learned, of 64 characters each, on which losses are measured.
        seed: of the batches, and of the new model's weights.
    """

    model: str = "gpt2"
    rate_multiple: float = 0.1
    kept_share: float = 0.0
    steps: int = 60
    batch_size: int = 8
    windows: int = 48
    seed: int = SEED

    def __post_init__(self) -> None:
        check_choice("model", self.model, list_checkpoints(TRAINED_MODELS))
        check_number("rate_multiple", self.rate_multiple)
        if not 0 < self.rate_multiple <= _LARGEST_RATE:
            raise ValueError(f"rate_multiple is {self.rate_multiple}; give more than 0 and at most {_LARGEST_RATE:g}")
        check_number("kept_share", self.kept_share)
        check_whole_numbers(
            self,
            steps=(1, 300),
            batch_size=(1, 12),
            windows=(2, 200),
        )
        if not 0 <= self.kept_share < 1 or self.kept_rows == self.batch_size:
            raise ValueError(
                f"kept_share is {self.kept_share}; give 0 or more, and leave at least one of the {self.batch_size} "
                f"rows of a batch to the new text"
            )

    @property
    def kept_rows(self) -> int:
        """Rows of each batch that come from Shakespeare."""
        return round(self.kept_share * self.batch_size)

    @property
    def moments(self) -> list[int]:
        """Steps after which losses are measured: most of them soon, when most happens."""
        return sorted({round(self.steps * (number / (_MOMENTS - 1)) ** 2) for number in range(_MOMENTS)})


QUICK = Setup(steps=8, windows=12)


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Let one model go on and another begin, and measure both on the way."""
    yield Progress(0.0, f"loading {setup.model} and both texts")
    old = load_corpus(_OLD)
    checkpoint = load_checkpoint(TRAINED_MODELS / setup.model)
    new, of_characters = in_known_characters(text_of(_NEW), checkpoint.tokenizer)
    beginner = GPT2.from_config(checkpoint.config)
    beginner.initialize(setup.seed)

    going_on = _learn(
        setup,
        checkpoint.model,
        setup.rate_multiple,
        drawn_batches(setup, new, old),
        {"new": new.validation_ids, "old": old.validation_ids},
    )
    goes_on = yield from _telling(going_on, 0, "learning: the model that goes on")
    beginning = _learn(setup, beginner, 1.0, drawn_batches(setup, new), {"new": new.validation_ids})
    begins = yield from _telling(beginning, 1, "learning: the new model")
    measures = (*_measures(setup, goes_on, begins["new"]), *of_characters)
    return Result("another-text", vars(setup), measures, (_chart(setup, goes_on, begins["new"]),))


def _telling(running: Generator[float, None, _Losses], number: int, doing: str) -> Generator[Progress, None, _Losses]:
    """The progress of one of the two trainings, which tells the share of it that is done."""
    while True:
        try:
            share = next(running)
        except StopIteration as end:
            found: _Losses = end.value
            return found
        yield Progress((number + share) / 2, doing)


def in_known_characters(text: str, tokenizer: Tokenizer) -> tuple[Corpus, tuple[Measure, Measure]]:
    """A text in the characters that a model knows, and which shares of it were replaced and left out."""
    unknown = set(tokenizer.unknown_characters(text))
    written = [_INSTEAD.get(character, "") if character in unknown else character for character in text]
    left_out = set(tokenizer.unknown_characters("".join(written)))
    written = ["" if character in left_out else character for character in written]
    pairs = list(zip(text, written, strict=True))
    replaced = sum(bool(after) and after != before for before, after in pairs) / len(text)
    gone = sum(not after for _, after in pairs) / len(text)
    ids = torch.tensor(tokenizer.encode("".join(written)))
    shares = (Measure("new-text/replaced-characters", replaced), Measure("new-text/left-out-characters", gone))
    return Corpus.from_ids(_NEW, tokenizer, ids, ""), shares


def drawn_batches(setup: Setup, new: Corpus, old: Corpus | None = None) -> DrawBatch:
    """Batches of the new text, with the rows that are kept of the old one where that is given.

    The rows of the new text are the same either way.
    """
    rows = BatchStream(new.train_ids, setup.batch_size - setup.kept_rows, _CONTEXT, setup.seed, "random")
    if old is None or not setup.kept_rows:
        return lambda step: rows[step]
    seed = derived_seed(setup.seed, "kept")
    kept = BatchStream(old.train_ids, setup.kept_rows, _CONTEXT, seed, "random")

    def draw(step: int) -> tuple[Tensor, Tensor]:
        (inputs, targets), (kept_inputs, kept_targets) = rows[step], kept[step]
        return torch.cat([inputs, kept_inputs]), torch.cat([targets, kept_targets])

    return draw


def _learn(
    setup: Setup, model: GPT2, rate: float, draw: DrawBatch, texts: Mapping[str, Tensor]
) -> Generator[float, None, _Losses]:
    """Train, and measure the losses on some texts at the moments; yields the share of the steps that are made."""
    recipe = TrainConfig(max_steps=setup.steps, seed=setup.seed)
    assert recipe.matrix_learning_rate is not None  # the fast recipe has Muon
    training = replace(
        recipe,
        learning_rate=rate * recipe.learning_rate,
        matrix_learning_rate=rate * recipe.matrix_learning_rate,
    )
    learning = learn_batches(model, draw, training)
    found: _Losses = {name: [] for name in texts}
    for step in range(setup.steps + 1):
        if step:
            next(learning)
        yield step / setup.steps
        if step in setup.moments:
            for name, ids in texts.items():
                parts = []
                for part in window_losses(model, ids, setup.windows):
                    parts.append(part)
                    yield step / setup.steps
                found[name].append(torch.cat(parts))
    return found


def window_losses(model: GPT2, ids: Tensor, most: int) -> Iterator[Tensor]:
    """The loss on each of up to `most` windows of a text (N,), some of them at a time: (windows,) each."""
    whole = ids[: (len(ids) - 1) // _CONTEXT * _CONTEXT + 1]  # so that no window is shorter than the others
    for some, following in validation_windows(whole, _CONTEXT, most):
        for inputs, targets in zip(some.split(_AT_ONCE), following.split(_AT_ONCE), strict=True):
            with evaluation_mode(model):
                logits = model(inputs)  # (B, T, vocab_size)
                loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            yield loss.view(targets.shape).double().mean(dim=1)


# --- What came of it --------------------------------------------------------------------------------------------------


def _measures(setup: Setup, goes_on: _Losses, begins: list[Tensor]) -> list[Measure]:
    """Losses before and after, and how they differ on the same windows."""
    new, old = goes_on["new"], goes_on["old"]
    passed = [step for step, loss in zip(setup.moments, new, strict=True) if loss.mean() <= begins[-1].mean()]
    return [
        _over_windows("shakespeare/before", old[0]),
        _over_windows("shakespeare/after", old[-1]),
        _over_windows("shakespeare/forgotten", old[-1] - old[0]),
        _over_windows("new-text/before", new[0]),
        _over_windows("new-text/after", new[-1]),
        _over_windows("new-text/learned", new[0] - new[-1]),
        _over_windows("new-model/after", begins[-1]),
        _over_windows("new-text/ahead-of-new-model", begins[-1] - new[-1]),
        Measure("new-text/steps-to-pass-new-model", float(passed[0]) if passed else math.nan, unit="steps"),
    ]


def _over_windows(name: str, losses: Tensor) -> Measure:
    return mean_of(name, losses.tolist(), _NATS, "windows")


def _chart(setup: Setup, goes_on: _Losses, begins: list[Tensor]) -> Chart:
    lines = {
        "goes on, Shakespeare": (goes_on["old"], setup.model),
        "goes on, the new text": (goes_on["new"], "other"),
        "new model, the new text": (begins, "other"),
    }
    curves = []
    for label, (losses, variant) in lines.items():
        means = [_over_windows("", some) for some in losses]
        x = tuple(float(step) for step in setup.moments)
        y, error = tuple(mean.value for mean in means), tuple(mean.error for mean in means)
        curves.append(Curve(label, x, y, error, variant))
    title = f"Loss on what is not learned of both texts; standard error over {len(begins[-1])} windows"
    before = goes_on["old"][0].mean().item()
    return Chart(title, "training step", f"loss ({_NATS})", tuple(curves), y_marks=((before, "Shakespeare, before"),))


# --- What is said of it -----------------------------------------------------------------------------------------------


def _forgets(result: Result) -> bool | None:
    """Whether it forgets Shakespeare; None where that cannot be told."""
    forgotten = result["shakespeare/forgotten"]
    if is_above(forgotten, _FORGOTTEN):
        return True
    return False if is_above(Measure("", _FORGOTTEN), forgotten) else None


def answer(result: Result) -> str:
    """Whether it forgets, and if so whether it is ahead of the new model; "" where the numbers do not say."""
    forgets = _forgets(result)
    if forgets:
        return "forgets" if is_above(result["new-text/ahead-of-new-model"], 0.0) else "no-gain"
    return "keeps" if forgets is False and is_above(result["new-text/learned"], 0.0) else ""


def sentences(result: Result) -> list[str]:
    """What it lost, and what it gained."""
    steps, kept = result.setup["steps"], float(result.setup["kept_share"])
    learned, forgotten, ahead = (
        result[name] for name in ("new-text/learned", "shakespeare/forgotten", "new-text/ahead-of-new-model")
    )
    ways = {
        True: f"it forgets, by our measure of more than {_FORGOTTEN:g}",
        False: f"it keeps Shakespeare, by our measure of less than {_FORGOTTEN:g}",
        None: f"whether that is more than the {_FORGOTTEN:g} that we call forgetting cannot be told",
    }
    from_old = f" ({kept:.0%} of each batch from Shakespeare)" if kept else ""
    said = [
        f"After {steps} steps with the new text{from_old}, the loss on Shakespeare has changed from "
        f"{result['shakespeare/before']} to {result['shakespeare/after']}, by {forgotten} on the same windows: "
        f"{ways[_forgets(result)]}.",
        f"On the new text its loss has gone from {result['new-text/before']} to {result['new-text/after']}"
        + ("." if is_above(learned, 0.0) else f", which is no measurable gain ({learned})."),
    ]
    if is_above(ahead, 0.0):
        compared = f"the one that went on is ahead by {ahead}"
    elif is_above(Measure("", -ahead.value, ahead.error), 0.0):
        compared = f"the one that went on is behind by {Measure('', -ahead.value, ahead.error)}"
    else:
        compared = f"the two cannot be told apart (a difference of {ahead})"
    said.append(
        f"A new model that saw the same rows of the new text comes to {result['new-model/after']}: on the same "
        f"windows, {compared} (±: standard error over {ahead.of})."
    )
    passed = result["new-text/steps-to-pass-new-model"]
    if math.isfinite(passed.value):
        said.append(f"What the new model came to in {steps} steps, the one that went on had after {passed}.")
    said.append(
        f"Of the new text, {result['new-text/replaced-characters'].value:.1%} of the characters were replaced by ones "
        f"that the model knows, and {result['new-text/left-out-characters'].value:.1%} left out."
    )
    return said
