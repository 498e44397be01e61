"""What a window and fewer KV heads save: the cache is counted, and what is said follows from the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from running import finished

from gpt.experiments import savings
from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.result import Measure, Result

TINY = replace(savings.QUICK, longest=64, window_size=8, num_layers=2, embed_size=32, tokens=3, repeats=2)


def planted(faster: Measure) -> Result:
    """A result in which the window is 32 times as small and so many times as fast."""
    measures = [faster, Measure("window/times-as-small", 32.0)]
    for label in ("fewer KV heads", "both"):
        measures += [Measure(f"{label}/times-as-fast", 0.5, 0.1), Measure(f"{label}/times-as-small", 4.0)]
    measures += [Measure("formula/equal", 3), Measure("formula/compared", 4)]
    return Result("savings", vars(savings.Setup()), tuple(measures), ())


def test_the_bytes_are_those_of_a_plain_count():
    result, told = finished(conduct("savings", TINY))
    layers, heads, width, longest = 2, 8, 32, 64
    kept = {"full": (longest, heads), "fewer KV heads": (longest, 2), "window": (8, heads), "both": (8, 2)}
    for label, (tokens, kv_heads) in kept.items():
        plain = sum(2 * 4 * kv_heads * (width // heads) for _ in range(layers) for _ in range(tokens))
        assert result[f"{label}/64/cache"].value == pytest.approx(plain / 1e6)
        assert result[f"{label}/64/ms"].value > 0
    assert result["formula/equal"].value == result["formula/compared"].value == 12
    assert result["window/times-as-small"].value == 8
    assert len(told) == 4 * 3 * 3
    assert result.answer in ("as-much", "less", "none")


@pytest.mark.parametrize(
    ("faster", "answer", "words"),
    [
        (Measure("window/times-as-fast", 30.0, 1.0), "as-much", "within a fifth"),
        (Measure("window/times-as-fast", 3.0, 0.2), "less", "by a smaller factor"),
        (Measure("window/times-as-fast", 1.1, 0.2), "none", "not measurably faster"),
    ],
)
def test_what_is_said_follows_from_the_numbers(faster, answer, words):
    result = planted(faster)
    assert savings.answer(result) == answer
    said = savings.sentences(result)
    assert words in said[0]
    assert "slower beyond" in said[1]
    assert "equal 3 times" in said[-1]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"longest": 10**9}, "at most 4,096"),
        ({"num_kv_heads": 3}, "has to divide 8"),
        ({"embed_size": 100}, "multiple of 16"),
        ({"window_size": 0}, "window_size"),
    ],
)
def test_a_bad_setting_gets_a_sentence(setting, words):
    with pytest.raises(ValueError, match=words):
        make_setup("savings", setting)
