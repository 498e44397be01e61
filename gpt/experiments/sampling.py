"""What temperature, top-k and top-p do: to one distribution, and to the words of a hundred texts.

A temperature divides the logits, so that a low one takes mostly the likeliest characters and a high one almost any.
Which words come of that is counted in texts that a model writes from the same seeds.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt.checkpoints.folder import load_checkpoint
from gpt.checkpoints.listing import TRAINED_MODELS, list_checkpoints
from gpt.data.tokenizer import Tokenizer
from gpt.experiments.learning import text_of
from gpt.experiments.questions import SEED
from gpt.experiments.result import Chart, Curve, Measure, Progress, Result, is_above, mean_of
from gpt.experiments.setups import check_choice, check_whole_numbers
from gpt.generation.sampling import next_token_probabilities
from gpt.generation.stream import stream_tokens
from gpt.model.config import check_number
from gpt.model.gpt2 import GPT2

_AT_ONCE = 25  # texts written side by side
_REPEATED = 20  # characters in a row that, found a second time in a text, are a repetition


@dataclass(frozen=True)
class Setup:
    """All that decides the outcome.

    Attributes:
        model: of those that ship.
        low, high: the temperatures that are compared.
        top_k, top_p: cuts that are shown beside them, at temperature 1.
        texts: written at each setting.
        length: of each, in characters.
        prompt: that they continue, and after which the one distribution is taken.
        seed: of what is drawn.
    """

    model: str = "gpt2"
    low: float = 0.5
    high: float = 1.3
    top_k: int = 5
    top_p: float = 0.8
    texts: int = 100
    length: int = 200
    prompt: str = "ROMEO:\n"
    seed: int = SEED

    def __post_init__(self) -> None:
        check_choice("model", self.model, list_checkpoints(TRAINED_MODELS))
        for name in ("low", "high"):
            check_number(name, getattr(self, name))
        if not 0.05 <= self.low < self.high <= 3:
            raise ValueError(f"the temperatures are {self.low} and {self.high}; give two of 0.05 to 3, the lower first")
        check_number("top_p", self.top_p)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; give more than 0 and at most 1")
        check_whole_numbers(self, top_k=(1, 1000), texts=(1, 400), length=(1, 1000))
        if not isinstance(self.prompt, str) or not 0 < len(self.prompt) <= 200:
            raise ValueError("prompt is to be a text of 1 to 200 characters")

    def ways(self) -> dict[str, dict[str, float | int]]:
        """Every way to sample that is compared, by its name."""
        return {
            f"temperature {self.low:g}": {"temperature": self.low},
            "temperature 1": {"temperature": 1.0},
            f"temperature {self.high:g}": {"temperature": self.high},
            f"top-k {self.top_k}": {"temperature": 1.0, "top_k": self.top_k},
            f"top-p {self.top_p:g}": {"temperature": 1.0, "top_p": self.top_p},
        }


QUICK = Setup(texts=20, length=100)


def run(setup: Setup) -> Generator[Progress, None, Result]:
    """Write texts in every way, and count their words."""
    yield Progress(0.0, f"loading {setup.model}")
    checkpoint = load_checkpoint(TRAINED_MODELS / setup.model)
    model, tokenizer = checkpoint.model.eval(), checkpoint.tokenizer
    prompt = torch.tensor([tokenizer.encode(setup.prompt)])
    known = set(words_of(text_of(str(checkpoint.corpus.get("name")))))
    ways = setup.ways()
    measures: list[Measure] = []
    for place, (way, choices) in enumerate(ways.items()):
        texts: list[str] = []
        for share in _written(model, tokenizer, prompt, setup, choices, texts):
            yield Progress((place + share) / len(ways), f"writing at {way}")
        measures += _measures(way, texts, known)
    with torch.inference_mode():
        logits = model(prompt)[:, -1]
    distributions = {way: next_token_probabilities(logits, **choices)[0] for way, choices in ways.items()}  # type: ignore[arg-type]
    measures += [Measure(f"{way}/entropy", entropy(p), unit="bits") for way, p in distributions.items()]
    charts = (_words_chart(measures, list(ways)), _distribution_chart(distributions, tokenizer, setup))
    return Result("sampling", vars(setup), tuple(measures), charts)


def _written(
    model: GPT2,
    tokenizer: Tokenizer,
    prompt: Tensor,
    setup: Setup,
    choices: dict[str, float | int],
    texts: list[str],
) -> Generator[float, None, None]:
    """Write `setup.texts` texts, some side by side; yields the share that is written."""
    for first in range(0, setup.texts, _AT_ONCE):
        rows = min(_AT_ONCE, setup.texts - first)
        stream = stream_tokens(
            model,
            prompt.expand(rows, -1),
            max_new_tokens=setup.length,
            seed=setup.seed + first,
            **choices,  # type: ignore[arg-type]
        )
        columns = []
        for step, column in enumerate(stream, start=1):
            columns.append(column)
            yield (first + rows * step / setup.length) / setup.texts
        texts += [tokenizer.decode(row) for row in torch.stack(columns, dim=1).tolist()]


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; not the last one, which may have been cut off."""
    return re.findall(r"[a-z']+", text.lower())[:-1]


