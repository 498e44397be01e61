"""Who a visitor is: whoever holds a secret that the server gave them. It stays in their browser."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import Any

from gpt.runs.scheduler import Runs
from gpt.ui.door.asking import asking

_MOST_REMEMBERED = 10_000  # secrets, and pages; whoever has a run is known by that


class Visitors:
    """All visitors of one server, and on which pages they are. Any thread may call it.

    A page is one visitor's: a secret that the server did not hand out makes no second one of them.

    Args:
        runs: the server's runs; whoever owns one is known by it, also after a restart.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._handed_out: OrderedDict[str, None] = OrderedDict()
        self._of_page: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def who(self, secret: Any) -> str:
        """The visitor who presses a button: the secret they hold, or that of their page, or a new one to keep."""
        known = self.recognise(secret)
        page = asking().page
        with self._lock:  # of two calls of a new page, the second is of the same visitor
            visitor = known or self._of_page.get(page) or secrets.token_hex(16)
            _remember(self._handed_out, visitor, None)
            _remember(self._of_page, page, visitor)
        return visitor

    def recognise(self, secret: Any) -> str:
        """The visitor who holds a secret that the server handed out, whose page this is then; else empty."""
        if not isinstance(secret, str) or not secret:
            return ""
        with self._lock:
            is_known = secret in self._handed_out
        if not is_known and not self._runs.is_owner(secret):
            return ""
        with self._lock:
            _remember(self._of_page, asking().page, secret)
        return secret

    def here(self) -> str:
        """The visitor on the page that is asking; empty if it has not shown a secret."""
        with self._lock:
            return self._of_page.get(asking().page, "")

    def leave(self, page: str) -> None:
        """The page is gone."""
        with self._lock:
            self._of_page.pop(page, None)


def _remember(all_of_them: OrderedDict[str, Any], name: str, value: Any) -> None:
    all_of_them[name] = value
    all_of_them.move_to_end(name)
    if len(all_of_them) > _MOST_REMEMBERED:
        all_of_them.popitem(last=False)
