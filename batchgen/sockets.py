"""Connections of downloads: a deadline over many reads, and the way through a proxy.

A timeout counts from each byte that comes, so a server that sends one now and then is
waited for without end. A body of known length is just the next so many bytes of the
socket, and goes straight to its reader.
"""

import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import httpx

from batchgen.channels import is_quiet
from batchgen.http1 import KEPT, READ, Garbled, Incoming, request

_LOOPBACK = "127.0.0.1"
_MOST_KEPT = 32  # more than may be fetched at once
_MOST_WELCOME = 16 << 10  # of a proxy's answer
_TICK = 0.25  # seconds of one call; then its caller looks whether to go on
_CONNECT, _WRITE, SILENCE = 10.0, 10.0, 30.0  # seconds
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)

T = TypeVar("T")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """All that this thread asks of a `Wire` until the body takes no longer.

    What is too late raises httpx.ConnectTimeout, WriteTimeout or ReadTimeout.
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class Proxy(NamedTuple):
    """Who opens connections for us; `secret` is what it knows us by, or empty."""

    host: str
    port: int
    secret: str = ""

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Proxy({self.host}:{self.port})"


def proxy_of(text: str | None) -> Proxy | None:
    """A proxy that can be asked for a connection; None for other kinds, or for none."""
    try:
        url = httpx.URL(text or "")
    except (httpx.InvalidURL, ValueError):
        return None
    if url.scheme != "http" or not url.host:
        return None
    words = f"{url.username}:{url.password}".encode() if url.userinfo else b""
    return Proxy(url.host, url.port or 80, base64.b64encode(words).decode())


class Question(NamedTuple):
    """What a server is asked for: a file, by GET.

    Attributes:
        url: its host is the address that is dialled.
        name: whose certificate it must be.
        headers: all that are sent.
    """

    url: httpx.URL
    name: str
    headers: Mapping[str, str]


class Served(Protocol):
    """An answer whose body is still to come. Close it."""

    @property
    def status(self) -> int:
        """Of HTTP."""

    @property
    def headers(self) -> Mapping[str, str]:
        """With names in lower case."""

    def read_into(self, view: memoryview) -> int | None:
        """How many bytes of the body came; 0 at its end, None if none for a while.

        It comes back when the view is full, or after about a quarter of a second.

        Raises:
            httpx.TransportError: it broke.
            OSError: the same.
        """

    def close(self) -> None:
        """Take no more of it."""


class Carrier(Protocol):
    """Asks servers for files; a test hands in another one. Close it."""

    def ask(self, question: Question) -> Served:
        """The head of the answer.

        Raises:
            httpx.TransportError: none came.
        """

    def close(self) -> None:
        """Hang up where a connection is kept for the next question."""


class _Way(NamedTuple):
    """Where a connection leads, and whose certificate was seen there."""

    sealed: bool
    host: str
    port: int
    name: str


class Wire:
    """HTTP/1.1, one question after the other on a connection, by any thread.

    A connection answers only for the address and the name that it was checked for, and
    only while both sides would go on. It keeps the deadline of `within`. With a proxy
    each is opened through it, but for those to this machine. It is asked for the
    address that was checked, so it cannot look up another one; TLS goes from here to
    the server.
    """

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._proxy = proxy
        self._shelf = _Shelf()

    def ask(self, question: Question) -> "Line":
        """Send a request without a body; the head of its answer.

        Raises:
            httpx.TransportError: no answer came.
        """
        url, sealed = question.url, question.url.scheme == "https"
        port = url.port or (443 if sealed else 80)
        way = _Way(sealed, url.host, port, question.name)
        while (line := self._shelf.take(way)) is not None:
            # A server may hang up just now; whoever is asked for a file may be asked
            # again.
            with suppress(httpx.NetworkError, httpx.RemoteProtocolError):
                return _asked(line, question)
        return _asked(self._dial(way), question)

    def close(self) -> None:
        """Hang up where a connection is kept for the next question; keep none more."""
        self._shelf.close()

    def _dial(self, way: _Way) -> "Line":
        host, port = way.host, way.port
        proxy = None if host == _LOOPBACK else self._proxy
        where = (host, port) if proxy is None else (proxy.host, proxy.port)
        try:
            left = _left(_CONNECT, httpx.ConnectTimeout)
            plug = socket.create_connection(where, left)
        except OSError as error:
            raise _trouble(error, httpx.ConnectTimeout, httpx.ConnectError) from error
        line = Line(plug, way, self._shelf)
        try:
            if proxy is not None:
                _tunnel(line, f"[{host}]" if ":" in host else host, port, proxy)
            if way.sealed:
                line.seal(self._context, way.name)
            line.plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            line.hang_up()
            raise
        return line


class _Shelf:
    """Connections between two questions; no thread sees one that another has."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def take(self, way: _Way) -> "Line | None":
        """The last that was put here of those that lead there and still answer."""
        while True:
            now = time.monotonic()
            with self._lock:
                stale = [one for one in self._lines if now - one.since > KEPT]
                fresh = [one for one in self._lines if now - one.since <= KEPT]
                found = next((one for one in reversed(fresh) if one.way == way), None)
                self._lines = [one for one in fresh if one is not found]
            for line in stale:
                line.hang_up()
            if found is None or found.is_quiet:
                return found
            found.hang_up()

    def put(self, line: "Line") -> None:
        """Keep it for a while, in place of the oldest if there are many."""
        line.since = time.monotonic()
        with self._lock:
            self._lines.append(line)
            room = 0 if self._is_closed else _MOST_KEPT
            over = max(0, len(self._lines) - room)
            many, self._lines = self._lines[:over], self._lines[over:]
        for one in many:
            one.hang_up()

    def close(self) -> None:
        """Hang up, and keep nothing from now on."""
        with self._lock:
            lines, self._lines, self._is_closed = self._lines, [], True
        for line in lines:
            line.hang_up()


