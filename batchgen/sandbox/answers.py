"""Answers of the service, good and spoilt."""

import json
import socket
import struct
from collections.abc import Callable, Mapping
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


NO_CREDIT = "Insufficient credits. Please top up your account to continue."


def no_credit() -> Json:
    """The vendor says it with a plain 400."""
    return refusal(400, NO_CREDIT)


def _too_many(wait: float | None) -> Json:
    headers = None if wait is None else {"retry-after": f"{wait:g}"}
    return refusal(429, "You have reached your rate limit.", headers)


def _broken(_: float | None) -> Json:
    return refusal(500, "internal server error")


def _unknown(_: float | None) -> Json:
    return refusal(404, "not found")


def _no_key(_: float | None) -> Json:
    return refusal(401, "Invalid API key.")


def _no_role(_: float | None) -> Json:
    message = "Your role developer may not run this model."
    return refusal(403, message, error_code="permission_denied")


def _silence(_: float | None) -> HangUp:
    return HangUp(unread=True)


_BEFORE: Mapping[str, Callable[[float | None], Response]] = {
    "drop_before_accept": _silence,
    "reset_before_accept": lambda _: HangUp(reset=True),
    "refuse_400": lambda _: refusal(400, 'field "prompt" is not acceptable'),
    "refuse_401": _no_key,
    "refuse_403": _no_role,
    "refuse_404": _unknown,
    "refuse_429": _too_many,
    "no_credit": lambda _: no_credit(),
    "no_credit_200": lambda _: Json({"code": 400, "message": NO_CREDIT}),
    "server_500_not_created": _broken,
    "server_503_not_created": lambda _: gateway(503),
    "html_502_not_created": lambda _: gateway(),
    "result_404": _unknown,
    "result_429": _too_many,
    "result_500": _broken,
    "result_html": lambda _: gateway(),
    "result_drop": _silence,
    "list_404": _unknown,
    "list_429": _too_many,
    "list_500": _broken,
    "list_html": lambda _: gateway(),
    "list_drop": _silence,
    "price_404": _unknown,
    "price_500": _broken,
    "balance_401": _no_key,
    "balance_500": _broken,
    "html_200": lambda _: HTMLResponse("<!doctype html><title>Sign in</title>"),
    "download_404": _unknown,
    "download_500": _broken,
    "download_drop": _silence,
}


def before(faults: Mapping[str, float | None]) -> Response | None:
    """The answer that a fault gives in place of the service, if one does."""
    for name, number in faults.items():
        if answer := _BEFORE.get(name):
            return answer(number)
    return None


def after(faults: Mapping[str, float | None], good: Json) -> Response:  # noqa: PLR0911
    """What becomes of the good answer to an accepted submission."""
    for name in faults:
        match name:
            case "drop_after_accept":
                return HangUp()
            case "reset_after_accept":
                return HangUp(reset=True)
            case "accept_502_html":
                return gateway()
            case "accept_500":
                return refusal(500, "internal server error")
            case "accept_half_json":
                half = bytes(good.body)[: len(good.body) // 2]
                return Response(half, media_type="application/json")
            case "accept_cut_short":
                return Cut(good, len(good.body) // 2)
            case "accept_no_id":
                body = json.loads(bytes(good.body))
                del body["data"]["id"], body["data"]["urls"]
                return Json(body)
            case "accept_empty":
                return Response(b"", media_type="application/json")
            case _:
                continue
    return good
