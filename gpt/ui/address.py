"""The page's address: every field that a link can have, and how each is written and read.

The address holds the open tab and its setup as query parameters that a person can read, so that a link or a reload
leads back to the same page: `?tab=train&variants=gpt2,rotary&steps=300&window=8`. `FIELDS` declares them, for the whole
page and for each tab; what holds its first value is left out. A script writes them in the browser (`gpt.ui.links`), and
`read` makes values of them again when the page opens. What is missing or unusable stays as it is; a note names it.

A person's own words (`is_text`) are written only where they ask for a link; settings, when they are used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gpt.data.corpora import CORPORA
from gpt.experiments.questions import QUESTIONS
from gpt.runs.limits import LARGEST_TIMED_WINDOW, LONGEST_LOOK, LONGEST_PROMPT, MOST_COMPARED
from gpt.training.recipes import RECIPES
from gpt.ui.compare.settings import LARGEST_SEED, LENGTHS, SECOND_TEMPERATURES, TEMPERATURES, TOP_KS, TOP_PS, VIEWS
from gpt.ui.cost.settings import CHOSEN_MODELS, LONGEST, PASSES
from gpt.ui.hiding import HIDDEN
from gpt.ui.naming import clean_name
from gpt.ui.requests import require_choice, require_choices, require_number, require_text, require_whole
from gpt.ui.sizes import COUNTED_CONTEXTS, LARGEST_TRAINED_WINDOW, SIZES, TRAINED_CONTEXTS
from gpt.ui.train.settings import CHOICES, MOST_STEPS, OWN_TEXT, RATE_MULTIPLES, TOKENS

TABS = ("train", "compare", "attention", "cost", "experiments")
PAGE = ""  # in place of a tab: the fields that belong to all of them
_LONGEST_NAME = 80  # of a model or a run
_LONGEST_SETTINGS = 200  # of an experiment, those that differ from its defaults
_MOST_STEP = 10**9  # at which a model can be looked at
_MOST_NAMED = 5  # fields in a note
MOST_SAID = 100  # fields in an address
_LONGEST_SHOWN = 24  # characters of a field's name in a note
_OF_OTHERS = re.compile(r"__\w*|utm_\w*|fbclid|gclid|ssr|logs")  # what Gradio, a Space or a messenger adds to a link


@dataclass(frozen=True)
class Field:
    """One field of the address.

    Attributes:
        name: in the address.
        read: makes a value of its text; raises ValueError for what it cannot be.
        words: the text of values that are not written as they are; a list is written with commas between.
        is_text: whether it is a person's own words.
        longest: characters of such a text; what is longer is left out of a link.
        names_models: whether it is the name of a model, or several.
    """

    name: str
    read: Callable[[str], Any]
    words: Mapping[str, str] = field(default_factory=dict)
    is_text: bool = False
    longest: int = 0
    names_models: bool = False


# --- How they are read ----------------------------------------------------------------------------------------------


def _one_of(name: str, allowed: Collection[Any], words: Mapping[str, str] | None = None) -> Field:
    """One of a few values, each by its word if it has one."""
    words = words or {}
    by_word = {words.get(str(value), str(value)): value for value in allowed}

    def read_one(text: str) -> Any:
        require_choice(name, text, by_word)
        return by_word[text]

    return Field(name, read_one, words)


def _several_of(name: str, allowed: Collection[str]) -> Field:
    return Field(name, lambda text: require_choices(name, text.split(",") if text else [], allowed))


def _flag(name: str) -> Field:
    return Field(name, lambda text: _one_of(name, ("true", "false")).read(text) == "true")


def _whole(name: str, lowest: int, highest: int) -> Field:
    def read_whole(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
            raise ValueError(f"{name} is not a whole number")
        return require_whole(name, int(text), lowest, highest)

    return Field(name, read_whole)


def _number(name: str, lowest: float, highest: float) -> Field:
    def read_number(text: str) -> float:
        if not re.fullmatch(r"\d{1,6}(\.\d{1,9})?", text, re.ASCII):
            raise ValueError(f"{name} is not a number")
        return require_number(name, float(text), lowest, highest)

    return Field(name, read_number)


def _text(name: str, longest: int) -> Field:
    return Field(name, lambda text: require_text(name, text, longest), is_text=True, longest=longest)


def _label(name: str, longest: int = _LONGEST_NAME) -> Field:
    """A short text that nobody is shown unless it names something that is here."""
    return Field(name, lambda text: require_text(name, text, longest))


def _model(name: str) -> Field:
    return Field(name, _label(name).read, names_models=True)


def _models(name: str) -> Field:
    def read_models(text: str) -> list[str]:
        names = text.split(",") if text else []
        if len(names) > MOST_COMPARED or len(set(names)) < len(names):
            raise ValueError(f"{name} are at most {MOST_COMPARED}, each once")
        return [require_text(name, one, _LONGEST_NAME) for one in names]

    return Field(name, read_models, names_models=True)


def _head(name: str) -> Field:
    def read_head(text: str) -> str:
        if not re.fullmatch(r"[1-9]\d{0,2}\.[1-9]\d{0,2}", text, re.ASCII):
            raise ValueError(f"{name} is no layer and head")
        return text

    return Field(name, read_head)


def _first_words(names: Iterable[str]) -> dict[str, str]:
    """The words before the colon: of "tiny: 2 layers, 64 wide", "tiny"."""
    return {name: name.partition(":")[0] for name in names}


_SIZE_WORDS = _first_words(SIZES)
_TOKEN_WORDS = {name: name if count is None else str(count) for name, count in TOKENS.items()}

# The fields of the page and of each tab, in the order in which a link has them.
FIELDS: dict[str, tuple[Field, ...]] = {
    PAGE: (
        _one_of("tab", TABS),
        _label("run"),
        Field("name", clean_name),  # what the run is called
        _one_of("hands", ("off",)),  # the page may only watch
        _several_of("hide", HIDDEN),
        _one_of("projector", ("1",)),  # large type, one thing shown
    ),
    "train": (
        _several_of("variants", CHOICES),
        _flag("without_mask"),
        _one_of("size", SIZES, _SIZE_WORDS),
        _one_of("text", [*CORPORA, OWN_TEXT], {OWN_TEXT: "own"}),
        _one_of("tokens", TOKENS, _TOKEN_WORDS),
        _whole("steps", 10, MOST_STEPS),
        _one_of("recipe", RECIPES),
        _whole("batch", 1, 64),
        _one_of("rate", RATE_MULTIPLES),
        _one_of("context", TRAINED_CONTEXTS),
        _whole("window", 1, LARGEST_TRAINED_WINDOW),
        _whole("kv_heads", 1, 6),
        _whole("seed", 0, LARGEST_SEED),
        _whole("repeats", 1, 3),
        _model("from"),
    ),
    "compare": (
        _one_of("view", VIEWS),
        _models("models"),
        _text("prompt", LONGEST_PROMPT),
        _text("stepped", LONGEST_PROMPT),
        _text("reading", LONGEST_PROMPT),
        _flag("leave_out"),
        _whole("length", *LENGTHS),
        _one_of("second", ["", *SECOND_TEMPERATURES], {str(float(t)): f"{t:g}" for t in SECOND_TEMPERATURES}),
        _number("temperature", *TEMPERATURES),
        _whole("top_k", *TOP_KS),
        _number("top_p", *TOP_PS),
        _whole("seed", 0, LARGEST_SEED),
    ),
    "attention": (
        _model("model"),
        _model("beside"),
        _text("text", 4 * LONGEST_LOOK),
        _head("head"),  # the large map's, such as 2.4: layer 2, head 4
        _whole("step", 0, _MOST_STEP),
    ),
    "cost": (
        _whole("window", 1, LARGEST_TIMED_WINDOW),
        _one_of("timed", PASSES, {"forward and backward": "both", "forward only": "forward"}),
        _one_of("longest", LONGEST),
        _models("models"),
        _one_of("of", [*SIZES, CHOSEN_MODELS], {**_SIZE_WORDS, CHOSEN_MODELS: "models"}),
        _one_of("context", COUNTED_CONTEXTS),
    ),
    "experiments": (
        _one_of("experiment", QUESTIONS),
        _label("set", _LONGEST_SETTINGS),
        _label("asked"),
        _label("predicted"),  # the page's own, as the next
        _label("drawn", _LONGEST_SETTINGS),
    ),
}


def fields_of(tab: str) -> dict[str, Field]:
    """The fields of a tab, or of the `PAGE`, by their names."""
    return {one.name: one for one in FIELDS[tab]}


# --- What an address says -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """What an address says.

    Attributes:
        tab: the one it opens.
        page: values of the page's fields, by their names.
        setup: values of the tab's.
        ignored: the names of those fields that are unknown, unusable or there twice, with the reason.
        is_move: whether the page was open already: somebody went back or forward to this.
    """

    tab: str = TABS[0]
    page: dict[str, Any] = field(default_factory=dict)
    setup: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[tuple[str, str], ...] = ()
    is_move: bool = False

    def of(self, tab: str) -> dict[str, Any]:
        """What it says of a tab: nothing, if it opens another."""
        return self.setup if tab == self.tab else {}

    def ignoring(self, *names: str, why: str) -> Link:
        """The same without these fields of the tab."""
        setup = {name: value for name, value in self.setup.items() if name not in names}
        return replace(self, setup=setup, ignored=(*self.ignored, *((name, why) for name in names)))

    def note(self) -> str:
        """One sentence on what was ignored; empty if nothing was."""
        if not self.ignored:
            return ""
        shown = [f"{_shown(name)} ({why})" for name, why in self.ignored[:_MOST_NAMED]]
        more = len(self.ignored) - len(shown)
        return f"Ignored in this link: {', '.join([*shown, *([f'{more} more'] if more else [])])}."


def _shown(name: str) -> str:
    """A field's name as a note may show it: it may be anything."""
    name = "".join(sign if sign.isprintable() else "?" for sign in name)
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"


