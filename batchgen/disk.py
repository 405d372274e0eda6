"""The calls through which batchgen touches its state and its clips on disk.

They stand behind one object so that a test can hand in a disk which dies after so
many bytes, runs full, or forgets what was not synced. A handle is a number that only
the disk that gave it understands.
"""

import errno
import fcntl
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BufferedIOBase
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from batchgen.ways import Inside, Place, lead, thread, walk

_BLOCK = 1 << 20
_MOUNTS = Path("/proc/self/mounts")
_ORIGINS = Path("/proc/self/mountinfo")


class Entry(Struct, frozen=True):
    """What a name stands for.

    Attributes:
        size: in bytes.
        kind: `file`, `folder`, `link` or `other`.
        links: how many names it has.
        owner: numeric user id.
        mode: the permission bits.
        inode: device and number; equal for two names of one file.
    """

    size: int
    kind: str
    links: int
    owner: int
    mode: int
    inode: tuple[int, int]

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind == "file"


class Disk:
    """The real one."""

    _held: Mapping[str, tuple[int, int]] = MappingProxyType({})

    def hold(self, folder: Path) -> None:
        """From now on nothing changes below this folder by way of a link.

        Whoever puts a link, or another folder, in its place or in the place of a
        folder below it gets an OSError instead of files somewhere else.
        """
        there = self.find(folder)
        if there is not None:
            self._held = {**self._held, str(folder): there.inode}

    def inside(self, folder: Path) -> AbstractContextManager[None]:
        """Look once for the way to a folder below a held one, not at every call.

        For the names directly in it that this thread calls for. What takes the
        folder's place meanwhile is not written to, and no file gets a name then: who
        gives one looks again. Where the way is barred, it is each call that says so.
        """
        path = str(folder)
        return nullcontext() if self._is_in(path) else self._entered(path)

    @contextmanager
    def _entered(self, path: str) -> Iterator[None]:
        before = thread.inside
        try:
            place = walk(f"{path}/.", self._held)
        except OSError:
            place = Place("")
        with place:
            if place.folder is not None:
                thread.inside = Inside(self, path, place.folder)
            try:
                yield
            finally:
                thread.inside = before

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open without following a link, not inherited by children."""
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        with self._reach(path) as place:
            return os.open(place.name, flags, mode, dir_fd=place.folder)

    def close(self, handle: int) -> None:
        """Close a descriptor."""
        os.close(handle)

    def write(self, handle: int, data: bytes | memoryview) -> int:
        """Write; may be short without an exception when space runs out."""
        return os.write(handle, data)

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        """Read at an offset; short at the end of the file."""
        return os.pread(handle, length, offset)

    def pwrite(self, handle: int, data: bytes, offset: int) -> int:
        """Write at an offset."""
        return os.pwrite(handle, data, offset)

    def size(self, handle: int) -> int:
        """Current length of the file."""
        return os.fstat(handle).st_size

    def entry(self, handle: int) -> Entry:
        """What an open file is."""
        return _entry(os.fstat(handle))

    def find(self, path: Path) -> Entry | None:
        """What stands at a path, a link not followed; None if nothing does."""
        try:
            return _entry(path.lstat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: Path) -> list[str]:
        """What is in a folder, sorted; nothing if there is no folder."""
        try:
            return sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            return []

    def links(self, folder: Path) -> Iterator[Path]:
        """Every link below a folder, none of them followed; none without a folder."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink():
                yield path
            elif entry.is_dir(follow_symlinks=False):
                yield from self.links(path)

    def reader(self, path: Path) -> BufferedIOBase:
        """A file to read from and seek in; a link is not followed."""
        return os.fdopen(self.open(path, os.O_RDONLY), "rb")

    def lock(self, handle: int) -> None:
        """Take the file for this process alone; BlockingIOError if it is taken.

        Closing the handle, or death, gives it back.
        """
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def mkdir(self, folder: Path, mode: int = 0o777) -> None:
        """Make one folder; FileExistsError if the name is taken."""
        with self._reach(folder) as place:
            os.mkdir(place.name, mode, dir_fd=place.folder)

    def mounts(self) -> str:
        """The table of mounts; empty where the system does not tell."""
        try:
            return _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""

    def origins(self) -> str:
        """The table of mounts that says which part of a file system each of them is."""
        try:
            return _ORIGINS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""

    def allocate(self, handle: int, length: int) -> None:
        """Fill a file with so many bytes that are really there."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, length)
        else:
            while (size := self.size(handle)) < length:
                self.write(handle, bytes(min(length - size, 1 << 16)))

    def free(self, folder: Path) -> int:
        """Bytes that may still be written below a folder."""
        return shutil.disk_usage(folder).free

    def is_at(self, handle: int, path: Path) -> bool:
        """Whether the open file is still the one at this path."""
        there = self.find(path)
        return there is not None and there.inode == self.entry(handle).inode

    def truncate(self, handle: int, length: int) -> None:
        """Cut the file."""
        os.ftruncate(handle, length)

    def sync(self, handle: int) -> None:
        """Bring the data to the platter."""
        if sys.platform == "darwin":
            # Plain fsync stops at the drive there.
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(handle)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        if opened := self._is_in(str(folder)):
            os.fsync(opened.handle)
            return
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def link(self, source: Path, target: Path) -> None:
        """Give a file its final name; FileExistsError if that is taken."""
        with self._reach(source) as old, self._beside(old, source, target) as new:
            os.link(
                old.name,
                new.name,
                src_dir_fd=old.folder,
                dst_dir_fd=new.folder,
                follow_symlinks=False,
            )

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        with self._reach(path) as place:
            os.unlink(place.name, dir_fd=place.folder)

    def rename(self, source: Path, target: Path) -> None:
        """Move a file inside one file system."""
        with self._reach(source) as old, self._beside(old, source, target) as new:
            os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)

    def _reach(self, path: Path) -> Place:
        """A path as a name in an open folder, if a folder above it is held."""
        text = str(path)
        above, _, name = text.rpartition("/")
        if opened := self._is_in(above):
            return Place(name, opened.handle)
        return walk(text, self._held)

    def _is_in(self, folder: str) -> Inside | None:
        """The folder that this thread is in, if it is this one."""
        opened = thread.inside
        if opened is None or opened.disk is not self or opened.folder != folder:
            return None
        return opened

    def _beside(self, old: Place, source: Path, target: Path) -> Place:
        """The place of a name that is to be given to what is at another place."""
        text = str(target)
        above, _, name = text.rpartition("/")
        if old.own and str(source).rpartition("/")[0] == above:
            return Place(name, old.folder)
        if opened := self._is_in(above):
            lead(opened.folder, self._held, opened.handle)
            return Place(name, opened.handle)
        return walk(text, self._held)


def make_folders(disk: Disk, folder: Path, mode: int = 0o755) -> list[Path]:
    """Make a folder with its parents; those that were missing, innermost first.

    `mode` is the innermost one's. The others are never open to everybody's writing,
    whatever the umask: a run refuses to live in such a folder.
    """
    missing = []
    for one in (folder, *folder.parents):
        if disk.find(one) is not None:
            break
        missing.append(one)
    for one in reversed(missing):
        try:
            disk.mkdir(one, mode if one == folder else 0o755)
        except FileExistsError:
            continue  # another process was faster
    return missing


def keep_folders(disk: Disk, folder: Path, top: Path) -> None:
    """Make a folder below `top` that power loss does not take, with its parents.

    Also where they are there: whoever made them may have died before they were safe.
    """
    make_folders(disk, folder)
    for one in (folder, *folder.parents):
        if one == top:
            return
        disk.sync_folder(one.parent)


def write_all(disk: Disk, handle: int, data: bytes | memoryview) -> None:
    """Write every byte, in as many calls as it takes.

    Raises:
        OSError: ENOSPC also where a call takes nothing and says nothing.
    """
    while data:
        count = disk.write(handle, data)
        if not count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[count:]


def read_all(disk: Disk, path: Path) -> bytes:
    """The content of a file; a link is not followed."""
    with disk.reader(path) as file:
        return file.read()


def read_open(disk: Disk, handle: int, length: int, offset: int) -> bytes:
    """So many bytes of an open file, whatever its name stands for by now."""
    found = disk.pread(handle, length, offset)
    while len(found) < length:
        more = disk.pread(handle, length - len(found), offset + len(found))
        if not more:
            break
        found += more
    return found


def _entry(found: os.stat_result) -> Entry:
    mode = found.st_mode
    if stat.S_ISREG(mode):
        kind = "file"
    elif stat.S_ISDIR(mode):
        kind = "folder"
    else:
        kind = "link" if stat.S_ISLNK(mode) else "other"
    return Entry(
        size=found.st_size,
        kind=kind,
        links=found.st_nlink,
        owner=found.st_uid,
        mode=stat.S_IMODE(mode),
        inode=(found.st_dev, found.st_ino),
    )
