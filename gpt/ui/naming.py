"""What models and runs are called: by what sets them apart, and by the names that people give to runs.

A name that somebody gives to a run is their own: it is shown on the pages of their browser, and on those that open a
link of theirs, which says it. So nobody writes on another's screen, also where thirty share one run.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from gpt.runs.run import Member, Run
from gpt.training.recipes import RATES, RECIPES, TrainConfig
from gpt.ui.door.asking import asking
from gpt.ui.sizes import SIZES, SMALL, TRAINED_CONTEXT

LONGEST_RUN_NAME = 40  # characters
MOST_NAMED = 12  # runs of one page
_MOST_PAGES = 2000  # whose names are known


def clean_name(text: Any) -> str:
    """A name for a run as it may be shown: one line of printable characters; raises ValueError in a sentence."""
    if not isinstance(text, str):
        raise ValueError("the name is missing; give a text, or nothing to take the name away")
    name = " ".join(text.split())
    if len(name) > LONGEST_RUN_NAME:
        raise ValueError(f"the name has {len(name):,} characters; at most {LONGEST_RUN_NAME} are allowed")
    if not name.isprintable():
        raise ValueError("the name holds a character that cannot be seen; use letters, digits and signs")
    return name


class RunNames:
    """What the people at each page call runs. Any thread may call it; each call is about the page that asks."""

    def __init__(self) -> None:
        self._of_pages: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: str) -> str:
        """What the page that asks calls a run; empty if it has no name there."""
        with self._lock:
            return self._of_pages.get(asking().page, {}).get(key, "")

    def give(self, key: str, name: str) -> dict[str, str]:
        """Call a run so, or take its name away with ""; returns all names of the page, for its browser to keep."""
        with self._lock:
            names = self._of_pages.setdefault(asking().page, {})
            names.pop(key, None)
            if name:
                names[key] = name
            while len(names) > MOST_NAMED:
                del names[next(iter(names))]
            self._of_pages.move_to_end(asking().page)
            while len(self._of_pages) > _MOST_PAGES:
                self._of_pages.popitem(last=False)
            return dict(names)

    def recall(self, kept: Any) -> None:
        """Take in what a browser has kept of its names, as far as they can be used."""
        if not isinstance(kept, dict):
            return
        for key, name in list(kept.items())[-MOST_NAMED:]:
            try:
                if isinstance(key, str) and len(key) <= LONGEST_RUN_NAME and not self.of(key):
                    self.give(key, clean_name(name))
            except ValueError:
                continue  # what an earlier version, or somebody by hand, has put there


def member_label(run: Run, member: Member) -> str:
    """A member's name, with its seed where the run has several."""
    return member.label if run.request.seeds == 1 else f"{member.label} · seed {member.seed}"


def named(name: str, label: str) -> str:
    """What something of a run is called on a page that calls the run so; "" is no name."""
    return f"{name}: {label}" if name else label


def described_member(run: Run, member: Member) -> str:
    """A model of a run by what sets it apart from others of its variant, such as "gpt2, 300 steps".

    That is its steps, its window, and all in which it differs from what the Train tab begins with.
    """
    request, config, training = run.request, member.config, run.request.training
    facts = [member_label(run, member), f"{training.max_steps:,} step{'s' * (training.max_steps != 1)}"]
    small = SIZES[SMALL]
    if (config.num_layers, config.embed_size) != (small["num_layers"], small["embed_size"]):
        facts.append(size_word(config.num_layers, config.num_heads, config.embed_size))
    if config.window_size is not None:
        facts.append(f"window {config.window_size}")
    if config.kv_heads not in (1, config.num_heads):
        facts.append(f"{config.kv_heads} KV heads")
    if config.context_length != TRAINED_CONTEXT:
        facts.append(f"context {config.context_length}")
    if run.corpus.name != "shakespeare":
        facts.append(run.corpus.name)
    if run.corpus.tokenizer_sha256 and request.origin is None:
        facts.append(f"{run.corpus.tokenizer.vocab_size} byte pairs")
    recipe, multiple = recipe_of(training)
    facts += [recipe] if recipe != "fast" else []
    facts += [f"rates × {multiple:g}"] if multiple != 1 else []
    facts += [f"batch {training.batch_size}"] if training.batch_size != TrainConfig().batch_size else []
    facts += [f"seed {member.seed}"] if request.seeds == 1 and member.seed != TrainConfig().seed else []
    if request.origin is not None:
        facts.append(f"from {request.origin['name']}")
    if request.copy_of:
        facts.append(f"a copy from step {request.copy_of.split(' ')[1]}")
    return ", ".join(facts)


def size_word(num_layers: int, num_heads: int, embed_size: int) -> str:
    """What the tabs call models of this size: "tiny", or the numbers where it is none of theirs."""
    wanted = {"num_layers": num_layers, "num_heads": num_heads, "embed_size": embed_size}
    names = [name.partition(":")[0] for name, size in SIZES.items() if size == wanted]
    return names[0] if names else f"{num_layers} layers, {embed_size} wide"


def recipe_of(training: TrainConfig) -> tuple[str, float]:
    """The recipe that a training follows, and the multiple of its rates; the nearest where it is none exactly."""
    best, most = ("fast", 1.0), -1
    for name, settings in RECIPES.items():
        recipe = TrainConfig(**settings)
        multiples = {
            round(own / usual, 6)
            for rate in RATES
            if (own := getattr(training, rate)) is not None and (usual := getattr(recipe, rate))
        }
        same = sum(
            getattr(training, field) == getattr(recipe, field)
            for field in vars(recipe)
            if field not in (*RATES, "max_steps", "batch_size", "eval_interval", "seed", "device")
        )
        same += sum((getattr(training, rate) is None) == (getattr(recipe, rate) is None) for rate in RATES)
        if len(multiples) == 1 and same > most:
            best, most = (name, multiples.pop()), same
    return best
