"""What a visitor waits for: the page's default run in a real server, alone and with thirty pages open."""

from __future__ import annotations

import math
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gpt.bench.rows import Row, in_pairs
from gpt.bench.served import DEMO, served, what_is_missing
from gpt.bench.turns import Budget, progress
from gpt.bench.visitor import PageChanged, Sight, Visitor
from gpt.checkpoints.training_folder import own_folder, saved_events
from gpt.costs.machine import threads_text
from gpt.costs.timing import spread
from gpt.data.corpora import load_corpus
from gpt.model.config import adjusted_config
from gpt.model.gpt2 import GPT2
from gpt.training.group import Group
from gpt.training.recipes import RECIPES, TrainConfig
from gpt.training.recording import Recording
from gpt.training.trainer import Trainer

GOAL_FIRST_POINT = 2.0  # seconds
GOAL_RUN = 1.15  # times the command line's
GOAL_GAP = 1.0  # seconds
GOAL_STEPS = 0.8  # of those made alone


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        servers: fresh ones, in each of which all is measured.
        repeats: of each run in one server; only the first has a first point, as it is the server's first.
        sessions: pages open at the same time.
        reading_seconds: between the page's first answer and the press on Train.
        seconds: that all of it may take. Where whole runs do not fit, their beginnings are timed.
        most_seconds: to wait for a page or an answer.
        program: what `--port N` is given to; the demo.
        changes: of what the page's controls hold, by their labels.
    """

    servers: int = 3
    repeats: int = 1
    sessions: int = 30
    reading_seconds: float = 3.0
    seconds: float = math.inf
    most_seconds: float = 600.0
    program: Path = DEMO
    changes: dict[str, Any] = field(default_factory=dict)


FULL = Setting()
QUICK = Setting(servers=1, repeats=2, seconds=34, most_seconds=60)

FEWEST_SECONDS = 1.0  # of each run that are watched, however little time there is
HANDS_OFF = "hands off"  # ends the name of a run that another visitor has started
_OPENING = 6.0  # seconds in which so many pages are open, about


@dataclass
class Measured:
    """What was measured so far, one number for each repeat.

    Attributes:
        first_points: seconds from the press on Train to the first point, in fresh servers.
        runs: seconds of the whole run, from the press to its end.
        command_lines: of the same models by the command line.
        alone, together: steps a second of the run watched by one, and by all sessions.
        gaps: the longest between two changes of any session's chart.
        beginnings: where whole runs did not fit, how many of how many steps were timed, of all models.
        moving: sessions whose chart moved.
    """

    first_points: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)
    command_lines: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    beginnings: list[tuple[int, int]] = field(default_factory=list)
    moving: list[int] = field(default_factory=list)


def rows(setting: Setting) -> Iterator[Row]:
    """The rows `page.first_point`, `page.run`, `page.gap` and `page.steps`."""
    measured, budget = Measured(), Budget(setting.seconds)
    trouble = what_is_missing(setting.program)
    for server in range(0 if trouble else setting.servers):
        progress(f"page: server {server + 1} of {setting.servers}")
        try:
            with served(setting.program, setting.most_seconds) as (_, port):
                _measure(port, setting, server, budget, measured)
        except (OSError, PageChanged) as error:
            trouble = f"Broken off: {error}."
            break
    yield from _rows(measured, setting, f"\n{trouble}" if trouble else "")


def _measure(port: int, setting: Setting, server: int, budget: Budget, measured: Measured) -> None:
    """All that is measured in one server, which has just answered for the first time."""
    ready = time.perf_counter() + setting.reading_seconds
    visitor = Visitor(port, most_seconds=setting.most_seconds)
    time.sleep(max(0.0, ready - time.perf_counter()))  # as a person reads the page before pressing
    window = max(FEWEST_SECONDS, (budget.left - _OPENING) / (3 * setting.repeats) - 1)
    for repeat in range(setting.repeats):
        changes = setting.changes | {"Seed": 1337 + 2 * (server * setting.repeats + repeat)}
        controls = visitor.controls() | changes
        progress("page: the default run")
        pressed = time.perf_counter()
        watched = visitor.press_train(**changes)
        sight = visitor.watch(watched, window)
        if not sight.changes:
            raise PageChanged(f"the run gave no point; the page said: {sight.said}")
        steps = controls["Steps"] * len(sight.chart["series"])
        if sight.ended is None:
            visitor.press_stop(watched)
            measured.beginnings.append((sight.changes[-1][1], steps))
        if repeat == 0:
            measured.first_points.append(sight.changes[0][0] - pressed)
        measured.runs.append(_whole(pressed, sight, steps))
        measured.alone.append(sight.steps_per_second)
        progress("page: the same by the command line")
        measured.command_lines.append(command_line_seconds(controls, sight, window))
    visitors = _open_pages(port, setting)
    for repeat in range(setting.repeats):
        progress(f"page: the default run, with {setting.sessions} sessions")
        changes = setting.changes | {"Seed": 1338 + 2 * (server * setting.repeats + repeat)}
        sights = _watch_together(visitors, changes, window)
        moving = [sight for sight in sights if len(sight.changes) > 1]
        measured.moving.append(len(moving))
        if moving:
            measured.gaps.append(max(sight.longest_gap for sight in moving))
            measured.together.append(statistics.median(sight.steps_per_second for sight in moving))


def _whole(pressed: float, sight: Sight, steps: int) -> float:
    """Seconds of the whole run: from the press to its end, or extrapolated from what was seen of it."""
    if sight.ended is not None:
        return sight.ended - pressed
    first = sight.changes[0][0] - pressed
    return first + steps / sight.steps_per_second if sight.steps_per_second else math.nan


# --- The same by the command line -----------------------------------------------------------------------------------


def command_line_seconds(controls: dict[str, Any], sight: Sight, window: float = math.inf) -> float:
    """Seconds that `python -m gpt train` takes for the models of a run, one after another, with all cores.

    Python's own start is not counted. Where all of them would take longer than `window`, it is extrapolated.

    Raises:
        PageChanged: the page's models did not begin at the same losses, so they are others.
    """
    corpus = load_corpus(controls["Text"])
    size = re.search(r"(\d+) layers, (\d+) wide", controls["Size"])
    if size is None or controls["Recipe"] not in RECIPES:
        raise PageChanged(f"the page trains in a size or recipe unknown here: {controls['Size']}, {controls['Recipe']}")
    layers, width = map(int, size.groups())
    training = replace(
        TrainConfig(**RECIPES[controls["Recipe"]]),
        max_steps=controls["Steps"],
        batch_size=controls["Batch size"],
        eval_interval=max(10, controls["Steps"] // 12),
        seed=controls["Seed"],
        device="cpu",
    )
    total = 0.0
    for curve in sight.chart["series"]:
        config = adjusted_config(
            curve["label"],
            corpus.tokenizer.vocab_size,
            window_size=controls["Window"],
            num_kv_heads=controls["KV heads"],
            num_layers=layers,
            num_heads=width // 32,
            embed_size=width,
            context_length=controls["Context"],
        )
        model = GPT2.from_config(config)
        model.initialize(training.seed)
        recording = Recording(Trainer(model, corpus, training))
        begins_at = float(curve["validation_losses"].split()[0])
        total += _seconds_of_training(recording, begins_at, window / len(sight.chart["series"]))
    return total


def _seconds_of_training(recording: Recording, begins_at: float, window: float) -> float:
    """Seconds of one training with all its saves, the rest extrapolated where it would take longer than the window."""
    trainer, group = recording.trainer, Group()
    with tempfile.TemporaryDirectory() as folder, own_folder(Path(folder) / "out", group):
        started = time.perf_counter()
        first = math.nan  # when the first event came, with an evaluation, a save and a step
        for event in saved_events(Path(folder) / "out", recording):
            now = time.perf_counter() - started
            if math.isnan(first):
                first = now
                if event.validation_loss is None or abs(event.validation_loss - begins_at) > 0.01:
                    raise PageChanged(f"the page's run began at a loss of {begins_at}, ours at {event.validation_loss}")
            elif now > window and trainer.step > 2:
                return first + (now - first) * (trainer.config.max_steps - 1) / (trainer.step - 1)
    return time.perf_counter() - started


# --- Thirty pages ---------------------------------------------------------------------------------------------------


def _open_pages(port: int, setting: Setting) -> list[Visitor]:
    with ThreadPoolExecutor(setting.sessions) as pool:
        numbers = range(1, 1 + setting.sessions)
        return list(pool.map(lambda number: Visitor(port, number, setting.most_seconds), numbers))


def _watch_together(visitors: Sequence[Visitor], changes: dict[str, Any], window: float) -> list[Sight]:
    """All press Train at the same time, with the same settings, and so watch one run; what each saw of it."""
    all_here = threading.Barrier(len(visitors))

    def live(visitor: Visitor) -> tuple[str, Sight]:
        all_here.wait()
        watched = visitor.press_train(**changes)
        return watched, visitor.watch(watched, window)

    with ThreadPoolExecutor(len(visitors)) as pool:
        lives = list(pool.map(live, visitors))
    for visitor, (watched, sight) in zip(visitors, lives, strict=True):
        if sight.ended is None and not watched.endswith(HANDS_OFF):
            visitor.press_stop(watched)
            break
    return [sight for _, sight in lives]


# --- The rows -------------------------------------------------------------------------------------------------------


def _rows(measured: Measured, setting: Setting, trouble: str) -> Iterator[Row]:
    run = "The page's default run" + (f", with {setting.changes}" if setting.changes else "")
    extent = ""
    if measured.beginnings:
        seen, steps = ", ".join(str(seen) for seen, _ in measured.beginnings), measured.beginnings[0][1]
        extent = f" EXTRAPOLATED to all {steps} steps of all models from the first {seen}."
    pressed = f"{setting.reading_seconds:.0f} s after a fresh server's page has answered"
    yield _row(
        "page.first_point",
        f"Seconds from the press of Train, {pressed}, to the first point of a curve. {run}.",
        ours=measured.first_points,
        goal=GOAL_FIRST_POINT,
        trouble=trouble,
    )
    yield _row(
        "page.run",
        f"Seconds from the press of Train to the end. {run}; the peer is `python -m gpt train` for the same models, "
        f"one after another, on {threads_text()}, without the start of Python. The ratio is ours over the peer's; "
        f"lower is better.{extent}",
        ours=measured.runs,
        peer=measured.command_lines,
        goal=GOAL_RUN,
        trouble=trouble,
    )
    moving = f"{min(measured.moving)} of {setting.sessions} saw it move" if measured.moving else "not measured"
    sessions = f"{setting.sessions} pages are open and all press Train at once, with the same settings; {moving}"
    yield _row(
        "page.gap",
        f"The longest time in seconds between two changes of any page's chart. {run}; {sessions}. All are played by "
        f"one process on the same machine.",
        ours=measured.gaps,
        goal=GOAL_GAP,
        trouble=trouble,
    )
    yield _row(
        "page.steps",
        f"Training steps a second, of all models, from the first point on; {sessions}. The peer is the same run with "
        f"one page open.",
        ours=measured.together,
        peer=measured.alone,
        unit="steps/s",
        goal=GOAL_STEPS,
        aim="at least",
        trouble=trouble,
    )


def _row(
    name: str,
    about: str,
    *,
    ours: list[float],
    peer: list[float] | None = None,
    unit: str = "s",
    goal: float,
    aim: str = "at most",
    trouble: str,
) -> Row:
    """A row whose goal is for the ratio of ours over the peer's, or for ours itself where there is no peer."""
    repeats = min(len(ours), len(peer)) if peer is not None else 0
    ratios = in_pairs(ours[:repeats], (peer or [])[:repeats])
    return Row(
        name,
        about + trouble,
        ours=statistics.median(ours) if ours else None,
        peer=statistics.median(peer) if peer else None,
        unit=unit,
        ratio=statistics.median(ratios) if ratios else None,
        spread=spread(ratios if peer is not None else ours),
        goal=goal,
        goal_for="ours" if peer is None else "ratio",
        aim=aim,
    )
