"""The trainer processes of a server, and those of them that train one run together.

A process that is idle waits with PyTorch loaded. Whoever hires some of them alone speaks with them until they are given
back; one that is lost, or does not answer, is ended, and another is started when it is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, BinaryIO, Protocol

from gpt.data.tokenizer import tokenizer_to_json
from gpt.runs.messages import Message, read_message, write_message

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus

_PACKAGES = Path(__file__).resolve().parents[2]
_ENDED = "the process that trained it was ended from outside, perhaps because memory ran out"


class TrainerLost(RuntimeError):
    """A trainer process has ended, or cannot be started, or does not answer; the message says which, in short."""


class Carrier(Protocol):
    """What a trainer runs in: a process, or in tests a thread."""

    orders: BinaryIO
    news: BinaryIO

    def is_alive(self) -> bool: ...
    def end(self) -> None: ...


class TrainerProcess:
    """A process that runs `gpt.runs.trainer_process`; it ends by itself when this one does."""

    def __init__(self) -> None:
        paths = [str(_PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Threads that wait for each other by spinning would take the page's time where cores are few.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_WAIT_POLICY": "PASSIVE"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gpt.runs.trainer_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise TrainerLost(f"no process could be started to train it ({error.strerror})") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.orders: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self.news: BinaryIO = self._process.stdout  # type: ignore[assignment]

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self.orders, self.news):
            with suppress(OSError):
                pipe.close()


@dataclass(eq=False)
class _Hired:
    trainer: Carrier
    corpus: tuple[str, str] = ("", "")  # the checksums of the text it has, and of its tokens


class Trainers:
    """The trainer processes of one server.

    Args:
        start: starts one.
    """

    def __init__(self, start: Callable[[], Carrier] = TrainerProcess) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._idle: list[_Hired] = []
        self._is_closed = False

    def warm_up(self, count: int) -> None:
        """Start so many, if they are not there, and have them load what a first step needs."""
        with suppress(TrainerLost), self.hired(count) as crew:
            crew.order_all(Message("warm"))

    @contextmanager
    def hired(self, count: int) -> Iterator[Crew]:
        """Some processes, for the length of the block; after an error in it they are ended.

        Raises:
            TrainerLost: one cannot be started.
        """
        with self._lock:
            found, self._idle = self._idle[:count], self._idle[count:]
        found = [hired for hired in found if hired.trainer.is_alive()]
        try:
            while len(found) < count:
                found.append(_Hired(self._start()))
            yield Crew(found)
        except BaseException:
            for hired in found:
                hired.trainer.end()
            raise
        with self._lock:
            self._idle = [*found, *self._idle]
            ending = self._idle if self._is_closed else []
            self._idle = [] if self._is_closed else self._idle
        for hired in ending:
            hired.trainer.end()

    def close(self) -> None:
        """End all, those that are hired when they are given back."""
        with self._lock:
            self._is_closed = True
            ending, self._idle = self._idle, []
        for hired in ending:
            hired.trainer.end()


class Crew:
    """Trainer processes that train the models of one run, number n in process n modulo their number."""

    def __init__(self, hired: Sequence[_Hired]) -> None:
        self._hired = hired
        self._news: SimpleQueue[Message | None] = SimpleQueue()
        self._readers: list[threading.Thread] = []

    def order(self, number: int, message: Message) -> None:
        """Give an order to the process of a model; raises TrainerLost."""
        self._write(self._hired[number % len(self._hired)], message)

    def order_all(self, message: Message) -> None:
        """Give an order to every process; raises TrainerLost."""
        for hired in self._hired:
            self._write(hired, message)

    def give_corpus(self, corpus: Corpus) -> None:
        """Have every process know a text; raises TrainerLost."""
        checksums = (corpus.sha256, corpus.tokenizer_sha256)
        fields = {"name": corpus.name, "sha256": corpus.sha256, "tokenizer": tokenizer_to_json(corpus.tokenizer)}
        for hired in self._hired:
            if hired.corpus != checksums:
                parts = {"train": corpus.train_ids, "validation": corpus.validation_ids}
                self._write(hired, Message("corpus", fields, parts))
                hired.corpus = checksums

    def listen(self) -> None:
        """Begin to read what the processes tell, each until it has left its models."""
        for hired in self._hired:
            self._readers.append(threading.Thread(target=self._read, args=(hired.trainer.news,), daemon=True))
            self._readers[-1].start()

    def news(self, most_seconds: float) -> list[Message]:
        """What has been told since the last call, after waiting for something as long as that; raises TrainerLost."""
        told: list[Message | None] = []
        with suppress(Empty):
            told.append(self._news.get(timeout=most_seconds))
            while True:
                told.append(self._news.get_nowait())
        if None in told:
            raise TrainerLost(_ENDED)
        return [message for message in told if message is not None]

    def leave(self, most_seconds: float) -> Iterator[Message]:
        """Have the processes leave their models, and give what they tell until they have; raises TrainerLost."""
        self.order_all(Message("leave"))
        give_up, left = time.monotonic() + most_seconds, 0
        while left < len(self._hired):
            for message in self.news(max(0.0, give_up - time.monotonic())):
                left += message.kind == "left"
                yield message
            if time.monotonic() > give_up and left < len(self._hired):
                raise TrainerLost("the process that trained it did not answer")

    def _write(self, hired: _Hired, message: Message) -> None:
        try:
            write_message(hired.trainer.orders, message)
        except (OSError, ValueError):
            raise TrainerLost(
                "the process that trained it was ended from outside, perhaps because memory ran out"
            ) from None

    def _read(self, news: BinaryIO) -> None:
        while (message := read_message(news)) is not None:
            self._news.put(message)
            if message.kind == "left":
                return
        self._news.put(None)
