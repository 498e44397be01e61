"""What the Train tab's buttons do: plain functions of the controls' values."""

from __future__ import annotations

import html
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import gradio as gr

from gpt.runs.limits import LONGEST_BEGINNING, MOST_IDLE_SECONDS
from gpt.runs.request import NotYourRun, NotYourText, RunRequest
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui import address
from gpt.ui.catalogue import Beginning, Catalogue, still_there
from gpt.ui.door.asking import asking
from gpt.ui.door.files import Files
from gpt.ui.door.visitors import Visitors
from gpt.ui.naming import clean_name
from gpt.ui.requests import one_sentence, require_choice, require_text, require_whole, sentence, with_controls
from gpt.ui.train.form import form_of, names_in_links
from gpt.ui.train.head_history import HeadHistory
from gpt.ui.train.settings import MOST_STEPS, SETTINGS, TrainSettings
from gpt.ui.train.texts import corpus_for
from gpt.ui.train.views import diagnostics_view, run_chart, run_panel_value, run_sentence, shipped_view
from gpt.ui.watches import Watches

# What needs PyTorch is imported where it is used, because the page is made before PyTorch is loaded.

SECONDS_BETWEEN_UPDATES = 0.25
_FULL_PACE = 12  # pages that watch a run at that pace; more of them are told a little less often
_LOWEST_PACE = 0.4  # of it
_FORGOTTEN = "The server has forgotten the run of this link. Where the link says its settings, they are in the form."
_LONGEST_TOLD = 30  # seconds that a page says what became of a run
NEW_WEIGHTS = ("new weights", "")  # as the page shows it, and as `TrainSettings` has it
HANDS_OFF = " hands off"  # ends the name of a run that a page may only watch


