"""What the Cost tab's controls do: plain functions of their values."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from gpt.runs.limits import LARGEST_TIMED_WINDOW, LONGEST_TIMING_QUEUE, MOST_COMPARED
from gpt.ui.catalogue import Catalogue, ReadyModel, still_there
from gpt.ui.cost.settings import CHOSEN_MODELS, TimingSettings
from gpt.ui.requests import one_sentence, require_choice, require_whole
from gpt.ui.sizes import COUNTED_CONTEXTS, SIZES

# What needs PyTorch is imported where it is used, because the page is made before PyTorch is loaded.
if TYPE_CHECKING:
    from gpt.ui.cost.cache_view import CacheMeasurement
    from gpt.ui.cost.timing_view import AttentionTiming

SECONDS_BETWEEN_UPDATES = 0.25
_SECONDS_TO_STOP = 0.1  # how often a measurement under way looks whether it is to stop


@dataclass(eq=False)
class _Place:
    """A place in the queue of those who measure time; the first in it measures."""

    session: str | None
    timing: AttentionTiming


class CostHandlers:
    """What the tab's buttons do; plain functions of the controls' values, so that tests can call them.

    Times are measured for one visitor after another: two at once would each measure the other.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._queue: list[_Place] = []
        self._alone = threading.Lock()  # a call that nobody waits for any more still ends before the next one begins

    # ---- time ----

    def preview(self, *controls: Any) -> str:
        """What is computed of the time, before it is measured: for `cost_chart`."""
        with one_sentence():
            return self._timing(*controls).preview()

    async def measure_time(
        self, window_size: Any, passes: Any, longest: Any, request: gr.Request | None = None
    ) -> AsyncIterator[str]:
        """Time full attention and a window; yields the chart as it grows.

        Args:
            window_size: W, of the window.
            passes: one of `PASSES`.
            longest: T of the longest text, one of `LONGEST`.
            request: whose press this is; `stop` of the same session ends it.
        """
        with one_sentence():
            timing = self._timing(window_size, passes, longest)
            if len(self._queue) >= LONGEST_TIMING_QUEUE:
                raise ValueError(f"{LONGEST_TIMING_QUEUE} others are waiting to measure; try again in a minute")
        place = _Place(getattr(request, "session_hash", None), timing)
        self._queue.append(place)
        try:
            async for view in self._wait(place):
                yield view
            end_is_shown = False
            while not end_is_shown:
                await self._work(timing)
                end_is_shown = timing.is_over
                yield timing.view()
        finally:
            timing.stop()
            self._queue.remove(place)

    def _timing(self, *controls: Any) -> AttentionTiming:
        from gpt.ui.cost.timing_view import AttentionTiming

        return AttentionTiming(TimingSettings(*controls), self._alone)

    async def _work(self, timing: AttentionTiming) -> None:
        """Measure for a moment, in a thread; when it is stopped, the call under way is not waited for."""
        if timing.is_over:
            return
        work = asyncio.ensure_future(asyncio.to_thread(timing.time_for, SECONDS_BETWEEN_UPDATES))
        while not work.done() and not timing.is_stopped:
            await asyncio.wait({work}, timeout=_SECONDS_TO_STOP)
        if work.done():
            work.result()  # raises what went wrong

    async def _wait(self, place: _Place) -> AsyncIterator[str]:
        """Until the place is the first; yields a chart that says how many are before it."""
        told = None
        while (before := self._queue.index(place)) and not place.timing.is_stopped:
            if before != told:
                told = before
                yield place.timing.view_in_queue(before)
            await asyncio.sleep(_SECONDS_TO_STOP)
        if not place.timing.is_stopped:
            yield place.timing.view_in_queue(0)

    async def stop(self, request: gr.Request | None = None) -> None:
        """End what this visitor measures, or their place in the queue."""
        session = getattr(request, "session_hash", None)
        for place in list(self._queue):
            if place.session == session:
                place.timing.stop()

    # ---- cache ----

    def preview_cache(self, names: Any) -> str:
        """What the cache of each model takes by formula: for `cost_chart`."""
        with one_sentence():
            return self._cache(names).view()

    async def measure_cache(self, names: Any) -> AsyncIterator[str]:
        """Let models write, and measure the keys and values they hold; yields the chart as it grows.

        Args:
            names: of the models, as the catalogue knows them.
        """
        with one_sentence():
            cache = await asyncio.to_thread(self._cache, names)
        while not cache.is_over:
            await asyncio.to_thread(cache.write_for, SECONDS_BETWEEN_UPDATES)
            yield cache.view()

    def _cache(self, names: Any) -> CacheMeasurement:
        from gpt.ui.cost.cache_view import CacheMeasurement

        return CacheMeasurement(self.catalogue.chosen(names))

    # ---- parts ----

    def count_parts(self, of: Any, context_length: Any, window_size: Any, names: Any) -> str:
        """Parameters and arithmetic by part: for `cost_bars`.

        Args:
            of: one of the sizes, for every variant at it, or `CHOSEN_MODELS`.
            context_length: of the variants, one of `COUNTED_CONTEXTS`.
            window_size: of the variants that have a window.
            names: of the chosen models, as the catalogue knows them.
        """
        from gpt.ui.cost.parts_view import parts_view, variants_at

        with one_sentence():
            require_choice("what is counted", of, [*SIZES, CHOSEN_MODELS])
            if of == CHOSEN_MODELS:
                chosen = [(_with_context(ready), ready.model) for ready in self.catalogue.chosen(names)]
                return parts_view(chosen, "Each model for a text that fills its own context.")
            require_choice("the context", context_length, COUNTED_CONTEXTS)
            window = require_whole("window", window_size, 1, LARGEST_TIMED_WINDOW)
            models = variants_at(of, context_length, window)
            about = (
                f"The variants, {of}, a vocabulary of 65 characters, a context of {context_length:,} tokens; the "
                f"window is {window:,}, as above. The output layer shares the token embedding's weights."
            )
            return parts_view(models, about)

    def opened(self, seen: Any, names: Any, of: Any, context_length: Any, *timing: Any) -> tuple[Any, ...]:
        """On opening the tab: the models there are now, and all that can be computed at once.

        Models that were chosen stay chosen, and new ones join them while there is room.

        Returns:
            The list of models; values of the chart of times, that of the cache, and the bars.
        """
        choices = self.catalogue.choices(seen, snapshots=False, also=names)
        there = [name for _, name in self.catalogue.choices(seen, snapshots=False)]
        kept = still_there(choices, names) or [name for name in there if name.startswith("shipped/")]
        new = [name for name in there if name.startswith("run/") and name not in kept]
        chosen = [*kept, *new][:MOST_COMPARED]
        models = gr.Dropdown(choices=choices, value=chosen, multiselect=True)
        return (
            models,
            _or_skip(self.preview, *timing),
            _or_skip(self.preview_cache, chosen),
            _or_skip(self.count_parts, of, context_length, timing[0] if timing else None, chosen),
        )


def _with_context(ready: ReadyModel) -> str:
    return f"{ready.label}, context {ready.model.config.context_length:,}"


def _or_skip(view: Callable[..., str], *arguments: Any) -> Any:
    """What can be shown, else what is shown already: on opening a tab nobody has asked for anything yet."""
    try:
        return view(*arguments)
    except gr.Error:
        return gr.skip()
