"""Toy tasks: what a small GPT learns exactly, and why sums are easier from their last digit on.

A model learns from fresh examples for as long as it learns; a tenth of all problems is held back and never learned
from, and on these it has to write the whole answer right. Lee et al., "Teaching arithmetic to small transformers"
(2023, https://arxiv.org/abs/2307.03381), found that the way a sum is written decides how soon it is learned: whoever
writes the first digit first has to know every carry, while the last digit needs none.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpt.data.tasks import TASKS, Task, below
from gpt.data.tokenizer import CharTokenizer
from gpt.experiments.learning import learn_batches
from gpt.experiments.questions import SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, mean_of
from gpt.experiments.setups import check_choice, check_whole_numbers
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.training.recipes import TrainConfig

CHOICES = ("addition", "copy", "reverse", "sort", "parity", "brackets")
ENOUGH = 0.95  # share of right answers from which a task counts as learned
_LETTERS_FOR_A_DIGIT = 3  # tasks on letters, bits and brackets have examples that are so many times as long
_BEYOND = 2  # lengths that are tested above the longest one learned from
_TESTED = 600  # problems held back, of all lengths
_OF_EACH_LENGTH = 200
_AT_A_MOMENT = 200
_MOMENTS = 15  # at which a model is tested while it learns
_FEWEST = 5  # problems that make a measurement
_AT_ONCE = 100  # problems answered side by side
_LEARNING = 0.9  # share of the work
# Slower than the fast recipe, with whose rates some seeds learn to carry and others do not.
_RATES: dict[str, Any] = {"matrix_learning_rate": 0.02, "feed_forward_rate_multiple": 1.0}


class Example(NamedTuple):
    """A problem with its answer, and its length as the task counts it."""

    question: str
    answer: str
    length: int


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        task: one of `CHOICES`; "addition" has two models learn it, each with its own way to write the sum.
        digits: of the longest number that is learned from; letters, bits and brackets are three times as many.
        steps: updates of the weights, of each model.
        batch_size: examples in each.
        seed: of the weights and the examples.
    """

    task: str = "addition"
    digits: int = 3
    steps: int = 450
    batch_size: int = 128
    seed: int = SEED

    def __post_init__(self) -> None:
        check_choice("task", self.task, CHOICES)
        check_whole_numbers(
            self,
            digits=(2, 5),
            steps=(1, 1000),
            batch_size=(1, 256),
        )

    @property
    def longest(self) -> int:
        """The longest example that is learned from, as the task counts length."""
        return self.digits if self.task == "addition" else _LETTERS_FOR_A_DIGIT * self.digits

    def ways(self) -> dict[str, Task]:
        """What each model learns, by the name that its measures have."""
        if self.task == "addition":
            return {"reversed": TASKS["addition-reversed"], "usual": TASKS["addition"]}
        return {self.task: TASKS[self.task]}


