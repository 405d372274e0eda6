"""Connections to the API, one request at a time on each, without a pool's bookkeeping.

Submissions go over those of httpx's own engine, httpcore, whose trace events tell how
far a request came. Its pool is left out: for each request that looks at all its
requests and connections, and asks the system about every idle socket; with ten
connections that is most of what a small request costs. So is httpx's client, which
merges addresses and keeps cookies. Whoever limits how many requests are under way needs
neither: a request takes the connection that was used last, or a new one, and has it
alone. What is kept for many readings is a `Channel`, unless a proxy is on the way.
"""

import socket
from collections.abc import AsyncIterable, Mapping
from math import inf
from typing import Any, Protocol

import anyio
import httpcore
import httpx

from batchgen.channels import Channel, is_quiet
from batchgen.errors import Unavailable
from batchgen.http1 import KEPT, Raw, headers_of
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


class Trace(Protocol):
    """Is told of each step of a request: its name, and what belongs to it."""

    async def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        """One step."""


class _Stock:
    """A connection of httpcore's, which also knows the way through a proxy."""

    def __init__(
        self,
        http: httpcore.AsyncConnectionInterface,
        origin: httpcore.Origin,
        limits: Mapping[str, float],
        trace: Trace | None,
    ) -> None:
        self._http = http
        self._origin = origin
        self._extensions: dict[str, Any] = {"timeout": limits}
        if trace is not None:
            self._extensions["trace"] = trace
        self._socket: socket.socket | None = None
        self._since = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether it has answered whole, and both sides would go on."""
        return self._http.is_idle()

    @property
    def is_good(self) -> bool:
        """Whether an idle one can be used once more, as far as anybody can tell."""
        if self._socket is None or anyio.current_time() - self._since > KEPT:
            return not self._http.has_expired()
        return is_quiet(self._socket)

    async def ask(
        self,
        method: str,
        target: bytes,
        headers: Mapping[str, str],
        body: bytes,
        most: int,
        within: float,
    ) -> Raw:
        """Send a request; its whole answer, in so many seconds."""
        scheme, host, port = self._origin.scheme, self._origin.host, self._origin.port
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=scheme, host=host, port=port, target=target),
            headers=list(headers.items()),
            content=body,
            extensions=self._extensions,
        )
        whole = None
        with anyio.move_on_after(within):
            response = await self._http.handle_async_request(request)
            stream = response.extensions["network_stream"]
            whole = await _read(response, most)
            await response.aclose()
        if whole is None:
            raise httpcore.ReadTimeout("no whole answer came in time")
        if self._socket is None and self.is_idle:
            self._socket = stream.get_extra_info("socket")  # costly: once for each
        self._since = anyio.current_time()
        return Raw(response.status, headers_of(response.headers), whole)

    async def aclose(self) -> None:
        """Hang up."""
        with anyio.CancelScope(shield=True):
            await self._http.aclose()


class Line:
    """To one origin, and to no other: redirects are answers like all others.

    Args:
        base_url: what each path is added to.
        headers: sent with each request.
        limits: seconds to `connect`, of a `write` and of a silent `read`.
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
        scheme, host, port = base.raw_scheme, base.raw_host, base.port
        url = httpcore.URL(scheme=scheme, host=host, port=port, target=b"/")
        self._origin = url.origin
        self._path = base.raw_path.rstrip(b"/") + b"/"
        self._limits = limits
        self._keep = keep
        self._idle: list[Channel | _Stock] = []
        self._network = network
        self._straight = keep and proxy is None
        self._trust = trust()
        self._trust.set_alpn_protocols(["http/1.1"])
        # It only knows how connections are made; none of them is ever in it.
        self._stock = httpcore.AsyncConnectionPool(
            ssl_context=self._trust,
            proxy=_proxy(proxy) if proxy else None,
            keepalive_expiry=KEPT,
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
        within: float = inf,
        trace: Trace | None = None,
    ) -> Raw:
        """Send a request, once; its whole answer.

        Args:
            method: of HTTP.
            path: below the base, in the form in which it is sent.
            body: may be empty.
            kind: the body's media type.
            most: bytes of an answer.
            within: seconds from the connection to its last byte.
            trace: told how far it comes.

        Raises:
            Unavailable: the answer is longer.
            Exception: one of `ERRORS`.
        """
        headers = self.headers
        if body or method == "POST":
            headers = {
                **headers,
                "Content-Length": str(len(body)),
                "Content-Type": kind,
            }
        target = self._path + path.encode("ascii")
        held = await self._take(trace)
        try:
            raw = await held.ask(method, target, headers, body, most, within)
        except BaseException:
            await held.aclose()
            raise
        if self._keep and held.is_idle:
            self._idle.append(held)
        else:
            await held.aclose()
        return raw

    async def _take(self, trace: Trace | None) -> Channel | _Stock:
        """The connection that was used last, or a new one."""
        while self._idle:
            found = self._idle.pop()
            if found.is_good:
                return found
            await found.aclose()
        origin = self._origin
        if self._straight:
            sealed = self._trust if origin.scheme == b"https" else None
            host, port = origin.host.decode("ascii"), origin.port
            if self._network is None:
                return await Channel.open(host, port, sealed, self._limits)
            return await Channel.upon(self._network, host, port, sealed, self._limits)
        stock = self._stock.create_connection(origin)
        return _Stock(stock, origin, self._limits, trace)

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.pop().aclose()


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
