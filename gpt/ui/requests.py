"""What arrives from a page or a program, checked before anything is made of it.

Gradio checks the ranges of sliders and the choices of lists; everything else may arrive as any JSON value.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gradio as gr

from gpt.data.corpora import CorpusUnavailable
from gpt.model.config import check_number, check_whole_number

_log = logging.getLogger(__name__)
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


def with_controls(*names: str) -> Callable[[_Handler], _Handler]:
    """Say by which names programs give what a handler takes as `*controls`; else Gradio numbers them."""

    def name_them(handler: _Handler) -> _Handler:
        given = inspect.signature(handler)
        parameters = list(given.parameters.values())
        place = next(i for i, one in enumerate(parameters) if one.kind is inspect.Parameter.VAR_POSITIONAL)
        named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        parameters[place : place + 1] = named
        handler.__signature__ = given.replace(parameters=parameters)  # type: ignore[attr-defined]
        return handler

    return name_them


@contextmanager
def one_sentence() -> Iterator[None]:
    """Show what a person can set right as one sentence on the page; faults of ours stay in the log."""
    try:
        yield
    except (ValueError, TypeError, CorpusUnavailable) as error:
        raise gr.Error(sentence(error), duration=6, print_exception=False) from None
    except OSError as error:  # a full disk, a folder that may only be read
        _log.warning("a file could not be written: %s", error.strerror)
        raise gr.Error(
            f"The server cannot write its files ({error.strerror}). What is on the page is not lost; try again when "
            "those who run the lab have made room.",
            print_exception=False,
        ) from None


def leave_checks_to_handlers(controls: Iterable[Any]) -> None:
    """Let values reach the handlers as they came, whose checks answer each in a sentence.

    Gradio's own checks compare before they look at the type: null, a list or a text in a slider's place ends in a
    TypeError that no visitor can read, and `true` passes for a number.
    """
    for control in controls:
        control.preprocess = _as_it_came


def _as_it_came(payload: Any) -> Any:
    return payload


def sentence(error: Exception) -> str:
    """An error's message as a sentence."""
    text = str(error).strip() or type(error).__name__
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def require_whole(name: str, value: Any, lowest: int, highest: int) -> int:
    """A whole number between two bounds; sliders send floats, so 8.0 is 8. Raises ValueError in a sentence."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    with _as_value_error():
        check_whole_number(name, value, minimum=lowest)
    if value > highest:
        raise ValueError(f"{name} is {value}; at most {highest:,} is allowed")
    return value


def require_number(name: str, value: Any, lowest: float, highest: float) -> float:
    """A finite number between two bounds. Raises ValueError in a sentence."""
    with _as_value_error():
        check_number(name, value)
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}; give {lowest} to {highest}")
    return float(value)


def require_text(name: str, value: Any, longest: int) -> str:
    """A text of at most so many characters, fit to be sent back. Raises ValueError in a sentence."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing; give a text")
    if len(value) > longest:
        raise ValueError(f"{name} has {len(value):,} characters; at most {longest:,} are allowed")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        broken = ascii(value[error.start])
        raise ValueError(f"{name} holds half a character ({broken}) that cannot be written; remove it") from None
    return value


def require_choice(name: str, value: Any, allowed: Collection[Any]) -> None:
    """One of a few values. Raises ValueError in a sentence."""
    if isinstance(value, bool | list | dict) or value not in allowed:
        raise ValueError(f"{name} is {value!r:.80}; choose one of {', '.join(str(choice) for choice in allowed)}")


def require_choices(name: str, values: Any, allowed: Collection[str]) -> list[str]:
    """A list of names, each once. Raises ValueError in a sentence."""
    if not isinstance(values, list):
        raise ValueError(f"{name} is {values!r:.80}; give a list of names")
    for value in values:
        require_choice(name, value, allowed)
    return list(dict.fromkeys(values))


def require_flag(name: str, value: Any) -> bool:
    """True or false. Raises ValueError in a sentence."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r:.80}; give true or false")
    return value


@contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        raise ValueError(str(error)) from None
