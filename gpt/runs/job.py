"""What stands in the line: a run that trains models, or an experiment.

The line knows of each only what is here: whose it is, whether it is watched, how it is laid out, when its turn ends.
Anyone may read it; whoever changes it holds the lock of `gpt.runs.turns`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from gpt.runs.lease import Lease
from gpt.runs.limits import Limits
from gpt.runs.states import RunState


class Job(ABC):
    """One thing that processes of this server are to do, which all who ask for it share.

    Args:
        key: names it in links.
        owner: the visitor who may control it; empty if nobody may.
        address: where it was asked for from; several visitors may share one.

    Attributes:
        state: what it is doing; see `gpt.runs.states.transition`, which alone changes it.
        message: a sentence on why it paused, stopped or failed; else empty.
        lease: who watches it.
        version: grows whenever there is something new to see.
        layout: in how many processes it is done, and on how many threads each; (0, 0) before its first turn.
    """

    def __init__(self, key: str, owner: str, address: str) -> None:
        self.key = key
        self.owner = owner
        self.address = address
        self.state = RunState.PAUSED  # until it is put in the queue
        self.message = ""
        self.lease = Lease()
        self.version = 0
        self.layout = (0, 0)

    @property
    def is_over(self) -> bool:
        """Whether no more will come unless somebody asks for more."""
        return self.state.is_over

    @property
    @abstractmethod
    def has_models(self) -> bool:
        """Whether its models are in this server's memory."""

    @property
    @abstractmethod
    def brought_bytes(self) -> int:
        """Memory that it takes from the first moment on: a text of a visitor's own, weights to begin from."""

    @property
    @abstractmethod
    def held_bytes(self) -> int:
        """Memory that its models take as long as they are remembered."""

    @property
    @abstractmethod
    def working_bytes(self) -> int:
        """Memory that its turn takes beside that."""

    @abstractmethod
    def lay_out(self, cores: int) -> None:
        """Choose processes and threads for a turn on so many cores."""

    @abstractmethod
    def end_of_turn(self, limits: Limits, *, is_closing: bool) -> tuple[RunState, str] | None:
        """The state, and why, in which it is to be left now, if it is; asked again and again during its turn."""

    @abstractmethod
    def seconds_left(self, flops_per_second: float | None) -> float | None:
        """About how long it takes from here to its end, where that is known, at this speed of this machine."""

    @abstractmethod
    def in_the_log(self) -> str:
        """How far it is, in a few words without spaces around their "="."""
