"""The append-only journal: one writer, durable before anybody acts on it.

Whoever needs a record to be durable becomes the leader of a group commit: it takes
all that queued, writes, syncs in a thread and wakes the others. So there is no timer,
no background task, and a hundred waiting records cost one sync.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

import anyio

from batchgen.ballast import Ballast
from batchgen.errors import BatchgenError, JournalDamaged, StoreError
from batchgen.events import AttemptAccepted, Event, Repaired, parse
from batchgen.history import Records
from batchgen.logbook import read
from batchgen.records import Record, encode
from batchgen.replay import End, Hear, nobody
from batchgen.rescue import Rescue
from batchgen.statefile import NAME, NoRoom, StateFile, unwritable
from batchgen.world import World

__all__ = ["NAME", "Journal", "read"]


class Journal:
    """The open, locked journal of one run. Only the runner appends.

    Attributes:
        records: what it held when it was opened; they are read again from the file.
        full: the disk took no more; nothing may be bought until `room` has come back.
        rescue: where a paid id goes that the journal does not take.
    """

    def __init__(self, folder: Path, world: World) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.full = False
        self.rescue = Rescue(folder, world)
        self._ballast = Ballast(folder, world.disk)
        self._patience = world.patience
        self._stamp = world.stamp
        self._thread = world.thread
        self._queue: list[bytes] = []
        self._next = 1
        self._durable = 0
        self._wrote = False
        self._calm_since: float | None = None
        self._syncing: anyio.Event | None = None
        self._poison: BatchgenError | None = None
        self._file: StateFile
        self.records: Records

    @classmethod
    def open(cls, folder: Path, world: World, hear: Hear = nobody) -> Self:
        """Lock the run, read its journal, cut a torn tail.

        Args:
            folder: the run's folder; it is made if need be.
            world: its disk takes the file, its clock dates the records.
            hear: told every page of it while it is read; what that raises is raised.

        Raises:
            JournalLocked: another process holds the run.
            JournalDamaged: spending on this file would not be safe.
            StoreError: the folder or the file cannot be made, read or written.
        """
        journal = cls(folder, world)
        journal._file = StateFile.open(folder, world)
        try:
            journal._take(hear)
        except OSError as error:
            journal.close()
            raise unwritable(journal.path, error) from error
        except BaseException:
            journal.close()
            raise
        return journal

    def _take(self, hear: Hear) -> None:
        self.records = Records(self._file.read)
        found = self.records.scan(hear)
        refuse_rollback(self._file.mark(), found)
        self._next = found.last + 1
        self._durable = found.last
        self._repair(found)

    def _repair(self, found: End) -> None:
        if found.torn:
            kept = f"torn-{found.last + 1}-{crc32(found.torn):08x}"
            self._file.keep(kept, found.torn)
            self._file.cut(found.keep)
            self.append(Repaired(bytes=len(found.torn), kept=kept))
        elif found.unended:
            self._queue.append(b"\n")
        data = self._drain()
        if data:
            self._file.append(data, self._next - 1)
            self._durable = self._next - 1

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

        With a full disk that may take a while: the ballast is given up for it, and
        when that is used up too it is tried again for as long as patience lasts.

        Raises:
            StoreError: the disk stayed full, is broken, or is shared with another
                writer.
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

    async def hold(self, outcomes: int) -> None:
        """Set room aside for so many outcomes before anything is bought.

        Without that room the journal counts as full.
        """
        if not await self._thread(self._ballast.hold, outcomes):
            self._fill()

    async def room(self) -> None:
        """Come back when the disk may take new purchases.

        Raises:
            StoreError: no room came back for as long as patience lasts.
        """
        began = anyio.current_time()
        while self.full:
            if self._poison:
                raise self._poison
            now = anyio.current_time()
            if not await self._thread(self._is_calm):
                self._calm_since = None
                if now - began >= self._patience.hold:
                    raise _still_full(self.folder)
            elif self._calm_since is None:
                self._calm_since = now
            elif now - self._calm_since >= self._patience.calm:
                self.full = False
                return
            await anyio.sleep(self._patience.retry)

    def _is_calm(self) -> bool:
        return self._ballast.restore() and self._ballast.room

    async def _commit(self) -> None:
        last, data = self._next - 1, self._drain()
        try:
            await self._persist(data, last)
        except BaseException as error:
            # What was drained is lost: nobody may wait for it, or write behind it.
            lost = StoreError(f"{self.path} was not written")
            self._poison = error if isinstance(error, BatchgenError) else lost
            if isinstance(error, Exception):
                self._rescue(data + self._drain())
            raise
        self._durable = last

    async def _persist(self, data: bytes, last: int) -> None:
        """Write a batch; where the disk is full, in the room that was set aside."""
        began: float | None = None
        while data:
            try:
                await self._thread(
                    self._file.append, data, last, abandon_on_cancel=False
                )
            except NoRoom:
                self._fill()
                if await self._thread(self._ballast.release):
                    continue
                now = anyio.current_time()
                began = now if began is None else began
                self._rescue(data + b"".join(self._queue))
                # A session that has not written yet has nothing to lose.
                if not self._wrote or now - began >= self._patience.endure:
                    raise
                await anyio.sleep(self._patience.retry)
            else:
                self._wrote = True
                return

    def _fill(self) -> None:
        self.full = True
        self._calm_since = None

    def _rescue(self, data: bytes) -> None:
        """Put the paid ids among these lines where they can be found again."""
        self._ballast.release()
        for line in data.split(b"\n"):
            if b'"t":"AttemptAccepted"' in line:
                event = parse(json.loads(line))
                if isinstance(event, AttemptAccepted):
                    self.rescue.save(event)

    def _drain(self) -> bytes:
        data = b"".join(self._queue)
        self._queue.clear()
        return data

    def close(self) -> None:
        """Give the run back; what is queued and was not awaited is lost."""
        if not self.full and not self._poison:
            self._ballast.release()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def refuse_rollback(mark: tuple[int, int] | None, found: End) -> None:
    """Refuse a file that ends before what was once durable.

    Raises:
        JournalDamaged: it does.
    """
    if mark is None or found.last >= mark[0]:
        return
    raise JournalDamaged(
        f"the state file ends at record {found.last}, but record {mark[0]} was once "
        "written: an older copy was restored or the file was cut",
        rule="rolled-back",
        advice=f"It has {found.size} bytes of {mark[1]}. Clips may have been bought "
        "that it does not know, so nothing was submitted. To go on with this copy: "
        "batchgen state RUN accept-rollback.",
    )


def _still_full(folder: Path) -> StoreError:
    return StoreError(
        f"{folder}: the disk is full",
        rule="disk-full",
        advice="Nothing more was submitted, and what is paid can still be fetched. "
        "Make room, then run the same command.",
    )
