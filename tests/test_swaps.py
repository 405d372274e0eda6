"""A folder of the run becomes a link to elsewhere, before any call to the disk."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_downloads import (
    Bench,
    Site,
    clip,
    file,
    http,
    site,
)

from batchgen.disk import Disk, keep_folders
from batchgen.errors import StoreError
from batchgen.events import SavedFile
from batchgen.journal import Journal
from batchgen.moves import Relocation, carry_out
from batchgen.parts import write_sidecar
from batchgen.sockets import Carrier
from batchgen.stores import FolderStore
from batchgen.world import World

SHORT = clip(b"short", 120)
SUM = hashlib.sha256(SHORT).hexdigest()
CALLS = ("open", "mkdir", "link", "unlink", "rename", "find", "sync_folder")
"""Those that name a place; the others know an open file alone."""
FIXTURES = (http, site)
PLACES = ("outputs", "outputs/run", "outputs/run/videos", "outputs/run/videos/spring")


class Swapping(Disk):
    """Calls `swap` before its n-th call, and counts them."""

    def __init__(self, swap: Callable[[], None]) -> None:
        self.left = -1
        self._swap = swap

    def _count(self) -> None:
        if self.left == 0:
            self._swap()
        self.left -= 1


def _counted(name: str) -> Callable[..., Any]:
    def call(disk: Swapping, *arguments: Any) -> Any:
        disk._count()  # noqa: SLF001 - its own method
        return getattr(Disk, name)(disk, *arguments)

    return call


for _name in CALLS:
    setattr(Swapping, _name, _counted(_name))


class Scene:
    """A run, and a folder elsewhere that a place of the run becomes a link to."""

    def __init__(self, root: Path, place: str, number: int, *, filled: bool) -> None:
        self.run = root / "outputs" / "run"
        self.spring = self.run / "videos" / "spring"
        self.spring.mkdir(parents=True)
        self.run.chmod(0o700)
        self._place = root / place
        self._away = root / "away"
        self._outside = root / "outside"
        inner = self._outside / self.spring.relative_to(self._place)
        inner.mkdir(parents=True)
        if filled:
            for name in ("clip.mp4.part", "clip.mp4.part.json", "clip.json", "old.mp4"):
                (inner / name).write_bytes(b"precious")
            (inner / "old.json").write_bytes(b"precious")
        self.disk = Swapping(self.swap)
        self.disk.hold(self.run)
        self.disk.left = number
        self._before = self.outside()

    def swap(self) -> None:
        self._place.rename(self._away)
        self._place.symlink_to(self._outside, target_is_directory=True)

    def outside(self) -> dict[str, tuple[bytes, int]]:
        """Every name elsewhere with its content and how many names it has."""
        return {
            str(path): (
                path.read_bytes() if path.is_file() else b"",
                path.lstat().st_nlink,
            )
            for path in sorted(self._outside.rglob("*"))
        }

    def unharmed(self) -> bool:
        return self.outside() == self._before


def moments(
    root: Path, place: str, *, filled: bool, act: Callable[[Scene], None]
) -> Iterator[Scene]:
    """One scene for each call, until none is left."""
    for number in range(200):
        folder = root / str(number)
        scene = Scene(folder, place, number, filled=filled)
        try:
            act(scene)
        except (StoreError, OSError):
            if scene.disk.left >= 0:
                raise
        if scene.disk.left >= 0:
            return
        yield scene


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_download_writes_nothing_through_a_link_that_took_a_folders_place(
    tmp_path: Path, request: pytest.FixtureRequest, place: str, *, filled: bool
) -> None:
    client: Carrier = request.getfixturevalue("http")
    server: Site = request.getfixturevalue("site")

    def act(scene: Scene) -> None:
        server.give(file(SHORT))
        keep_folders(scene.disk, scene.spring, scene.run)
        bench = Bench(scene.spring, client, server)
        bench.disk = scene.disk
        with scene.disk.inside(scene.spring):
            bench.fetch()
            write_sidecar(scene.spring / "clip.json", {"a": 1}, disk=scene.disk)

    count = 0
    for scene in moments(tmp_path, place, filled=filled, act=act):
        count += 1
        assert scene.unharmed(), f"call {count}"
    assert count > 8


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_move_writes_nothing_through_a_link_that_took_a_folders_place(
    tmp_path: Path, place: str, *, filled: bool
) -> None:
    saved = SavedFile(name="spring/old.mp4", bytes=len(SHORT), sha256=SUM)

    def act(scene: Scene) -> None:
        (scene.spring / "old.mp4").write_bytes(SHORT)
        (scene.spring / "old.json").write_bytes(b"{}")
        wanted = Relocation("a" * 32, ((saved, "spring/deep/new.mp4"),))
        folder = FolderStore(scene.run / "videos", scene.disk)
        carry_out(wanted, {"": folder})

    count = 0
    for scene in moments(tmp_path, place, filled=filled, act=act):
        count += 1
        assert scene.unharmed(), f"call {count}"
    assert count > 4


def test_no_clip_is_saved_in_a_folder_that_took_anothers_place(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    client: Carrier = request.getfixturevalue("http")
    server: Site = request.getfixturevalue("site")
    run = tmp_path / "run"
    videos = run / "videos"
    videos.mkdir(parents=True)

    class Moved(Disk):
        def sync(self, handle: int) -> None:
            super().sync(handle)
            videos.rename(tmp_path / "away")
            videos.mkdir()

    server.give(file(SHORT))
    bench = Bench(videos, client, server)
    bench.disk = Moved()
    bench.disk.hold(run)
    assert "no longer the same folder" in bench.fail(StoreError)
    assert list(videos.iterdir()) == []
    assert not (tmp_path / "away" / "clip.mp4").exists()


def test_a_run_holds_its_folder(tmp_path: Path) -> None:
    world = World()
    folder = tmp_path / "outputs" / "run"
    (tmp_path / "outside").mkdir()
    with Journal.open(folder, world):
        (folder / "videos").symlink_to(tmp_path / "outside", target_is_directory=True)
        with pytest.raises(OSError, match="not a folder but a link"):
            world.disk.open(folder / "videos" / "clip", os.O_WRONLY | os.O_CREAT)
        (folder / "videos").unlink()
        folder.rename(tmp_path / "away")
        folder.mkdir()
        with pytest.raises(OSError, match="no longer the same folder"):
            world.disk.mkdir(folder / "videos")
    assert list((tmp_path / "outside").iterdir()) == []
    assert list(folder.iterdir()) == []
