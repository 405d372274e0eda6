"""How many submissions and result reads a second the sandbox answers on one core.

python -m benchmarks.sandbox_speed [--quick]

The sandbox is one process, bound to one core where the system allows that; the load
comes from this process on another one, over real loopback connections. A figure is
answers per second of the sandbox's own processor time, where /proc tells it, so that a
busy machine does not spoil it. Each is the best of three rounds; the bounds are 5,000
submissions and 10,000 reads a second.
"""

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

from batchgen.sandbox.launch import process
from benchmarks.figures import Figure, main

SUBMITS, READS = 5_000, 10_000
"""The bounds, in answers a second."""

_CONNECTIONS = 24
_ROUNDS = 3
_MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"
_HEAD = "Host: sandbox\r\nAuthorization: Bearer benchmark\r\n"


def submission() -> bytes:
    """One POST, as it goes over the wire."""
    fields = {"prompt": "A paper boat drifts", "duration": 5, "sound": False}
    body = json.dumps(fields)
    return (
        f"POST /api/v3/{_MODEL} HTTP/1.1\r\n{_HEAD}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def reading(identity: str) -> bytes:
    """One GET of a result."""
    path = f"/api/v3/predictions/{identity}/result"
    return f"GET {path} HTTP/1.1\r\n{_HEAD}\r\n".encode()


class Caller(asyncio.Protocol):
    """Sends one request after the other on one connection."""

    def __init__(self, requests: Sequence[bytes], done: asyncio.Future[None]) -> None:
        self.answers: list[bytes] = []
        self._requests, self._done = requests, done
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._requests[0])

    def data_received(self, data: bytes) -> None:
        """Send the next one when an answer is whole."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        start = self._buffer.find(b"content-length: ") + 16
        length = int(self._buffer[start : self._buffer.find(b"\r", start)])
        if len(self._buffer) < end + 4 + length:
            return
        self.answers.append(self._buffer)
        self._buffer = b""
        if len(self.answers) < len(self._requests):
            self._transport.write(self._requests[len(self.answers)])
        else:
            self._transport.close()
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if there was more to say."""
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the sandbox hung up"))


def spent(server: int) -> float | None:
    """Seconds of processor time of a process, if the system tells."""
    try:
        text = Path(f"/proc/{server}/stat").read_text(encoding="ascii")
    except OSError:
        return None
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def load(
    address: str, server: int, requests: Sequence[bytes]
) -> tuple[float, list[bytes]]:
    """Send these requests; answers a second of the sandbox's processor, and they."""
    before = spent(server)
    loop = asyncio.get_running_loop()
    where = urlsplit(address)
    callers: list[Caller] = []
    finished: list[asyncio.Future[None]] = []
    start = time.perf_counter()
    for first in range(_CONNECTIONS):
        done: asyncio.Future[None] = loop.create_future()
        caller = partial(Caller, requests[first::_CONNECTIONS], done)
        host, port = where.hostname or "", where.port or 0
        callers.append((await loop.create_connection(caller, host, port))[1])
        finished.append(done)
    await asyncio.gather(*finished)
    seconds = time.perf_counter() - start
    after = spent(server)
    if before is not None and after is not None and after > before:
        seconds = after - before
    answers = [answer for caller in callers for answer in caller.answers]
    good = sum(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    if good != len(requests):
        wrong = f"{len(requests) - good} answers were not 200: {answers[0]!r}"
        raise ConnectionError(wrong)
    return len(requests) / seconds, answers


def apart(server: int) -> None:
    """Give the sandbox a core of its own, where the system lets us."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(server, {cores[-1]})
            os.sched_setaffinity(0, set(cores[:-1]))


async def rates(address: str, server: int, count: int) -> tuple[float, float]:
    """The best rate of submissions and of reads."""
    best_submit = best_read = 0.0
    for _ in range(_ROUNDS):
        rate, answers = await load(address, server, [submission()] * count)
        best_submit = max(best_submit, rate)
        bodies = (answer.partition(b"\r\n\r\n")[2] for answer in answers)
        reads = [reading(json.loads(body)["data"]["id"]) for body in bodies]
        rate, _ = await load(address, server, reads)
        best_read = max(best_read, rate)
    return best_submit, best_read


def measure(*, quick: bool) -> Iterator[Figure]:
    """Submissions and reads; the rest of the benchmarks rest on them."""
    count = 2_400 if quick else 24_000
    arguments = "--profile", "plain", "--speed", "1e9", "--balance", "100000000"
    with (
        tempfile.TemporaryDirectory() as folder,
        process(Path(folder), *arguments) as (addresses, started),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        apart(started.pid)
        found = runner.run(rates(addresses.api, started.pid, count))
    titles = "sandbox: submissions", "sandbox: reads"
    for what, rate, bound in zip(titles, found, (SUBMITS, READS), strict=True):
        yield Figure("", what, rate, "/s of one core", bound, more_is_better=True)


if __name__ == "__main__":
    main(measure)
