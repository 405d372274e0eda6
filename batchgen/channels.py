"""A connection to the API that answers one request after the other, each by itself.

h11 speaks HTTP, as it does beneath httpx, and the bytes go over a stream of httpcore's
network backends. What httpcore has between the two, its locks and traces for requests
that share a connection, costs as much as a small reading. Submissions go through it all
the same: its trace events alone prove how far one came.
"""

import select
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import anyio
import h11
import httpcore

from batchgen.errors import Unavailable

KEPT = 5.0  # seconds; servers hang up on who is silent for longer
_MOST_HEAD = 100 << 10  # of an answer
_READ = 64 << 10


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def headers_of(raw: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Headers as text; one that was sent twice is joined by a comma."""
    found: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("ascii").lower(), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


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
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self._socket: socket.socket | None = stream.get_extra_info("socket")
        self._since = anyio.current_time()

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
        return self._http.our_state is h11.IDLE

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
        http = self._http
        try:
            head = h11.Request(
                method=method, target=target, headers=list(headers.items())
            )
            said = [http.send(head), http.send(h11.Data(body)) if body else b""]
            said.append(http.send(h11.EndOfMessage()))
            await self._stream.write(
                b"".join(filter(None, said)), self._limits["write"]
            )
            answer, whole = await self._answer(most)
            done = http.our_state is h11.DONE and http.their_state is h11.DONE
            # What came beyond the answer would be taken for the next one.
            if done and not http.trailing_data[0]:
                http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            raise httpcore.RemoteProtocolError(str(error)) from error
        except h11.LocalProtocolError as error:
            raise httpcore.LocalProtocolError(str(error)) from error
        self._since = anyio.current_time()
        return Raw(answer.status_code, headers_of(list(answer.headers)), whole)

    async def _answer(self, most: int) -> tuple[h11.Response, bytes]:
        answer: h11.Response | None = None
        chunks, size = [], 0
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                size += len(event.data)
                if size > most:
                    raise Unavailable(f"an answer of over {most} bytes")
                chunks.append(event.data)
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.EndOfMessage) and answer is not None:
                return answer, b"".join(chunks)
            elif not isinstance(event, h11.InformationalResponse):
                raise httpcore.RemoteProtocolError("it ended in another way")

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._stream.read(_READ, self._limits["read"])
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise httpcore.RemoteProtocolError("it hung up without an answer")
            self._http.receive_data(data)
        return event

    async def aclose(self) -> None:
        """Hang up."""
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()
