"""`python -m gpt experiment`: an experiment from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from tqdm import tqdm

from gpt.experiments.conduct import conduct, make_setup
from gpt.experiments.questions import question_of
from gpt.experiments.result import Result, one_line


def run_experiment(
    name: str, settings: list[str], *, quick: bool = False, as_json: bool = False, out: Path | None = None
) -> None:
    """Run an experiment and print what came of it.

    Args:
        name: which.
        settings: "field=value" each.
        quick: a smaller one.
        as_json: one line of JSON instead of sentences and numbers.
        out: a folder for the figure, the table and the JSON; made if it is not there.

    Raises:
        ValueError: there is no such experiment or setting, or it cannot have this value.
        OSError: the folder cannot be written.
    """
    question = question_of(name)
    setup = make_setup(name, dict(_setting(text) for text in settings), quick=quick)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    result = _shown(name, setup)
    if as_json:
        print(one_line(result))
    else:
        _tell(question.asks, result)
    if out is not None:
        _save(name, result, out)


def _setting(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is no setting; give it as field=value, such as seed=7")
    return field.strip().replace("-", "_"), value.strip()


def _shown(name: str, setup: object) -> Result:
    """Run it beside a bar of how far it is."""
    running = conduct(name, setup)
    with tqdm(
        total=100, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}", file=sys.stderr, disable=None
    ) as bar:
        while True:
            try:
                progress = next(running)
            except StopIteration as end:
                bar.update(100 - bar.n)
                result: Result = end.value
                return result
            bar.set_postfix_str(progress.doing, refresh=False)
            bar.update(max(0.0, 100 * progress.share - bar.n))


def _tell(asks: str, result: Result) -> None:
    print(asks)
    print()
    for sentence in result.sentences:
        print(sentence)
    print()
    widest = max(len(measure.name) for measure in result.measures)
    for measure in result.measures:
        of = f"  ({measure.of})" if measure.of else ""
        print(f"  {measure.name:{widest}}  {measure} {measure.unit}{of}")
    print()
    print(f"{result.seconds:.0f} s on {result.machine}")


def _save(name: str, result: Result, out: Path) -> None:
    from gpt.experiments.figure import experiment_figure  # slow to import, rarely needed
    from gpt.figures.plots import save_figure

    save_figure(experiment_figure(result, question_of(name).title), out / f"{name}.png")
    (out / f"{name}.json").write_text(one_line(result) + "\n", encoding="utf-8")
    (out / f"{name}.csv").write_text(result.to_csv(), encoding="utf-8")
    print(f"figure, table and JSON saved in {out}", file=sys.stderr)
