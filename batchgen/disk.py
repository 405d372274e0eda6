"""The dozen calls through which batchgen touches its state on disk.

They stand behind one object so that a test can hand in a disk which dies after so
many bytes, runs full, or forgets what was not synced.
"""

import os
import shutil
import sys
from pathlib import Path


class Disk:
    """The real one."""

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open without following a link, not inherited by children."""
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)

    def close(self, handle: int) -> None:
        """Close a descriptor."""
        os.close(handle)

    def write(self, handle: int, data: bytes) -> int:
        """Write; may be short without an exception when space runs out."""
        return os.write(handle, data)

    def pwrite(self, handle: int, data: bytes, offset: int) -> int:
        """Write at an offset."""
        return os.pwrite(handle, data, offset)

    def size(self, handle: int) -> int:
        """Current length of the file."""
        return os.fstat(handle).st_size

    def free(self, folder: Path) -> int:
        """Bytes that may still be written below a folder."""
        return shutil.disk_usage(folder).free

    def is_at(self, handle: int, path: Path) -> bool:
        """Whether the open file is still the one at this path."""
        try:
            return os.path.samestat(os.fstat(handle), path.stat())
        except FileNotFoundError:
            return False

    def truncate(self, handle: int, length: int) -> None:
        """Cut the file."""
        os.ftruncate(handle, length)

    def sync(self, handle: int) -> None:
        """Bring the data to the platter."""
        if sys.platform == "darwin":
            import fcntl  # noqa: PLC0415 - only where plain fsync stops at the drive

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
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()

    def rename(self, source: Path, target: Path) -> None:
        """Move a file inside one file system."""
        source.rename(target)
