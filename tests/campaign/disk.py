"""A disk that remembers what was not synced, and builds what a crash may leave.

Files live in a real folder, so that reading needs no make-believe. Beside them the
disk keeps, for each file, its bytes at the last sync and what was done to it since,
and for the folders which names are durable and what was done to them since.
"""

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from io import BufferedIOBase
from pathlib import Path
from typing import Literal

from batchgen.disk import Disk

Image = Literal["none", "all", "prefix", "torn", "zeros"]
IMAGES: tuple[Image, ...] = ("none", "all", "prefix", "torn", "zeros")
_FOLDER = -1
_WRITES = os.O_RDWR | os.O_WRONLY
Twist = Literal["", "half", "after", "short"]
"""What an interruption makes of a call: half of it, death behind it, a short write."""


class Died(BaseException):
    """The process is dead; nothing after this line happens."""


@dataclass
class File:
    """One inode: what is on the platter, and the writes that are not."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    news: int = 0  # below it, nothing has changed since somebody looked

    def write(self, offset: int, data: bytes) -> None:
        """Remember a write."""
        self.pending.append((offset, data))

    def truncate(self, length: int) -> None:
        """Remember a cut."""
        self.pending.append((length, None))

    def sync(self) -> None:
        """Everything is on the platter."""
        for offset, piece in self.pending:
            self.news = min(self.news, offset, len(self.synced))
            _apply(self.synced, offset, piece)
        self.pending = []

    def after(self, image: Image, chance: random.Random) -> bytes:
        """What a crash leaves of it."""
        count = len(self.pending)
        if image == "none" or not count:
            count = 0
        elif image in ("prefix", "torn"):
            count = chance.randrange(count + 1)
        data = bytearray(self.synced)
        for offset, piece in self.pending[:count]:
            _apply(data, offset, piece, zeros=image == "zeros")
        if image == "torn" and count < len(self.pending):
            offset, piece = self.pending[count]
            if piece:
                _apply(data, offset, piece[: chance.randrange(len(piece) + 1)])
        return bytes(data)


def _apply(
    data: bytearray, offset: int, piece: bytes | None, *, zeros: bool = False
) -> None:
    if piece is None:
        del data[offset:]
        return
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    kept = bytes(len(piece)) if zeros else piece
    data[offset : offset + len(piece)] = kept


class SimulatedDisk(Disk):
    """A `Disk` under one folder.

    Attributes:
        interrupt: asked before every call that changes something, with the name of
            the call and how many bytes it writes or, below zero, frees; it may raise,
            or return a twist.
        dead: the process died: every call raises, nothing changes any more.
        calls: names of the calls so far.
    """

    def __init__(self, root: Path, interrupt: Callable[[str, int], Twist]) -> None:
        self.root = root
        self.interrupt = interrupt
        self.dead = False
        self.calls: list[str] = []
        self.room: Callable[[], int] = lambda: 1 << 40
        self._count = 0
        self._files: dict[int, File] = {}
        self._handles: dict[int, tuple[int, int]] = {}  # descriptor -> inode, flags
        self._names: dict[Path, int] = {}
        self._durable: dict[Path, int] = {}
        self._renames: list[tuple[Path, dict[Path, int | None]]] = []

    # What batchgen calls.

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open; a new name is not durable before its folder is synced."""
        new = bool(flags & os.O_CREAT) and not path.exists()
        twist = self._before("open") if new or flags & os.O_TRUNC else self._alive()
        handle = super().open(path, flags, mode)
        if new:
            self._count += 1
            self._files[self._count] = File()
            self._rename(path.parent, {path: self._count})
        inode = self._names[path]
        if flags & _WRITES or flags & os.O_CREAT:
            self._handles[handle] = inode, flags
        if flags & os.O_TRUNC and not new:
            self._files[inode].truncate(0)
        self._after(twist)
        return handle

    def close(self, handle: int) -> None:
        """Close; a dead process's descriptors are closed as well."""
        if self._handles.pop(handle, None) is not None or not self.dead:
            super().close(handle)

    def write(self, handle: int, data: bytes | memoryview) -> int:
        """Write, remembered until the next sync."""
        twist = self._before("write", len(data))
        if twist in ("half", "short"):
            data = data[: max(1, len(data) // 2)]
        inode, flags = self._handles[handle]
        size = super().size(handle)
        offset = size if flags & os.O_APPEND else os.lseek(handle, 0, os.SEEK_CUR)
        count = super().write(handle, data)
        self._files[inode].write(offset, bytes(data)[:count])
        self._after(twist)
        return count

    def pwrite(self, handle: int, data: bytes, offset: int) -> int:
        """Write at an offset."""
        twist = self._before("pwrite", len(data))
        if twist in ("half", "short"):
            data = data[: max(1, len(data) // 2)]
        count = super().pwrite(handle, data, offset)
        self._files[self._handles[handle][0]].write(offset, data[:count])
        self._after(twist)
        return count

    def allocate(self, handle: int, length: int) -> None:
        """Zeros that are really there."""
        twist = self._before("allocate", max(0, length - super().size(handle)))
        size = super().size(handle)
        if size < length:
            os.ftruncate(handle, length)
            self._files[self._handles[handle][0]].write(size, bytes(length - size))
        self._after(twist)

    def mkdir(self, folder: Path, mode: int = 0o777) -> None:
        """Make one folder; its name is not durable before its own folder is synced."""
        twist = self._before("mkdir")
        super().mkdir(folder, mode)
        self._rename(folder.parent, {folder: _FOLDER})
        self._after(twist)

    def reader(self, path: Path) -> BufferedIOBase:
        """A file to read from; whoever opened it closes it."""
        self._alive()
        return super().reader(path)

    def size(self, handle: int) -> int:
        """Current length of the file."""
        self._alive()
        return super().size(handle)

    def free(self, folder: Path) -> int:
        """What the scenario says is left."""
        self._alive()
        del folder
        return self.room()

    def truncate(self, handle: int, length: int) -> None:
        """Cut the file."""
        twist = self._before("truncate", min(0, length - super().size(handle)))
        super().truncate(handle, length)
        self._files[self._handles[handle][0]].truncate(length)
        self._after(twist)

    def sync(self, handle: int) -> None:
        """Bring the data to the platter; not really, that would only take time."""
        twist = self._before("sync")
        inode = self._handles.get(handle, (0, 0))[0] or self._inode_of(handle)
        self._files[inode].sync()
        self._after(twist)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        twist = self._before("sync_folder")
        for place, change in self._renames:
            if place == folder:
                _rename(self._durable, change)
        self._renames = [one for one in self._renames if one[0] != folder]
        self._after(twist)

    def link(self, source: Path, target: Path) -> None:
        """Give a file its final name."""
        twist = self._before("link")
        super().link(source, target)
        self._rename(target.parent, {target: self._names[source]})
        self._after(twist)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        twist = self._before("unlink", -path.lstat().st_size)
        super().unlink(path)
        self._rename(path.parent, {path: None})
        self._after(twist)

    def rename(self, source: Path, target: Path) -> None:
        """Move a file inside one file system; one step, also for a crash."""
        twist = self._before("rename")
        super().rename(source, target)
        self._rename(target.parent, {target: self._names[source], source: None})
        self._after(twist)

    # What a crash does.

    def die(self) -> None:
        """The process is dead: its files close, which gives its locks back."""
        self.dead = True
        for handle in list(self._handles):  # whoever reads closes by himself
            self.close(handle)

    @property
    def held(self) -> list[str]:
        """Names of the files that are open for writing."""
        inodes = {inode for inode, _ in self._handles.values()}
        return [str(path) for path, inode in self._names.items() if inode in inodes]

    def content(self, path: Path, image: Image, chance: random.Random) -> bytes | None:
        """What an image holds of one file; None if it has no such name."""
        inode = self._surviving(image, chance).get(path)
        return None if inode is None else self._files[inode].after(image, chance)

    def durable(self, path: Path) -> tuple[bytearray, int]:
        """What every image holds of a file, and how much of it the last look saw.

        The bytes are not a copy: who looks at every charge must not read all each time.
        """
        inode = self._durable.get(path)
        if inode is None:
            return bytearray(), 0
        file = self._files[inode]
        seen, file.news = file.news, len(file.synced)
        return file.synced, seen

    def _surviving(self, image: Image, chance: random.Random) -> dict[Path, int]:
        """The names of an image: those that are durable, and a prefix of the rest."""
        found, count = dict(self._durable), len(self._renames)
        if image in ("prefix", "torn", "zeros"):
            count = chance.randrange(count + 1)
        for _, change in self._renames[: 0 if image == "none" else count]:
            _rename(found, change)
        return {path: inode for path, inode in found.items() if self._at(path, found)}

    def _at(self, path: Path, found: dict[Path, int]) -> bool:
        """Whether every folder on the way to a name is there."""
        above = path.parent
        return above == self.root or (above in found and self._at(above, found))

    def digest(self, image: Image, chance: random.Random) -> str:
        """Equal for equal images."""
        names = self._surviving(image, chance)
        print_ = sha256()
        for path, inode in sorted(names.items()):
            data = b"" if inode == _FOLDER else self._files[inode].after(image, chance)
            print_.update(f"{path} {inode} {len(data)}\n".encode() + data)
        return print_.hexdigest()

    def restart(self, image: Image, chance: random.Random) -> "SimulatedDisk":
        """Put an image into the folder; the disk of the next process on it."""
        names = self._surviving(image, chance)
        data = {
            inode: self._files[inode].after(image, chance)
            for inode in sorted({*names.values()} - {_FOLDER})
        }
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        first: dict[int, Path] = {}
        for path, inode in sorted(names.items()):
            if inode == _FOLDER:
                path.mkdir()
            elif inode in first:
                os.link(first[inode], path)
            else:
                path.write_bytes(data[inode])
                first[inode] = path
        return SimulatedDisk(self.root, self.interrupt).adopt()

    def adopt(self) -> "SimulatedDisk":
        """Take what is in the folder as durable."""
        known: dict[int, int] = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_dir():
                self._names[path] = self._durable[path] = _FOLDER
            else:
                inode = known.get(path.stat().st_ino)
                if inode is None:
                    inode = self._count = known[path.stat().st_ino] = self._count + 1
                    self._files[inode] = File(bytearray(path.read_bytes()))
                self._names[path] = self._durable[path] = inode
        return self

    # Inside.

    def _inode_of(self, handle: int) -> int:
        """For a handle that only reads."""
        there = self.entry(handle).inode
        return next(
            inode
            for path, inode in self._names.items()
            if (found := self.find(path)) is not None and found.inode == there
        )

    def _alive(self) -> Twist:
        if self.dead:
            raise Died
        return ""

    def _before(self, name: str, size: int = 0) -> Twist:
        self._alive()
        self.calls.append(name)
        return self.interrupt(name, size)

    def _after(self, twist: Twist) -> None:
        if twist in ("half", "after"):
            self.die()
            raise Died

    def _rename(self, folder: Path, change: dict[Path, int | None]) -> None:
        _rename(self._names, change)
        self._renames.append((folder, change))


def _rename(names: dict[Path, int], change: dict[Path, int | None]) -> None:
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def full() -> OSError:
    """What a disk without room says."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def clips(root: Path) -> Iterator[Path]:
    """Every file under its final name."""
    with suppress(FileNotFoundError):
        yield from root.rglob("*.mp4")
