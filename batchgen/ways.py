"""Ways to a name below a held folder: step by step, and through no link."""

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from threading import local
from types import TracebackType
from typing import NamedTuple, Self


class Place:
    """A name in an open folder, or a path where no folder is held.

    `own` says that the folder was opened for this place, and ends with it.
    """

    __slots__ = ("folder", "name", "own")

    def __init__(
        self, name: str, folder: int | None = None, *, own: bool = False
    ) -> None:
        self.name = name
        self.folder = folder
        self.own = own

    def close(self) -> None:
        """Let go of the folder."""
        if self.own and self.folder is not None:
            os.close(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Inside(NamedTuple):
    """A folder that a thread has open for many calls, and on which disk."""

    disk: object
    folder: str
    handle: int


class _Thread(local):
    """What each thread knows for itself."""

    inside: Inside | None = None


thread = _Thread()


def walk(path: str, held: Mapping[str, tuple[int, int]]) -> Place:
    """The place of a path; just looked at from the innermost held folder on.

    Args:
        path: where to.
        held: device and inode of each held folder, by its path.

    Raises:
        OSError: there is no way, or it leads through a link or another folder.
    """
    tops = [top for top in held if path.startswith(f"{top}/")]
    if not tops:
        return Place(path)
    top = max(tops, key=len)
    *folders, name = path[len(top) + 1 :].split("/")
    handle = _enter(top, None)
    try:
        demand(handle, held[top], top)
        for folder in folders:
            outer, handle = handle, _enter(folder, handle)
            os.close(outer)
    except BaseException:
        os.close(handle)
        raise
    return Place(name, handle, own=True)


def lead(path: str, held: Mapping[str, tuple[int, int]], handle: int) -> None:
    """See that a path leads to an open folder still, and through no link.

    Args:
        path: of the folder; it is looked at from the innermost held folder on.
        held: device and inode of each held folder, by its path.
        handle: the open folder.

    Raises:
        OSError: there is no way, or it leads through a link or to another folder.
    """
    top = max((top for top in held if f"{path}/".startswith(f"{top}/")), key=len)
    found = _folder(top)
    if (found.st_dev, found.st_ino) != held[top]:
        raise _stale(top)
    for folder in path[len(top) + 1 :].split("/") if path != top else ():
        top = f"{top}/{folder}"
        found = _folder(top)
    demand(handle, (found.st_dev, found.st_ino), path)


def _folder(path: str) -> os.stat_result:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise _barred(path)
    return found


def demand(handle: int, inode: tuple[int, int], path: str) -> None:
    """See that an open folder is the one that it was; OSError if it is not."""
    found = os.fstat(handle)
    if (found.st_dev, found.st_ino) != inode:
        raise _stale(path)


def _stale(path: str) -> OSError:
    return OSError(errno.ESTALE, f"{path} is no longer the same folder")


def _enter(folder: str, parent: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(folder, flags, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise _barred(folder) from error


def _barred(path: str) -> OSError:
    why = f"{Path(path).name} is not a folder but a link or a file"
    return OSError(errno.ELOOP, why)
