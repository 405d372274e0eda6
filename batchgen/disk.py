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
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

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

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open without following a link, not inherited by children."""
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        with self._reach(path) as (name, folder):
            return os.open(name, flags, mode, dir_fd=folder)

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
        with self._reach(folder) as (name, parent):
            os.mkdir(name, mode, dir_fd=parent)

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
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def link(self, source: Path, target: Path) -> None:
        """Give a file its final name; FileExistsError if that is taken."""
        with self._reach_both(source, target) as (old, here, new, there):
            os.link(old, new, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        with self._reach(path) as (name, folder):
            os.unlink(name, dir_fd=folder)

    def rename(self, source: Path, target: Path) -> None:
        """Move a file inside one file system."""
        with self._reach_both(source, target) as (old, here, new, there):
            os.rename(old, new, src_dir_fd=here, dst_dir_fd=there)

    @contextmanager
    def _reach(self, path: Path) -> Iterator[tuple[str | Path, int | None]]:
        """A path as a name in an open folder, if a folder above it is held."""
        text = str(path)
        tops = [top for top in self._held if text.startswith(f"{top}/")]
        if not tops:
            yield path, None
            return
        top = max(tops, key=len)  # the innermost
        *folders, name = text[len(top) + 1 :].split("/")
        handle = _enter(top, None)
        try:
            found = os.fstat(handle)
            if (found.st_dev, found.st_ino) != self._held[top]:
                raise OSError(errno.ESTALE, f"{top} is no longer the same folder")
            for folder in folders:
                outer, handle = handle, _enter(folder, handle)
                os.close(outer)
            yield name, handle
        finally:
            os.close(handle)

    @contextmanager
    def _reach_both(
        self, source: Path, target: Path
    ) -> Iterator[tuple[str | Path, int | None, str | Path, int | None]]:
        """Two paths, which are often in the same folder."""
        with self._reach(source) as (old, here):
            if here is not None and source.parent == target.parent:
                yield old, here, target.name, here
                return
            with self._reach(target) as (new, there):
                yield old, here, new, there


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


def _enter(folder: str, parent: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(folder, flags, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        why = f"{Path(folder).name} is not a folder but a link or a file"
        raise OSError(errno.ELOOP, why) from error


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
