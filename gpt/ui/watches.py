"""One watch a page: what a page shows of its run comes from one stream at a time.

Gradio sends what a stream yields a moment after it was computed. Where another event shows something meanwhile and the
stream is then cut off, or another is begun, the older view comes last, and stays on the page. So a watch is never
cut off: a newer one asks it to end, and waits until all it yielded has been sent.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LONGEST_TURN = 5.0  # seconds that a new watch waits for an earlier one, which ends at once unless Gradio forgot it


class Watch:
    """One stream that shows a run to a page."""

    def __init__(self, earlier: list[Watch]) -> None:
        self._earlier = earlier
        self._asked_to_end = asyncio.Event()
        self._is_over = asyncio.Event()

    @property
    def is_superseded(self) -> bool:
        """Whether the page has a newer watch; this one then yields nothing more."""
        return self._asked_to_end.is_set()

    async def turn(self) -> None:
        """Ask the page's earlier watches to end, and wait until all they yielded has been sent."""
        for watch in self._earlier:
            watch._asked_to_end.set()
        if self._earlier:
            ends = [asyncio.ensure_future(watch._is_over.wait()) for watch in self._earlier]
            try:
                await asyncio.wait(ends, timeout=_LONGEST_TURN)
            finally:
                for end in ends:
                    end.cancel()
        self._earlier = []

    async def sleep(self, seconds: float) -> None:
        """Sleep, or wake up early because there is a newer watch."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._asked_to_end.wait(), seconds)


class Watches:
    """The watches of all pages; only the event loop touches them."""

    def __init__(self) -> None:
        self._of_page: defaultdict[str, list[Watch]] = defaultdict(list)

    @contextmanager
    def watch(self, page: str | None) -> Iterator[Watch]:
        """A watch for as long as this block lasts; the block begins with `await watch.turn()`.

        Args:
            page: the page's session; None for a caller that is no page, whose watch ends no other.
        """
        watches = [] if page is None else self._of_page[page]
        watch = Watch(list(watches))
        watches.append(watch)
        try:
            yield watch
        finally:
            watch._is_over.set()
            watches.remove(watch)
            if page is not None and not watches:
                self._of_page.pop(page, None)

    def count(self, page: str) -> int:
        """How many watches a page has: one, or for a moment an old one and the new one that waits for its end."""
        return len(self._of_page.get(page, ()))
