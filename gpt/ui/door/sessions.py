"""What Gradio keeps of each page: what the page's own states hold, and no more.

Gradio 6.31 also keeps the values of all components that a page was last sent, for links to a copy of the page, which
this lab does not have: some megabytes for each page with a chart or an attention map, made when the page first calls.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from copy import copy
from typing import Any

from gradio import Blocks
from gradio.state_holder import SessionState, StateHolder


class LightState(SessionState):
    """A page's states."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks_config = copy(blocks.default_config)
        self.config_values: dict[int, Any] = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 60

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class LightStates(StateHolder):
    """The states of all pages."""

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = LightState(self.blocks)
        return super().__getitem__(session_id)


def release_memory() -> None:
    """Give memory that is free back to the system, which the C library of Linux else keeps for later."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_little(demo: Blocks) -> None:
    """Have Gradio keep little of each page of this lab, which has been launched."""
    holder = LightStates()
    holder.set_blocks(demo)
    demo.app.state_holder = holder
