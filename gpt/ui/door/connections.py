"""How long a request may take to arrive, and how many connections there may be.

A connection that sends half a request and waits costs its sender nothing, and the server a socket. Uvicorn waits for
the rest for ever; here it has to keep coming, and to come to an end.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

_LONGEST_PAUSE = 5.0  # seconds without a byte in the middle of a request
_LONGEST_REQUEST = 60.0  # seconds that a request may take to arrive
_SHARE_OF_FILES = 0.75  # of the files that the system lets the process open, for connections
_MOST_CONNECTIONS = 1500
_MOST_FILES = 4096


def bound_connections(server: Any) -> None:
    """Have the connections of a uvicorn server bounded, from the next one on."""
    most = min(_MOST_CONNECTIONS, int(_SHARE_OF_FILES * _open_files()))
    config = server.config
    config.http_protocol_class = _bounded(config.http_protocol_class, most)


def _bounded(protocol: type[Any], most_connections: int) -> type[Any]:
    """A uvicorn protocol of the same kind that gives up requests that do not arrive."""

    class Bounded(protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.arrives_since: float | None = time.monotonic()  # the request that is arriving, if one is
            self._timer = self.loop.call_later(_LONGEST_PAUSE, self._give_up)
            if len(self.connections) > most_connections:
                self._make_place()

        def connection_lost(self, exc: Exception | None) -> None:
            self._timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._timer.cancel()
            if self.arrives_since is None:
                self.arrives_since = time.monotonic()
            super().data_received(data)
            if self._has_arrived():
                self.arrives_since = None
                return
            seconds_left = self.arrives_since + _LONGEST_REQUEST - time.monotonic()
            self._timer = self.loop.call_later(min(_LONGEST_PAUSE, max(0.0, seconds_left)), self._give_up)

        def _has_arrived(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

        def _give_up(self) -> None:
            if not self._has_arrived() and not self.transport.is_closing():
                self.transport.abort()

        def _make_place(self) -> None:
            """Give up the request that has been arriving for the longest, or this connection if there is none."""
            arriving = [one for one in self.connections if getattr(one, "arrives_since", None) is not None]
            min(arriving, key=lambda one: one.arrives_since, default=self).transport.abort()

    return Bounded


def _open_files() -> int:
    """How many files the process may open, raised as far as is sensible; Windows has no such limit."""
    try:
        import resource
    except ImportError:
        return _MOST_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return _MOST_FILES if soft == resource.RLIM_INFINITY else soft
