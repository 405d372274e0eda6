"""The bytes of a clip on their way, straight from the socket where that is safe."""

import socket
import ssl
import time

import httpx

from batchgen.errors import Unavailable

LEAST_RATE = 10 << 10  # bytes a second, over
RATE_WINDOW = 60.0  # seconds
SILENCE = 30.0
TICK = 0.25  # seconds after which the stop flag is looked at, whatever comes


class Speed:
    """Gives up on a body that comes too slowly, or not at all."""

    def __init__(self, now: float) -> None:
        self._since = self._heard = now
        self._bytes = 0

    def note(self, count: int, now: float) -> None:
        """So many bytes came by now; Unavailable if that is too few."""
        self._bytes += count
        if count:
            self._heard = now
        elif now - self._heard >= SILENCE:
            raise Unavailable(f"no byte came for {SILENCE:.0f} s")
        if now - self._since >= RATE_WINDOW:
            if self._bytes < LEAST_RATE * (now - self._since):
                raise Unavailable(f"less than {LEAST_RATE >> 10} KiB a second came")
            self._since, self._bytes = now, 0


class Body:
    """The bytes of an answer, straight from the socket where that is sound.

    The first chunk is taken through httpx and empties what it had read ahead. From
    then on an HTTP/1.1 body of known length is just the next so many bytes of the
    connection, which is closed afterwards.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.iter_raw()
        self._ahead = memoryview(b"")
        self._left = 0
        self._socket: socket.socket | None = None

    def read_into(self, view: memoryview) -> int | None:
        """How many bytes came; 0 at the end, None if none came for a while.

        It comes back when the view is full, or after about a tick.
        """
        if not self._ahead:
            if self._socket is not None:
                return self._receive_into(view, self._socket)
            self._ahead = memoryview(next(self._chunks, b""))
            self._leave_httpx()
        count = min(len(view), len(self._ahead))
        view[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        return count

    def _leave_httpx(self) -> None:
        response = self._response
        length = response.headers.get("content-length", "")
        if (
            response.http_version != "HTTP/1.1"
            or "transfer-encoding" in response.headers
            or not length.isdecimal()
            or response.num_bytes_downloaded != len(self._ahead)
        ):
            return
        stream = response.extensions.get("network_stream")
        found = stream.get_extra_info("socket") if stream is not None else None
        # TLS inside TLS hands out the outer socket; then httpx goes on reading.
        sealed = response.url.scheme == "https"
        if isinstance(found, ssl.SSLSocket if sealed else socket.socket):
            self._left = int(length) - len(self._ahead)
            self._socket = found
            found.settimeout(TICK)

    def _receive_into(self, view: memoryview, found: socket.socket) -> int | None:
        """Fill the view: TLS gives 16 KiB at a time, too little to wake anybody for."""
        view = view[: self._left]
        count = 0
        until = time.monotonic() + TICK
        try:
            while count < len(view) and (came := found.recv_into(view[count:])):
                count += came
                if time.monotonic() >= until:
                    break
        except OSError as error:
            # What came before it is not lost; the next call meets it again.
            if not count:
                if isinstance(error, TimeoutError):
                    return None
                raise
        self._left -= count
        return count


def broken(what: str, error: Exception | None) -> Unavailable:
    """A transfer that broke, in a few words."""
    return Unavailable(f"{what}: {str(error) or type(error).__name__}")
