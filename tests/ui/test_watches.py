"""One watch a page, and what it shows comes in order."""

from __future__ import annotations

import asyncio

from gpt.ui.watches import Watches

PAGE, OTHER = "one page", "another page"


class Stream:
    """A watch that notes what it does, as a page's stream would."""

    def __init__(self, watches: Watches, name: str, page: str | None, notes: list[str]) -> None:
        self.name, self.notes = name, notes
        self._watch = watches.watch(page)

    async def run(self) -> None:
        with self._watch as watch:
            await watch.turn()
            if not watch.is_superseded:
                self.notes.append(f"{self.name} begins")
            while not watch.is_superseded:
                await watch.sleep(60)
            self.notes.append(f"{self.name} ends")


async def begin(stream: Stream) -> asyncio.Task[None]:
    """Start a stream, and let it and those it ends go as far as they can."""
    task = asyncio.ensure_future(stream.run())
    for _ in range(20):
        await asyncio.sleep(0)
    return task


def test_a_newer_watch_begins_when_the_one_before_it_has_ended() -> None:
    async def three() -> tuple[list[str], int]:
        watches, notes = Watches(), []
        tasks = [await begin(Stream(watches, name, PAGE, notes)) for name in ("first", "second", "third")]
        count = watches.count(PAGE)
        tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert watches.count(PAGE) == 0
        return notes, count

    notes, count = asyncio.run(three())
    assert notes == ["first begins", "first ends", "second begins", "second ends", "third begins"]
    assert count == 1


def test_a_watch_that_is_cancelled_while_it_waits_lets_the_next_one_wait_for_the_first() -> None:
    async def three() -> list[str]:
        watches, notes = Watches(), []
        first = watches.watch(PAGE)
        first.__enter__()  # shows something, and has not been told yet
        second = await begin(Stream(watches, "second", PAGE, notes))
        second.cancel()
        third = await begin(Stream(watches, "third", PAGE, notes))
        assert notes == []
        first.__exit__(None, None, None)
        for _ in range(20):
            await asyncio.sleep(0)
        third.cancel()
        await asyncio.gather(second, third, return_exceptions=True)
        return notes

    assert asyncio.run(three()) == ["third begins"]


def test_pages_and_programs_do_not_end_each_others_watches() -> None:
    async def four() -> list[str]:
        watches, notes = Watches(), []
        pages = {"page": PAGE, "other": OTHER, "program": None, "second program": None}
        tasks = [await begin(Stream(watches, name, page, notes)) for name, page in pages.items()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return notes

    assert asyncio.run(four()) == ["page begins", "other begins", "program begins", "second program begins"]
