"""Many readers of one model: their tokens are computed side by side, and each gets the text it would get alone.

There is no thread in the background. A reader whose next token is not there yet leads: it computes one token for every
text under way, its own among them, and hands them out. Whoever needs one meanwhile waits for it; whoever comes later
finds it. Reading one token in thirty texts takes little longer than in one, because the weights pass by once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from gpt.generation.decoder import Decoder, can_decode, read_prompt, rolls_forever
from gpt.generation.sampling import check_sampling, choose_in_each, sampling_generator
from gpt.generation.slots import Past
from gpt.generation.stream import check_ids
from gpt.model.config import check_whole_number
from gpt.model.gpt2 import GPT2, evaluation_mode

TURN = 32  # tokens: how far a text gets ahead of its reader, and how long it keeps its row while others wait for one
_MOST_LOGITS = 2**26  # numbers: a quarter of a gigabyte in float32


class Batcher:
    """Generates for any number of readers, in any threads, by one model.

    Args:
        model: the model. Use no other thread for training it or calling `train()` meanwhile.
        most_rows: texts that are computed side by side. With more readers than that they take turns of 32 tokens; the
            keys and values of a text that waits are kept, as `stream_tokens` keeps them.
        limiter: entered for every computation, and left after it: what bounds how many go on at the same time, with
            whatever else enters it. None bounds nothing.

    Raises:
        ValueError, TypeError: `most_rows` is not a whole number of at least 1.
    """

    def __init__(self, model: GPT2, most_rows: int = 32, limiter: AbstractContextManager[Any] | None = None) -> None:
        check_whole_number("most_rows", most_rows)
        self.model = model
        self._limiter = limiter or nullcontext()
        self._calling = threading.Lock()  # whoever calls the model itself: it is in evaluation mode meanwhile
        self._decoding = _Circle(_Decoding(model), most_rows, self._limiter)
        # Apart, because it is many times slower.
        self._rereading = _Circle(_Rereading(model, self._calling), most_rows, self._limiter)

    def stream(
        self,
        input_ids: Tensor,
        *,
        max_new_tokens: int,
        temperature: float = 0.7,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> BatchedStream:
        """Continue one text, (1, T) ids: the tokens are those of `stream_tokens` for the same arguments.

        (A sum over thirty rows may round differently from a sum over one, as everywhere in this field: a token whose
        chance is within a millionth of another's may differ.)

        Raises:
            ValueError, TypeError: at once, before any token, if a value is outside what is allowed.
        """
        check_sampling(max_new_tokens, temperature, top_k, top_p)
        check_ids(input_ids, self.model.config.vocab_size)
        if len(input_ids) != 1:
            raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}; give one text, (1, length), to a stream")
        ids = deque(input_ids[0].tolist(), maxlen=self.model.config.context_length)
        text = _Text(ids, max_new_tokens, (temperature, top_k, top_p), sampling_generator(seed))
        return BatchedStream(self, text)

    def _advance(self, text: _Text) -> None:
        """Bring a text at least one token on, or give it an error."""
        if text.past_is_over:
            text.past, text.circle, text.past_is_over = None, self._rereading, False
        if text.circle is not None:
            text.circle.advance(text)
        elif can_decode(self.model):
            self._begin(text)
        else:
            text.circle = self._rereading

    def _begin(self, text: _Text) -> None:
        """Read the prompt and choose the first token, in the reader's own thread: a long one holds up nobody else."""
        config = self.model.config
        with self._limiter, self._calling, evaluation_mode(self.model):
            text.past, logits = read_prompt(self.model, torch.tensor([list(text.ids)], device=self.model.device))
        with torch.inference_mode():
            (token,) = choose_in_each(logits, *text.sampling, [text.generator]).tolist()
        text.circle = self._decoding
        text.past_is_over = text.past.length >= config.context_length and not rolls_forever(config)
        text.take(token, text.past.held.nbytes)
        if text.left > 0 and not text.past_is_over:
            text.circle.join(text)


class BatchedStream(Iterator[int]):
    """Token ids of one text as they are chosen; `Batcher.stream` makes one.

    Closing or dropping it lets its row go to others.

    Attributes:
        tokens_left: how many are still to come.
        cache_bytes: bytes of keys and values that the text held when the newest of its tokens given was chosen; 0 where
            the text is read anew for each token.
    """

    def __init__(self, batcher: Batcher, text: _Text) -> None:
        self.tokens_left = text.left
        self.cache_bytes = 0
        self._batcher = batcher
        self._text = text

    def __next__(self) -> int:
        """The next token id, computed now if nobody has done so already."""
        if self.tokens_left == 0:
            raise StopIteration
        text = self._text
        while not text.chosen:
            if text.error is not None:
                self.close()
                raise text.error
            self._batcher._advance(text)
        token, self.cache_bytes = text.chosen.popleft()
        self.tokens_left -= 1
        return token

    def close(self) -> None:
        """Give no more tokens."""
        self.tokens_left = 0
        self._text.is_closed = True
        if self._text.circle is not None:
            self._text.circle.sweep()

    def __del__(self) -> None:
        """A reader that is gone needs no row."""
        self.close()


class _Text:
    """What is known of one text between two of its tokens."""

    def __init__(
        self,
        ids: deque[int],
        left: int,
        sampling: tuple[float, int | None, float | None],
        generator: torch.Generator,
    ) -> None:
        self.ids = ids  # the last `context_length` ones; the newest is not read yet
        self.left = left  # tokens to choose
        self.sampling = sampling  # temperature, top_k, top_p
        self.generator = generator
        self.chosen: deque[tuple[int, int]] = deque()  # tokens its reader has not taken yet, and the bytes of its cache
        self.circle: _Circle | None = None
        self.past: Past | None = None  # while it has no row
        self.past_is_over = False  # its context is full: from now on it has to be read anew
        self.in_turn = 0  # tokens since it has its row
        self.is_closed = False
        self.error: Exception | None = None

    @property
    def is_served(self) -> bool:
        """Whether its reader need not wait."""
        return len(self.chosen) > 0 or self.error is not None

    def take(self, token: int, cache_bytes: int) -> None:
        """Append a token that was chosen."""
        self.ids.append(token)
        self.left -= 1
        self.in_turn += 1
        self.chosen.append((token, cache_bytes))


class _Rows(Protocol):
    """A way of reading several texts at once, each in a row."""

    def add(self, text: _Text) -> None:
        """Give a text the next row."""

    def remove(self, row: int, text: _Text) -> None:
        """Let a row go, which the last takes over; the text keeps what it needs to come back."""

    def read(self, texts: Sequence[_Text]) -> Tensor:
        """Read each text's newest token: (rows, vocab_size)."""

    def settle(self, row: int, text: _Text) -> int:
        """After reading: the bytes of its cache; a text whose past is over is marked."""


class _Circle:
    """Texts that are read together, by whichever reader needs a token first."""

    def __init__(self, rows: _Rows, most_rows: int, limiter: AbstractContextManager[Any]) -> None:
        self._rows = rows
        self._limiter = limiter
        self._most_rows = most_rows
        self._texts: list[_Text] = []  # by row
        self._line: deque[_Text] = deque()
        self._present: set[_Text] = set()  # in a row or in line
        self._changed = threading.Condition(threading.Lock())
        self._is_led = False  # by one thread, which alone touches rows and texts

    def join(self, text: _Text) -> None:
        """Put a text in line for a row, unless it is there already."""
        with self._changed:
            if text not in self._present:
                self._present.add(text)
                self._line.append(text)

    def advance(self, text: _Text) -> None:
        """Return when the text has a token or an error, or when its reader has led once."""
        self.join(text)
        with self._changed:
            while self._is_led and not text.is_served:
                self._changed.wait()
            if text.is_served:
                return
            self._is_led = True
        try:
            with self._limiter, torch.inference_mode():
                self._lead()
        finally:
            with self._changed:
                self._is_led = False
                self._changed.notify_all()

    def sweep(self) -> None:
        """Let the rows of closed streams go, unless someone is leading, who will do so.

        Never waits: the garbage collector calls this, in any thread and at any moment.
        """
        if self._changed.acquire(blocking=False):
            try:
                if not self._is_led:
                    with torch.inference_mode():
                        self._let_go()
            finally:
                self._changed.release()

    def _lead(self) -> None:
        """One token for every text that has a row."""
        self._let_go()
        while self._line and len(self._texts) < self._most_rows:
            self._admit(self._line.popleft())
        try:
            if self._texts:
                self._read()
        except BaseException as error:
            for text in self._texts:
                text.error = RuntimeError(f"the texts that were computed together failed: {error!r}")
            raise
        finally:
            self._let_go()

    def _admit(self, text: _Text) -> None:
        try:
            if text.is_closed:
                raise RuntimeError("the stream is closed")
            self._rows.add(text)
        except Exception as error:  # of this text alone
            text.error = error
            self._present.discard(text)
        else:
            text.in_turn = 0
            self._texts.append(text)

    def _read(self) -> None:
        logits = self._rows.read(self._texts)  # (rows, vocab_size)
        are_numbers = logits.sum(dim=-1).isfinite().tolist()
        by_sampling: dict[tuple[float, int | None, float | None], list[int]] = {}
        for row, (text, is_number) in enumerate(zip(self._texts, are_numbers, strict=True)):
            if is_number:
                by_sampling.setdefault(text.sampling, []).append(row)
            else:
                text.error = ValueError("the model's logits are not numbers: its training has diverged")
        for sampling, rows in by_sampling.items():
            generators = [self._texts[row].generator for row in rows]
            of_rows = logits if len(rows) == len(logits) else logits[rows]
            tokens = choose_in_each(of_rows, *sampling, generators).tolist()
            for row, token in zip(rows, tokens, strict=True):
                text = self._texts[row]
                text.take(token, self._rows.settle(row, text))

    def _let_go(self) -> None:
        """Free the rows of texts that are done, and of those that can wait where that helps someone."""
        for row in reversed(range(len(self._texts))):
            text = self._texts[row]
            is_done = text.left == 0 or text.is_closed or text.error is not None or text.past_is_over
            is_ahead = len(text.chosen) >= TURN
            has_had_its_turn = text.in_turn >= TURN and len(self._line) > 0
            if is_done or is_ahead or has_had_its_turn:
                self._rows.remove(row, text)
                self._texts[row] = self._texts[-1]
                self._texts.pop()
                self._present.discard(text)


class _Decoding:
    """Rows of a `Decoder`."""

    def __init__(self, model: GPT2) -> None:
        self._model = model
        self._decoder: Decoder | None = None  # from the first row on until the last

    def add(self, text: _Text) -> None:
        assert text.past is not None
        self._decoder = self._decoder or Decoder(self._model)
        self._decoder.slots.add(text.past)
        text.past = None

    def remove(self, row: int, text: _Text) -> None:
        assert self._decoder is not None
        slots = self._decoder.slots
        is_coming_back = text.left > 0 and not (text.is_closed or text.past_is_over or text.error)
        text.past = slots.past(row) if is_coming_back else None
        slots.remove(row)
        if not slots.lengths:
            self._decoder = None

    def read(self, texts: Sequence[_Text]) -> Tensor:
        assert self._decoder is not None
        return self._decoder.read(torch.tensor([text.ids[-1] for text in texts], device=self._model.device))

    def settle(self, row: int, text: _Text) -> int:
        assert self._decoder is not None
        text.past_is_over = self._decoder.is_at_its_end(row)
        return self._decoder.slots.row_bytes(row)


class _Rereading:
    """Texts that are read anew, from the first token that counts, for each token."""

    def __init__(self, model: GPT2, calling: threading.Lock) -> None:
        self._model = model
        self._calling = calling

    def add(self, text: _Text) -> None:
        pass

    def remove(self, row: int, text: _Text) -> None:
        pass

    def read(self, texts: Sequence[_Text]) -> Tensor:
        by_length: dict[int, list[int]] = {}
        for row, text in enumerate(texts):
            by_length.setdefault(len(text.ids), []).append(row)
        read: dict[int, Tensor] = {}
        for length, rows in by_length.items():
            at_once = max(1, _MOST_LOGITS // (length * self._model.config.vocab_size))
            for first in range(0, len(rows), at_once):
                some = rows[first : first + at_once]
                read.update(zip(some, self._logits([texts[row] for row in some]), strict=True))
        return torch.stack([read[row] for row in range(len(texts))])

    def _logits(self, texts: Sequence[_Text]) -> Tensor:
        """After the last tokens of texts of one length: (texts, vocab_size)."""
        ids = torch.tensor([list(text.ids) for text in texts], device=self._model.device)
        with self._calling, evaluation_mode(self._model):
            return self._model(ids)[:, -1].clone()  # and let the others go

    def settle(self, row: int, text: _Text) -> int:
        return 0
