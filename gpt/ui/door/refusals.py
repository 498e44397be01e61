"""How the door refuses: one sentence, as JSON, in the form that Gradio's page shows."""

from __future__ import annotations

import logging
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 1.0  # of the log, about refusals: whoever sends nonsense must not fill a disk


class Refusal(Exception):
    """A request that is not let in: an HTTP status, and a sentence for whoever sent it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Refusals:
    """ASGI middleware that answers each `Refusal`, and each fault further inside, in one sentence.

    Gradio answers an unknown session, function or component by an exception, and a traceback in the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._last_line = -_SECONDS_BETWEEN_LINES
        self._not_written = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer what is raised instead of an answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Refusal as refusal:
            self._write(scope, refusal.status, refusal.sentence)
            if not has_begun:
                await JSONResponse({"detail": refusal.sentence}, refusal.status)(scope, receive, send)
        except Exception as error:
            self._write(scope, 400, f"{type(error).__name__}: {error}"[:200])
            if not has_begun:
                sentence = "This is not a request that the page makes; reload the page, or look up its API."
                await JSONResponse({"detail": sentence}, 400)(scope, receive, send)

    def _write(self, scope: Scope, status: int, why: str) -> None:
        if time.monotonic() - self._last_line < _SECONDS_BETWEEN_LINES:
            self._not_written += 1
            return
        more = f" ({self._not_written} more were not written down)" if self._not_written else ""
        _log.info("%s %.80r refused with %d: %r%s", scope["method"], scope["path"], status, why, more)
        self._last_line, self._not_written = time.monotonic(), 0
