"""The processes that train one model, here a process alone, and how one is asked to stop."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gpt.model.gpt2 import GPT2

Answer = TypeVar("Answer")


class Group:
    """The processes that train one model. This class is a process alone; its subclasses are several.

    All processes of a group make the same calls in the same order, except where a method says otherwise.

    Attributes:
        rank: the number of this process, from 0.
        size: how many processes there are.
        stop_signal: the signal by which this process was asked to stop, once it was. Only `noting_stops` writes it.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self.stop_signal: int | None = None

    @property
    def agreed_signal(self) -> int | None:
        """The signal by which one of the processes was asked to stop, once it was; known to all at the same step."""
        return self.stop_signal

    @property
    def stop_requested(self) -> bool:
        """Whether one of the processes was asked to stop; known to all at the same step."""
        return self.agreed_signal is not None

    @property
    def is_first(self) -> bool:
        """Whether this is the one process that prints and writes."""
        return self.rank == 0

    @property
    def stream(self) -> tuple[int, ...]:
        """What to add to the purpose of a random stream, so that each process draws from one of its own."""
        return (self.rank,) if self.rank else ()

    def place(self, model: GPT2, device: torch.device) -> nn.Module:
        """Put a model where it is trained, in place; returns what to call in its stead when learning."""
        return model.to(device)

    def rows(self, batch: Tensor) -> Tensor:
        """The rows of a batch (B, ...) that this process learns from: (B / size, ...)."""
        return batch.chunk(self.size)[self.rank]

    def gradients(self, learner: nn.Module, *, are_complete: bool) -> AbstractContextManager[Any]:
        """Around a forward and a backward pass; gradients are averaged over the processes once they are complete."""
        return nullcontext()

    def mean(self, value: Tensor) -> float:
        """The mean of a number (a tensor of no dimensions) over the processes."""
        return value.item()

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of which each process holds a part, gathered from all."""
        return tensor

    def part(self, tensor: Tensor) -> Tensor:
        """Of a tensor that each process holds the whole of, what this process keeps: the inverse of `whole`."""
        return tensor

    def ask_first(self, model: GPT2, question: Callable[[GPT2], Answer]) -> Answer:
        """What the first process answers when it is handed the whole model; all get the answer, or raise its error."""
        return question(model)

    def let_first(self, act: Callable[[], Answer]) -> Answer:
        """What the first process makes of something; all get the answer, or raise its error."""
        return act()

    def wait(self) -> None:
        """Go on when all processes have come here."""

    @property
    def holds_parts(self) -> bool:
        """Whether each process holds a part only of each tensor, which it saves itself."""
        return False

    def write_parts(self, tensors: dict[str, Tensor], folder: Path) -> None:
        """Write tensors that are held in parts as the files of a new folder; each process writes its own."""
        raise RuntimeError("a process that holds whole tensors writes no parts")

    def read_parts(self, folder: Path) -> dict[str, Tensor]:
        """The tensors that a group of any size wrote, or this process's parts of them.

        Raises:
            ValueError: a file of them is missing or damaged.
        """
        import torch.distributed.checkpoint as dcp

        try:
            reader = dcp.HuggingFaceStorageReader(str(folder))
            found: dict[str, Any] = dict(reader.read_metadata().state_dict_metadata)
            tensors = {name: self._empty(tensor.size, tensor.properties.dtype) for name, tensor in found.items()}
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process reads all the parts
                dcp.load(tensors, storage_reader=reader)
        except (OSError, dcp.api.CheckpointException) as error:
            raise ValueError(f"the parts in {folder} cannot be read ({type(error).__name__})") from None
        return tensors

    def _empty(self, size: torch.Size, dtype: torch.dtype) -> Tensor:
        return torch.empty(size, dtype=dtype)


@contextmanager
def noting_stops(group: Group) -> Iterator[None]:
    """Until the end of the block, Ctrl-C and SIGTERM are noted in the group, to be acted upon between two steps.

    A process alone that is asked a second time ends at once, as it would without this. Of several, each may be told
    twice of one request, by the terminal and by torchrun, so they go on noting. A signal that was ignored before the
    block, as `nohup` has it, stays ignored.
    """
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is note:  # else somebody has given it another meaning since
                signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        group.stop_signal = number
        if group.size == 1:
            restore()

    if threading.current_thread() is threading.main_thread():  # signals are heard there alone
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, note)
    try:
        yield
    finally:
        restore()