def _asked(line: "Line", question: Question) -> "Line":
    try:
        line.ask(question)
    except BaseException:
        line.hang_up()
        raise
    return line


def _left(timeout: float, late: type[httpx.TimeoutException]) -> float:
    """The seconds that one step may take."""
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the whole answer's head took too long")
    return min(timeout, left)


def _patiently(
    call: Callable[[], T],
    seconds: float,
    late: type[httpx.TimeoutException],
    other: type[httpx.TransportError],
) -> T:
    """A call to a socket, as often as it takes until it neither fails nor times out.

    So the socket's own timeout stays: to set another is a call to the system.
    """
    until = time.monotonic() + _left(seconds, late)
    while True:
        try:
            return call()
        except TimeoutError as error:
            if time.monotonic() >= until:
                raise late(str(error)) from error
        except OSError as error:
            raise other(str(error)) from error


def _trouble(
    error: Exception,
    late: type[httpx.TimeoutException],
    other: type[httpx.TransportError],
) -> httpx.TransportError:
    return (late if isinstance(error, TimeoutError) else other)(str(error))


class Line:
    """A connection whose every call ends by the deadline; also the answer on it.

    Attributes:
        plug: its socket.
        way: where it leads.
        since: when it was put on the shelf.
        status: of the answer.
        headers: of the answer, with names in lower case.
    """

    def __init__(self, plug: socket.socket, way: _Way, shelf: _Shelf) -> None:
        plug.settimeout(_TICK)
        self.plug = plug
        self.way = way
        self.since = 0.0
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._shelf = shelf
        self._is_asked = False
        self._answer = Incoming()
        self._ahead = memoryview(b"")
        # Bytes of the body that are still to be taken from the socket; None where its
        # end must be found.
        self._left: int | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing came between two questions, not even the end."""
        # TLS may have opened more than was asked for.
        ahead = self.plug.pending() if isinstance(self.plug, ssl.SSLSocket) else 0
        return not ahead and is_quiet(self.plug)

    def seal(self, context: ssl.SSLContext, name: str) -> None:
        """Speak TLS from here on, with whoever has this name's certificate."""
        try:
            # The ssl module holds a whole handshake to its timeout.
            left = _left(_CONNECT, httpx.ConnectTimeout)
            self.plug.settimeout(left)
            self.plug = context.wrap_socket(self.plug, server_hostname=name)
            self.plug.settimeout(_TICK)
        except (OSError, ValueError) as error:
            raise _trouble(error, httpx.ConnectTimeout, httpx.ConnectError) from error

    def write(self, data: bytes) -> None:
        """Send all of it."""
        while data:
            send = partial(self.plug.send, data)
            sent = _patiently(send, _WRITE, httpx.WriteTimeout, httpx.WriteError)
            data = data[sent:]

    def read(self, most: int) -> bytes:
        """What comes next; nothing at the end."""
        receive = partial(self.plug.recv, most)
        return _patiently(receive, SILENCE, httpx.ReadTimeout, httpx.ReadError)

    def ask(self, question: Question) -> None:
        """Send a request, and read the head of its answer.

        Raises:
            httpx.TransportError: none came.
        """
        answer = self._answer = Incoming()
        self._is_asked = True
        try:
            target = question.url.raw_path
            self.write(request("GET", target, question.headers))
        except ValueError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        while not answer.is_begun:
            self._feed(self.read(READ))
        self.status, self.headers = answer.status, answer.headers
        self._left = None
        if answer.length is not None and not answer.is_whole:
            self._left = answer.length - answer.size
        self._turn()

    def _feed(self, data: bytes) -> None:
        try:
            self._answer.feed(data)
        except Garbled as error:
            raise httpx.RemoteProtocolError(str(error)) from error

    def _turn(self) -> None:
        """What the parser found of the body is the next to be read."""
        self._ahead = memoryview(b"".join(self._answer.pieces))
        self._answer.pieces.clear()

    def read_into(self, view: memoryview) -> int | None:
        """How many bytes of the body came; see `Served`."""
        if not self._ahead:
            if self._left is not None:
                return self._receive_into(view[: self._left])
            if self._answer.is_whole:
                return 0
            try:
                self._feed(self.plug.recv(READ))
            except TimeoutError:
                return None
            self._turn()
            if not self._ahead:
                return 0 if self._answer.is_whole else None
        count = min(len(view), len(self._ahead))
        view[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        return count

    def _receive_into(self, view: memoryview) -> int | None:
        """Fill the view: TLS gives 16 KiB at a time, too little to wake anybody for."""
        count = 0
        until = time.monotonic() + _TICK
        try:
            while count < len(view) and (came := self.plug.recv_into(view[count:])):
                count += came
                if time.monotonic() >= until:
                    break
        except OSError as error:
            # What came before it is not lost; the next call meets it again.
            if not count:
                if isinstance(error, TimeoutError):
                    return None
                raise
        left = self._left = (self._left or 0) - count
        if not count and left:
            raise httpx.RemoteProtocolError("it hung up within its answer")
        return count

    def close(self) -> None:
        """Take no more of the answer; if there is no more, the line may be asked again.

        Of a body that was not read to its end, the rest would come before an answer.
        """
        asked, self._is_asked = self._is_asked, False
        is_read = not self._ahead and (self._left == 0 or self._answer.is_whole)
        if asked and is_read and self._answer.stays:
            self._shelf.put(self)
        elif asked:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection."""
        self.plug.close()


def _tunnel(line: Line, host: str, port: int, proxy: Proxy) -> None:
    """Have a proxy connect us to an address.

    Raises:
        httpx.ConnectError: it does not; nothing was said to the server.
    """
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    if proxy.secret:
        lines.append(f"Proxy-Authorization: Basic {proxy.secret}")
    line.write("".join(f"{text}\r\n" for text in [*lines, ""]).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        some = line.read(_MOST_WELCOME)
        head += some
        if not some or len(head) > _MOST_WELCOME:
            raise httpx.ConnectError("the proxy did not answer as one")
    version, _, rest = head.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not head.endswith(b"\r\n\r\n"):
        raise httpx.ConnectError("the proxy did not answer as one")
    if not rest.startswith(b"2"):
        status = rest[:3].decode("ascii", "replace")
        raise httpx.ConnectError(f"the proxy answered {status} to a connection")
