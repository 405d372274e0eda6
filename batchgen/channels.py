"""A connection to the API that answers one request after the other, each by itself.

The bytes go over anyio's own streams. What httpcore has between those and HTTP, its
locks and traces for requests that share a connection and a timer for each call, costs
as much as a small reading. Submissions go through it all the same: its trace events
alone prove how far one came.
"""

import select
import socket
import ssl
from collections.abc import Mapping
from typing import Protocol, Self

import anyio
import httpcore
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream

from batchgen.errors import Unavailable
from batchgen.http1 import KEPT, READ, Garbled, Incoming, Raw, request


def is_quiet(found: socket.socket) -> bool:
    """Whether nothing is there to read, not even the end.

    Of a connection that stands at its beginning, all that could be there is its end.
    """
    poll = select.poll()
    poll.register(found, select.POLLIN)
    return not poll.poll(0)


class Stream(Protocol):
    """Bytes both ways, as anyio's streams carry them."""

    async def send(self, item: bytes, /) -> None:
        """All of these."""

    async def receive(self, max_bytes: int = ..., /) -> bytes:
        """What comes next; EndOfStream, or nothing, at the end."""

    async def aclose(self) -> None:
        """Hang up."""


class _Beneath:
    """A stream of httpcore's, where somebody has put another network beneath."""

    def __init__(
        self, stream: httpcore.AsyncNetworkStream, limits: Mapping[str, float]
    ) -> None:
        self._stream = stream
        self._limits = limits

    async def send(self, item: bytes, /) -> None:
        """All of these."""
        await self._stream.write(item, self._limits["write"])

    async def receive(self, max_bytes: int = READ, /) -> bytes:
        """What comes next; nothing at the end."""
        return await self._stream.read(max_bytes, self._limits["read"])

    async def aclose(self) -> None:
        """Hang up."""
        await self._stream.aclose()


class Channel:
    """To one origin, straight; whoever takes it has it alone.

    Raises httpcore's errors for whatever comes in place of an answer. How long that
    may take is for the caller to say.
    """

    def __init__(self, stream: Stream, plug: socket.socket | None = None) -> None:
        self._stream = stream
        self._socket = plug
        self._since = anyio.current_time()
        self._stays = True

    @classmethod
    async def open(
        cls, host: str, port: int, context: ssl.SSLContext | None, patience: float
    ) -> Self:
        """Connect; over TLS if there is a context to judge the host's certificate by.

        `patience` is in seconds.
        """
        try:
            with anyio.fail_after(patience):
                stream: SocketStream | TLSStream
                if context is None:
                    stream = await anyio.connect_tcp(host, port)
                else:
                    stream = await anyio.connect_tcp(
                        host, port, ssl_context=context, tls_standard_compatible=False
                    )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise httpcore.ConnectError(str(error)) from error
        plug = stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610 - not Django
        return cls(stream, plug)

    @classmethod
    async def upon(
        cls,
        network: httpcore.AsyncNetworkBackend,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        limits: Mapping[str, float],
    ) -> Self:
        """Connect by way of another network.

        `limits` are seconds for each `connect`, `write` and `read`.
        """
        patience = limits["connect"]
        stream = await network.connect_tcp(host, port, timeout=patience)
        if context is not None:
            stream = await stream.start_tls(context, host, timeout=patience)
        return cls(_Beneath(stream, limits))

    @property
    def is_idle(self) -> bool:
        """Whether it has answered whole, and both sides would go on."""
        return self._stays

    @property
    def is_good(self) -> bool:
        """Whether an idle one can be used once more, as far as anybody can tell."""
        if anyio.current_time() - self._since > KEPT:
            return False
        return self._socket is None or is_quiet(self._socket)

    async def ask(
        self,
        method: str,
        target: bytes,
        headers: Mapping[str, str],
        body: bytes,
        most: int,
    ) -> Raw:
        """Send a request; its whole answer.

        Raises:
            Unavailable: the answer has more bytes than `most`.
        """
        self._stays = False
        answer = Incoming()
        try:
            said = request(method, target, headers, body)
        except ValueError as error:
            raise httpcore.LocalProtocolError(str(error)) from error
        try:
            await self._stream.send(said)
            while not answer.is_whole:
                answer.feed(await self._next())
                if answer.size > most:
                    raise Unavailable(f"an answer of over {most} bytes")
        except Garbled as error:
            raise httpcore.RemoteProtocolError(str(error)) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error.__cause__ or error)) from error
        self._stays = answer.stays
        self._since = anyio.current_time()
        return Raw(answer.status, answer.headers, b"".join(answer.pieces))

    async def _next(self) -> bytes:
        try:
            return await self._stream.receive(READ)
        except anyio.EndOfStream:
            return b""

    async def aclose(self) -> None:
        """Hang up."""
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()
