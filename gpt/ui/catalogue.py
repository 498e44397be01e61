"""The models a visitor can look at: shipped, trained here, uploaded, and the original GPT-2."""

from __future__ import annotations

import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from gpt.checkpoints.listing import list_checkpoints, snapshot_steps
from gpt.checkpoints.record import Record, read_record
from gpt.costs.formulas import parameter_count
from gpt.data.tokenizer import Tokenizer
from gpt.model.config import VARIANTS, GPTConfig, variant_name
from gpt.runs.limits import LARGEST_UPLOAD, MOST_COMPARED, MOST_UPLOADS
from gpt.runs.request import NotYourText
from gpt.runs.run import InitialWeights, Member, Run
from gpt.runs.scheduler import Runs
from gpt.training.state import best_event
from gpt.ui.door.visitors import Visitors
from gpt.ui.limiter import COMPUTING
from gpt.ui.naming import RunNames, described_member, named

# What needs PyTorch is imported where it is used, because the page is made before PyTorch is loaded.
if TYPE_CHECKING:
    from gpt.checkpoints.folder import Checkpoint
    from gpt.generation.engine import GenerationEngine
    from gpt.model.gpt2 import GPT2

ORIGINAL = "original/gpt2"


@dataclass(frozen=True, eq=False)
class ReadyModel:
    """A model with what is needed to use and name it.

    Attributes:
        label: its name on the page.
        note: where it comes from, in a few words.
        variant: decides its colour.
        model: in evaluation mode.
        tokenizer: its vocabulary.
        shared: the same under its common name, where this is what one page calls it.
    """

    label: str
    note: str
    variant: str
    model: GPT2
    tokenizer: Tokenizer
    shared: ReadyModel | None = None

    def called(self, label: str) -> ReadyModel:
        """The same model under another name."""
        return self if label == self.label else replace(self, label=label, shared=self)

    @cached_property
    def engine(self) -> GenerationEngine:
        """Through which all who generate with it share the work, whatever they call it."""
        from gpt.generation.engine import GenerationEngine

        if self.shared is not None:
            return self.shared.engine
        return GenerationEngine(self.model, limiter=COMPUTING)


@dataclass(frozen=True, eq=False)
class Beginning:
    """A model as a training goes on from it.

    Attributes:
        label: what the model is called in the new run.
        begins_from: its name and the digest of its weights, as a `RunRequest` has them.
        config: what it is.
        tokenizer: its vocabulary.
        weights: what it has learned.
    """

    label: str
    begins_from: str
    config: GPTConfig
    tokenizer: Tokenizer
    weights: InitialWeights


