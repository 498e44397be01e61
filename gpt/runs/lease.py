"""Who watches a run. A run that nobody watches does not keep a worker from those that somebody does."""

from __future__ import annotations

import time

_SECONDS_TO_COME_BACK = 0.3  # a page that presses a button closes its watch, and opens another


class Lease:
    """How long a run may go on unwatched: each sign that somebody is watching renews it.

    The scheduler's lock guards it.

    Attributes:
        last_watched: when somebody was last known to watch, by `time.monotonic`.
        watchers: how many pages show the run.
        has_ended: whether the run was paused because nobody watched, and goes on as soon as somebody does.
    """

    def __init__(self) -> None:
        self.last_watched = time.monotonic()
        self.watchers = 0
        self.has_ended = False

    def renew(self) -> None:
        """Somebody is watching now."""
        self.last_watched = time.monotonic()

    def open_page(self) -> None:
        """One more page shows the run."""
        self.renew()
        self.watchers += 1

    def close_page(self, seconds: float) -> None:
        """One page less does; when it was the last, the lease of `seconds` runs out soon."""
        self.watchers -= 1
        if self.watchers == 0:
            soon = time.monotonic() - seconds + _SECONDS_TO_COME_BACK
            self.last_watched = min(self.last_watched, soon)

    def has_run_out(self, seconds: float) -> bool:
        """Whether nobody has watched for so long."""
        return time.monotonic() - self.last_watched > seconds
