"""Connections without bookkeeping, beneath httpx's own transport.

For each request httpcore's pool looks at all its requests and connections, and asks
the system about every idle socket: with ten connections that is most of what a small
request costs. Whoever limits how many requests are under way needs none of it: a
request takes the connection that was used last, or a new one, and has it alone.
"""

import select
import socket
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, NamedTuple, Self

import anyio
import httpcore
import httpx

_KEPT = 5.0  # seconds; servers hang up on who is silent for longer


def lean(client: httpx.AsyncClient, *, keep: bool) -> None:
    """Let a client's stock transport take its connections from here.

    With `keep` a connection serves one request after the other; else each request has
    a fresh one. Nothing is ever sent twice.
    """
    # httpx has no argument for it.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        stock: Any = transport
        if stock is not None:
            stock._pool = _Connections(stock._pool, keep=keep)  # noqa: SLF001


class _Connection(NamedTuple):
    """One that has answered, and serves nobody just now."""

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


class _Connections:
    """Made by the stock pool, which knows proxies and TLS; taken one by one."""

    def __init__(self, stock: httpcore.AsyncConnectionPool, *, keep: bool) -> None:
        self._stock = stock
        self._keep = keep
        self._idle: list[_Connection] = []

    async def handle_async_request(
        self, request: httpcore.Request
    ) -> httpcore.Response:
        """Send a request over a connection that nobody else uses, once."""
        http, plug = await self._take(request.url.origin)
        try:
            response = await http.handle_async_request(request)
        except BaseException:
            await _close(http)
            raise
        if self._keep and plug is None:
            stream = response.extensions["network_stream"]
            plug = stream.get_extra_info("socket")  # costly: once for each connection
        return httpcore.Response(
            response.status,
            headers=response.headers,
            content=_Body(self, http, plug, response.stream),
            extensions=response.extensions,
        )

    async def _take(
        self, origin: httpcore.Origin
    ) -> tuple[httpcore.AsyncConnectionInterface, socket.socket | None]:
        while self._idle:
            found = self._idle.pop()
            if found.http.can_handle_request(origin) and found.is_good:
                return found.http, found.socket
            await _close(found.http)
        return self._stock.create_connection(origin), None

    async def give_back(
        self, http: httpcore.AsyncConnectionInterface, plug: socket.socket | None
    ) -> None:
        """Its answer was read, or will not be."""
        if self._keep and http.is_idle():
            self._idle.append(_Connection(http, anyio.current_time(), plug))
        else:
            await _close(http)

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            await _close(self._idle.pop().http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Body:
    """An answer's body, which gives its connection back at the end."""

    def __init__(
        self,
        pool: _Connections,
        http: httpcore.AsyncConnectionInterface,
        plug: socket.socket | None,
        stream: Any,
    ) -> None:
        self._pool = pool
        self._http = http
        self._plug = plug
        self._stream = stream
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = self._stream.__aiter__()
        return chunks

    async def aclose(self) -> None:
        """Nothing more of it is wanted."""
        if self._open:
            self._open = False
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
                await self._pool.give_back(self._http, self._plug)


async def _close(http: httpcore.AsyncConnectionInterface) -> None:
    with anyio.CancelScope(shield=True):
        await http.aclose()
