"""The door of one page: all that stands before it, in its order."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from starlette.middleware import Middleware

from gpt.runs.limits import MOST_OF_ANY_OTHER, MOST_THREADS
from gpt.runs.scheduler import Runs
from gpt.ui.door.bodies import BoundedBodies
from gpt.ui.door.connections import bound_connections
from gpt.ui.door.delivery import Delivery
from gpt.ui.door.files import Files, TidyUploads
from gpt.ui.door.headers import SecurityHeaders
from gpt.ui.door.hosts import Hosts, TrustedHosts
from gpt.ui.door.logins import Login
from gpt.ui.door.pages import PageRequests, Pages
from gpt.ui.door.queue import FairQueue
from gpt.ui.door.refusals import Refusals
from gpt.ui.door.sessions import keep_little
from gpt.ui.door.visitors import Visitors


class Door:
    """What one page's visitors come through.

    Args:
        runs: the server's runs; its limits are those of the door.
        files: where uploads lie, and what is prepared to be taken home.

    Attributes:
        visitors: who they are.
        pages: on which pages.
    """

    def __init__(self, runs: Runs, files: Files) -> None:
        self.limits = runs.limits
        self._runs = runs
        self.files = files
        self.visitors = Visitors(runs)
        self.pages = Pages(runs.limits)

    def line_up(self, demo: gr.Blocks) -> None:
        """Have the calls of a page, which is laid out by now, answered in turns."""
        demo.queue(max_size=None, default_concurrency_limit=MOST_OF_ANY_OTHER)
        demo._queue = FairQueue(
            self.pages,
            self.limits,
            self._forget,
            self._runs.tidy,
            live_updates=False,  # the page tells places in line itself
            update_intervals=1,
            concurrency_count=MOST_THREADS,
            max_size=None,
            blocks=demo,
            default_concurrency_limit=MOST_OF_ANY_OTHER,
        )

    def middleware(self, hosts: Hosts, begins_with: Sequence[str]) -> list[Middleware]:
        """What a request comes through, the first one first.

        Args:
            hosts: the names of the lab.
            begins_with: scripts that the first screen needs.
        """
        return [
            Middleware(SecurityHeaders),
            Middleware(Refusals),
            Middleware(TrustedHosts, hosts=hosts),
            Middleware(Login),
            Middleware(BoundedBodies),
            Middleware(TidyUploads, files=self.files),
            Middleware(PageRequests, pages=self.pages),
            Middleware(Delivery, begins_with=begins_with),
        ]

    def stand_before(self, demo: gr.Blocks) -> None:
        """Bound the connections of the server that shows the page by now, and what it keeps of each visitor."""
        bound_connections(demo.server)
        keep_little(demo)

    def _forget(self, page: str) -> None:
        self.visitors.leave(page)
        self.files.leave(page)
