"""Who is asking: the page and the address behind the call that is being answered."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Asking:
    """Who is asking.

    Attributes:
        page: the name that a browser tab or a program gives itself, Gradio's session; empty outside of a call.
        address: where it asks from; several visitors may share one.
    """

    page: str = ""
    address: str = ""


_NOBODY = Asking()
_asking: ContextVar[Asking] = ContextVar("asking", default=_NOBODY)


def asking() -> Asking:
    """Who is asking; it follows a call into the threads and streams that answer it."""
    return _asking.get()


@contextmanager
def answering(page: str, address: str) -> Iterator[None]:
    """A block that answers a call of that page."""
    token = _asking.set(Asking(page, address))
    try:
        yield
    finally:
        _asking.reset(token)


def address_of(client: object) -> str:
    """The address of an ASGI client, (host, port): of IPv6 the network, of which one visitor has a whole one."""
    host = str(client[0]) if isinstance(client, tuple | list) and client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
