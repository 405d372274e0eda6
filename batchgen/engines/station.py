"""A worker of a cluster: takes leases, and tells what came of them when it is asked."""

import asyncio
import os
import platform
import secrets
import shutil
import tempfile
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock

from batchgen import __version__
from batchgen.disk import read_all, write_all
from batchgen.downloads import carrier
from batchgen.engines.lease import Brought, Ended, Lease, News
from batchgen.engines.worker import Worker
from batchgen.errors import BatchgenError, Unavailable
from batchgen.frames import packed
from batchgen.stores import opened
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
        problem: why it cannot write into the run's folder; empty if it can, or if it
            need not.
        reply: the name of a file that it has put there; empty if it need not.
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

    Args:
        folder: of the run, where the driver is.
        slots: downloads at once.
        store: address of the bucket that clips go to. A worker that does not see the
            folder is good for that, and has a folder of its own on the way there.
    """

    def __init__(self, folder: str, slots: int, store: str = "") -> None:
        world = World()
        self._folder = Path(folder)
        self._store = store
        self._home = ""
        if store:
            opened(store, self._folder / "videos", world)  # the extra is there
        self._disk = world.disk
        self._files = carrier()
        self._worker = Worker(self._files, world)
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
            if not self._store:
                return Greeting(__version__, place, problem=str(error))
            self._home = tempfile.mkdtemp(prefix="batchgen-")
            return Greeting(__version__, place)
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
            here = replace(lease, folder=self._home) if self._home else lease
            done = loop.run_in_executor(self._threads, self._outcome, here)
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
        self._files.close()
        if self._home:
            shutil.rmtree(self._home, ignore_errors=True)

    def _outcome(self, lease: Lease) -> Brought | Exception:
        try:
            brought = self._worker.bring(lease)
        except BatchgenError as error:
            if self._home and error.rule == "disk-full":
                # It is no disk of the driver, which cannot see when there is room.
                return Unavailable(error.message)
            return error
        except Exception:  # noqa: BLE001 - the driver reports it as a bug
            return WorkerBug(traceback.format_exc())
        if not self._home:
            return brought
        home = Path(self._home)
        seen = (packed(home, file.sha256) for file in brought.files)
        return replace(brought, pictures=tuple(chain.from_iterable(seen)))

    def _end(self, key: str, done: "asyncio.Future[Brought | Exception]") -> None:
        self._leased.discard(key)
        if not done.cancelled():
            self._ended.append(Ended(key, done.result()))
            self._wake.set()

    def _count(self, count: int) -> None:
        with self._counting:
            self._bytes += count
