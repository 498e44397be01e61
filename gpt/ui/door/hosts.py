"""By which names the lab may be called, and from which pages.

A browser goes where a name leads, and names can be made to lead here: a page elsewhere could so read a lab that only
this machine can reach. And a page elsewhere can send requests, whose answers it may not read. So the lab answers to its
own names only, and what changes something has to come from its own page.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gpt.ui.door.refusals import Refusal

HOSTS_VARIABLE = "GPT_LAB_HOSTS"
_PROXIES_VARIABLE = "FORWARDED_ALLOW_IPS"  # uvicorn's: the addresses of proxies; by default this machine
_LOOKING = ("GET", "HEAD", "OPTIONS")
_OF_SPACES = (".hf.space",)
_OF_SHARE_LINKS = (".gradio.live",)


class Hosts:
    """The names of one lab: its addresses, this machine's own names, and those it is given.

    An address in numbers is always right: a page elsewhere cannot make it lead anywhere but to this machine.

    Args:
        given: more names; one that begins with a dot stands for all that end with it.
    """

    def __init__(self, given: Iterable[str] = ()) -> None:
        own = socket.gethostname().lower()
        self._given = tuple(name.strip().lower() for name in given if name.strip())
        self._names = {"localhost", own, f"{own.partition('.')[0]}.local", *self._given}

    def knows(self, host: str) -> bool:
        """Whether a `Host` header names this lab."""
        name = _name_of(host)
        return name in self._names or name.endswith(".localhost") or _is_address(name) or self._is_given(name)

    def is_own_page(self, origin: str, hosts: Iterable[str]) -> bool:
        """Whether an `Origin` header is the lab's own page, which was asked for under one of these `Host` headers."""
        default = ":443" if origin.startswith("https:") else ":80"
        page = _host_in(origin)
        if any(page.removesuffix(default) == host.lower().removesuffix(default) for host in hosts):
            return True
        return self._is_given(_name_of(page))  # behind a proxy that does not tell the name

    def _is_given(self, name: str) -> bool:
        return any(name == given or (given.startswith(".") and name.endswith(given)) for given in self._given)


def trust_proxies(*, is_shared: bool = False) -> None:
    """Let a proxy say for whom it asks, if there is one: on a Space, or where the lab goes by a name of its own.

    Otherwise whoever asks could make up where they ask from. Uvicorn reads this when it starts; what is set already
    stays.
    """
    if "SPACE_ID" in os.environ:
        os.environ.setdefault(_PROXIES_VARIABLE, "*")
    elif HOSTS_VARIABLE not in os.environ and not is_shared:
        os.environ.setdefault(_PROXIES_VARIABLE, "")


def trusted_hosts(given: Iterable[str | None] = (), *, is_shared: bool = False) -> Hosts:
    """The names of the lab that this process serves.

    Args:
        given: those that its options say.
        is_shared: whether it also has a public link, through Gradio's servers.
    """
    names = [*os.environ.get(HOSTS_VARIABLE, "").split(","), *(name or "" for name in given)]
    if "SPACE_ID" in os.environ:
        names += [*_OF_SPACES, os.environ.get("SPACE_HOST", "")]
    if is_shared:
        names += _OF_SHARE_LINKS
    return Hosts(names)


class TrustedHosts:
    """ASGI middleware that refuses other names, and what pages of other hosts would change here."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it is for another host or from another page."""
        if scope["type"] in ("http", "websocket"):
            self._check(scope, Headers(scope=scope))
        await self.app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        called = [host.strip() for name in ("host", "x-forwarded-host") for host in headers.getlist(name)]
        called = [host.strip() for hosts in called for host in hosts.split(",")]
        for host in [*called, *map(_host_in, headers.getlist("x-gradio-server"))]:
            if not self.hosts.knows(host):
                raise Refusal(
                    400,
                    f"This lab does not know the name {_name_of(host)[:100]!r}. Open it by its address. If the name "
                    f"is right, start the lab with the environment variable {HOSTS_VARIABLE} set to it.",
                )
        changes = scope["type"] == "websocket" or scope["method"] not in _LOOKING or _is_a_call(scope["path"])
        origin = headers.get("origin")
        is_foreign = origin is not None and not self.hosts.is_own_page(origin, called)
        is_embedded = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        if changes and (is_foreign or is_embedded):
            raise Refusal(403, "Pages of other hosts may not use this lab; open its own page.")


def _is_a_call(path: str) -> bool:
    """Whether even looking at this path does something: it opens a stream, or ends a login."""
    return path.startswith(("/gradio_api/heartbeat", "/gradio_api/queue", "/gradio_api/call", "/logout"))


def _host_in(url: str) -> str:
    """The host of a URL with its port, in small letters; empty if it has none."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _name_of(host: str) -> str:
    """A host without its port, in small letters."""
    if host.startswith("["):
        name, is_closed, _ = host[1:].partition("]")
        return name.lower() if is_closed else ""
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
