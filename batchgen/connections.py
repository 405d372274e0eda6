"""Connections to the API, one request at a time on each, without a pool's bookkeeping.

They are those of httpx's own engine, httpcore, and its trace events tell how far a
request came. Its pool is left out: for each request that looks at all its requests and
connections, and asks the system about every idle socket; with ten connections that is
most of what a small request costs. So is httpx's client, which merges addresses and
keeps cookies. Whoever limits how many requests are under way needs neither: a request
takes the connection that was used last, or a new one, and has it alone.
"""

import select
import socket
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import anyio
import httpcore
import httpx

from batchgen.errors import Unavailable
from batchgen.trust import trust

ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    OSError,
    TimeoutError,
)
"""Whatever comes of a connection in place of an answer."""

_KEPT = 5.0  # seconds; servers hang up on who is silent for longer


class Trace(Protocol):
    """Is told of each step of a request: its name, and what belongs to it."""

    async def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        """One step."""


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Idle(NamedTuple):
    """A connection that has answered, and serves nobody just now."""

    http: httpcore.AsyncConnectionInterface
    since: float
    socket: socket.socket | None

    @property
    def is_good(self) -> bool:
        """Whether it can be used once more, as far as anybody can tell."""
        if self.socket is None or anyio.current_time() - self.since > _KEPT:
            return not self.http.has_expired()
        # It stands at its beginning, so all that can be there to read is its end.
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return not poll.poll(0)


class Line:
    """To one origin, and to no other: redirects are answers like all others.

    Args:
        base_url: what each path is added to.
        headers: sent with each request.
        limits: seconds for each `connect`, `write` and `read`.
        keep: whether a connection serves one request after the other; else each
            request has a fresh one. Nothing is ever sent twice.
        proxy: through which every connection goes; the environment's is never used.
        network: beneath the connections, whose trace events stay their own.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        limits: Mapping[str, float],
        keep: bool,
        proxy: str | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        base = httpx.URL(base_url)
        self.headers = {"Host": base.netloc.decode(), "Accept": "*/*", **headers}
        self._scheme, self._host, self._port = base.raw_scheme, base.raw_host, base.port
        self._path = base.raw_path.rstrip(b"/") + b"/"
        self._limits = limits
        self._keep = keep
        self._idle: list[_Idle] = []
        # It only knows how connections are made; none of them is ever in it.
        self._stock = httpcore.AsyncConnectionPool(
            ssl_context=trust(),
            proxy=_proxy(proxy) if proxy else None,
            keepalive_expiry=_KEPT,
            network_backend=network,
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        kind: str = "application/json",
        *,
        most: int,
        trace: Trace | None = None,
    ) -> Raw:
        """Send a request, once; its whole answer.

        Args:
            method: of HTTP.
            path: below the base, in the form in which it is sent.
            body: may be empty.
            kind: the body's media type.
            most: bytes of an answer.
            trace: told how far it comes.

        Raises:
            Unavailable: the answer is longer.
            Exception: one of `ERRORS`.
        """
        extensions: dict[str, Any] = {"timeout": self._limits}
        if trace is not None:
            extensions["trace"] = trace
        headers = self.headers
        if body or method == "POST":
            headers = {
                **headers,
                "Content-Length": str(len(body)),
                "Content-Type": kind,
            }
        url = httpcore.URL(
            scheme=self._scheme,
            host=self._host,
            port=self._port,
            target=self._path + path.encode("ascii"),
        )
        request = httpcore.Request(
            method,
            url,
            headers=list(headers.items()),
            content=body,
            extensions=extensions,
        )
        http, plug = await self._take(url.origin)
        try:
            response = await http.handle_async_request(request)
            if self._keep and plug is None:
                stream = response.extensions["network_stream"]
                plug = stream.get_extra_info("socket")  # costly: once for each
            whole = await _read(response, most)
            await response.aclose()
        except BaseException:
            await _close(http)
            raise
        if self._keep and http.is_idle():
            self._idle.append(_Idle(http, anyio.current_time(), plug))
        else:
            await _close(http)
        return Raw(response.status, _headers(response.headers), whole)

    async def _take(
        self, origin: httpcore.Origin
    ) -> tuple[httpcore.AsyncConnectionInterface, socket.socket | None]:
        while self._idle:
            found = self._idle.pop()
            if found.is_good:
                return found.http, found.socket
            await _close(found.http)
        return self._stock.create_connection(origin), None

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            await _close(self._idle.pop().http)


def _proxy(address: str) -> httpcore.Proxy:
    known = httpx.Proxy(address)
    url = httpcore.URL(
        scheme=known.url.raw_scheme,
        host=known.url.raw_host,
        port=known.url.port,
        target=known.url.raw_path,
    )
    return httpcore.Proxy(url, auth=known.raw_auth, headers=known.headers.raw)


async def _read(response: httpcore.Response, most: int) -> bytes:
    chunks, size = [], 0
    stream = response.stream
    assert isinstance(stream, AsyncIterable)  # noqa: S101 - the connection is async
    async for chunk in stream:
        size += len(chunk)
        if size > most:
            raise Unavailable(f"an answer of over {most} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _headers(raw: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("ascii").lower(), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


async def _close(http: httpcore.AsyncConnectionInterface) -> None:
    with anyio.CancelScope(shield=True):
        await http.aclose()
