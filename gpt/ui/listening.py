"""Where the page listens: whether it can, said in a sentence before anything is started, and until it does."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gradio import http_server
from gradio.exceptions import ServerFailedToStartError
from uvicorn import Config

_MOST_SECONDS_TO_START = 120.0  # on a machine that is busy with other work
_EVERYWHERE = ("0.0.0.0", "::")
_IN_USE = "port {port} is in use; close what uses it (another GPT Lab?), or give another with --port"
_HERE = ("localhost", "127.0.0.1", "::1")


class CannotListen(ValueError):
    """Nothing can listen at this address; the message says why, and what to do."""


def check_address(host: str | None, port: int | None) -> None:
    """Raise CannotListen unless a server can be started there now.

    Args:
        host: a name or an address of this machine; None for this machine alone.
        port: from 1 to 65535; None for one that is free, which Gradio looks for.
    """
    if port is not None and not 1 <= port <= 65535:
        raise CannotListen(f"the port is {port}; give a number from 1 to 65535")
    shown = host or "127.0.0.1"
    try:
        found = socket.getaddrinfo(shown.strip("[]"), port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise CannotListen(
            f"the host {shown!r} is not known; give an address of this machine, or 0.0.0.0 for all of them"
        ) from None
    family, kind, protocol, _, place = found[0]
    with socket.socket(family, kind, protocol) as probe:
        if os.name == "posix":  # on Windows it would take a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError as error:
            raise CannotListen(_why(error, shown, port)) from None


def _why(error: OSError, host: str, port: int | None) -> str:
    if error.errno == errno.EADDRINUSE:
        return _IN_USE.format(port=port)
    if error.errno == errno.EACCES:
        return f"port {port} is for the system's administrator only; give one from 1024 on"
    return f"this machine cannot listen at {host} ({error.strerror}); give an address of its own, or 0.0.0.0 for all"


def bypass_proxies(host: str | None) -> None:
    """Have this machine asked without a proxy, whatever the environment says: Gradio asks whether its page is there."""
    own = [*_HERE, *([host] if host and host not in _EVERYWHERE else [])]
    for variable in ("NO_PROXY", "no_proxy"):
        given = [name for name in os.environ.get(variable, "").split(",") if name]
        os.environ[variable] = ",".join([*given, *(name for name in own if name not in given)])


@contextmanager
def starting(port: int | None) -> Iterator[None]:
    """Have Gradio start its server with patience, and say in a sentence why it cannot.

    Raises:
        CannotListen: no port is free, or the machine is too busy.
    """
    http_server.Server = PatientServer  # type: ignore[misc]
    try:
        yield
    except OSError as error:
        if "Cannot find empty port" not in str(error):
            raise
        if port is not None:  # it was free a moment ago
            raise CannotListen(_IN_USE.format(port=port)) from None
        first, last = http_server.INITIAL_PORT_VALUE, http_server.INITIAL_PORT_VALUE + http_server.TRY_NUM_PORTS - 1
        raise CannotListen(f"the ports from {first} to {last} are all in use; give another with --port") from None


class PatientServer(http_server.Server):
    """Gradio's server, which is given time to start.

    Gradio gives it five seconds and then takes the port to be in use, also where the machine is only busy. This one
    gives up as soon as the port proves to be in use, and waits for two minutes otherwise. Nor does it put new code into
    the page while it runs, which Gradio tries on a Space.
    """

    def __init__(self, config: Config, *_: Any, **_of_reloading: Any) -> None:
        super().__init__(config)

    def run_in_thread(self) -> None:
        """Start in a thread, and return when requests are answered.

        Raises:
            ServerFailedToStartError: the port is in use.
            CannotListen: the machine is too busy.
        """
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        give_up = time.monotonic() + _MOST_SECONDS_TO_START
        while not self.started:
            if not self.thread.is_alive():  # uvicorn has logged why
                raise ServerFailedToStartError("nothing can listen there")
            if time.monotonic() > give_up:
                self.should_exit = True
                raise CannotListen(
                    f"the server did not start within {_MOST_SECONDS_TO_START:.0f} seconds, so this machine must be "
                    f"very busy; close other programs, and start again"
                )
            time.sleep(0.001)  # uvicorn sets a flag and tells nobody
