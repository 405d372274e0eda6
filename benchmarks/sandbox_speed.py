# ruff: noqa: INP001, T201 - benchmarks is a folder of scripts, and they print
"""How many submissions and result reads a second the sandbox answers on one core.

    python benchmarks/sandbox_speed.py [--quick]

The sandbox is one process, bound to one core where the system allows that; the load
comes from this process on another one, over real loopback connections. A figure is
answers per second of the sandbox's own processor time, where /proc tells it, so that a
busy machine does not spoil it; the wall clock's figure stands beside it. Each is the
best of three rounds. Exits with 1 if a figure is below its bound: 5,000 submissions and
10,000 reads a second.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import uvloop

from batchgen.sandbox.launch import process

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


class Rate(NamedTuple):
    """Answers a second of the sandbox's processor, and of the wall clock."""

    core: float
    wall: float


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
) -> tuple[Rate, list[bytes]]:
    """Send these requests; the rate of their answers, and the answers."""
    before = spent(server)
    loop = asyncio.get_running_loop()
    where = urlsplit(address)
    callers: list[Caller] = []
    finished: list[asyncio.Future[None]] = []
    start = time.perf_counter()
    for first in range(_CONNECTIONS):
        done: asyncio.Future[None] = loop.create_future()
        caller = Caller(requests[first::_CONNECTIONS], done)
        await loop.create_connection(lambda c=caller: c, where.hostname, where.port)
        callers.append(caller)
        finished.append(done)
    await asyncio.gather(*finished)
    wall = len(requests) / (time.perf_counter() - start)
    after = spent(server)
    core = wall
    if before is not None and after is not None and after > before:
        core = len(requests) / (after - before)
    answers = [answer for caller in callers for answer in caller.answers]
    good = sum(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    if good != len(requests):
        sys.exit(f"{len(requests) - good} answers were not 200: {answers[0]!r}")
    return Rate(core, wall), answers


def apart(server: int) -> str:
    """Give the sandbox a core of its own; what came of it."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:  # noqa: PLR2004 - one for each of the two
        return "not bound to a core"
    with contextlib.suppress(OSError):
        os.sched_setaffinity(server, {cores[-1]})
        os.sched_setaffinity(0, set(cores[:-1]))
        return f"bound to core {cores[-1]} of {len(cores)}"
    return "not bound to a core"


async def measure(address: str, server: int, count: int) -> tuple[Rate, Rate]:
    """The best rate of submissions and of reads."""
    best_submit = best_read = Rate(0.0, 0.0)
    for _ in range(_ROUNDS):
        rate, answers = await load(address, server, [submission()] * count)
        best_submit = max(best_submit, rate)
        bodies = (answer.partition(b"\r\n\r\n")[2] for answer in answers)
        reads = [reading(json.loads(body)["data"]["id"]) for body in bodies]
        rate, _ = await load(address, server, reads)
        best_read = max(best_read, rate)
    return best_submit, best_read


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    count = 2_400 if parser.parse_args().quick else 24_000
    arguments = "--profile", "plain", "--speed", "1e9", "--balance", "100000000"
    with (
        tempfile.TemporaryDirectory() as folder,
        process(Path(folder), *arguments) as (addresses, started),
    ):
        print(f"sandbox {apart(started.pid)}, {count:,} requests a round")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rates = runner.run(measure(addresses.api, started.pid, count))
    good = True
    for name, rate, bound in zip(
        ("submissions", "reads"), rates, (SUBMITS, READS), strict=True
    ):
        verdict = "ok" if rate.core >= bound else "BELOW THE BOUND"
        good = good and rate.core >= bound
        print(
            f"{name:12} {rate.core:8,.0f} a second of one core, at least {bound:,}: "
            f"{verdict} ({rate.wall:,.0f} by the wall clock)"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