def read(said: Iterable[tuple[str, str]]) -> Link:
    """What an address's query says; see `FIELDS` for what it can say."""
    pairs = [(name, text) for name, text in list(said)[:MOST_SAID] if not _OF_OTHERS.fullmatch(name)]
    times = Counter(name for name, _ in pairs)
    ignored = [(name, f"given {count} times") for name, count in times.items() if count > 1]
    once = {name: text for name, text in pairs if times[name] == 1}
    page = _values(PAGE, once, ignored)
    tab = page.get("tab") or max(TABS, key=lambda tab: len(fields_of(tab).keys() & once.keys()))
    setup = _values(tab, once, ignored)
    known = {name for one in FIELDS.values() for name in (field.name for field in one)}
    for name in once.keys() - fields_of(PAGE).keys() - fields_of(tab).keys():
        ignored.append((name, f"not of the tab {tab}" if name in known else "unknown"))
    places = {name: place for place, (name, _) in reversed(list(enumerate(pairs)))}
    return Link(tab, page, setup, tuple(sorted(ignored, key=lambda one: places[one[0]])))


def _values(tab: str, once: Mapping[str, str], ignored: list[tuple[str, str]]) -> dict[str, Any]:
    values = {}
    for name, one in fields_of(tab).items():
        if name in once:
            try:
                values[name] = one.read(once[name])
            except ValueError:
                ignored.append((name, "not a value it can have"))
    return values
