"""Where clips go: the run's own folder, or a bucket.

A download always ends in a verified file of this disk. What a store makes of it is
written down only when it is safe there.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from threading import Event as Flag
from typing import Any, Protocol

from batchgen.disk import Disk, Entry, make_folders
from batchgen.errors import StoreError
from batchgen.events import SavedFile
from batchgen.names import with_hash
from batchgen.objects import ObjectStore
from batchgen.parts import write_sidecar
from batchgen.world import World


class Store(Protocol):
    """A place for the clips of one run. Whatever it does may be done twice.

    Its methods block, so call them in a thread; each raises StoreError where the place
    does not do it.
    """

    @property
    def url(self) -> str:
        """Its address; empty for the run's own folder."""

    def found(self, name: str, path: Path, prediction: str) -> SavedFile | None:
        """A clip that an earlier life has brought there and not written down.

        Args:
            name: that it should have, `/` between folders.
            path: where a download of it would be on this disk.
            prediction: whose clip it is.
        """

    def keep(
        self, name: str, file: SavedFile, path: Path, prediction: str
    ) -> SavedFile:
        """Bring a verified file there, never over another; durable afterwards.

        Args:
            name: that it should have, `/` between folders.
            file: what it is.
            path: where it is on this disk; where it may stay only if that is there.
            prediction: whose clip it is.
        """

    def explain(self, name: str, facts: Mapping[str, Any]) -> None:
        """Put a sidecar beside a clip."""

    def move(self, file: SavedFile, target: str) -> str | None:
        """Give a clip another name, never over another; the name it has then.

        None: it is nowhere.
        """


class FolderStore:
    """The run's own folder: a verified download is at home there."""

    url = ""

    def __init__(self, videos: Path, disk: Disk) -> None:
        self._videos = videos
        self._disk = disk

    def found(self, name: str, path: Path, prediction: str) -> SavedFile | None:
        """Nothing: a download finds for itself what is there."""
        del name, path, prediction
        return None

    def keep(
        self, name: str, file: SavedFile, path: Path, prediction: str
    ) -> SavedFile:
        """It is where it belongs."""
        del name, path, prediction
        return file

    def explain(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write a sidecar, whole or not at all."""
        write_sidecar(self._videos / name, facts, disk=self._disk)

    def move(self, file: SavedFile, target: str) -> str | None:
        """Rename it and its sidecar; what a crash left half done is finished."""
        try:
            return _carry(self._videos, file, target, self._disk)
        except OSError as error:
            raise StoreError(
                f"cannot move {self._videos / file.name}: {error.strerror}"
            ) from error


def opened(url: str, videos: Path, world: World, stop: Flag | None = None) -> Store:
    """The store at an address; an empty one is the folder `videos`.

    `stop` ends waiting for a bucket that does not answer.
    """
    if url:
        return ObjectStore(url, world, stop)
    return FolderStore(videos, world.disk)


def at_hand(url: str, videos: Path, world: World) -> dict[str, Store]:
    """The run's own folder and the store at an address, by address."""
    return {"": opened("", videos, world), url: opened(url, videos, world)}


def _carry(videos: Path, file: SavedFile, target: str, disk: Disk) -> str | None:
    """Where the file is now; None if it is nowhere."""
    source, wanted = videos / file.name, videos / target
    there = disk.find(source)
    if there is None:
        homes = (target, with_hash(target, file.sha256))
        return next((name for name in homes if _is(videos / name, file, disk)), None)
    make_folders(disk, wanted.parent)
    # The same file under both names: a crash came between link and unlink.
    if not _free_for(disk, wanted, there):
        wanted = videos / with_hash(target, file.sha256)
    if wanted == source:
        return file.name
    if disk.find(wanted) is None:
        disk.link(source, wanted)
    if not _free_for(disk, wanted, there):
        return file.name  # both names are taken: it stays where it is
    disk.sync_folder(wanted.parent)
    disk.unlink(source)
    disk.sync_folder(source.parent)
    beside = source.with_suffix(".json")
    if disk.find(beside) is not None:
        disk.rename(beside, wanted.with_suffix(".json"))
    return wanted.relative_to(videos).as_posix()


def _free_for(disk: Disk, name: Path, file: Entry) -> bool:
    """Whether a name is free, or stands for this very file."""
    there = disk.find(name)
    return there is None or there.inode == file.inode


def _is(path: Path, file: SavedFile, disk: Disk) -> bool:
    entry = disk.find(path)
    if entry is None or not entry.is_file or entry.size != file.bytes:
        return False
    with disk.reader(path) as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
