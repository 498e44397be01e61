"""How much may be sent: a request is read whole, under limits, before anything is made of it."""

from __future__ import annotations

from collections import Counter
from email.message import Message as Headers

from starlette.datastructures import Headers as RequestHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt.runs.limits import LARGEST_REQUEST, LARGEST_UPLOAD, MOST_BYTES_UNDER_WAY, MOST_FILES_AT_ONCE
from gpt.ui.door.asking import address_of
from gpt.ui.door.refusals import Refusal

BODY = "gpt_lab.body"  # in the scope: the request's body, whole
_UPLOADS = "/gradio_api/upload"
_AROUND_A_FILE = 100_000  # bytes: the form that carries it
_SHARE_OF_ADDRESS = 0.75


class BoundedBodies:
    """ASGI middleware that reads what is sent and refuses what is too large; connections bound the time it may take."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._under_way: Counter[str] = Counter()  # bytes, by the address they come from

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body, or refuse it."""
        headers = RequestHeaders(scope=scope) if scope["type"] == "http" else RequestHeaders()
        if "content-length" not in headers and "transfer-encoding" not in headers:
            await self.app(scope, receive, send)
            return
        address = address_of(scope.get("client"))
        is_upload = scope["path"].rstrip("/") == _UPLOADS
        largest = MOST_FILES_AT_ONCE * LARGEST_UPLOAD + _AROUND_A_FILE if is_upload else LARGEST_REQUEST
        body = bytearray()
        try:
            if int(headers.get("content-length", "0")) > largest:
                raise _too_large(largest)
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return  # gone, or too slow
                part = message.get("body", b"")
                self._take(address, len(part))
                body += part
                if len(body) > largest:
                    raise _too_large(largest)
                if not message.get("more_body", False):
                    break
            if is_upload:
                _check_parts(headers.get("content-type", ""), body)
            scope[BODY] = bytes(body)
            await self.app(scope, _replay(scope[BODY], receive), send)
        finally:
            self._under_way[address] -= len(body)
            if not self._under_way[address]:
                del self._under_way[address]

    def _take(self, address: str, count: int) -> None:
        of_address, of_all = self._under_way[address] + count, self._under_way.total() + count
        if count and (of_all > MOST_BYTES_UNDER_WAY or of_address > _SHARE_OF_ADDRESS * MOST_BYTES_UNDER_WAY):
            raise Refusal(503, "The lab is receiving too much at once; try again in a moment.")
        self._under_way[address] += count


def _too_large(largest: int) -> Refusal:
    return Refusal(413, f"This is too large; at most {largest / 1e6:,.0f} MB may be sent at once.")


def _check_parts(content_type: str, body: bytes | bytearray) -> None:
    header = Headers()
    header["content-type"] = content_type
    boundary = str(header.get_param("boundary") or "")
    if boundary and body.count(b"--" + boundary.encode("latin-1", "replace")) > MOST_FILES_AT_ONCE + 1:
        raise Refusal(413, f"At most {MOST_FILES_AT_ONCE} file may be sent at once; send one after another.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A channel that gives a body that was read already, then what comes after it."""
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
