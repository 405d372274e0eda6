"""A connection to the API that answers one request after the other, each by itself.

The bytes go over a stream of httpcore's network backends. What httpcore has between it
and HTTP, its locks and traces for requests that share a connection, costs as much as a
small reading. Submissions go through it all the same: its trace events alone prove how
far one came.
"""

import select
import socket
import ssl
from collections.abc import Mapping
from typing import Self

import anyio
import httpcore

from batchgen.errors import Unavailable
from batchgen.http1 import KEPT, READ, Garbled, Incoming, Raw, request


def is_quiet(found: socket.socket) -> bool:
    """Whether nothing is there to read, not even the end.

    Of a connection that stands at its beginning, all that could be there is its end.
    """
    poll = select.poll()
    poll.register(found, select.POLLIN)
    return not poll.poll(0)


class Channel:
    """To one origin, straight; whoever takes it has it alone.

    Raises httpcore's errors for whatever comes in place of an answer.
    """

    def __init__(
        self, stream: httpcore.AsyncNetworkStream, limits: Mapping[str, float]
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._socket: socket.socket | None = stream.get_extra_info("socket")
        self._since = anyio.current_time()
        self._stays = True

    @classmethod
    async def open(
        cls,
        network: httpcore.AsyncNetworkBackend,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        limits: Mapping[str, float],
    ) -> Self:
        """Connect; over TLS if there is a context to judge the host's certificate by.

        `limits` are seconds for each `connect`, `write` and `read`.
        """
        patience = limits["connect"]
        stream = await network.connect_tcp(host, port, timeout=patience)
        if context is not None:
            stream = await stream.start_tls(context, host, timeout=patience)
        return cls(stream, limits)

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
        await self._stream.write(said, self._limits["write"])
        try:
            while not answer.is_whole:
                answer.feed(await self._stream.read(READ, self._limits["read"]))
                if answer.size > most:
                    raise Unavailable(f"an answer of over {most} bytes")
        except Garbled as error:
            raise httpcore.RemoteProtocolError(str(error)) from error
        self._stays = answer.stays
        self._since = anyio.current_time()
        return Raw(answer.status, answer.headers, b"".join(answer.pieces))

    async def aclose(self) -> None:
        """Hang up."""
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()
