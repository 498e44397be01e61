"""What visitors ask for beside training is computed a few at a time, first come, first served.

Thirty computations side by side would take no less time in all, and hold up each other, the page and the trainers.
"""

from __future__ import annotations

import threading
from collections import deque

from gpt.costs.cores import usable_cores


class Limiter:
    """A semaphore with a fair queue, for computations on one thread each: `with limiter: ...` waits its turn.

    Not to be entered again by a thread that is inside.

    Args:
        places: how many may be inside at the same time.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._queue: deque[threading.Event] = deque()
        self._changing = threading.Lock()

    def __enter__(self) -> None:
        import torch  # here, because the page is made before PyTorch is loaded

        with self._changing:
            turn = None if self._free else threading.Event()
            if turn is None:
                self._free -= 1
            else:
                self._queue.append(turn)
        if turn is not None:
            turn.wait()
        torch.set_num_threads(1)  # small models are fastest so, and trainers beside them keep their core

    def __exit__(self, *_: object) -> None:
        with self._changing:
            if self._queue:
                self._queue.popleft().set()  # the place passes on at once
            else:
                self._free += 1


# Of this server. Trainer processes give way to it where they share a core.
COMPUTING = Limiter(max(1, usable_cores() - 1))
