"""The bytes of a journal: one locked file, written at its end and synced."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self
from zlib import crc32

from batchgen.disk import Disk, make_folders, read_open, write_all
from batchgen.errors import JournalDamaged, JournalLocked, StoreError
from batchgen.places import check

if TYPE_CHECKING:
    from batchgen.world import World

NAME = "state.jsonl"
_LOCK = ".lock"
_MARK_SIZE = 64
_HOLDER_SIZE = 192
_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class NoRoom(StoreError):
    """The disk is full; the file ends where it ended before."""

    rule = "disk-full"


class StateFile:
    """The open, locked file of one run.

    Attributes:
        path: of the file.
        length: how much of it is ours, in bytes; all of that is synced.
    """

    def __init__(self, folder: Path, world: "World") -> None:
        self.folder = folder
        self.path = folder / NAME
        self.length = 0
        self._disk = world.disk
        self._world = world
        self._made: list[Path] = []
        self._named = self._held = False
        self._handle = self._lock = -1

    @classmethod
    def open(cls, folder: Path, world: "World") -> Self:
        """Make the folder if need be, and lock the file.

        Raises:
            JournalLocked: another process holds the run.
            StoreError: the folder is not safe, or cannot be written.
        """
        file = cls(folder, world)
        try:
            file._take()
        except OSError as error:
            file.close()
            raise unwritable(file.path, error) from error
        except BaseException:
            file.close()
            raise
        return file

    def _take(self) -> None:
        # Prompts and prices are nobody else's business.
        self._made = make_folders(self._disk, self.folder, 0o700)
        self._disk.hold(self.folder)
        check(self.folder, self._disk)
        self._handle = self._disk.open(self.path, _OPEN)
        self._lock = self._disk.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT)
        self._claim()
        self.length = self._disk.size(self._handle)

    def _claim(self) -> None:
        """Lock the journal's own inode, so that two paths to one file collide.

        And the lock file, which is never replaced, so that two files at one path
        collide.
        """
        try:
            self._disk.lock(self._handle)
            self._disk.lock(self._lock)
        except BlockingIOError as error:
            raise self._taken() from error
        if not self._disk.is_at(self._handle, self.path):
            raise JournalLocked(f"{self.folder.name} was moved while it was opened")
        self._try_the_lock()
        holder = (
            f"process {os.getpid()} on {self._world.host} since {self._world.stamp()}"
        )
        self._tell(holder)

    def _tell(self, holder: str) -> None:
        self._disk.pwrite(self._lock, holder.ljust(_HOLDER_SIZE).encode(), _MARK_SIZE)
        self._held = bool(holder)

    def _taken(self) -> JournalLocked:
        held = self._disk.pread(self._lock, _HOLDER_SIZE, _MARK_SIZE)
        holder = held.decode("utf-8", "replace").strip("\0 \n")
        return JournalLocked(
            f"{self.folder.name} is already running: "
            f"{_told(holder) or 'a process that came by another path to this file'}",
            advice=f"watch it with: batchgen status {self.folder.name} --watch",
        )

    def _try_the_lock(self) -> None:
        """A lock that a second opening passes is none, as on some mounts."""
        again = self._disk.open(self.folder / _LOCK, os.O_RDWR)
        try:
            self._disk.lock(again)
        except BlockingIOError:
            return
        finally:
            self._disk.close(again)
        raise StoreError(
            f"locks do not hold on the file system of {self.folder}",
            rule="no-locks",
            advice="Nothing was submitted. Set BATCHGEN_OUTPUTS to a local folder.",
        )

    def read(self, length: int, offset: int) -> bytes:
        """So many bytes from an offset; fewer only at the end."""
        return read_open(self._disk, self._handle, length, offset)

    def read_all(self) -> bytes:
        """All of it."""
        return self.read(self._disk.size(self._handle), 0)

    def mark(self) -> tuple[int, int] | None:
        """The high-water mark: number and length of what was once durable."""
        words = self._disk.pread(self._lock, _MARK_SIZE, 0).split()
        if len(words) != 3 or words[2] != b"%08x" % crc32(b" ".join(words[:2])):  # noqa: PLR2004
            return None
        return int(words[0]), int(words[1])

    def set_mark(self, last: int, length: int) -> None:
        """Say how far it is durable; not synced, for an old mark is harmless."""
        mark = b"%d %d" % (last, length)
        line = (b"%s %08x" % (mark, crc32(mark))).ljust(_MARK_SIZE - 1) + b"\n"
        done = 0
        with suppress(OSError):  # but half of one would be no mark at all
            while done < len(line) and (
                count := self._disk.pwrite(self._lock, line[done:], done)
            ):
                done += count

    def append(self, data: bytes, last: int) -> None:
        """Write and sync one batch that ends with record `last`.

        Raises:
            NoRoom: the disk is full; nothing of it was kept, so it may be tried again.
            JournalDamaged: another program wrote to the file.
            StoreError: nobody knows what is on the platter. A failed sync is never
                repeated: the kernel may have dropped the pages and would report
                success the second time.
        """
        try:
            self._fence()
            try:
                write_all(self._disk, self._handle, data)
            except OSError as error:
                if error.errno in _FULL:
                    self._cut_back(error)
                raise
            self._disk.sync(self._handle)
            self._sync_names()
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.length += len(data)
        self.set_mark(last, self.length)

    def _sync_names(self) -> None:
        """Power loss must not take the names either.

        Once a session, for the one that made them may have died before it came here.
        """
        if not self._named:
            parents = {self.folder.parent, *(made.parent for made in self._made)}
            for folder in (self.folder, *parents):
                self._disk.sync_folder(folder)
            with suppress(OSError):  # perhaps not ours, and not to be opened
                self._disk.sync_folder(self.folder.parent.parent)
            self._named = True

    def _cut_back(self, error: OSError) -> None:
        self._disk.truncate(self._handle, self.length)
        raise NoRoom(
            f"cannot write {self.path}: {error.strerror or error}",
            advice="No new clip was submitted. Make room, then run the same command.",
        ) from error

    def _fence(self) -> None:
        """Another writer shows in the size; another file in the inode."""
        same = self._disk.is_at(self._handle, self.path)
        if not same or self._disk.size(self._handle) != self.length:
            raise JournalDamaged(
                f"{self.path.name} changed under our hands: another program wrote to it"
            )

    def cut(self, length: int) -> None:
        """Take the tail off, and sync."""
        self._disk.truncate(self._handle, length)
        self.length = length
        self._disk.sync(self._handle)

    def keep(self, name: str, data: bytes) -> None:
        """Put evidence beside the journal, synced."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        handle = self._disk.open(self.folder / name, flags)
        try:
            write_all(self._disk, handle, data)
            self._disk.sync(handle)
        finally:
            self._disk.close(handle)
        self._disk.sync_folder(self.folder)

    def exchange(self, data: bytes) -> None:
        """Put other content in its place, whole or not at all; then only `close`.

        Raises:
            StoreError: it cannot be written; the old content stands.
        """
        fresh = f"{NAME}.new"
        try:
            self.keep(fresh, data)
            self._disk.rename(self.folder / fresh, self.path)
            self._disk.sync_folder(self.folder)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Give the run back."""
        if self._held:
            # Whoever comes by another path reads another lock file, and a name that
            # stayed in there would be a wrong one.
            with suppress(OSError):
                self._tell("")
        for handle in (self._lock, self._handle):
            if handle >= 0:
                self._disk.close(handle)
        self._lock = self._handle = -1


def unlocked(disk: Disk, path: Path) -> Callable[[int, int], bytes]:
    """Reads a file that another process may be writing to; a link is not followed."""

    def read(length: int, offset: int) -> bytes:
        handle = disk.open(path, os.O_RDONLY)
        try:
            return read_open(disk, handle, length, offset)
        finally:
            disk.close(handle)

    return read


def unwritable(path: Path, error: OSError) -> StoreError:
    """What is said when the disk fails."""
    return StoreError(
        f"cannot write {path}: {error.strerror or error}",
        advice="Nothing more was submitted. Make room or give write access, then run "
        "the same command.",
    )


def _told(holder: str) -> str:
    """Who holds a run, since when by the machine's own clock: `since 02:00`."""
    who, since, stamp = holder.partition(" since ")
    try:
        moment = datetime.fromisoformat(stamp).astimezone()
    except ValueError:
        return holder
    return f"{who}{since}{moment:%H:%M}"
