"""The login, where the lab has a password: everything is behind it, and wrong passwords are tried slowly."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt.ui.door.asking import address_of
from gpt.ui.door.refusals import Refusal

# What the page that asks for the password is made of; none of it says anything about the lab.
_OPEN = ("/", "/login", "/theme.css", "/robots.txt", "/favicon.ico", "/manifest.json", "/gradio_api/startup-events")
_OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/", "/pwa_icon")

_TRIES_AT_ONCE = 10  # wrong passwords from one address before it has to wait: a class behind one address mistypes, too
_SECONDS_A_TRY = 2.0  # from one further try to the next
_LONGEST_LINE = 20  # tries of one address that wait
_MOST_ADDRESSES = 1000


class Login:
    """ASGI middleware that lets only those in who have logged in, if the lab has a password.

    Args:
        app: what is behind it; the Gradio app that it is part of keeps the logins.
        now: seconds, from any beginning.
    """

    def __init__(self, app: ASGIApp, now: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self._now = now
        self._free_at: OrderedDict[str, float] = OrderedDict()  # when an address has all its tries again

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it, or let a try at the password wait its turn."""
        server = scope.get("app")
        if scope["type"] != "http" or getattr(server, "auth", None) is None:
            await self.app(scope, receive, send)
            return
        path = scope["path"].rstrip("/") or "/"
        if path == "/login" and scope["method"] == "POST":
            await self._try(scope, receive, send)
            return
        if path not in _OPEN and not path.startswith(_OPEN_FOLDERS) and not _has_logged_in(scope, server):
            raise Refusal(401, "This lab has a password; open its page and log in first.")
        await self.app(scope, receive, send)

    async def _try(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Try a password after the wait that the tries before have earned; a right one costs nothing."""
        address, now = address_of(scope.get("client")), self._now()
        free_at = max(self._free_at.get(address, now), now) + _SECONDS_A_TRY
        wait = free_at - now - _TRIES_AT_ONCE * _SECONDS_A_TRY
        if wait > _LONGEST_LINE * _SECONDS_A_TRY:
            raise Refusal(429, "Too many wrong passwords were tried from here; wait a minute, then try again.")
        self._free_at[address] = free_at
        self._free_at.move_to_end(address)
        if len(self._free_at) > _MOST_ADDRESSES:
            self._free_at.popitem(last=False)
        await asyncio.sleep(max(0.0, wait))

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                self._free_at[address] = self._free_at.get(address, 0.0) - _SECONDS_A_TRY
            await send(message)

        await self.app(scope, receive, send_and_note)


def _has_logged_in(scope: Scope, server: Any) -> bool:
    """Whether the request carries a login that Gradio gave, under the names that Gradio gives its cookies."""
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return False
    names = (f"access-token-{server.cookie_id}", f"access-token-unsecure-{server.cookie_id}")
    return any(name in cookies and cookies[name].value in server.tokens for name in names)
