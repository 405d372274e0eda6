"""Connections of downloads: a deadline over many reads, and the way through a proxy.

A timeout counts from each byte that comes, so a server that sends one now and then is
waited for without end. h11 speaks HTTP, as it does beneath httpx; a body of known
length is just the next so many bytes of the socket, and goes straight to its reader.
"""

import base64
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol

import h11
import httpx

from batchgen.channels import headers_of

_LOOPBACK = "127.0.0.1"
_MOST_HEAD = 100 << 10  # of an answer
_MOST_WELCOME = 16 << 10  # of a proxy's
_READ = 64 << 10
_TICK = 0.25  # seconds after which the reader of a body is asked whether it goes on
_CONNECT, _WRITE, SILENCE = 10.0, 10.0, 30.0  # seconds
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


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
        """Hang up."""


class Carrier(Protocol):
    """Asks servers for files; a test hands in another one."""

    def ask(self, question: Question) -> Served:
        """The head of the answer.

        Raises:
            httpx.TransportError: none came.
        """


class Wire:
    """Each request on an HTTP/1.1 connection of its own, and nothing kept of it.

    A kept connection would have been checked for one name only. Connections keep the
    deadline of `within`. With a proxy each is opened through it, but for those to this
    machine. It is asked for the address that was checked, so it cannot look up another
    one; TLS goes from here to the server.
    """

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._proxy = proxy

    def ask(self, question: Question) -> "Line":
        """Send a request without a body; the head of its answer.

        Raises:
            httpx.TransportError: no answer came.
        """
        line = self._dial(question)
        try:
            line.ask(question)
        except BaseException:
            line.close()
            raise
        return line

    def _dial(self, question: Question) -> "Line":
        url = question.url
        sealed, host = url.scheme == "https", url.host
        port = url.port or (443 if sealed else 80)
        proxy = None if host == _LOOPBACK else self._proxy
        where = (host, port) if proxy is None else (proxy.host, proxy.port)
        try:
            left = _left(_CONNECT, httpx.ConnectTimeout)
            plug = socket.create_connection(where, left)
        except OSError as error:
            raise _trouble(error, httpx.ConnectTimeout, httpx.ConnectError) from error
        line = Line(plug)
        try:
            if proxy is not None:
                _tunnel(line, f"[{host}]" if ":" in host else host, port, proxy)
            if sealed:
                line.seal(self._context, question.name)
            line.plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            line.close()
            raise
        return line


def _left(timeout: float, late: type[httpx.TimeoutException]) -> float:
    """The seconds that one call may take."""
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the whole answer's head took too long")
    return min(timeout, left)


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
        status: of the answer.
        headers: of the answer, with names in lower case.
        left: bytes of the body that are still to be taken from the socket; None where
            h11 must find the body's end.
    """

    def __init__(self, plug: socket.socket) -> None:
        self.plug = plug
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.left: int | None = None
        self._ahead = memoryview(b"")
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)

    def seal(self, context: ssl.SSLContext, name: str) -> None:
        """Speak TLS from here on, with whoever has this name's certificate."""
        try:
            # The ssl module holds a whole handshake to its timeout.
            left = _left(_CONNECT, httpx.ConnectTimeout)
            self.plug.settimeout(left)
            self.plug = context.wrap_socket(self.plug, server_hostname=name)
        except (OSError, ValueError) as error:
            raise _trouble(error, httpx.ConnectTimeout, httpx.ConnectError) from error

    def write(self, data: bytes) -> None:
        """Send all of it."""
        try:
            self.plug.settimeout(_left(_WRITE, httpx.WriteTimeout))
            self.plug.sendall(data)
        except OSError as error:
            raise _trouble(error, httpx.WriteTimeout, httpx.WriteError) from error

    def read(self, most: int) -> bytes:
        """What comes next; nothing at the end."""
        try:
            self.plug.settimeout(_left(SILENCE, httpx.ReadTimeout))
            return self.plug.recv(most)
        except OSError as error:
            raise _trouble(error, httpx.ReadTimeout, httpx.ReadError) from error

    def ask(self, question: Question) -> None:
        """Send a request, and read the head of its answer."""
        head = h11.Request(
            method="GET",
            target=question.url.raw_path,
            headers=list(question.headers.items()),
        )
        said = self._http.send(head) or b""
        self.write(said + (self._http.send(h11.EndOfMessage()) or b""))
        while not isinstance(answer := self._next(), h11.Response):
            if not isinstance(answer, h11.InformationalResponse):
                raise httpx.RemoteProtocolError("it did not begin with an answer")
        self.status = answer.status_code
        self.headers = headers_of(list(answer.headers))
        length = self.headers.get("content-length", "")
        if length.isdecimal() and "transfer-encoding" not in self.headers:
            ahead = self._http.trailing_data[0][: int(length)]
            self._ahead, self.left = memoryview(ahead), int(length) - len(ahead)
            self.plug.settimeout(_TICK)

    def read_into(self, view: memoryview) -> int | None:
        """How many bytes of the body came; see `Served`."""
        if not self._ahead:
            if self.left is not None:
                return self._receive_into(view[: self.left])
            event = self._next()
            if not isinstance(event, h11.Data):
                return 0
            self._ahead = memoryview(bytes(event.data))
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
        self.left = (self.left or 0) - count
        return count

    def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = self.read(_READ)
                if not data and self._http.their_state is h11.SEND_RESPONSE:
                    raise httpx.RemoteProtocolError("it hung up without an answer")
                self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        return event

    def close(self) -> None:
        """Hang up."""
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