QUICK = Setup(digits=2, steps=80, batch_size=64)
_LABELS = {"reversed": "padded, last digit first", "usual": "as usual"}


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Have a model learn the task in each way, and test it while it learns and afterwards."""
    ways = setup.ways()
    measures: list[Measure] = []
    by_step: list[Curve] = []
    by_length: list[Curve] = []
    right: list[list[bool]] = []
    for place, (way, task) in enumerate(ways.items()):
        label = _LABELS.get(way, way)

        def progress(share: float, doing: str, place: int = place) -> Progress:
            return Progress((place + share) / len(ways), doing)

        bench = _Bench(setup, task)
        held_back = draw_examples(task, setup.longest, _TESTED, Random("held back"), held_back=True)
        by_step.append((yield from _learn(bench, held_back[:_AT_A_MOMENT], label, progress)))
        testing = progress(_LEARNING, f"testing: {label}")
        right.append((yield from bench.answered(held_back, testing)))
        right_seen = yield from bench.answered(_others_as_long(task, held_back), testing)
        curve, longer = yield from _test_each_length(bench, label, testing)
        by_length.append(curve)
        measures += [
            mean_of(f"{way}/held-out", right[-1], of="problems held back"),
            mean_of(f"{way}/learned-from", right_seen, of="problems not held back"),
            mean_of(f"{way}/longer", longer, of="longer problems"),
            Measure(f"{way}/guessing", _commonest_share([one.answer for one in held_back])),
        ]
    if len(right) == 2:
        differences = [int(in_reverse) - int(usual) for in_reverse, usual in zip(*right, strict=True)]
        measures.append(mean_of("reversed-minus-usual", differences, of="problems held back"))
    return Result("toy-tasks", vars(setup), tuple(measures), _charts(setup, by_step, by_length))


def _learn(
    bench: _Bench, held_back: Sequence[Example], label: str, progress: Callable[[float, str], Progress]
) -> Generator[Progress, None, Curve]:
    """Learn from examples that are not held back; returns how many of the others are right at several steps."""
    setup = bench.setup
    moments: list[tuple[int, Measure]] = []
    every = math.ceil(setup.steps / _MOMENTS)
    for step, _ in learn_batches(bench.model, bench.batch, TrainConfig(max_steps=setup.steps, **_RATES)):
        now = progress(_LEARNING * step / setup.steps, f"learning: {label}")
        yield now
        if step % every == 0 or step == setup.steps:
            right = yield from bench.answered(held_back, now)
            moments.append((step, mean_of("", right)))
    return _curve(label, moments)


def _test_each_length(
    bench: _Bench, label: str, progress: Progress
) -> Generator[Progress, None, tuple[Curve, list[bool]]]:
    """How many are right at each length; and of each that is longer than any learned from, whether it is."""
    longest = bench.setup.longest
    lengths: list[tuple[int, Measure]] = []
    longer: list[bool] = []
    for length in range(1, longest + _BEYOND + 1):
        these = draw_examples(bench.task, length, _OF_EACH_LENGTH, Random("held back"), held_back=True, only=True)
        right = yield from bench.answered(these, progress)
        lengths.append((length, mean_of("", right) if len(right) >= _FEWEST else Measure("", math.nan)))
        if length > longest:
            longer += right
    return _curve(label, lengths), longer


def is_held_back(question: str) -> bool:
    """Whether a problem is of the tenth that is never learned from; 1+2 is the same problem as 2+1."""
    problem = "+".join(sorted(question.rstrip("=").split("+")))
    return int.from_bytes(hashlib.blake2b(problem.encode(), digest_size=8).digest(), "big") % 10 == 0


def draw_examples(
    task: Task, longest: int, number: int, random: Random, *, held_back: bool, only: bool = False
) -> list[Example]:
    """Different examples of a task, longer ones more often, of which there are more.

    Args:
        task: that they are of.
        longest: of them.
        number: wanted; there are fewer where the task hardly has more.
        random: where they are drawn from.
        held_back: whether all or none of them are of the tenth that is held back.
        only: whether all are of the longest length.
    """
    found: dict[str, Example] = {}
    for _ in range(25 * number):  # where one of ten fits, ten times the number is needed
        length = longest if only else _some_length(random, longest)
        question, answer = task.example(random, length)
        if is_held_back(question) == held_back:
            found[question] = Example(question, answer, length)
            if len(found) == number:
                break
    return list(found.values())


def _others_as_long(task: Task, held_back: Sequence[Example]) -> list[Example]:
    """As many examples of each length that are not held back, so that none are easier for being short."""
    numbers = Counter(one.length for one in held_back)
    return [
        one
        for length, number in sorted(numbers.items())
        for one in draw_examples(task, length, number, Random("not held back"), held_back=False, only=True)
    ]


def _some_length(random: Random, longest: int) -> int:
    return 1 + max(below(random, longest), below(random, longest))


class _Bench:
    """A model with the examples it learns from.

    Attributes:
        setup, task: what it is for.
        model: of 2 layers, 64 wide, with learned positions.
    """

    def __init__(self, setup: Setup, task: Task) -> None:
        self.setup = setup
        self.task = task
        self._tokenizer = CharTokenizer("\n=" + task.alphabet)
        self.model = GPT2.from_config(
            make_config(
                "gpt2",
                self._tokenizer.vocab_size,
                embed_size=64,
                num_heads=4,
                num_layers=2,
                context_length=3 * (setup.longest + _BEYOND) + 3,  # a line of a sum: "12+34=046"
            )
        )
        self.model.initialize(setup.seed)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Examples that are not held back: the same for both ways to write a sum."""
        random = Random(f"{self.setup.seed}/{step}")
        examples: list[Example] = []
        while len(examples) < self.setup.batch_size:  # nine of ten fit
            length = _some_length(random, self.setup.longest)
            question, answer = self.task.example(random, length)
            if not is_held_back(question):
                examples.append(Example(question, answer, length))
        return self._rows(examples)

    def _rows(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Input ids and targets (B, T), an example in each row; only the answer and its line break are targets."""
        lines = [self._tokenizer.encode(f"{one.question}{one.answer}\n") for one in examples]
        longest = max(len(line) for line in lines) - 1
        inputs = [line[:-1] + [0] * (longest - len(line) + 1) for line in lines]
        targets = []
        for one, line in zip(examples, lines, strict=True):
            answer = line[len(one.question) :]
            before = [-100] * (len(one.question) - 1)
            targets.append(before + answer + [-100] * (longest - len(before) - len(answer)))
        return torch.tensor(inputs), torch.tensor(targets)

    def answered(self, examples: Sequence[Example], progress: Progress) -> Generator[Progress, None, list[bool]]:
        """Whether the whole answer of each example is right, if the likeliest token is always taken.

        That is the case just if, after the question and each beginning of the right answer, the next token of the
        right answer is the likeliest: so the answers need not be written token by token.
        """
        right: list[bool] = []
        for first in range(0, len(examples), _AT_ONCE):
            inputs, targets = self._rows(examples[first : first + _AT_ONCE])
            with evaluation_mode(self.model):
                likeliest = self.model(inputs).argmax(dim=-1)  # (B, T)
            right += ((likeliest == targets) | (targets == -100)).all(dim=1).tolist()
            yield progress
        return right


def _commonest_share(answers: Sequence[str]) -> float:
    """What would be right if the same answer were always given."""
    return max(Counter(answers).values()) / len(answers)


def _curve(label: str, points: Sequence[tuple[int, Measure]]) -> Curve:
    shares = [share for _, share in points]
    return Curve(
        label,
        tuple(float(x) for x, _ in points),
        tuple(share.value for share in shares),
        tuple(share.error for share in shares),
    )


def _charts(setup: Setup, by_step: Sequence[Curve], by_length: Sequence[Curve]) -> tuple[Chart, Chart]:
    unit = "digits of the longer number" if setup.task == "addition" else "characters of the question"
    while_learning = Chart(
        f"Right answers while learning: {setup.task}, problems held back",
        "training step",
        "share of answers that are right",
        tuple(by_step),
        y_range=(0.0, 1.0),
        y_limits=(0.0, 1.0),
        y_marks=((ENOUGH, f"{100 * ENOUGH:.0f} %"),),
    )
    afterwards = Chart(
        "Right answers after learning, by the length of the problem",
        unit,
        "share of answers that are right",
        tuple(by_length),
        y_range=(0.0, 1.0),
        y_limits=(0.0, 1.0),
        x_marks=((setup.longest + 0.5, "longer than learned from"),),
    )
    return while_learning, afterwards


def _is_learned(share: Measure) -> bool | None:
    """Whether a share lies above or below the bar, by more than twice its error; None where that cannot be told."""
    if is_above(share, ENOUGH):
        return True
    return False if is_above(Measure("bar", ENOUGH), share) else None


def _ways(result: Result) -> list[str]:
    return list(Setup(**result.setup).ways())


def answer(result: Result) -> str:
    """The prediction that the problems held back bear out, beyond twice the errors."""
    learned = [_is_learned(result[f"{way}/held-out"]) for way in _ways(result)]
    if None in learned:
        return ""
    if all(learned):
        return "both"
    if not any(learned):
        return "neither"
    return "reversed" if learned[0] else "usual"


def sentences(result: Result) -> list[str]:
    """What was counted."""
    ways = _ways(result)
    said = [_on_held_out(result)] if len(ways) == 1 else _on_sums(result)
    for way in ways:
        who = {"reversed": "Written in reverse: of", "usual": "Written as usual: of"}.get(way, "Of")
        held_out, seen, longer = (result[f"{way}/{name}"] for name in ("held-out", "learned-from", "longer"))
        by_heart = "no measurable difference from those held back"
        if is_above(seen, held_out):
            by_heart = "more than of those held back, so some are known by heart"
        elif is_above(held_out, seen):
            by_heart = "less than of those held back"
        reach = "as far as can be told, a longer problem is no harder"
        if is_above(held_out, longer):
            reach = "fewer than at the lengths it learned"
        elif is_above(longer, held_out):
            reach = "more than at the lengths it learned"
        said.append(
            f"{who} problems as long that it may have learned from, a share of {seen} is right: {by_heart}. "
            f"Of problems 1 to {_BEYOND} longer than any it learned from, a share of {longer}: {reach}."
        )
    guessing = result[f"{ways[0]}/guessing"]
    said.append(f"Giving the commonest answer every time would be right on a share of {guessing}.")
    return said


def _bar(share: Measure) -> str:
    words = {True: "above", False: "below", None: "too near to"}
    of_the_bar = f"{100 * ENOUGH:.0f} %"
    return f"{words[_is_learned(share)]} {of_the_bar}" + (" to tell" if _is_learned(share) is None else "")


def _on_held_out(result: Result) -> str:
    (way,) = _ways(result)
    share = result[f"{way}/held-out"]
    return f"Of {share.of}, a share of {share} is answered right to the last character: {_bar(share)}."


def _on_sums(result: Result) -> list[str]:
    in_reverse, usual = result["reversed/held-out"], result["usual/held-out"]
    difference = result["reversed-minus-usual"]
    verdict = "on these sums, the two ways cannot be told apart"
    if is_above(difference, 0.0):
        verdict = "more are right in reverse"
    elif is_above(Measure("none", 0.0), difference):
        verdict = "fewer are right in reverse"
    return [
        f"Of {in_reverse.of}, the model that writes the sum in reverse is right to the last digit on a share of "
        f"{in_reverse} ({_bar(in_reverse)}), the one that writes it as usual on {usual} ({_bar(usual)}).",
        f"The difference on the same problems is {difference}: {verdict}.",
    ]
