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

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def send(self, item: bytes, /) -> None:
        """All of these."""
        await self._stream.write(item)

    async def receive(self, max_bytes: int = READ, /) -> bytes:
        """What comes next; nothing at the end."""
        return await self._stream.read(max_bytes)

    async def aclose(self) -> None:
        """Hang up."""
        await self._stream.aclose()


class Channel:
    """To one origin, straight; whoever takes it has it alone.

    Raises httpcore's errors for whatever comes in place of an answer. `silence` is how
    many seconds may pass without a byte of it.
    """

    def __init__(
        self, stream: Stream, silence: float, plug: socket.socket | None = None
    ) -> None:
        self._stream = stream
        self._silence = silence
        self._socket = plug
        self._since = anyio.current_time()
        self._stays = True

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        limits: Mapping[str, float],
    ) -> Self:
        """Connect; over TLS if there is a context to judge the host's certificate by.

        `limits` are seconds, to `connect` and of a silent `read`.
        """
        try:
            with anyio.fail_after(limits["connect"]):
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
        return cls(stream, limits["read"], plug)

    @classmethod
    async def upon(
        cls,
        network: httpcore.AsyncNetworkBackend,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        limits: Mapping[str, float],
    ) -> Self:
        """Connect by way of another network; see `open`."""
        patience = limits["connect"]
        stream = await network.connect_tcp(host, port, timeout=patience)
        if context is not None:
            stream = await stream.start_tls(context, host, timeout=patience)
        return cls(_Beneath(stream), limits["read"])

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
        within: float,
    ) -> Raw:
        """Send a request; its whole answer, in so many seconds.

        Raises:
            Unavailable: the answer has more bytes than `most`.
        """
        self._stays = False
        until = anyio.current_time() + within
        answer = Incoming()
        try:
            said = request(method, target, headers, body)
        except ValueError as error:
            raise httpcore.LocalProtocolError(str(error)) from error
        # One timer for both: until the next byte, and until the last.
        first = until if body else self._next_by(until)
        with anyio.CancelScope(deadline=first) as patience:
            try:
                await self._stream.send(said)
                if body:
                    patience.deadline = self._next_by(until)
                while not answer.is_whole:
                    answer.feed(await self._next())
                    if answer.size > most:
                        raise Unavailable(f"an answer of over {most} bytes")
                    if not answer.is_whole:
                        patience.deadline = self._next_by(until)
            except Garbled as error:
                raise httpcore.RemoteProtocolError(str(error)) from error
            except (
                anyio.BrokenResourceError,
                anyio.ClosedResourceError,
                anyio.EndOfStream,
            ) as error:
                raise httpcore.ReadError(str(error.__cause__ or error)) from error
        if not answer.is_whole:
            raise httpcore.ReadTimeout("no whole answer came in time")
        self._stays = answer.stays
        self._since = anyio.current_time()
        return Raw(answer.status, answer.headers, b"".join(answer.pieces))

    def _next_by(self, until: float) -> float:
        return min(until, anyio.current_time() + self._silence)

    async def _next(self) -> bytes:
        try:
            return await self._stream.receive(READ)
        except anyio.EndOfStream:
            return b""

    async def aclose(self) -> None:
        """Hang up."""
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()
