"""The thread that generates for an engine's readers: it alone touches the core and the texts in it.

Readers speak to it through its inbox: here is a text, I have read so many of its tokens, I am leaving. It speaks to
each through a queue of their own: some tokens, or why there will be no more. So nothing is shared that two threads
could find half changed; and a text has left its rows before its last token leaves for its reader.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch

from gpt.generation.core import Core, Text, Way
from gpt.model.gpt2 import GPT2

MOST_AHEAD = 32  # tokens: how far a text gets ahead of its reader
TURN = 32  # tokens: how long a text keeps its row while others wait for one
_RESUMED_AT = 16  # tokens ahead, at most
# Tokens are handed out so often, or so many at a time: waking thirty readers for each would take a sixth of the time.
_BLOCK_SECONDS = 0.04  # as smooth to the eye as a film
_BLOCK_TOKENS = 16
_PROMPTS_SECONDS = 0.05  # for which new texts may hold up the others
_LONGEST_STEP = 10.0  # seconds, to be waited for when Python ends

_STOPPED = "generation with this model has been stopped; choose the model again"


class GenerationFailed(RuntimeError):
    """A stream has ended early; the message is a sentence for whoever reads it."""


class Chosen(NamedTuple):
    """A token on its way to the reader, and the bytes of keys and values held when it was chosen."""

    token: int
    cache_bytes: int


ReaderQueue = SimpleQueue[list[Chosen] | GenerationFailed]


class Admit(NamedTuple):
    """Continue a text, of one row, and put what comes of it in a queue."""

    text: Text
    queue: ReaderQueue


class HasRead(NamedTuple):
    """The reader has taken so many of a text's tokens."""

    text: Text
    tokens: int


class Leave(NamedTuple):
    """Nobody reads a text any more."""

    text: Text


class Close(NamedTuple):
    """Nobody is to read any more."""


Request = Admit | HasRead | Leave | Close


class _Reader:
    """What the owner knows of a text's reader."""

    def __init__(self, queue: ReaderQueue) -> None:
        self.queue = queue
        self.chosen: list[Chosen] = []  # and not handed out yet
        self.count = 0  # of all tokens chosen
        self.read = 0  # of them, by what the reader has said
        self.in_turn = 0  # since the text has its row
        self.is_awaited = False  # the text is suspended until more of it has been read

    @property
    def ahead(self) -> int:
        """How many tokens the text is ahead of its reader."""
        return self.count - self.read

    def hand_out(self) -> None:
        """Send what has been chosen."""
        if self.chosen:
            self.queue.put(self.chosen)
            self.chosen = []


