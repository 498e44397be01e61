"""Where the page listens: whether it can, said in a sentence before anything is started."""

from __future__ import annotations

import errno
import os
import socket

_EVERYWHERE = ("0.0.0.0", "::")
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
        return f"port {port} is in use; close what uses it (another GPT Lab?), or give another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} is for the system's administrator only; give one from 1024 on"
    return f"this machine cannot listen at {host} ({error.strerror}); give an address of its own, or 0.0.0.0 for all"


def bypass_proxies(host: str | None) -> None:
    """Have this machine asked without a proxy, whatever the environment says: Gradio asks whether its page is there."""
    own = [*_HERE, *([host] if host and host not in _EVERYWHERE else [])]
    for variable in ("NO_PROXY", "no_proxy"):
        given = [name for name in os.environ.get(variable, "").split(",") if name]
        os.environ[variable] = ",".join([*given, *(name for name in own if name not in given)])
