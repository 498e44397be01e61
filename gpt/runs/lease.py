"""Who watches a run. One that nobody watches keeps neither a worker nor a place in line from those somebody does."""

from __future__ import annotations

import time

from gpt.runs.limits import Limits

_SECONDS_TO_COME_BACK = 0.3  # a page that presses a button closes its watch, and opens another


class Lease:
    """How long a run may go on unwatched: each sign that somebody is watching renews it.

    The scheduler's lock guards it.

    Attributes:
        last_sign: when somebody was last known to watch, by `time.monotonic`.
        watchers: how many pages show the run.
        was_watched: whether a page has ever shown the run.
        has_ended: whether the run was paused because nobody watched, and goes on as soon as somebody does.
    """

    def __init__(self) -> None:
        self.last_sign = time.monotonic()
        self.watchers = 0
        self.was_watched = False
        self.has_ended = False
        self._left_at: float | None = None  # when the last page was closed, if there was no sign since

    def renew(self) -> None:
        """Somebody is watching now."""
        self.last_sign = time.monotonic()
        self._left_at = None

    def open_page(self) -> None:
        """One more page shows the run."""
        self.renew()
        self.watchers += 1
        self.was_watched = True

    def close_page(self) -> None:
        """One page less does; when it was the last, the lease runs out soon."""
        self.watchers -= 1
        if self.watchers == 0:
            self._left_at = time.monotonic()

    def has_run_out(self, limits: Limits) -> bool:
        """Whether nobody is watching: not for a while, and no page shows the run, or only some that give no sign."""
        now = time.monotonic()
        if self.watchers:
            return now - self.last_sign > limits.lease_seconds
        if self._left_at is not None:
            return now - self._left_at > _SECONDS_TO_COME_BACK
        return now - self.last_sign > min(limits.unwatched_seconds, limits.lease_seconds)

    def is_forlorn(self, limits: Limits) -> bool:
        """Whether nobody has ever watched, in all the time that a page without a sign may have."""
        return not self.was_watched and time.monotonic() - self.last_sign > limits.lease_seconds

    def is_left(self, limits: Limits) -> bool:
        """Whether it has run out and no page shows the run, so that nobody waits for its turn, either."""
        return self.watchers == 0 and self.has_run_out(limits)
