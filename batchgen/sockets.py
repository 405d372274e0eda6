"""Connections of downloads: a deadline over many reads, and the way through a proxy.

A timeout counts from each byte that comes, so a server that sends one now and then is
waited for without end.
"""

import base64
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import h11
import httpx

_LOOPBACK = "127.0.0.1"
_MOST_HEAD = 100 << 10  # of an answer
_MOST_WELCOME = 16 << 10  # of a proxy's
_READ = 64 << 10
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


class Wire(httpx.BaseTransport):
    """Each request on an HTTP/1.1 connection of its own, and nothing kept of it.

    A kept connection would have been checked for one name only. Connections keep the
    deadline of `within`. With a proxy each is opened through it, but for those to this
    machine. It is asked for the address that was checked, so it cannot look up another
    one; TLS goes from here to the server.

    h11 speaks HTTP, as it does beneath httpx; what lies between them, pools and
    streams, cost a third of the request for a small clip.
    """

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._proxy = proxy

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request without a body; the answer's body is still to be read.

        Raises:
            httpx.TransportError: no answer came.
        """
        line = self._dial(request)
        try:
            answer = line.ask(request)
        except BaseException:
            line.close()
            raise
        return httpx.Response(
            answer.status_code,
            headers=answer.headers.raw_items(),
            stream=line,
            extensions={
                "http_version": b"HTTP/" + answer.http_version,
                "network_stream": line,
            },
        )

    def _dial(self, request: httpx.Request) -> "_Line":
        url, timeouts = request.url, request.extensions["timeout"]
        sealed, host = url.scheme == "https", url.host
        port = url.port or (443 if sealed else 80)
        proxy = None if host == _LOOPBACK else self._proxy
        where = (host, port) if proxy is None else (proxy.host, proxy.port)
        try:
            left = _left(timeouts["connect"], httpx.ConnectTimeout)
            plug = socket.create_connection(where, left)
        except OSError as error:
            raise _trouble(error, httpx.ConnectTimeout, httpx.ConnectError) from error
        line = _Line(plug, timeouts)
        try:
            if proxy is not None:
                _tunnel(line, f"[{host}]" if ":" in host else host, port, proxy)
            if sealed:
                line.seal(self._context, request.extensions["sni_hostname"])
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


class _Line(httpx.SyncByteStream):
    """A connection whose every call ends by the deadline; also the answer's body."""

    def __init__(self, plug: socket.socket, timeouts: Mapping[str, float]) -> None:
        self.plug = plug
        self._timeouts = timeouts
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)

    def seal(self, context: ssl.SSLContext, name: str) -> None:
        """Speak TLS from here on, with whoever has this name's certificate."""
        try:
            # The ssl module holds a whole handshake to its timeout.
            left = _left(self._timeouts["connect"], httpx.ConnectTimeout)
            self.plug.settimeout(left)
            self.plug = context.wrap_socket(self.plug, server_hostname=name)
        except (OSError, ValueError) as error:
            raise _trouble(error, httpx.ConnectTimeout, httpx.ConnectError) from error

    def write(self, data: bytes) -> None:
        """Send all of it."""
        try:
            self.plug.settimeout(_left(self._timeouts["write"], httpx.WriteTimeout))
            self.plug.sendall(data)
        except OSError as error:
            raise _trouble(error, httpx.WriteTimeout, httpx.WriteError) from error

    def read(self, most: int) -> bytes:
        """What comes next; nothing at the end."""
        try:
            self.plug.settimeout(_left(self._timeouts["read"], httpx.ReadTimeout))
            return self.plug.recv(most)
        except OSError as error:
            raise _trouble(error, httpx.ReadTimeout, httpx.ReadError) from error

    def ask(self, request: httpx.Request) -> h11.Response:
        """The head of the answer to a request."""
        head = h11.Request(
            method=request.method,
            target=request.url.raw_path,
            headers=request.headers.raw,
        )
        said = self._http.send(head) or b""
        self.write(said + (self._http.send(h11.EndOfMessage()) or b""))
        while not isinstance(event := self._next(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise httpx.RemoteProtocolError("the server hung up without an answer")
        return event

    def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(self.read(_READ))
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        return event

    def __iter__(self) -> Iterator[bytes]:
        while isinstance(event := self._next(), h11.Data):
            yield bytes(event.data)

    def close(self) -> None:
        self.plug.close()

    def get_extra_info(self, info: str) -> socket.socket | None:
        """What httpx's own streams tell, as far as it is asked for here."""
        return self.plug if info == "socket" else None


def _tunnel(line: _Line, host: str, port: int, proxy: Proxy) -> None:
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
