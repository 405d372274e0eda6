"""Connections of downloads: a deadline over many reads, and the way through a proxy.

A timeout counts from each byte that comes, so a server that sends one now and then is
waited for without end.
"""

import base64
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import httpcore
import httpx

_LOOPBACK = "127.0.0.1"
_MOST_HEAD = 16 << 10  # of a proxy's answer
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
    """

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        self._context = context
        self._backend = _Backend(proxy)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request once; the answer's body is still to be read.

        Raises:
            httpx.TransportError: no answer came.
        """
        url = request.url
        wanted = httpcore.URL(
            scheme=url.raw_scheme,
            host=url.raw_host,
            port=url.port,
            target=url.raw_path,
        )
        line = httpcore.HTTPConnection(
            wanted.origin, self._context, network_backend=self._backend
        )
        asked = httpcore.Request(
            request.method,
            wanted,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            answer = line.handle_request(asked)
        except BaseException as error:
            line.close()
            if isinstance(error, _TROUBLE):
                raise _as_httpx(error) from error
            raise
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Answered(line, answer),
            extensions=answer.extensions,
        )


class _Answered(httpx.SyncByteStream):
    """An answer's body, with which its connection ends."""

    def __init__(
        self, line: httpcore.HTTPConnection, answer: httpcore.Response
    ) -> None:
        self._line = line
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._answer.iter_stream()
        except _TROUBLE as error:
            raise _as_httpx(error) from error

    def close(self) -> None:
        self._line.close()


_TROUBLE = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)


def _as_httpx(error: Exception) -> httpx.TransportError:
    """The same trouble under the name that httpx has for it."""
    kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
    return kind(str(error))


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """The seconds that one call may take."""
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the whole answer's head took too long")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose every call ends by the deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        # The ssl module holds a whole handshake to its timeout.
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Real sockets that keep the deadline."""

    def __init__(self, proxy: Proxy | None) -> None:
        self._proxy = proxy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        proxy = None if host == _LOOPBACK else self._proxy
        where = (host, port) if proxy is None else (proxy.host, proxy.port)
        found = super().connect_tcp(*where, left, local_address, socket_options)
        stream = _Stream(found)
        if proxy is not None:
            try:
                _tunnel(stream, f"[{host}]" if ":" in host else host, port, proxy, left)
            except BaseException:
                stream.close()
                raise
        return stream


def _tunnel(
    stream: _Stream, host: str, port: int, proxy: Proxy, timeout: float | None
) -> None:
    """Have a proxy connect us to an address.

    Raises:
        httpcore.ConnectError: it does not; nothing was said to the server.
    """
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    if proxy.secret:
        lines.append(f"Proxy-Authorization: Basic {proxy.secret}")
    stream.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode(), timeout)
    head = b""
    while b"\r\n\r\n" not in head:
        some = stream.read(_MOST_HEAD, timeout)
        head += some
        if not some or len(head) > _MOST_HEAD:
            raise httpcore.ConnectError("the proxy did not answer as one")
    version, _, rest = head.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not head.endswith(b"\r\n\r\n"):
        raise httpcore.ConnectError("the proxy did not answer as one")
    if not rest.startswith(b"2"):
        status = rest[:3].decode("ascii", "replace")
        raise httpcore.ConnectError(f"the proxy answered {status} to a connection")
