"""Many readers of one model: their tokens are computed side by side, and each gets the text it would get alone.

Reading one token in thirty texts takes little longer than in one, because the weights pass by once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue
from typing import Any

from torch import Tensor

from gpt.generation.core import Text
from gpt.generation.owner import Admit, Chosen, Close, GenerationFailed, HasRead, Leave, Owner, ReaderQueue, Request
from gpt.generation.sampling import Sampling
from gpt.model.config import check_whole_number
from gpt.model.gpt2 import GPT2


class GenerationEngine:
    """Generates for any number of readers, in any threads, by one model.

    All is computed by one thread, which is there as long as there are texts to continue.

    Args:
        model: the model. Use no other thread for training it or calling `train()` meanwhile.
        most_rows: texts that are computed side by side. With more readers than that they take turns of 32 tokens; the
            keys and values of a text that waits are kept.
        limiter: entered for every computation, and left after it: what bounds how many go on at the same time, with
            whatever else enters it. None bounds nothing.

    Raises:
        ValueError, TypeError: `most_rows` is not a whole number of at least 1.
    """

    def __init__(self, model: GPT2, most_rows: int = 32, limiter: AbstractContextManager[Any] | None = None) -> None:
        check_whole_number("most_rows", most_rows)
        self.model = model
        self._most_rows = most_rows
        self._limiter = limiter or nullcontext()
        self._inbox: SimpleQueue[Request] = SimpleQueue()
        self._lock = threading.Lock()  # for the next two, and for what is asked while they say so
        self._owner: Owner | None = None  # while there are texts
        self._is_closed = False

    def stream(
        self,
        input_ids: Tensor,
        *,
        max_new_tokens: int,
        temperature: float = 0.7,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> EngineStream:
        """Continue one text, (1, T) ids: the tokens are those of `stream_tokens` for the same arguments.

        The work begins now, and is done at most about 32 tokens ahead of the reader. (A sum over thirty rows may round
        differently from a sum over one, as everywhere in this field: a token whose chance is within a millionth of
        another's may differ.)

        Raises:
            ValueError, TypeError: at once, before any token, if a value is outside what is allowed.
            GenerationFailed: the engine is closed.
        """
        text = Text(self.model, input_ids, max_new_tokens, Sampling(temperature, top_k, top_p, seed))
        if text.rows != 1:
            raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}; give one text, (1, length), to a stream")
        queue: ReaderQueue = SimpleQueue()
        with self._lock:
            if self._is_closed:
                raise GenerationFailed("this model is no longer generated with; choose it again")
            if self._owner is None or not self._owner.is_alive():  # a process that was forked has no such thread
                owner = Owner(self.model, self._most_rows, self._limiter, self._inbox, self._may_end)
                owner.start()
                self._owner = owner
            self._inbox.put(Admit(text, queue))
        return EngineStream(text, max_new_tokens, queue, self._inbox)

    def close(self) -> None:
        """End all streams, which say so, and refuse new ones."""
        with self._lock:
            self._is_closed = True
            if self._owner is not None:
                self._inbox.put(Close())

    def _may_end(self) -> bool:
        """Whether nothing is asked of the owner, who is then no longer ours."""
        with self._lock:
            if not self._inbox.empty():
                return False
            self._owner = None
            return True


class EngineStream(Iterator[int]):
    """Token ids of one text as they are chosen, for one reader; `GenerationEngine.stream` makes one.

    Closing or dropping it lets its row go to others.

    Attributes:
        tokens_left: how many are still to come.
        cache_bytes: bytes of keys and values that the text held when the newest of its tokens given was chosen; 0 where
            the text is read again for each token.
    """

    def __init__(self, text: Text, max_new_tokens: int, queue: ReaderQueue, inbox: SimpleQueue[Request]) -> None:
        self.tokens_left = max_new_tokens
        self.cache_bytes = 0
        self._text = text  # the owner's: here it is a name, for requests
        self._queue = queue
        self._inbox = inbox
        self._received: list[Chosen] = []  # the next one last
        self._to_receive = max_new_tokens  # 0: nothing more comes, and the owner has forgotten this stream
        self._read = 0

    def __next__(self) -> int:
        """The next token id, as soon as it is there.

        Raises:
            GenerationFailed: no more will come.
        """
        if self.tokens_left == 0:
            raise StopIteration
        if not self._received:
            self._receive()
        token, self.cache_bytes = self._received.pop()
        self.tokens_left -= 1
        self._read += 1
        return token

    def _receive(self) -> None:
        """Wait for more tokens: the owner sends some, or says why not."""
        if self._read:
            self._inbox.put(HasRead(self._text, self._read))
        news = self._queue.get()
        if isinstance(news, GenerationFailed):
            self.tokens_left = self._to_receive = 0
            raise news
        self._received = news[::-1]
        self._to_receive -= len(news)

    def close(self) -> None:
        """Give no more tokens."""
        self.tokens_left = 0
        if self._to_receive:
            self._to_receive = 0
            self._inbox.put(Leave(self._text))

    def __del__(self) -> None:
        """A reader that is gone needs no row. (A `SimpleQueue` may be put to from here, whatever goes on elsewhere.)"""
        self.close()