class Catalogue:
    """Models by name.

    A name is "shipped/<folder>" or "run/<key>/<number of the model in the run>", either with "@<step>" for the model as
    it was at an earlier step, "upload/<secret>", or "original/gpt2".

    Args:
        folder: where the shipped checkpoints lie.
        runs: the server's runs.
        visitors: who asks: a model that has learned somebody's own text is theirs alone.

    Attributes:
        names: what people call the runs.
    """

    def __init__(self, folder: Path, runs: Runs, visitors: Visitors) -> None:
        self._folder = folder
        self._runs = runs
        self._visitors = visitors
        self.names = RunNames()
        names = list_checkpoints(folder)
        self.shipped = sorted(names, key=lambda name: [*VARIANTS, name].index(name))  # gpt2 first, the rest after it
        self._checkpoints: dict[str, Checkpoint] = {}
        self._records: dict[str, Record] = {}
        self._uploads: OrderedDict[str, ReadyModel] = OrderedDict()
        self._original: ReadyModel | None = None
        self._in_use: WeakValueDictionary[tuple[str, ...], ReadyModel] = WeakValueDictionary()
        self._lock = threading.Lock()
        self._records_lock = threading.Lock()  # of its own: records do not wait for weights

    def choices(self, seen: Any, *, snapshots: bool = True, also: Any = ()) -> list[tuple[str, str]]:
        """(what the page shows, name) of every model that a visitor can choose.

        Args:
            seen: the keys of the runs they have watched and the names of their uploads, the latest last.
            snapshots: whether models are listed as they were at earlier steps, too.
            also: names of models that are listed too, with the others of their runs: a link may have brought them.
        """
        own: list[tuple[str, str]] = []
        brought = [name for name in (also if isinstance(also, list) else []) if isinstance(name, str)]
        items = [name.split("/")[1] if name.startswith("run/") else name for name in brought]
        items += [item for item in (seen if isinstance(seen, list) else []) if isinstance(item, str)]
        for item in reversed(dict.fromkeys(items)):
            run = self._runs.find(item)
            if run is not None and run.may_read(self._visitors.here()):
                own += _run_choices(run, snapshots, self.names.of(run.key))
            elif item in self._uploads:
                own.append((f"{self._uploads[item].label}, uploaded", item))
        shipped = [(f"{name}, shipped", f"shipped/{name}") for name in self.shipped]
        if snapshots:
            shipped += [
                (f"{name} at step {step:,}, shipped", f"shipped/{name}@{step}")
                for name in self.shipped
                for step in snapshot_steps(self._folder / name)
            ]
        original = [] if self._original is None else [(self._original.label, ORIGINAL)]
        return [*_told_apart(own), *shipped, *original]

    def has(self, name: Any) -> bool:
        """Whether a model of that name is here, for whoever may have it."""
        if name == ORIGINAL:
            return self._original is not None
        is_upload = isinstance(name, str) and name in self._uploads
        return is_upload or self._named_shipped(name) is not None or self._trained(name) is not None

    def get(self, name: Any) -> ReadyModel:
        """The model of that name; raises ValueError if it is not there (any more)."""
        if name == ORIGINAL and self._original is not None:
            return self._original
        if isinstance(name, str) and name in self._uploads:
            return self._uploads[name]
        shipped = self._named_shipped(name)
        if shipped is not None:
            return self._of_shipped(*shipped)
        trained = self._trained(name)
        if trained is not None:
            return self._of_run(*trained)
        raise ValueError("this model is no longer here; choose another, or train it again")

    def beginnings(self, seen: Any, most_parameters: int | None = None) -> list[tuple[str, str]]:
        """Of the `choices`, the models that a training can go on from.

        The newest come last, so that one more moves none of the others in a list that is open.

        Args:
            seen: as `choices` takes it.
            most_parameters: of a model that may be trained here; None, as long as the page is made, leaves none out.
        """
        models = self.choices(seen[::-1] if isinstance(seen, list) else [], snapshots=False)
        models = [(shown, name) for shown, name in models if name != ORIGINAL]
        if most_parameters is not None:
            models = [model for model in models if parameter_count(self._config(model[1])) <= most_parameters]
        return sorted(models, key=lambda model: not model[1].startswith("shipped/"))

    def _config(self, name: str) -> GPTConfig:
        shipped, trained = self._named_shipped(name), self._trained(name)
        if shipped is not None:
            return self.record(shipped[0]).config
        return self.get(name).model.config if trained is None else trained[1].config

    def beginning(self, name: Any) -> Beginning:
        """What a training needs to go on from the model of that name; raises ValueError as `get` does."""
        from gpt.checkpoints.files import weights_digest

        if name == ORIGINAL:
            raise ValueError("the original GPT-2 is too large to be trained here; choose another model")
        ready, trained = self.get(name), self._trained(name)
        weights = {weight_name: weight.detach() for weight_name, weight in ready.model.named_parameters()}
        is_private = name in self._uploads or (trained is not None and trained[0].is_private)
        return Beginning(
            label=ready.label if trained is None else trained[1].label,
            begins_from=f"{self._origin_name(name)} {weights_digest(weights)}",
            config=ready.model.config,
            tokenizer=ready.tokenizer,
            weights=InitialWeights(weights, is_private),
        )

    def _origin_name(self, name: str) -> str:
        """What a model is called in a run that begins from it: the same for everyone, whatever they call its run."""
        trained, shipped = self._trained(name), self._named_shipped(name)
        if trained is not None:
            return described_member(trained[0], trained[1])
        return shipped[0] if shipped is not None else f"{self._uploads[name].label}, uploaded"

    def begun_from(self, origin: str, seen: Any) -> str | None:
        """The name of the model that runs with this origin begin from, if it is among the visitor's `beginnings`."""
        names = [name for _, name in self.beginnings(seen)]
        return next((name for name in names if self._origin_name(name) == origin), None)

    def chosen(self, names: Any, most: int = MOST_COMPARED) -> list[ReadyModel]:
        """The models of these names, side by side; raises ValueError if they are none, too many or not there."""
        if not isinstance(names, list) or not names:
            raise ValueError("no model is chosen; choose at least one")
        if len(names) > most:
            raise ValueError(f"{len(names)} models are chosen; at most {most} fit side by side")
        return [self.get(name) for name in names]

    def steps(self, name: Any) -> list[int]:
        """The training steps at which a model can be looked at, `at_step`; empty if there are none to choose from."""
        shipped, trained = self._named_shipped(name), self._trained(name)
        if shipped is not None:
            kept = self.record(shipped[0]).snapshot_steps
            return [*kept, self._shipped_best_step(shipped[0])] if kept else []
        return [] if trained is None else trained[1].kept_steps

    def step_of(self, name: Any) -> int | None:
        """The training step of a model's weights, its name's or its best evaluation's; None where none is known."""
        shipped, trained = self._named_shipped(name), self._trained(name)
        if shipped is not None:
            return self._shipped_best_step(shipped[0]) if shipped[1] is None else shipped[1]
        if trained is None or trained[1].best is None:
            return None
        return trained[1].best.step if trained[2] is None else trained[2]

    def _named_shipped(self, name: Any) -> tuple[str, int | None] | None:
        """What "shipped/<folder>@<step>" names: a folder and a step, if these are here."""
        kind, _, which = str(name).partition("/")
        folder, at, step = which.partition("@")
        if kind != "shipped" or folder not in self.shipped:
            return None
        if not at:
            return folder, None
        there = snapshot_steps(self._folder / folder)
        if not _is_number(step, 10**9):
            return None
        if int(step) in there:
            return folder, int(step)
        return (folder, None) if int(step) == self._shipped_best_step(folder) else None

    def _shipped_best_step(self, folder: str) -> int:
        best = best_event(self.record(folder).history)
        return 0 if best is None else best.step

    def _trained(self, name: Any) -> tuple[Run, Member, int | None] | None:
        """What "run/<key>/<number>@<step>" names: a run, a model of it and a step, if these are here."""
        kind, _, rest = str(name).partition("/")
        key, _, which = rest.partition("/")
        number, _, step = which.partition("@")
        run = self._runs.find(key) if kind == "run" else None
        if run is None or not _is_number(number, len(run.members)) or (step and not _is_number(step, 10**9)):
            return None
        return run, run.members[int(number)], int(step) if step else None

    def record(self, name: str) -> Record:
        """What a shipped checkpoint tells without its weights, read once; it does not wait for PyTorch."""
        with self._records_lock:
            if name not in self._records:
                self._records[name] = read_record(self._folder / name)
            return self._records[name]

    def checkpoint(self, name: str) -> Checkpoint:
        """A shipped checkpoint, loaded once."""
        from gpt.checkpoints.folder import load_checkpoint

        with self._lock:
            if name not in self._checkpoints:
                self._checkpoints[name] = load_checkpoint(self._folder / name)
            return self._checkpoints[name]

    def upload(self, content: bytes) -> str:
        """Take in a zipped checkpoint; returns its name, which only the visitor who uploaded it is told.

        Raises:
            CheckpointError: the file is not a sound checkpoint.
        """
        from gpt.checkpoints.upload import load_checkpoint_zip

        checkpoint = load_checkpoint_zip(content, largest=LARGEST_UPLOAD)
        variant = variant_name(checkpoint.config)
        name = f"upload/{secrets.token_hex(8)}"
        ready = ReadyModel(variant, "uploaded", variant, checkpoint.model, checkpoint.tokenizer)
        with self._lock:
            self._uploads[name] = ready
            while len(self._uploads) > MOST_UPLOADS:
                self._uploads.popitem(last=False)
        return name

    def fetch_original(self) -> str:
        """Load the original GPT-2, fetching it if it is not on this machine yet; returns its name.

        Raises:
            PretrainedUnavailable: it is not here and cannot be fetched.
        """
        from gpt.checkpoints.pretrained import load_pretrained

        if self._original is None:
            model, tokenizer = load_pretrained("gpt2")
            note = "the published weights, trained on 40 GB of web text"
            self._original = ReadyModel("GPT-2, original", note, "other", model.eval(), tokenizer)
        return ORIGINAL

    def _of_shipped(self, name: str, step: int | None) -> ReadyModel:
        from gpt.checkpoints.folder import load_snapshot
        from gpt.model.gpt2 import GPT2

        checkpoint = self.checkpoint(name)
        text = checkpoint.corpus.get("name", "a text")
        if step is None:
            steps = checkpoint.history[-1].step if checkpoint.history else 0
            model, when = (
                checkpoint.model,
                f"best of {steps:,} steps on {text}, at step {self._shipped_best_step(name):,}",
            )
        else:
            model, when = GPT2.from_config(checkpoint.config).eval(), f"at step {step:,} on {text}"
            model.load_weights(load_snapshot(self._folder / name, step))
        ready = ReadyModel(name, f"shipped; {when}", variant_name(checkpoint.config), model, checkpoint.tokenizer)
        return self._in_use.setdefault(("shipped", name, str(step)), ready)

    def _of_run(self, run: Run, member: Member, step: int | None) -> ReadyModel:
        if not run.may_read(self._visitors.here()):
            raise NotYourText
        if member.best is None:
            raise ValueError("this model has not started to learn; wait for its first point on the chart")
        label = described_member(run, member)
        so_far = member.events[-1].step if member.events else 0
        note = (
            f"trained here; {f'best of {so_far:,} steps' if step is None else f'at step {step:,}'} on {run.corpus.name}"
        )
        if not member.config.causal:
            note += "; without the causal mask it sees the tokens it is asked to predict"
        with self._lock:  # all who ask for the same weights get the same model
            ready = self._in_use.get((run.key, label, note))
            if ready is None:
                variant = variant_name(member.config)
                ready = ReadyModel(label, note, variant, member.model_at(step), run.corpus.tokenizer)
                self._in_use[run.key, label, note] = ready
        return ready.called(named(self.names.of(run.key), label))


