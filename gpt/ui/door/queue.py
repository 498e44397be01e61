"""Whose call is answered next: turns go round by visitor, each has a few at a time, and the line is finite.

Gradio's queue serves calls as they arrive, as many of one page as it sends, and forgets none that nobody hears.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from gradio import queueing
from gradio.server_messages import ProcessCompletedMessage
from gradio.utils import cancel_tasks, run_coro_in_background
from starlette.exceptions import HTTPException

from gpt.runs.limits import MOST_BYTES_OF_CALLS, MOST_CALLS, Limits
from gpt.ui.door.asking import address_of, answering
from gpt.ui.door.pages import Pages
from gpt.ui.door.refusals import Refusal
from gpt.ui.door.sessions import release_memory

_log = logging.getLogger(__name__)
_SECONDS_UNHEARD = 8.0  # until a page that does not listen to its answers gets no more
_SHARE_OF_ADDRESS = 0.75  # of the places for one function, so that one address never has them all
_MOST_UNHEARD = 4  # calls of pages that do not listen yet, answered at the same time by one kind of function
_CALL = "call-"  # how the pages of such calls are named
_MOST_REMEMBERED = 2000  # pages and addresses whose last turn is known


class Mailbox(asyncio.Queue[Any]):
    """The answers for one page.

    Attributes:
        used_at: when an answer last came or was read.
        unread_since: when the oldest answer came, or the last one was read, if some are left; else None.
    """

    used_at = 0.0
    unread_since: float | None = None

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.used_at = time.monotonic()
        if self.unread_since is None:
            self.unread_since = self.used_at

    def _get(self) -> Any:
        item = super()._get()
        self.used_at = time.monotonic()
        self.unread_since = self.used_at if self.qsize() else None
        return item


class FairQueue(queueing.Queue):
    """Gradio's queue, in which one visitor's calls do not keep those of the others waiting.

    Args:
        pages: the pages that are open.
        limits: how many calls each may have.
        forget: told of each page that is gone.
        tidy: called every second; tells whether it has let go of something.
        options: go to Gradio's queue.
    """

    def __init__(
        self, pages: Pages, limits: Limits, forget: Callable[[str], None], tidy: Callable[[], bool], **options: Any
    ) -> None:
        super().__init__(**options)
        self.limits = limits
        self._pages = pages
        self._forget = forget
        self._tidy = tidy
        self._turns = 0
        self._last_turn: OrderedDict[str, int] = OrderedDict()  # of pages and of addresses

    # --- A call arrives ---------------------------------------------------------------------------------------------

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Take a call in, or refuse it in a sentence."""
        address = address_of(request.client)
        try:
            if body.session_hash is None:  # a program's, that has no page: a page of its own for one answer
                body.session_hash = f"{_CALL}{uuid.uuid4().hex}"
            else:
                self._pages.arrive(body.session_hash, address)
            self._check_room(body.session_hash, address, _size_of(request))
            if body.fn_index not in self.blocks.fns:
                raise Refusal(404, "The page has no such function; reload it.")
        except Refusal as refusal:
            raise HTTPException(refusal.status, refusal.sentence) from None
        if body.session_hash not in self.pending_messages_per_session:
            self.pending_messages_per_session[body.session_hash] = Mailbox()
        return await super().push(body, request, username)

    def _check_room(self, page: str, address: str, size: int) -> None:
        calls = [*self._waiting(), *self._running()]
        of_page = [call for call in calls if call.session_hash == page]
        of_address = [call for call in calls if _address_of(call) == address]
        if len(of_page) >= self.limits.calls_of_page:
            raise Refusal(429, f"This page has {len(of_page)} unanswered calls; wait until one is answered.")
        is_new = not of_page and self._pages.listens(page)  # one that waits for nothing is let in while there is room
        if len(calls) >= MOST_CALLS or (len(of_address) >= self.limits.calls_of_address and not is_new):
            raise Refusal(429, f"{len(calls)} calls are already waiting for the lab; try again in a moment.")
        for some, most in ((of_address, _SHARE_OF_ADDRESS * MOST_BYTES_OF_CALLS), (calls, MOST_BYTES_OF_CALLS)):
            if size + sum(_size_of(call.request) for call in some) > most:
                raise Refusal(503, "The lab has received too much to answer at once; try again in a moment.")

    def _waiting(self) -> list[queueing.Event]:
        return [call for line in self.event_queue_per_concurrency_id.values() for call in line.queue]

    def _running(self) -> list[queueing.Event]:
        return [call for job in self.active_jobs if job for call in job]

    # --- Its turn comes ---------------------------------------------------------------------------------------------

    def get_events(self) -> tuple[list[queueing.Event], bool, str] | None:
        """The next call: of the address, and of its page, whose last turn was longest ago; of those that listen."""
        lines = [line for line in self.event_queue_per_concurrency_id.values() if line.queue]
        random.shuffle(lines)  # as Gradio does: no function's line comes before another's
        for line in lines:
            if line.concurrency_limit is not None and line.current_concurrency >= line.concurrency_limit:
                continue
            call = self._next_in(line)
            if call is not None:
                line.queue.remove(call)
                self._note_turn(call)
                return [call], False, line.concurrency_id
        return None

    def _next_in(self, line: queueing.EventQueue) -> queueing.Event | None:
        running = [call for call in self._running() if call.concurrency_id == line.concurrency_id]
        of_page = Counter(call.session_hash for call in running)
        of_address = Counter(_address_of(call) for call in running)
        places = math.ceil(_SHARE_OF_ADDRESS * (line.concurrency_limit or len(self.active_jobs)))
        unheard = sum(not self._pages.listens(call.session_hash) for call in running)
        may_run = [
            call
            for call in line.queue
            if of_page[call.session_hash] < self.limits.running_of_page
            and of_address[_address_of(call)] < places
            and (unheard < _MOST_UNHEARD or self._pages.listens(call.session_hash))
        ]
        return min(may_run, key=self._urgency, default=None)

    def _urgency(self, call: queueing.Event) -> tuple[bool, int, int]:
        """The smaller, the sooner: pages that listen come first, as no name that is made up for a call does."""
        last = self._last_turn.get
        return not self._pages.listens(call.session_hash), last(_address_of(call), 0), last(call.session_hash, 0)

    def _note_turn(self, call: queueing.Event) -> None:
        self._turns += 1
        for name in (_address_of(call), call.session_hash):
            self._last_turn[name] = self._turns
            self._last_turn.move_to_end(name)
        while len(self._last_turn) > _MOST_REMEMBERED:
            self._last_turn.popitem(last=False)

    async def process_events(self, events: Any, batch: bool, begin_time: float, fn: Any) -> None:
        """Answer a call; whatever answers it knows who asks."""
        with answering(events[0].session_hash, _address_of(events[0])):
            await super().process_events(events, batch, begin_time, fn)

    # --- Nobody listens any more ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to answer, and to look after pages that have left."""
        super().start()
        run_coro_in_background(self._look_after_pages)

    async def _look_after_pages(self) -> None:
        while not self.stopped:
            await asyncio.sleep(1.0)
            try:
                await self.end_the_unheard()
                has_forgotten = self.forget_the_gone()
                if await asyncio.to_thread(self._tidy) or has_forgotten:
                    await asyncio.to_thread(release_memory)
            except Exception:  # a fault of ours must not end the looking
                _log.exception("pages that have left were not looked after")

    async def end_the_unheard(self) -> None:
        """End the calls of pages that do not read their answers."""
        for page, mailbox in list(self.pending_messages_per_session.items()):
            since = getattr(mailbox, "unread_since", None)
            if since is None or time.monotonic() - since < _SECONDS_UNHEARD:
                continue
            mailbox.unread_since = time.monotonic()
            calls = [call for call in (*self._running(), *self._waiting()) if call.session_hash == page]
            await self.clean_events(session_hash=page)
            run_coro_in_background(cancel_tasks, {f"{page}_{call.fn._id}" for call in calls})
            for call in calls:  # so that a page that listens again knows
                mailbox.put_nowait(ProcessCompletedMessage(event_id=call._id, output={"data": []}, success=True))

    def forget_the_gone(self) -> bool:
        """Let go of all that Gradio keeps of pages that have left, which else it does after an hour, or never.

        Returns:
            Whether there were any.
        """
        busy = {call.session_hash for call in (*self._running(), *self._waiting())}
        gone = self._pages.gone(busy)
        for page, mailbox in list(self.pending_messages_per_session.items()):
            is_a_call = page.startswith(_CALL) and page not in busy
            if is_a_call and time.monotonic() - getattr(mailbox, "used_at", 0.0) > 2 * _SECONDS_UNHEARD:
                gone.append(page)
        holder, blocks = self.blocks.state_holder, self.blocks
        for page in gone:
            self.pending_messages_per_session.pop(page, None)
            self.pending_event_ids_session.pop(page, None)
            holder.session_data.pop(page, None)
            holder.time_last_used.pop(page, None)
            blocks.pending_streams.pop(page, None)
            blocks.pending_diff_streams.pop(page, None)
            self._forget(page)
        return bool(gone)


def _address_of(call: queueing.Event) -> str:
    return address_of(call.request.client)


def _size_of(request: Any) -> int:
    """Bytes of the request that a call came with; its values are kept until it is answered."""
    size = request.headers.get("content-length", "0")
    return int(size) if size.isdecimal() and len(size) < 12 else 0
