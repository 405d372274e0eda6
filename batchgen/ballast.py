"""Room that is kept free for what must be written when the disk is full.

It is sized for the outcomes of the submissions under way: those are paid, and their
ids are nowhere else.
"""

import os
from contextlib import suppress
from pathlib import Path

from batchgen.disk import Disk

NAME = ".reserve"
_BASE = 64 * 1024
_EACH = 2 * 1024  # an outcome with its evidence is below this, but for rare answers


class Ballast:
    """A file of nothing, beside the journal.

    Attributes:
        size: bytes that it holds, or will.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.size = _BASE
        self._folder = folder
        self._path = folder / NAME
        self._disk = disk

    def hold(self, outcomes: int) -> bool:
        """Take room for so many outcomes; False if it is not there."""
        self.size = _BASE + _EACH * outcomes
        return self.restore()

    def restore(self) -> bool:
        """Take the room again, if the disk has twice as much; False if it has not."""
        try:
            if self._is_whole():
                return True
            if not self.room:
                return False
            handle = self._disk.open(self._path, os.O_RDWR | os.O_CREAT)
            try:
                self._disk.allocate(handle, self.size)
            finally:
                self._disk.close(handle)
        except OSError:
            self.release()  # a part of it would only be in the way
            return False
        return True

    @property
    def room(self) -> bool:
        """Whether the disk has room for two of it, its own counted."""
        try:
            free = self._disk.free(self._folder)
        except OSError:
            return False
        return free + self._held() >= 2 * self.size

    def release(self) -> bool:
        """Give the room back; False if there was none to give."""
        held = self._held()
        with suppress(OSError):
            self._disk.unlink(self._path)
        return held > 0

    def _is_whole(self) -> bool:
        return self._held() >= self.size

    def _held(self) -> int:
        try:
            there = self._disk.find(self._path)
        except OSError:
            return 0
        return there.size if there is not None and there.is_file else 0
