"""Bringing a file to where the service can read it: free, and repeatable at will."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
from anyio.to_thread import run_sync

from batchgen import addresses
from batchgen.bodies import broken
from batchgen.errors import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchgen.addresses import Route

MOST_BYTES = 200 * 1024 * 1024
"""The vendor's own packages refuse larger files."""

DEADLINE = 300.0
"""Seconds for all bytes of one file; ten megabytes need 80 on a slow line."""

# A ticket answered so is a definite no; where they are not known, there is a form.
NO = frozenset({400, 413, 415, 422})
NO_TICKETS = frozenset({404, 405})

_TOO_MUCH = frozenset({413, 415})
_LONGEST_URL = 2048
_TIMEOUT = {"connect": 10.0, "read": 60.0, "write": 30.0, "pool": 30.0}
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where to put a file, with which headers, and where it is found then.

    `url` is signed: its query is a secret, and is neither stored nor shown.
    """

    url: httpx.URL
    headers: Mapping[str, str]
    address: str


def ticket(data: Mapping[str, Any], *, loopback: bool) -> Ticket:
    """The ticket that the service gave.

    Raises:
        Unavailable: it is none.
    """
    upload = data.get("upload")
    if not isinstance(upload, Mapping) or upload.get("method") != "PUT":
        raise Unavailable("an answer without an upload ticket")
    headers = upload.get("headers") or {}
    if not isinstance(headers, Mapping) or not all(map(_is_header, headers.items())):
        raise Unavailable("an upload ticket with odd headers")
    given = {key: value for key, value in headers.items() if key.lower() not in _OURS}
    url = addresses.parse(str(upload.get("url") or ""))
    return Ticket(url, given, address(data, loopback=loopback))


def address(data: Mapping[str, Any], *, loopback: bool) -> str:
    """Where the service will read the file.

    Raises:
        Unavailable: it is no address that can be sent as an input.
    """
    text = data.get("download_url")
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_URL:
        raise Unavailable("an upload without an address")
    url = addresses.parse(text)
    local = loopback and url.scheme == "http" and url.host == addresses.LOOPBACK
    if url.userinfo or not url.host or not (url.scheme == "https" or local):
        raise Unavailable("an upload with an address that is not https")
    return text


class Storage:
    """Where tickets lead: another origin, which never sees the key.

    Args:
        http: a client that holds no headers, cookies or key.
        loopback: whether it may be on this machine; only for a sandbox.
    """

    def __init__(self, http: httpx.AsyncClient, *, loopback: bool) -> None:
        self._http = http
        self.loopback = loopback

    async def put(self, ticket: Ticket, data: bytes) -> None:
        """Hand over the bytes, once.

        Raises:
            Refused: the file itself is not taken.
            Unavailable: anything else; a new ticket may help.
        """
        look = partial(addresses.routes, ticket.url, loopback=self.loopback)
        routes: Sequence[Route] = await run_sync(look)
        problem: Exception | None = None
        for route in routes:
            try:
                with anyio.fail_after(DEADLINE):
                    status = await self._put(route, ticket.headers, data)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = error
                continue
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                raise broken(ticket.url.host, error) from error
            return _judge(status, ticket.url.host)
        raise broken(ticket.url.host, problem) from problem

    async def _put(
        self, route: "Route", headers: Mapping[str, str], data: bytes
    ) -> int:
        # Not `build_request`: nothing the client holds is sent.
        request = httpx.Request(
            "PUT",
            route.url,
            headers={**headers, "Host": route.host},
            content=data,
            extensions={"timeout": _TIMEOUT, "sni_hostname": route.name},
        )
        response = await self._http.send(
            request, stream=True, auth=None, follow_redirects=False
        )
        await response.aclose()  # what it says is nobody's concern
        return response.status_code


def _judge(status: int, host: str) -> None:
    message = f"{host} answered HTTP {status} to an upload"
    if status in _TOO_MUCH:
        raise Refused(message, kind="invalid", http=status)
    if not 200 <= status < 300:  # noqa: PLR2004
        # Without `http`: a 403 of the storage says nothing about our key.
        raise Unavailable(message)


def _is_header(item: tuple[object, object]) -> bool:
    return all(isinstance(text, str) and text.isprintable() for text in item)
