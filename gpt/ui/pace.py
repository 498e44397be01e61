"""How often pages are sent something new: a few as often as is pleasant, thirty as often as there is time for.

Every update costs the server a millisecond or two of Python, which trainers wait for too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_MOST_UPDATES_PER_SECOND = 60.0  # of all streams together
_LONGEST_SECONDS = 0.8  # so that what is under way is seen to move


class Pace:
    """Counts the streams that are sent to pages."""

    def __init__(self) -> None:
        self._streams = 0

    @contextmanager
    def stream(self) -> Iterator[None]:
        """One more stream, as long as this block lasts; on the event loop."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    def seconds(self, shortest: float) -> float:
        """Seconds from one update of a stream to the next: `shortest`, or more where there are many streams."""
        return max(shortest, min(_LONGEST_SECONDS, self._streams / _MOST_UPDATES_PER_SECOND))


PACE = Pace()  # of this server
