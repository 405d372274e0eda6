"""Answers of the service, good and spoilt."""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

CONNECTION = "batchgen.connection"
"""Where a request finds the connection it came by (serve.py puts it there)."""

_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body></body></html>"


class Json(Response):
    """A JSON answer without spaces."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        # Escaped: a prompt may hold half a surrogate pair, which UTF-8 cannot.
        return json.dumps(content, separators=(",", ":")).encode()


def success(data: Any) -> Json:
    """The envelope of every good answer."""
    return Json({"code": 200, "message": "success", "data": data})


def refusal(
    status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Json:
    """The envelope of a no."""
    body = {"code": status, "message": message, **more}
    return Json(body, status_code=status, headers=headers)


def gateway(status: int = 502) -> HTMLResponse:
    """What a proxy says when what stands behind it does not answer."""
    return HTMLResponse(_GATEWAY.replace("502", str(status)), status_code=status)


class HangUp(Response):
    """Closes the connection without a byte; `reset` does so with a TCP reset.

    `unread` says that the request's body was not read yet: closing a socket with
    bytes waiting in it would turn any closing into a reset.
    """

    def __init__(self, *, reset: bool = False, unread: bool = False) -> None:
        super().__init__()
        self._reset, self._unread = reset, unread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Hang up, and stay until the server has noticed."""
        while self._unread and (await receive()).get("more_body"):
            pass
        await hang_up(scope, receive, reset=self._reset)


class Twice(Response):
    """A whole answer, and a second one on the same connection."""

    def __init__(self, whole: Response) -> None:
        super().__init__()
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then write what nobody asked for."""
        await self._whole(scope, receive, send)
        if (connection := scope.get("extensions", {}).get(CONNECTION)) is not None:
            body = bytes(self._whole.body)
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.write(head.encode() + body)


class Cut(Response):
    """Promises a whole body, sends some of it and closes the connection."""

    def __init__(self, whole: Response, keep: int) -> None:
        super().__init__()
        self._whole, self._keep = whole, keep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in part, then hang up."""
        start = {
            "type": "http.response.start",
            "status": self._whole.status_code,
            "headers": self._whole.raw_headers,
        }
        await send(start)
        part = bytes(self._whole.body)[: self._keep]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await hang_up(scope, receive)


async def hang_up(scope: Scope, receive: Receive, *, reset: bool = False) -> None:
    """Close the connection under a request.

    Raises:
        ConnectionResetError: there is none, the application was called in-process.
    """
    connection = scope.get("extensions", {}).get(CONNECTION)
    if connection is None:
        raise ConnectionResetError("the sandbox hung up")
    if reset:
        # A linger of zero seconds makes the system send RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        peer = connection.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.abort()
    else:
        connection.close()
    while (await receive())["type"] != "http.disconnect":
        pass


def no_credit(status: int = 400, code: int = 400) -> Json:
    """The vendor says it with a plain 400; a newer list has a code of its own."""
    message = "Insufficient credits. Please top up your account to continue."
    return Json({"code": code, "message": message}, status_code=status)