class Owner(threading.Thread):
    """Serves the readers that `inbox` tells of, until there are none.

    Args:
        model: continues their texts.
        most_rows: texts whose keys and values lie side by side.
        limiter: entered for every computation.
        inbox: of requests, by any thread.
        may_end: asked when there are no texts; true is final.
    """

    def __init__(
        self,
        model: GPT2,
        most_rows: int,
        limiter: AbstractContextManager[Any],
        inbox: SimpleQueue[Request],
        may_end: Callable[[], bool],
    ) -> None:
        super().__init__(name="generation", daemon=True)
        self._model = model
        self._most_rows = most_rows
        self._limiter = limiter
        self.inbox = inbox
        self._may_end = may_end
        self._handed_out = 0.0  # when, last, to all
        self._begin_with(Core(model))

    def _begin_with(self, core: Core) -> None:
        self._core = core
        self._readers: dict[Text, _Reader] = {}
        self._line: deque[Text] = deque()  # for a row: new texts, and suspended ones that may go on
        self._seconds: dict[Way, float] = dict.fromkeys((*core.caching, core.rereading), 0.0)  # spent on each

    def run(self) -> None:
        """What the thread does."""
        with torch.inference_mode():
            while self._readers or not self._may_end():
                try:
                    self._listen()
                    self._compute()
                except BaseException as error:  # in a step that they share
                    self._end_all(f"the texts that were computed together failed: {_in_words(error)}")

    # --- What readers ask for ---------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Take in the requests there are.

        Where all texts wait for their readers, wait for a request: each of them will read on, or leave.
        """
        if not self._line and not any(way.texts for way in self._seconds):
            self._hand_out_to_all()
            self._take_in(self.inbox.get())
        while not self.inbox.empty():
            self._take_in(self.inbox.get())

    def _take_in(self, request: Request) -> None:
        match request:
            case Admit(text, queue):
                self._readers[text] = _Reader(queue)
                self._line.append(text)
            case HasRead(text, tokens) if text in self._readers:
                self._note_read(text, tokens)
            case Leave(text) if text in self._readers:
                self._forget(text)
            case Close():
                self._end_all(_STOPPED)

    def _note_read(self, text: Text, tokens: int) -> None:
        reader = self._readers[text]
        reader.read = tokens
        if reader.is_awaited and reader.ahead <= _RESUMED_AT:
            reader.is_awaited = False
            if text.way is self._core.rereading:  # which takes no row
                self._core.admit(text)
            else:
                self._line.append(text)

    # --- Computing --------------------------------------------------------------------------------------------------

    def _compute(self) -> None:
        """Admit texts that wait, while there is room and it does not take long; then make one step."""
        until = time.perf_counter() + _PROMPTS_SECONDS
        while self._line and sum(len(way.texts) for way in self._core.caching) < self._most_rows:
            self._admit(self._line.popleft())
            if time.perf_counter() >= until:
                break
        way = self._next_way()
        if way is not None:
            if way is self._core.rereading:  # which may take long
                self._hand_out_to_all()
            with self._computing_for(way):
                texts = self._core.step(way)
            self._note_chosen(texts)
        self._hand_out()

    def _admit(self, text: Text) -> None:
        reader = self._readers[text]
        reader.in_turn = 0
        is_new = text.way is None
        try:
            with self._limiter:
                self._core.admit(text)
        except Exception as error:  # of this text alone
            self._end(text, _in_words(error))
            return
        if is_new:
            self._note_chosen([text])
            reader.hand_out()  # the first token is waited for

    def _next_way(self) -> Way | None:
        """The way of reading that has had the least time so far, so that the slow ones do not set the pace."""
        busy = [way for way in self._seconds if way.texts]
        if not busy:
            return None
        chosen = min(busy, key=self._seconds.__getitem__)
        for way in self._seconds:
            if not way.texts:  # what it does not use is not owed to it later
                self._seconds[way] = self._seconds[chosen]
        return chosen

    @contextmanager
    def _computing_for(self, way: Way) -> Iterator[None]:
        with self._limiter:
            started = time.perf_counter()
            yield
            self._seconds[way] += time.perf_counter() - started

    # --- What comes of it -------------------------------------------------------------------------------------------

    def _note_chosen(self, texts: Sequence[Text]) -> None:
        """Take note of one token more in each text, or of its end."""
        sound = [text for text in texts if text.error is None]
        tokens = torch.cat([text.newest for text in sound]).tolist() if sound else []
        for text, token in zip(sound, tokens, strict=True):
            reader = self._readers[text]
            reader.chosen.append(Chosen(token, text.cache_bytes))
            reader.count += 1
            reader.in_turn += 1
        wanted = len(self._line)  # rows
        for text in texts:
            reader = self._readers[text]
            if text.error is not None:
                self._end(text, _in_words(text.error))
            elif text.left == 0:
                reader.hand_out()
                self._forget(text)
            elif reader.ahead >= MOST_AHEAD:
                self._core.suspend(text)
                reader.is_awaited = True
            elif wanted > 0 and reader.in_turn >= TURN and text.way is not self._core.rereading:
                self._core.suspend(text)
                self._line.append(text)
                wanted -= 1

    def _hand_out(self) -> None:
        """Send tokens where there are many, and to all now and then."""
        if time.perf_counter() - self._handed_out >= _BLOCK_SECONDS:
            self._hand_out_to_all()
            return
        for reader in self._readers.values():
            if len(reader.chosen) >= _BLOCK_TOKENS:
                reader.hand_out()

    def _hand_out_to_all(self) -> None:
        for reader in self._readers.values():
            reader.hand_out()
        self._handed_out = time.perf_counter()

    def _end(self, text: Text, why: str) -> None:
        """Tell a reader that no more tokens will come."""
        reader = self._readers[text]
        self._forget(text)
        reader.hand_out()
        reader.queue.put(GenerationFailed(why))

    def _end_all(self, why: str) -> None:
        """Tell all readers, and begin afresh: whatever state a step has left behind, nobody comes to see it."""
        for text, reader in self._readers.items():
            text.way = text.past = None
            reader.hand_out()
            reader.queue.put(GenerationFailed(why))
        self._begin_with(Core(self._model))

    def _forget(self, text: Text) -> None:
        del self._readers[text]
        if text in self._line:
            self._line.remove(text)
        self._core.release(text)


@atexit.register
def _end_owners() -> None:
    """Before Python ends: a thread in the middle of a step would bring the process down."""
    owners = [thread for thread in threading.enumerate() if isinstance(thread, Owner)]
    for owner in owners:
        owner.inbox.put(Close())
    for owner in owners:
        owner.join(_LONGEST_STEP)


def _in_words(error: BaseException) -> str:
    """What went wrong: our own errors are sentences, and those of others are called by their name as well."""
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
