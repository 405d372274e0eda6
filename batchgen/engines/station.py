"""A worker of a cluster: takes leases, and tells what came of them when it is asked."""

import asyncio
import os
import platform
import secrets
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from batchgen import __version__
from batchgen.disk import read_all, write_all
from batchgen.downloads import open_http
from batchgen.engines.lease import Brought, Ended, Lease, News
from batchgen.engines.worker import Worker
from batchgen.errors import BatchgenError
from batchgen.world import World

ABANDONED = 120.0
"""Seconds without a question after which the driver is taken for dead."""


class WorkerBug(Exception):
    """Something in a worker that nobody foresaw; the text is its traceback."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a worker says of itself.

    Attributes:
        version: batchgen's there.
        place: host and process.
        problem: why it cannot write into the run's folder; empty if it can.
        reply: the name of a file that it has put there.
    """

    version: str
    place: str
    problem: str = ""
    reply: str = ""


class Station:
    """The interface of a worker, for a driver elsewhere; plain asyncio.

    Made in any thread; all else happens in one event loop, but for the downloads.
    When nobody asks for a while it ends its downloads: their leases are given to
    others by then.
    """

    def __init__(self, folder: str, slots: int) -> None:
        world = World()
        self._folder = Path(folder)
        self._disk = world.disk
        self._worker = Worker(open_http(), world)
        self._worker.received = self._count
        self._threads = ThreadPoolExecutor(slots, "fetch")
        self._leased: set[str] = set()
        self._ended: list[Ended] = []
        self._bytes = 0
        self._counting = Lock()
        self._wake = asyncio.Event()
        self._watchdog: asyncio.TimerHandle | None = None

    async def greet(self, probe: str, token: str) -> Greeting:
        """Say who it is, and prove that it is in the same folder as the driver.

        Args:
            probe: a file of the run's `videos` that the driver has locked.
            token: what it holds.
        """
        place = f"{platform.node()}, process {os.getpid()}"
        try:
            reply = self._prove(self._folder / "videos" / probe, token)
        except (OSError, ValueError) as error:
            return Greeting(__version__, place, problem=str(error))
        return Greeting(__version__, place, reply=reply)

    def _prove(self, probe: Path, token: str) -> str:
        self._disk.hold(self._folder)
        if read_all(self._disk, probe).decode() != token:
            raise ValueError("it is another folder of the same name")
        handle = self._disk.open(probe, os.O_RDONLY)
        try:
            self._disk.lock(handle)
        except BlockingIOError:
            pass
        else:
            raise ValueError("file locks do not hold between it and the driver")
        finally:
            self._disk.close(handle)
        reply = probe.with_name(f"{probe.name}.{secrets.token_hex(4)}")
        handle = self._disk.open(reply, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(self._disk, handle, token.encode())
        finally:
            self._disk.close(handle)
        return reply.name

    async def start(self, leases: Sequence[Lease]) -> None:
        """Fetch these as well; one that is under way is not begun again."""
        loop = asyncio.get_running_loop()
        for lease in leases:
            if lease.key in self._leased or self._worker.stop.is_set():
                continue
            self._leased.add(lease.key)
            done = loop.run_in_executor(self._threads, self._outcome, lease)
            done.add_done_callback(partial(self._end, lease.key))

    async def events(self, max_wait: float) -> News:
        """Everything that came since the last call; at once if there is anything.

        Args:
            max_wait: seconds after which nothing is an answer, too.
        """
        loop = asyncio.get_running_loop()
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = loop.call_later(max_wait + ABANDONED, self._abandon)
        if not self._ended:
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max_wait)
        ended, self._ended = tuple(self._ended), []
        with self._counting:
            received, self._bytes = self._bytes, 0
        return News(ended, received)

    async def close(self) -> None:
        """End downloads under way; their parts stay."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._abandon()

    def _abandon(self) -> None:
        self._worker.stop.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, lease: Lease) -> Brought | Exception:
        try:
            return self._worker.bring(lease)
        except BatchgenError as error:
            return error
        except Exception:  # noqa: BLE001 - the driver reports it as a bug
            return WorkerBug(traceback.format_exc())

    def _end(self, key: str, done: "asyncio.Future[Brought | Exception]") -> None:
        self._leased.discard(key)
        if not done.cancelled():
            self._ended.append(Ended(key, done.result()))
            self._wake.set()

    def _count(self, count: int) -> None:
        with self._counting:
            self._bytes += count
