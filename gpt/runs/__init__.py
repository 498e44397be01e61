"""Runs that all viewers of a server share: who asked for them, whose turn it is, and what there is to take home."""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.runs.exports import export_run
    from gpt.runs.limits import Limits
    from gpt.runs.request import NotYourRun, RunRefused, RunRequest
    from gpt.runs.run import Member, Run
    from gpt.runs.scheduler import Runs
    from gpt.runs.states import RunState

__getattr__, __dir__, __all__ = face(__name__)
