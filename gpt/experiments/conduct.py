"""Running an experiment by its name, from settings as a command line or a page gives them."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, fields, replace
from importlib import import_module
from typing import Any, Protocol

from gpt.costs.machine import processor, threads_text
from gpt.experiments.questions import QUESTIONS, question_of
from gpt.experiments.result import Progress, Result


class ExperimentFile(Protocol):
    """What each experiment's file holds.

    Attributes:
        Setup: a frozen dataclass of all that decides the outcome, with a default for every field, one of them `seed`;
            it refuses with ValueError what cannot be run.
        QUICK: a setup that is over in a few seconds.
    """

    Setup: type
    QUICK: Any

    def run(self, setup: Any) -> Generator[Progress, None, Result]:
        """Yield progress, several times a second; return the result, without answer and sentences."""

    def answer(self, result: Result) -> str:
        """The name of the prediction that the result bears out, or "" if its numbers decide for none."""

    def sentences(self, result: Result) -> list[str]:
        """What was found: made of the result's measures and of nothing else, whichever way they came out."""


def experiment_file(name: str) -> ExperimentFile:
    """The file of an experiment; raises ValueError that lists the names if there is no such experiment."""
    question_of(name)
    return import_module(f"gpt.experiments.{name.replace('-', '_')}")


def make_setup(name: str, values: Mapping[str, Any] | None = None, *, quick: bool = False) -> Any:
    """The setup of an experiment, with these fields other than the defaults.

    Args:
        name: of the experiment.
        values: by field; a text is read as what the field's default is.
        quick: start from the quick setup instead of the default one.

    Raises:
        ValueError: there is no such experiment or field, or it cannot have this value.
    """
    file = experiment_file(name)
    base = file.QUICK if quick else file.Setup()
    known = [field.name for field in fields(base)]
    for field_name in values or {}:
        if field_name not in known:
            raise ValueError(f"the experiment {name} has no setting {field_name!r}; choose from {', '.join(known)}")
    read = {key: _read(key, value, getattr(base, key)) for key, value in (values or {}).items()}
    try:
        return replace(base, **read)
    except TypeError as error:  # a value of another type
        raise ValueError(str(error)) from None


def _read(name: str, value: Any, like: Any) -> Any:
    """A value as the field's default is: a text as a number, a float that is whole as one."""
    if isinstance(value, str) and isinstance(like, bool):
        if value not in ("true", "false"):
            raise ValueError(f"{name} is {value!r}; give true or false")
        return value == "true"
    if isinstance(value, str) and isinstance(like, int | float):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{name} is {value!r}; give a number") from None
    if isinstance(like, int) and not isinstance(value, bool) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def conduct(name: str, setup: Any) -> Generator[Progress, None, Result]:
    """Run an experiment: yield how far it is, and return its result with answer and sentences.

    Closing the generator stops it; nothing remains.
    """
    file = experiment_file(name)
    started = time.perf_counter()
    result = yield from file.run(setup)
    # Through JSON, as everyone else will have it, so that what is said follows from what is kept.
    kept = Result.from_json(json.loads(json.dumps(result.to_json())))
    said = replace(kept, answer=file.answer(kept), sentences=tuple(file.sentences(kept)))
    options = [option for option, _ in QUESTIONS[name].options]
    assert not said.answer or said.answer in options, f"{name}: {said.answer!r} is no prediction"
    return replace(
        said, setup=asdict(setup), seconds=time.perf_counter() - started, machine=f"{processor()}, {threads_text()}"
    )