def at_step(name: str, step: int) -> str:
    """The name of a model as it was at one of its `Catalogue.steps`."""
    return f"{name.partition('@')[0]}@{step}"


def _run_choices(run: Run, snapshots: bool, name: str) -> list[tuple[str, str]]:
    """The models of a run of this name: each as it is best now, then as it was at its snapshots."""
    started = [
        (named(name, described_member(run, member)), f"run/{run.key}/{number}", member)
        for number, member in enumerate(run.members)
        if member.kept_steps
    ]
    best = [(shown, of) for shown, of, _ in started]
    earlier = [
        (f"{shown}: at step {step:,}", f"{of}@{step}")
        for shown, of, member in started
        for step in sorted(member.snapshots if snapshots else ())
    ]
    return [*best, *earlier]


def _told_apart(choices: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same choices; what two of them would show alike has the beginning of its run's key added."""
    times = Counter(shown for shown, name in choices if name.startswith("run/"))
    return [(f"{shown}, run {name.split('/')[1][:4]}" if times[shown] > 1 else shown, name) for shown, name in choices]


def _is_number(text: str, below: int) -> bool:
    return text.isdecimal() and len(text) < 10 and int(text) < below


def still_there(choices: Sequence[tuple[str, str]], names: Any) -> list[str]:
    """Of the names chosen so far, those that can still be chosen."""
    there = [name for _, name in choices]  # a list, because what is asked about may not be hashable
    return [name for name in (names if isinstance(names, list) else [names]) if name in there]