def entropy(probabilities: Tensor) -> float:
    """Of a distribution, in bits."""
    some = probabilities[probabilities > 0].double()
    return float(-(some * some.log2()).sum())


def repeated_share(text: str) -> float:
    """The share of places at which the next twenty characters have stood before in the text."""
    seen: set[str] = set()
    again = 0
    places = range(max(0, len(text) - _REPEATED + 1))
    for place in places:
        piece = text[place : place + _REPEATED]
        again += piece in seen
        seen.add(piece)
    return again / len(places) if places else 0.0


def _measures(way: str, texts: Sequence[str], known: set[str]) -> list[Measure]:
    words = [words_of(text) for text in texts]
    every = [word for some in words for word in some]
    # How far a count of different words is uncertain: it is made again from texts drawn with replacement.
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(len(words), (200, len(words)), generator=generator).tolist()
    counts = [len({word for place in draw for word in words[place]}) for draw in draws]
    real = [sum(word in known for word in some) / len(some) for some in words if some] if known else []
    return [
        Measure(f"{way}/different-words", len(set(every)), statistics.stdev(counts), "words", f"{len(words)} texts"),
        mean_of(f"{way}/real-words", real, of="texts") if real else Measure(f"{way}/real-words", float("nan")),
        mean_of(f"{way}/repeated", [repeated_share(text) for text in texts], of="texts"),
    ]


def _words_chart(measures: Sequence[Measure], ways: Sequence[str]) -> Chart:
    found = {measure.name: measure for measure in measures}
    counts = [found[f"{way}/different-words"] for way in ways]
    curve = Curve(
        "different words",
        tuple(float(place) for place in range(len(ways))),
        tuple(count.value for count in counts),
        tuple(count.error for count in counts),
    )
    return Chart("Different words in all texts together", "", "different words", (curve,), rows=tuple(ways))


def _distribution_chart(distributions: dict[str, Tensor], tokenizer: Tokenizer, setup: Setup) -> Chart:
    plain = distributions["temperature 1"]
    shown = plain.topk(min(12, len(plain))).indices.tolist()
    names = {"\n": "⏎", " ": "␣"}
    rows = tuple(names.get(token, token) for token in (tokenizer.decode([one]) for one in shown))
    curves = tuple(
        Curve(way, tuple(float(place) for place in range(len(shown))), tuple(p[shown].tolist()))
        for way, p in distributions.items()
    )
    title = f"The next character after {setup.prompt.strip()!r}, the twelve likeliest"
    return Chart(title, "", "probability", curves, rows=rows)


def _ends(result: Result) -> tuple[str, str]:
    return f"temperature {result.setup['low']:g}", f"temperature {result.setup['high']:g}"


def answer(result: Result) -> str:
    """The prediction that the counts bear out, beyond twice their errors."""
    low, high = _ends(result)
    few, many = result[f"{low}/different-words"], result[f"{high}/different-words"]
    if is_above(few, many):
        return "lower"
    if not is_above(many, few):
        return "same"
    return "higher" if is_above(result[f"{low}/real-words"], result[f"{high}/real-words"]) else "higher-real"


def sentences(result: Result) -> list[str]:
    """What was counted."""
    low, high = _ends(result)
    few, many = result[f"{low}/different-words"], result[f"{high}/different-words"]
    more = {"higher": "more", "higher-real": "more", "lower": "fewer", "same": "not measurably more or fewer"}
    said = [
        f"In {many.of} at {high} there are {many} different words, at {low} {few}: "
        f"{more[answer(result)]} at the higher temperature (±: standard error, by drawing the texts again)."
    ]
    real = [result[f"{way}/real-words"] for way in (low, high)]
    if all(measure.value == measure.value for measure in real):
        said.append(
            f"Of the words at {low}, a share of {real[0]} stands in the text that the model learned from; "
            f"at {high}, {real[1]}."
        )
    bits = [result[f"{way}/entropy"] for way in (low, "temperature 1", high)]
    said.append(f"The one distribution has {bits[1]} bits of entropy; {bits[0]} at {low} and {bits[2]} at {high}.")
    again = [result[f"{way}/repeated"] for way in (low, high)]
    said.append(
        f"Places whose next {_REPEATED} characters have stood in the same text before: a share of {again[0]} at {low}, "
        f"{again[1]} at {high}."
    )
    return said
