"""The append-only state file: one writer, durable before anybody acts on it.

Whoever needs a record to be durable becomes the leader of a group commit: it takes
all that queued, writes, syncs in a thread and wakes the others. So there is no timer,
no background task, and a hundred waiting records cost one sync.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self
from zlib import crc32

import anyio

from batchgen.disk import Disk, make_folders, read_all, read_open, write_all
from batchgen.errors import (
    BatchgenError,
    JournalDamaged,
    JournalLocked,
    StoreError,
)
from batchgen.events import Event, Repaired
from batchgen.records import Record, Replay, encode, readable, replay
from batchgen.world import World

NAME = "state.jsonl"
_LOCK = ".lock"
_MARK_SIZE = 64
_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND


class Journal:
    """The open, locked state file of one run.

    `records` is what it held when it was opened. Only the runner appends.
    """

    def __init__(self, folder: Path, world: World) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.records: tuple[Record, ...] = ()
        self._disk = world.disk
        self._stamp = world.stamp
        self._host = world.host
        self._thread = world.thread
        self._queue: list[bytes] = []
        self._next = 1
        self._durable = 0
        self._length = 0
        self._made: list[Path] = []
        self._syncing: anyio.Event | None = None
        self._poison: BatchgenError | None = None
        self._handle = self._lock = -1

    @classmethod
    def open(cls, folder: Path, world: World) -> Self:
        """Lock the run, read its journal, cut a torn tail.

        Args:
            folder: the run's folder; it is made if need be.
            world: its disk takes the file, its clock dates the records.

        Raises:
            JournalLocked: another process holds the run.
            JournalDamaged: spending on this file would not be safe.
            StoreError: the folder or the file cannot be made, read or written.
        """
        journal = cls(folder, world)
        try:
            journal._take()
        except OSError as error:
            journal.close()
            raise _unwritable(journal.path, error) from error
        except BaseException:
            journal.close()
            raise
        return journal

    def _take(self) -> None:
        self._made = make_folders(self._disk, self.folder)
        self._handle = self._disk.open(self.path, _OPEN)
        self._lock = self._disk.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._claim()
        data = read_open(self._disk, self._handle)
        found = replay(data)
        _refuse_rollback(self._mark(), found, data)
        self.records = found.records
        self._next = found.last + 1
        self._durable = found.last
        self._repair(found)

    def _claim(self) -> None:
        """Lock the journal's own inode, so that two paths to one file collide.

        And the lock file, which is never replaced, so that two files at one path
        collide.
        """
        try:
            self._disk.lock(self._handle)
            self._disk.lock(self._lock)
        except BlockingIOError as error:
            held = self._disk.pread(self._lock, 256, _MARK_SIZE)
            holder = held.decode("utf-8", "replace")
            raise JournalLocked(
                f"{self.folder.name} is already running: {holder.strip()}",
                advice=f"watch it with: batchgen status {self.folder.name}",
            ) from error
        if not self._disk.is_at(self._handle, self.path):
            raise JournalLocked(f"{self.folder.name} was moved while it was opened")
        holder = f"process {os.getpid()} on {self._host} since {self._stamp()}"
        self._disk.pwrite(self._lock, holder.ljust(192).encode(), _MARK_SIZE)

    def _mark(self) -> tuple[int, int] | None:
        """The high-water mark: number and length of what was once durable."""
        words = self._disk.pread(self._lock, _MARK_SIZE, 0).split()
        if len(words) != 3 or words[2] != b"%08x" % crc32(b" ".join(words[:2])):  # noqa: PLR2004
            return None
        return int(words[0]), int(words[1])

    def _repair(self, found: Replay) -> None:
        self._length = self._disk.size(self._handle)
        if found.torn:
            kept = self.folder / f"torn-{found.last + 1}-{crc32(found.torn):08x}"
            self._keep(kept, found.torn)
            self._disk.truncate(self._handle, found.keep)
            self._length = found.keep
            self._disk.sync(self._handle)
            self.append(Repaired(bytes=len(found.torn), kept=kept.name))
        elif found.unended:
            self._queue.append(b"\n")
        self._write(self._drain(), self._next - 1)

    def _keep(self, path: Path, data: bytes) -> None:
        """Put evidence beside the journal."""
        handle = self._disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            write_all(self._disk, handle, data)
            self._disk.sync(handle)
        finally:
            self._disk.close(handle)

    def append(self, event: Event) -> int:
        """Queue an event; returns its number, for `durable`.

        Nothing may be done in the world on the strength of it before
        `await durable(n)` has come back.

        Raises:
            StoreError: an earlier write failed; nothing is accepted any more.
        """
        return self.put(self.line(event))

    def line(self, event: Event) -> bytes:
        """The line that an event would be now; `put` it before anything else.

        Raises:
            StoreError: an earlier write failed; nothing is accepted any more.
            JournalError: it does not fit a line.
        """
        if self._poison:
            raise self._poison
        return encode(Record(self._next, self._stamp(), event))

    def put(self, line: bytes) -> int:
        """Queue a line; returns its number."""
        self._queue.append(line)
        self._next += 1
        return self._next - 1

    async def durable(self, n: int) -> None:
        """Come back once record `n` is on the platter.

        Raises:
            StoreError: the disk is full, broken or shared with another writer.
        """
        while self._durable < n:
            if self._poison:
                raise self._poison
            if self._syncing is not None:
                await self._syncing.wait()
                continue
            self._syncing = anyio.Event()
            try:
                with anyio.CancelScope(shield=True):
                    await self._commit()
            finally:
                self._syncing.set()
                self._syncing = None

    async def _commit(self) -> None:
        last, data = self._next - 1, self._drain()
        try:
            await self._thread(self._write, data, last, abandon_on_cancel=False)
        except BaseException:
            # What was drained is lost: nobody may wait for it, or write behind it.
            self._poison = self._poison or StoreError(f"{self.path} was not written")
            raise

    def _drain(self) -> bytes:
        data = b"".join(self._queue)
        self._queue.clear()
        return data

    def _write(self, data: bytes, last: int) -> None:
        """Write and sync one batch; any failure poisons the journal for good.

        A failed sync is never repeated: the kernel may have dropped the pages and
        would report success the second time.
        """
        if not data:
            return
        try:
            self._fence()
            rest = memoryview(data)
            while rest:
                rest = rest[self._disk.write(self._handle, bytes(rest)) :]
            self._disk.sync(self._handle)
            if self._length == 0:
                # Power loss must not take the names either.
                parents = {self.folder.parent, *(made.parent for made in self._made)}
                for folder in (self.folder, *parents):
                    self._disk.sync_folder(folder)
        except OSError as error:
            self._fail(error)
        self._length += len(data)
        self._durable = last
        mark = b"%d %d" % (last, self._length)
        line = b"%s %08x" % (mark, crc32(mark))
        with contextlib.suppress(OSError):  # an old mark is harmless
            self._disk.pwrite(self._lock, line.ljust(_MARK_SIZE - 1) + b"\n", 0)

    def _fence(self) -> None:
        """Another writer shows in the size; another file in the inode."""
        same = self._disk.is_at(self._handle, self.path)
        if not same or self._disk.size(self._handle) != self._length:
            self._poison = JournalDamaged(
                f"{self.path.name} changed under our hands: another program wrote to it"
            )
            raise self._poison

    def _fail(self, error: OSError) -> NoReturn:
        # What reached the file stays: the next start keeps its whole lines, and one
        # of them may name a clip that is paid for.
        self._poison = _unwritable(self.path, error)
        raise self._poison from error

    def close(self) -> None:
        """Give the run back; what is queued and was not awaited is lost."""
        for handle in (self._lock, self._handle):
            if handle >= 0:
                self._disk.close(handle)
        self._lock = self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read(folder: Path, warn: Callable[[str], None] | None = None) -> tuple[Record, ...]:
    """The records of a run without its lock: whole lines only, nothing repaired.

    With `warn`, a damaged file is told about and read as far as it is sound: that is
    enough to look at, and never enough to spend on.

    Raises:
        JournalDamaged: the file is not what a runner wrote, and there is no `warn`.
        StoreError: it cannot be read.
    """
    try:
        data = read_all(Disk(), folder / NAME)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError(f"{folder / NAME}: {error.strerror}") from error
    try:
        return replay(data).records
    except JournalDamaged as error:
        if warn is None:
            raise
        warn(f"{error.message}; shown is what stands before")
        return readable(data)


def _refuse_rollback(mark: tuple[int, int] | None, found: Replay, data: bytes) -> None:
    if mark is None or found.last >= mark[0]:
        return
    raise JournalDamaged(
        f"the state file ends at record {found.last}, but record {mark[0]} was once "
        "written: an older copy was restored or the file was cut",
        rule="rolled-back",
        advice=f"It has {len(data)} bytes of {mark[1]}. Clips may have been bought "
        "that it does not know, so nothing was submitted.",
    )


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write {path}: {error.strerror or error}",
        advice="Nothing more was submitted. Make room or give write access, then run "
        "the same command.",
    )
