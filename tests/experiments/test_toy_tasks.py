"""Toy tasks: right answers counted as plain greedy writing would, and problems held back that are never learned."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch
from running import finished

from gpt.data.tasks import TASKS
from gpt.experiments import toy_tasks
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.result import Measure, Progress, Result
from gpt.experiments.toy_tasks import Setup, _Bench, draw_examples, is_held_back

TINY = replace(toy_tasks.QUICK, steps=3, batch_size=8)


def planted(**shares: float) -> Result:
    """A result with these measures, those of shares with an error of 0.01; "usual_held_out" is "usual/held-out"."""
    setup = Setup() if "usual_held_out" in shares else Setup(task="copy")
    plain = {"held_out": 0.5, "learned_from": 0.5, "longer": 0.0, "guessing": 0.1}
    measures = []
    for way in setup.ways():
        for name, value in plain.items():
            value = shares.get(f"{way}_{name}", value)
            measures.append(Measure(f"{way}/{name.replace('_', '-')}", value, 0.01, "", "600 problems held back"))
    if len(setup.ways()) == 2:
        measures.append(Measure("reversed-minus-usual", shares["reversed_held_out"] - shares["usual_held_out"], 0.01))
    return Result("toy-tasks", vars(setup), tuple(measures), ())


def trained(task: str, steps: int) -> _Bench:
    """A model that has learned a task a little."""
    bench = _Bench(Setup(task=task, digits=2, steps=steps, batch_size=32), TASKS[task])
    finished(toy_tasks._learn(bench, draw_examples(bench.task, 2, 1, Random(0), held_back=True), task, Progress))
    return bench


def test_right_is_what_writing_token_by_token_gets_right():
    bench = trained("copy", 70)
    characters = "\n=" + TASKS["copy"].alphabet
    examples = draw_examples(bench.task, 3, 60, Random(1), held_back=False)
    right, _ = finished(bench.answered(examples, Progress(0, "")))
    plain = []
    for question, answer, _ in examples:
        ids = torch.tensor([[characters.index(character) for character in question]])
        wanted = answer + "\n"
        written = bench.model.generate(ids, max_new_tokens=len(wanted), temperature=0)[0, len(question) :]
        plain.append("".join(characters[token] for token in written) == wanted)
    assert right == plain
    assert 0 < sum(right) < len(right)


def test_only_the_answer_is_learned_and_nothing_held_back():
    bench = _Bench(Setup(batch_size=200), TASKS["addition-reversed"])
    characters = "\n=" + TASKS["addition"].alphabet
    inputs, targets = bench.batch(0)
    lengths = set()
    for row, wanted in zip(inputs.tolist(), targets.tolist(), strict=True):
        line = "".join(characters[token] for token in row)
        question, equals, rest = line.partition("=")
        learned = "".join(characters[token] for token in wanted if token != -100)
        assert learned == rest[: len(learned) - 1] + "\n"
        assert wanted[: len(question)] == [-100] * len(question)
        assert wanted[len(question)] != -100
        assert sum(map(int, question.split("+"))) == int(learned[-2::-1])
        assert not is_held_back(question + equals)
        lengths.add(max(map(len, question.split("+"))))
    assert lengths == {1, 2, 3}
    assert bench.batch(0)[0].equal(inputs)
    assert not bench.batch(1)[0].equal(inputs)


def test_a_tenth_is_held_back_whichever_number_comes_first():
    sums = [(one, other) for one in range(100) for other in range(100)]
    held = {pair for pair in sums if is_held_back(f"{pair[0]}+{pair[1]}=")}
    assert 0.08 < len(held) / len(sums) < 0.12
    assert held == {(other, one) for one, other in held}


@pytest.mark.parametrize("task", toy_tasks.CHOICES)
def test_every_task_has_problems_held_back_even_at_its_shortest(task):
    setup = Setup(task=task, digits=2)
    for one in setup.ways().values():
        assert len(draw_examples(one, setup.longest, 100, Random(0), held_back=True)) >= 5
        longer = draw_examples(one, setup.longest + 1, 20, Random(0), held_back=True, only=True)
        assert {example.length for example in longer} == {setup.longest + 1}
        assert all(is_held_back(example.question) for example in longer)


def test_a_run_is_of_its_seed_and_can_be_left():
    result, told = finished(conduct("toy-tasks", TINY))
    assert [progress.share for progress in told] == sorted(progress.share for progress in told)
    assert result.answer == "neither"
    assert result.measures == finished(conduct("toy-tasks", TINY))[0].measures
    pairs = [result[f"{way}/held-out"] for way in ("reversed", "usual")]
    assert result["reversed-minus-usual"].value == pytest.approx(pairs[0].value - pairs[1].value)
    one, other = (_Bench(replace(TINY, seed=seed), TASKS["addition"]) for seed in (1, 2))
    assert not one.batch(0)[0].equal(other.batch(0)[0])
    assert not one.model.token_embedding.weight.equal(other.model.token_embedding.weight)
    running = conduct("toy-tasks", TINY)
    next(running)
    running.close()


def test_another_task_has_one_model_and_its_lengths_in_letters():
    result, _ = finished(conduct("toy-tasks", replace(TINY, task="sort")))
    while_learning, by_length = result.charts
    assert [curve.label for curve in by_length.curves] == ["sort"]
    assert by_length.curves[0].x == tuple(range(1, 6 + 2 + 1))
    assert by_length.x_marks[0][0] == 6.5
    assert while_learning.curves[0].x == (1, 2, 3)


@pytest.mark.parametrize(
    ("in_reverse", "usual", "answer", "words"),
    [
        (0.99, 0.80, "reversed", "more are right in reverse"),
        (0.80, 0.99, "usual", "fewer are right in reverse"),
        (0.99, 0.99, "both", "cannot be told apart"),
        (0.60, 0.50, "neither", "more are right in reverse"),
        (0.96, 0.50, "", "more are right in reverse"),
    ],
)
def test_what_is_said_of_sums_follows_from_the_numbers(in_reverse, usual, answer, words):
    result = planted(reversed_held_out=in_reverse, usual_held_out=usual)
    assert toy_tasks.answer(result) == answer
    said = toy_tasks.sentences(result)
    assert words in said[1]
    assert ("too near to 95 % to tell" in said[0]) == (answer == "")
    assert len(said) == 5


@pytest.mark.parametrize(
    ("shares", "answer", "words"),
    [
        ({"copy_held_out": 0.99, "copy_learned_from": 0.99}, "both", "above 95 %"),
        ({"copy_held_out": 0.50}, "neither", "below 95 %"),
        ({"copy_held_out": 0.95}, "", "too near to 95 % to tell"),
        ({"copy_learned_from": 0.60}, "neither", "some are known by heart"),
        ({"copy_learned_from": 0.50}, "neither", "no measurable difference"),
        ({"copy_learned_from": 0.40}, "neither", "less than of those held back"),
        ({"copy_longer": 0.40}, "neither", "fewer than at the lengths"),
        ({"copy_longer": 0.60}, "neither", "more than at the lengths"),
        ({"copy_longer": 0.51}, "neither", "is no harder"),
        ({"copy_guessing": 0.25}, "neither", "a share of 0.25"),
    ],
)
def test_what_is_said_of_another_task_follows_from_the_numbers(shares, answer, words):
    result = planted(**shares)
    assert toy_tasks.answer(result) == answer
    assert words in " ".join(toy_tasks.sentences(result))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"task": "divide"}, "choose one of addition"),
        ({"task": 3}, "choose one of addition"),
        ({"digits": 1}, "give 2 or more"),
        ({"digits": 10**9}, "at most 5"),
        ({"steps": 10**9}, "at most 1,000"),
        ({"batch_size": 10**9}, "at most 256"),
        ({"steps": 2.5}, "whole number"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("toy-tasks", setting)
