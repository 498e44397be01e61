"""What a trainer process does, on a thread of this process: it is there at once, and tests can reach into it."""

from __future__ import annotations

import os
import threading

from gpt.runs.trainer_process import TrainerLoop
from gpt.runs.trainers import Trainers


class TrainerThread:
    """Speaks as a `gpt.runs.trainers.TrainerProcess` does, over pipes.

    Args:
        begins: when it obeys its first order, as a process that still loads PyTorch; None is at once.
    """

    def __init__(self, begins: threading.Event | None = None) -> None:
        reads_orders, writes_orders = os.pipe()
        reads_news, writes_news = os.pipe()
        self.orders, self.news = os.fdopen(writes_orders, "wb"), os.fdopen(reads_news, "rb")
        loop = TrainerLoop(os.fdopen(reads_orders, "rb"), os.fdopen(writes_news, "wb"))

        def run() -> None:
            if begins is not None:
                begins.wait()
            loop.run()

        self._thread = threading.Thread(target=run, name="trainer", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Let it end after what it does."""
        self.orders.close()


def trainers_on_threads() -> Trainers:
    """As a server has them."""
    return Trainers(TrainerThread)
