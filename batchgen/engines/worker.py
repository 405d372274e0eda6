"""Whoever fetches: the same in this process and on a cluster."""

from collections.abc import Callable
from pathlib import Path
from posixpath import basename, dirname, splitext
from threading import Event as Flag

from msgspec.structs import replace

from batchgen import frames
from batchgen.disk import keep_folders
from batchgen.downloads import fetch
from batchgen.engines.lease import Brought, Lease
from batchgen.events import SavedFile
from batchgen.parts import on_disk
from batchgen.sockets import Carrier
from batchgen.stores import Store, opened
from batchgen.world import World


class Worker:
    """Downloads, verifies and puts in place what it is given leases for.

    It has no key and no state file; a bucket's credentials are those of its own
    environment. Set `stop` to end downloads under way; their parts
    stay. `received` is told of every piece that comes, from the thread that fetches it.
    """

    def __init__(self, files: Carrier, world: World) -> None:
        self.stop = Flag()
        self.received: Callable[[int], None] = lambda _count: None
        self._files = files
        self._world = world
        self._homes: dict[tuple[str, str], Path] = {}
        self._prepared: set[Path] = set()
        self._stores: dict[tuple[str, str], Store] = {}

    def bring(self, lease: Lease) -> Brought:
        """Fetch every output of a prediction; blocks, so give it a thread.

        Raises:
            LinkExpired: a link is good no more; lease it again with fresh ones.
            Unavailable: passing trouble; lease it again later, the part is kept.
            DownloadStopped: `stop` was set.
            StoreError: the disk does not take a file, or it is no clip.
        """
        first = lease.links[0][1] if lease.links else ""
        with self._world.disk.inside(self._home(lease, first)):
            saved = tuple(self._save(lease, *link) for link in lease.links)
            if lease.sidecar is not None:
                for file in saved:
                    self._explain(lease, file)
        return Brought(saved)

    def _store(self, lease: Lease) -> Store:
        key = (lease.store, lease.folder)
        if key not in self._stores:
            videos = Path(lease.folder, "videos")
            self._stores[key] = opened(lease.store, videos, self._world, self.stop)
        return self._stores[key]

    def _home(self, lease: Lease, name: str) -> Path:
        """The folder of an output, made once: to make a path is to parse it."""
        key = (lease.folder, dirname(name))
        if key not in self._homes:
            self._homes[key] = Path(lease.folder, "videos", key[1])
        return self._homes[key]

    def _save(self, lease: Lease, url: str, name: str) -> SavedFile:
        home, store = self._home(lease, name), self._store(lease)
        target = home / basename(name)
        if there := store.found(name, target, lease.prediction):
            return there
        self._prepare(home, lease.folder)
        saved = fetch(
            url,
            target,
            http=self._files,
            loopback=lease.loopback,
            disk=self._world.disk,
            boot=self._world.boot,
            stop=self.stop,
            on_bytes=self.received,
        )
        folders = name.removesuffix(target.name)
        file = replace(saved, name=f"{folders}{saved.name}") if folders else saved
        path = target if saved.name == target.name else home / saved.name
        if store.url or lease.posters:
            frames.leave(Path(lease.folder), path, file.sha256)
        return store.keep(name, file, path, lease.prediction)

    def _prepare(self, folder: Path, run: str) -> None:
        if folder not in self._prepared:
            with on_disk(folder):
                keep_folders(self._world.disk, folder, Path(run))
            self._prepared.add(folder)

    def _explain(self, lease: Lease, file: SavedFile) -> None:
        """A sidecar makes each file self-explaining after it leaves the folder."""
        own = {"file": file.name, "sha256": file.sha256, "bytes": file.bytes}
        value = {
            "schema": "batchgen.clip/1",
            **own,
            **(lease.sidecar or {}),
            "saved_at": self._world.stamp(),
        }
        self._store(lease).explain(f"{splitext(file.name)[0]}.json", value)
