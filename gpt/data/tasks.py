"""Toy tasks: endless examples, each a line with a question and its answer.

Whether a model has learned a task is not a matter of loss or taste: the answer is right or it is not. Copying,
reversing and sorting ask for attention that finds the right place; addition carries digits; parity needs all bits at
once; brackets need a memory of what is still open. That the sum is easier to write from its last digit on, because
carries run that way, is from Lee et al., "Teaching arithmetic to small transformers" (2023,
https://arxiv.org/abs/2307.03381).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MOST_CHARACTERS = 10_000_000


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: such as "addition".
        meaning: what is asked, in a few words.
        line: an example as a text has it, without its line break.
        alphabet: every character that questions and answers are made of, beside the "=" between them.
        longest: the longest example of a text, as `example` counts length.
        make: what `example` calls.
    """

    name: str
    meaning: str
    line: str
    alphabet: str
    longest: int
    make: Callable[[Random, int], tuple[str, str]]

    def example(self, random: Random, length: int) -> tuple[str, str]:
        """One example: its question, which ends in "=", and its answer.

        Args:
            random: where it is drawn from; only its method `random` is called, whose numbers are the same for a seed
                on every Python.
            length: of the question: its letters, bits or brackets, or the digits of the longer number.

        Raises:
            ValueError: the length is below 1.
        """
        if length < 1:
            raise ValueError(f"the length of an example is {length}; give 1 or more")
        return self.make(random, length)


def below(random: Random, number: int) -> int:
    """A whole number of 0 to `number` - 1, for numbers far below 2^53."""
    return int(random.random() * number)


def _word(random: Random, length: int, letters: str = _LETTERS) -> str:
    return "".join(letters[below(random, len(letters))] for _ in range(length))


def _copy(random: Random, length: int) -> tuple[str, str]:
    word = _word(random, length)
    return f"{word}=", word


def _reverse(random: Random, length: int) -> tuple[str, str]:
    word = _word(random, length)
    return f"{word}=", word[::-1]


def _sort(random: Random, length: int) -> tuple[str, str]:
    word = _word(random, length)
    return f"{word}=", "".join(sorted(word))


def _number(random: Random, digits: int) -> int:
    """One that is written with so many digits."""
    lowest = 10 ** (digits - 1) if digits > 1 else 0
    return lowest + below(random, 10**digits - lowest)


def _sum(random: Random, length: int) -> tuple[int, int]:
    """One number of `length` digits and one of at most as many, either of them first."""
    long, other = _number(random, length), _number(random, 1 + below(random, length))
    return (long, other) if below(random, 2) else (other, long)


def _addition(random: Random, length: int) -> tuple[str, str]:
    one, other = _sum(random, length)
    return f"{one}+{other}=", str(one + other)


def _addition_reversed(random: Random, length: int) -> tuple[str, str]:
    one, other = _sum(random, length)
    return f"{one}+{other}=", str(one + other).zfill(length + 1)[::-1]


def _parity(random: Random, length: int) -> tuple[str, str]:
    bits = _word(random, length, "01")
    return f"{bits}=", str(bits.count("1") % 2)


def _brackets(random: Random, length: int) -> tuple[str, str]:
    """Opens and closes as it comes, so that one bracket at least is open at the end."""
    text, still_open = "", ""
    for place in range(length):
        may_close = len(still_open) > (place == length - 1)
        if may_close and below(random, 2):
            text, still_open = text + _CLOSING[still_open[-1]], still_open[:-1]
        else:
            bracket = "([{"[below(random, 3)]
            text, still_open = text + bracket, still_open + bracket
    return f"{text}=", "".join(_CLOSING[bracket] for bracket in reversed(still_open))


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("copy", "the same word again", "tasks=tasks", _LETTERS, 10, _copy),
        Task("reverse", "the word backwards", "tasks=sksat", _LETTERS, 10, _reverse),
        Task("sort", "the letters in order", "tasks=aksst", _LETTERS, 10, _sort),
        Task("addition", "the sum", "12+345=357", _DIGITS + "+", 3, _addition),
        Task(
            "addition-reversed",
            "the sum, padded with zeros to one digit more than the longer number, last digit first",
            "12+345=7530",
            _DIGITS + "+",
            3,
            _addition_reversed,
        ),
        Task("parity", "1 if the ones are odd in number, else 0", "10110=1", "01", 10, _parity),
        Task("brackets", "the brackets that are still open, closed", "([]{=})", "()[]{}", 10, _brackets),
    )
}


def task_of(name: str) -> Task:
    """The task of a name; raises ValueError that lists the names if there is none."""
    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}; choose one of {', '.join(TASKS)}")
    return TASKS[name]


def task_text(name: str, characters: int = 250_000, seed: int = 1337) -> str:
    """A text of examples, one a line, of all lengths from 1 to the task's longest.

    Args:
        name: of the task.
        characters: that it has at least; it ends with the line that reaches them.
        seed: gives the same text again, on every Python.

    Raises:
        ValueError: there is no such task, or more characters are wanted than a text should have.
    """
    task = task_of(name)
    if not 1 <= characters <= _MOST_CHARACTERS:
        raise ValueError(f"characters is {characters}; give 1 to {_MOST_CHARACTERS:,}")
    random = Random(f"{name}/{seed}")
    lines: list[str] = []
    written = 0
    while written < characters:
        question, answer = task.example(random, 1 + below(random, task.longest))
        lines.append(f"{question}{answer}\n")
        written += len(lines[-1])
    return "".join(lines)