class TrainHandlers:
    """What the tab's buttons do; plain functions of the controls' values, so that tests can call them."""

    def __init__(self, runs: Runs, catalogue: Catalogue, visitors: Visitors, files: Files) -> None:
        self.runs = runs
        self.catalogue = catalogue
        self.visitors = visitors
        self.files = files
        self.watches = Watches()
        self._heads = HeadHistory()
        self._presses = itertools.count(1)

    @with_controls(*SETTINGS)
    def train(self, secret: Any, seen: Any, *controls: Any) -> tuple[Any, ...]:
        """Start or join the run that the controls describe.

        Returns:
            The run's key for the page to watch, the runs this visitor has seen, and the secret they are known by.
        """
        visitor = self.visitors.who(secret)
        with one_sentence():
            settings = TrainSettings(*controls)
            beginning = self._beginning(settings)
            corpus, notice = corpus_for(settings, None if beginning is None else beginning.tokenizer)
            before = self.runs.under_way(visitor)
            run = self.runs.submit(
                settings.request(corpus, beginning),
                corpus,
                visitor,
                address=asking().address,
                initial_weights=None if beginning is None else beginning.weights,
            )
        if notice:
            gr.Warning(notice, title="Another text")
        if before is not None and before is not run and before.is_over:
            _tell_of_end(before)
        return *self._show(run, seen), visitor

    def rejoin(self, link: address.Link, secret: Any, seen: Any, names: Any) -> tuple[Any, ...]:
        """On opening a page or a link: watch the run that it names (`?run=...`), or else the visitor's own.

        With `&hands=off` this page may only watch. The form then shows what the run was asked for with, or, where there
        is none, what the link says. Where there is nothing to watch, the chart and the panel go on showing how the
        shipped models learned, or show it again.

        Returns:
            The run to watch, the runs that the visitor has seen, chart, panel, and the controls.
        """
        self.catalogue.names.recall(names)
        asked, said = link.page.get("run", ""), link.of("train")
        named_run = self.runs.find(asked)
        run = named_run or self.runs.under_way(self.visitors.recognise(secret))
        if named_run is not None and link.page.get("name"):
            self.catalogue.names.give(named_run.key, link.page["name"])
        form = {setting: said[name] for setting, name in names_in_links().items() if name in said}
        known = [*(seen if isinstance(seen, list) else []), *([run.key] if run is not None else [])]
        if run is not None and (run is named_run or not form):
            form = form_of(run, self.catalogue, known)
        if form.get("begins_from"):
            form["begins_from"] = self.beginnings(known, form["begins_from"])
        controls = [form.get(name, gr.skip()) for name in SETTINGS]
        if run is None:
            if not asked and not link.is_move:
                return (gr.skip(),) * 4 + tuple(controls)  # the page came with them
            chart, panel = shipped_view(self.catalogue)
            none = "" if link.is_move else gr.skip()
            return none, gr.skip(), chart, panel | ({"sentence": _FORGOTTEN} if asked else {}), *controls
        watched, known = self._show(run, seen, hands_off=link.page.get("hands") == "off")
        return watched, known, gr.skip(), gr.skip(), *controls

    def name_run(self, seen: Any, watched: Any, name: Any) -> tuple[Any, ...]:
        """Call the run on the page so, on this page and in its links.

        Returns:
            The run to watch, again; the runs seen; all names, for the browser to keep; and the name as it was taken.
        """
        with one_sentence():
            run = self._run_in_hand(watched, hands_off=True)
            name = clean_name(name)
        names = self.catalogue.names.give(run.key, name)
        return *self._show(run, seen, hands_off=str(watched).endswith(HANDS_OFF)), names, name

    def name_of(self, watched: Any) -> tuple[str, Any]:
        """What the run on the page is called, and all names, for the browser to keep."""
        key = str(watched).partition(" ")[0]
        name = self.catalogue.names.of(key)
        return name, self.catalogue.names.give(key, name) if name else gr.skip()

    def _show(self, run: Run, seen: Any, *, hands_off: bool = False) -> tuple[Any, ...]:
        keys = [key for key in seen if key != run.key] if isinstance(seen, list) else []
        _tell_of_pause(run)
        self.runs.watched(run)
        # The number makes each press a change, also when the run is the one already watched.
        watched = f"{run.key} {next(self._presses)}{HANDS_OFF if hands_off else ''}"
        return watched, [*keys, run.key][-12:]

    async def watch(self, watched: Any, request: gr.Request | None = None) -> AsyncIterator[tuple[Any, ...]]:
        """Yield a run's chart and panel and the buttons' states as they change, at most four times a second.

        A page's newer watch ends the one before it, so that none has two.
        """
        with self.watches.watch(None if request is None else request.session_hash) as watch:
            await watch.turn()
            if watch.is_superseded:
                return
            run = self.runs.find(str(watched).partition(" ")[0])
            if run is None:
                yield self.nothing_watched()
                return
            hands_off = str(watched).endswith(HANDS_OFF)
            _tell_of_pause(run)
            shown, shown_state = None, ""
            idle = 0.0
            with self.runs.watching(run):
                while idle < MOST_IDLE_SECONDS and not watch.is_superseded:
                    now = (run.version, run.state, run_sentence(run, self.runs) if run.state == "waiting" else "")
                    if now != shown:
                        buttons = _buttons(run.state, hands_off) if now[1] != shown_state else [gr.skip()] * 4
                        yield *self._view(run), *buttons
                        if run.is_over and now == (run.version, run.state, ""):
                            return
                        shown, shown_state, idle = now, now[1], 0.0
                    is_behind_others = run.state == "waiting" and self.runs.place_in_queue(run)[0] > 0
                    pace = 0.5 if is_behind_others else max(_LOWEST_PACE, min(1.0, _FULL_PACE / run.lease.watchers))
                    seconds = SECONDS_BETWEEN_UPDATES / pace
                    idle += seconds
                    await watch.sleep(seconds)

    def still_watching(self, key: Any) -> int | None:
        """A page says that it shows this run; returns how far the run is, by its version, for the page to compare."""
        run = self.runs.find(key) if isinstance(key, str) else None
        if run is None:
            return None
        self.runs.watched(run)
        return run.version

    def _view(self, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
        """The chart and the panel, without what is not for whoever asks."""
        name = self.catalogue.names.of(run.key)
        may_read = run.may_read(self.visitors.here())
        return run_chart(run, name), run_panel_value(run, self.runs, name, may_read=may_read)

    def nothing_watched(self) -> tuple[Any, ...]:
        """The view before anything is trained."""
        return *shipped_view(self.catalogue), *_buttons("", hands_off=False)

    def pause(self, secret: Any, seen: Any, watched: Any, steps: Any) -> tuple[Any, ...]:
        """Hold the run, let it go on, or, when it is done, train a copy for as many steps more as the control says.

        A watcher gets a copy of their own to do so with.
        """
        visitor = self.visitors.who(secret)
        with one_sentence():
            run = self._run_in_hand(watched)
            if run.state == "done":
                more = run.request.training.max_steps + require_whole("steps", steps, 1, MOST_STEPS)
                training = replace(run.request.training, max_steps=more)
                run = self.runs.copy(run, visitor, training=training, address=asking().address)
            else:
                resume = run.state == "paused"
                try:
                    (self.runs.play if resume else self.runs.pause)(run, visitor)
                except NotYourRun:
                    run = self._own_copy(run, visitor, play=resume)
        return *self._show(run, seen), visitor

    def step_once(self, secret: Any, seen: Any, watched: Any) -> tuple[Any, ...]:
        """Train one step and hold; a watcher gets a copy of their own to do so with."""
        visitor = self.visitors.who(secret)
        with one_sentence():
            run = self._run_in_hand(watched)
            try:
                self.runs.step_once(run, visitor)
            except NotYourRun:
                run = self._own_copy(run, visitor, play=False)
        return *self._show(run, seen), visitor

    def stop(self, secret: Any, watched: Any) -> tuple[Any, ...]:
        """End the run; a watcher leaves it.

        Returns:
            The view, at once, whether or not the page's watch still lives, and what the page watches from now on. The
            watch goes on: it shows the end after all else it had to show, and then ends by itself.
        """
        with one_sentence():
            run = self._run_in_hand(watched)
            try:
                self.runs.stop(run, self.visitors.recognise(secret))
            except NotYourRun:
                return *self.nothing_watched(), ""
        return *self._view(run), *_buttons(run.state, hands_off=False), gr.skip()

    def restart(self, secret: Any, seen: Any, watched: Any) -> tuple[Any, ...]:
        """Train the run again from the start, with the same seed."""
        visitor = self.visitors.who(secret)
        with one_sentence():
            run = self.runs.again(self._run_in_hand(watched), visitor, address=asking().address)
        return *self._show(run, seen), visitor

    @with_controls(*SETTINGS)
    def branch(self, secret: Any, seen: Any, watched: Any, *controls: Any) -> tuple[Any, ...]:
        """Go on from the run's present state, in a copy, with the training settings that the controls say now."""
        visitor = self.visitors.who(secret)
        with one_sentence():
            run = self._run_in_hand(watched)
            settings = TrainSettings(*controls)
            wanted = settings.request(run.corpus, self._beginning(settings))
            if _kept_by_branch(wanted) != _kept_by_branch(run.request):
                raise ValueError(
                    "a copy keeps its models, their starting weights and its seed; change only steps, batch size or "
                    "learning rate, or press Train for a new run"
                )
            run = self.runs.copy(run, visitor, training=wanted.training, address=asking().address)
        return *self._show(run, seen), visitor

    def export(self, watched: Any) -> list[str]:
        """Files of the run to take home."""
        from gpt.runs.exports import export_run

        with one_sentence():
            run = self._run_to_take_home(watched)
            return [str(path) for path in export_run(run, self.files.new_folder(), self.catalogue.names.of(run.key))]

    def export_transformers(self, watched: Any) -> list[str]:
        """Zip files of the run's models as transformers opens them; a sentence for each that it has no place for."""
        from gpt.runs.exports import export_for_transformers

        with one_sentence():
            files, refused = export_for_transformers(self._run_to_take_home(watched), self.files.new_folder())
            if not files:
                raise ValueError(
                    refused[0] if refused else "no model has learned anything yet; wait for the next point on the chart"
                )
        for reason in refused:
            gr.Warning(sentence(ValueError(reason)), title="Not for transformers")
        return [str(path) for path in files]

    def _run_to_take_home(self, watched: Any) -> Run:
        run = self._run_in_hand(watched, hands_off=True)
        if not any(member.events for member in run.members):
            raise ValueError("this run has not started to train; wait for its first point on the chart")
        if not run.may_read(self.visitors.here()):
            raise NotYourText
        return run

    def next_characters(self, key: Any, prompt: Any) -> dict[str, Any]:
        """The likeliest next characters after a prompt, for every model of a run (or of those that ship)."""
        from gpt.ui.train.next_characters import next_character_bars

        try:
            prompt = require_text("the prompt", prompt, LONGEST_BEGINNING)
            run = self.runs.find(key) if isinstance(key, str) else None
            if run is None:
                names = {name: f"shipped/{name}" for name in self.catalogue.shipped}
            else:
                labels = [label for label, _ in run.request.models]
                names = {label: f"run/{run.key}/{number}" for number, label in enumerate(labels)}
            bars = [
                next_character_bars(self.catalogue.get(name), prompt) | {"label": label}
                for label, name in names.items()
            ]
            return {"models": bars}
        except ValueError as error:
            return {"error": sentence(error)}

    def diagnostics(self, key: Any, told: Any) -> dict[str, Any]:
        """What the diagnostics draw of a run beyond the step that a page knows of; {"run": ""} if it is not there.

        Also how many seconds the page is to rest before it asks again, and the scores that `head_scores` knows.
        """
        from gpt.interpret import MEASURES

        run = self.runs.find(key) if isinstance(key, str) else None
        if run is None:
            return {"run": ""}
        since = told if isinstance(told, int) and not isinstance(told, bool) else -1
        scores = [{"key": score, "name": measure.name} for score, measure in MEASURES.items()]
        rest = max(1.0, run.lease.watchers / _FULL_PACE)
        return diagnostics_view(run, since) | {"scores": scores, "rest": rest}

    def head_scores(self, key: Any, number: Any, score: Any) -> dict[str, Any]:
        """One score of every head of a model of a run, at each step of which its weights are kept."""
        from gpt.interpret import MEASURES

        try:
            run = self.runs.find(key) if isinstance(key, str) else None
            if run is None:
                raise ValueError("this run is no longer here; train it again")
            number = require_whole("the model", number, 0, len(run.members) - 1)
            require_choice("the score", score, list(MEASURES))
            if not run.may_read(self.visitors.here()):
                raise NotYourText
            return self._heads.value(run, number, score)
        except ValueError as error:
            return {"error": sentence(error)}

    def beginnings(self, seen: Any, chosen: Any) -> Any:
        """The models there are now to begin from; the one chosen stays chosen if it is still there."""
        choices = [NEW_WEIGHTS, *self.catalogue.beginnings(seen, self.runs.limits.most_parameters)]
        kept = still_there(choices, chosen)
        return gr.update(choices=choices, value=kept[0] if kept else NEW_WEIGHTS[1])

    def _beginning(self, settings: TrainSettings) -> Beginning | None:
        return self.catalogue.beginning(settings.begins_from) if settings.begins_from else None

    def _run_in_hand(self, watched: Any, *, hands_off: bool = False) -> Run:
        run = self.runs.find(str(watched).partition(" ")[0])
        if run is None:
            raise ValueError("there is no run here yet; press Train to start one")
        if str(watched).endswith(HANDS_OFF) and not hands_off:
            raise ValueError("this link is for watching only; open the page without it to train models of your own")
        return run

    def _own_copy(self, run: Run, visitor: str, *, play: bool) -> Run:
        copied = self.runs.copy(run, visitor, play=play, address=asking().address)
        gr.Info("Someone else started that run, so this is your own copy of it.", title="Your copy")
        return copied


def _tell_of_end(run: Run) -> None:
    """Say what became of a visitor's run when they started another, and how to come back to it."""
    labels = ", ".join(dict.fromkeys(member.label for member in run.members))
    gr.Info(
        f"Each visitor trains one run at a time, so yours of {html.escape(labels)} was stopped at step {run.step:,} of "
        f"{run.request.training.max_steps:,}. Its curves and models are kept: "
        f'<a href="?tab=train&amp;run={run.key}">back to it</a>, or press Back.',
        title="Your run before",
        duration=_LONGEST_TOLD,
    )


def _tell_of_pause(run: Run) -> None:
    """Say that a run waited for somebody to come back, to whom it goes on; before `Runs.watched`, as that lets it."""
    if run.lease.has_ended and run.state == "paused":
        gr.Info(
            f"This run was paused at step {run.step:,}, because nobody was watching. It goes on now.",
            title="Welcome back",
            duration=_LONGEST_TOLD,
        )


def _kept_by_branch(request: RunRequest) -> tuple[Any, ...]:
    """What a run and its branches have in common; the weights of a model that still learns may be others by now."""
    origin = request.origin
    return request.models, request.seeds, request.training.seed, None if origin is None else origin["name"]


def _buttons(state: str, hands_off: bool) -> list[Any]:
    """What becomes of Train, Pause, Step and Stop for a run in this state; "" is none.

    As plain updates, because making a component takes longer than all else that a chart's update takes.
    """
    goes_on, is_under_way = state in ("paused", "done"), state in ("waiting", "running", "paused")
    return [
        gr.update(interactive=not hands_off),
        gr.update(value="Go on" if goes_on else "Pause", interactive=not hands_off and (goes_on or is_under_way)),
        gr.update(interactive=not hands_off and is_under_way),
        gr.update(interactive=not hands_off and is_under_way),
    ]
