"""Toy tasks: each answer checked by another way to find it, and texts that are the same on every machine."""

from __future__ import annotations

from random import Random

import pytest

from gpt.data.tasks import TASKS, task_of, task_text

CLOSING = dict(zip("([{", ")]}", strict=True))


def is_right(name: str, question: str, answer: str, length: int) -> bool:
    """Whether the answer is right, found by other means than the generator's."""
    asked = question.removesuffix("=")
    if name.startswith("addition"):
        one, other = map(int, asked.split("+"))
        padded = len(answer) == length + 1
        return int(answer[::-1]) == one + other and padded if "reversed" in name else answer == f"{one + other:d}"
    if name == "brackets":
        whole = asked + answer
        while (shorter := whole.replace("()", "").replace("[]", "").replace("{}", "")) != whole:
            whole = shorter
        return not whole and set(answer) <= set(")]}") and answer != ""
    right = {
        "copy": lambda: asked,
        "reverse": lambda: "".join(reversed(asked)),
        "sort": lambda: "".join(letter * asked.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"),
        "parity": lambda: "01"[sum(map(int, asked)) % 2],
    }
    return answer == right[name]()


@pytest.mark.parametrize("name", TASKS)
def test_answers_are_right_at_every_length(name):
    task, random = TASKS[name], Random(5)
    drawn = set()
    for length in range(1, 13):
        for _ in range(30):
            question, answer = task.example(random, length)
            parts = question.removesuffix("=").split("+")
            assert max(map(len, parts)) == length
            assert is_right(name, question, answer, length), question + answer
            assert set(question + answer) <= {*task.alphabet, "="}
            drawn.add(question)
    assert len(drawn) > 150
    question, _, answer = task.line.partition("=")
    assert is_right(name, question + "=", answer, max(map(len, question.split("+"))))


def test_every_sum_of_one_digit_comes():
    random = Random(0)
    sums = {TASKS["addition"].example(random, 1)[0] for _ in range(3000)}
    assert len(sums) == 100


def test_both_ways_to_write_a_sum_ask_the_same():
    usual, in_reverse = (
        [TASKS[name].example(random, 3)[0] for _ in range(20)]
        for name, random in (("addition", Random(1)), ("addition-reversed", Random(1)))
    )
    assert usual == in_reverse


def test_a_text_is_of_its_seed_and_of_all_lengths():
    text = task_text("copy", 5_000, seed=3)
    assert text == task_text("copy", 5_000, seed=3) != task_text("copy", 5_000, seed=4)
    assert 5_000 <= len(text) < 5_000 + len("abcdefghij=abcdefghij\n")
    assert {len(line) // 2 for line in text.splitlines()} == set(range(1, TASKS["copy"].longest + 1))


def test_a_text_is_the_same_on_every_python():
    """Python promises the same `random()` for a seed, and nothing of what is made of it."""

    class Only:
        random = Random("some seed").random

    for task in TASKS.values():
        task.example(Only(), 4)
    assert task_text("brackets", 20) == "[{}[=]]\n{{}}{}(=)\n[](()([=]))\n"  # checkpoints hold a checksum of it


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: task_of("divide"), "choose one of copy, reverse"),
        (lambda: task_text("divide"), "choose one of copy, reverse"),
        (lambda: task_text("copy", 0), "give 1 to 10,000,000"),
        (lambda: task_text("copy", 10**12), "give 1 to 10,000,000"),
        (lambda: TASKS["copy"].example(Random(0), 0), "length of an example is 0"),
    ],
)
def test_a_bad_value_gets_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
