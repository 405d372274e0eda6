"""A full disk: what is paid is written down, nothing more is bought, all goes on."""

import errno
import os
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from batchgen import ballast
from batchgen.disk import Disk
from batchgen.errors import BatchgenError, StoreError
from batchgen.events import (
    AttemptAccepted,
    AttemptNotSent,
    AttemptStarted,
    Event,
    Imported,
)
from batchgen.journal import Journal, read
from batchgen.rescue import found, put_away, waiting
from batchgen.tally import Tally
from batchgen.world import World
from conftest import Story

TASK = "a" * 32
STARTED = AttemptStarted(task=TASK, attempt=1, reserve=1)
ACCEPTED = AttemptAccepted(task=TASK, attempt=1, prediction="p-1")
MIB = 1 << 20


class Small(Disk):
    """A disk of so many bytes, of which the files beside the journal take some."""

    def __init__(self, room: int = 10 * MIB) -> None:
        self.left = room
        self.reserve = 0
        self.syncs = 0
        self.broken = False

    def write(self, handle: int, data: bytes | memoryview) -> int:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = super().write(handle, data[: self.left])
        self.left -= count
        return count

    def truncate(self, handle: int, length: int) -> None:
        self.left += self.size(handle) - length
        super().truncate(handle, length)

    def sync(self, handle: int) -> None:
        self.syncs += 1
        super().sync(handle)

    def allocate(self, handle: int, length: int) -> None:
        if self.left < length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(handle, length)
        self.left, self.reserve = self.left - length, length

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        if path.name == ballast.NAME:
            self.left, self.reserve = self.left + self.reserve, 0

    def free(self, folder: Path) -> int:
        del folder
        return self.left


@dataclass
class House:
    """A journal on a small disk, and what was said in alarm."""

    journal: Journal
    disk: Small
    alarms: list[str] = field(default_factory=list)


@pytest.fixture
def anyio_backend() -> object:
    """No test waits for a clock."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@asynccontextmanager
async def house(folder: Path, *, left: int | None = None) -> AsyncIterator[House]:
    """A journal with one durable record, then with so many bytes left."""
    disk = Small()
    alarms: list[str] = []

    async def inline(work: Any, *facts: Any, abandon_on_cancel: bool = False) -> Any:
        del abandon_on_cancel
        return work(*facts)

    world = World(
        disk=disk, thread=inline, runtime=folder / "runtime", alarm=alarms.append
    )
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(Journal.open(folder, world))
        await journal.hold(1)
        await journal.durable(journal.append(STARTED))
        if left is not None:
            disk.left = left
        yield House(journal, disk, alarms)


@pytest.mark.anyio
@pytest.mark.parametrize("left", [0, 1, 100, 200])
async def test_the_ballast_takes_the_outcomes_of_what_is_under_way(
    tmp_path: Path, left: int
) -> None:
    async with house(tmp_path, left=left) as home:
        assert home.disk.reserve == 66 * 1024
        await home.journal.durable(home.journal.append(ACCEPTED))
        assert home.disk.reserve == 0
        assert home.journal.full
        assert [record.event for record in read(tmp_path)] == [STARTED, ACCEPTED]
        assert home.alarms == []


@pytest.mark.anyio
async def test_buying_waits_until_there_was_room_for_a_minute(tmp_path: Path) -> None:
    async with house(tmp_path, left=0) as home:
        await home.journal.durable(home.journal.append(ACCEPTED))
        began = anyio.current_time()

        async def clean_up() -> None:
            await anyio.sleep(30)
            home.disk.left = MIB
            await anyio.sleep(30)
            home.disk.left = 0  # and full again: the minute begins anew
            await anyio.sleep(30)
            home.disk.left = MIB

        async with anyio.create_task_group() as group:
            group.start_soon(clean_up)
            await home.journal.room()
        assert 150 <= anyio.current_time() - began <= 160
        assert home.disk.reserve == 66 * 1024
        assert not home.journal.full


@pytest.mark.anyio
async def test_a_disk_that_stays_full_ends_the_waiting(tmp_path: Path) -> None:
    async with house(tmp_path, left=0) as home:
        await home.journal.durable(home.journal.append(ACCEPTED))
        home.disk.left = 0
        began = anyio.current_time()
        with pytest.raises(StoreError) as caught:
            await home.journal.room()
        assert caught.value.rule == "disk-full"
        assert 600 <= anyio.current_time() - began <= 610


@pytest.mark.anyio
async def test_with_the_ballast_used_up_it_is_tried_every_five_seconds(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, left=0) as home:
        home.disk.unlink(tmp_path / ballast.NAME)
        home.disk.left = 0
        began = anyio.current_time()

        async def clean_up() -> None:
            await anyio.sleep(22)
            assert len(home.alarms) == 1  # it was rescued at once
            home.disk.left = MIB

        async with anyio.create_task_group() as group:
            group.start_soon(clean_up)
            await home.journal.durable(home.journal.append(ACCEPTED))
        assert anyio.current_time() - began == 25
        assert [record.event for record in read(tmp_path)] == [STARTED, ACCEPTED]
    Journal.open(tmp_path, World()).close()


@pytest.mark.anyio
async def test_an_id_that_finds_no_room_is_rescued_and_comes_back(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, left=0) as home:
        home.disk.unlink(tmp_path / ballast.NAME)
        home.disk.left = 0
        number = home.journal.append(ACCEPTED)
        with pytest.raises(StoreError):
            await home.journal.durable(number)
        with pytest.raises(StoreError):
            home.journal.append(STARTED)
        (line,) = home.alarms
        assert line.startswith("BATCHGEN-RECOVER {")
        assert [one.event for one in found(line)] == [ACCEPTED]
    assert [record.event for record in read(tmp_path)] == [STARTED]


@pytest.mark.anyio
async def test_a_broken_disk_is_not_synced_again_and_the_id_is_rescued(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        home.disk.broken = True
        number = home.journal.append(ACCEPTED)
        syncs = home.disk.syncs
        for _ in range(2):
            with pytest.raises(StoreError):
                await home.journal.durable(number)
        assert home.disk.syncs == syncs
        assert len(home.alarms) == 1


@pytest.mark.anyio
async def test_a_rescue_file_is_written_when_only_the_journal_fails(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        home.journal.rescue.save(ACCEPTED)
        world = World(runtime=tmp_path / "runtime")
        files = waiting(tmp_path, world)
        assert len(files) == 2
        for file in files:
            put_away(file, Disk())
        assert waiting(tmp_path, world) == []


# The whole runner on a disk that is full for a while.


class Tight(Disk):
    """Full from the first line of a kind on, until it was asked so often for room."""

    def __init__(self, story: Story, salt: str, kind: str, *, number: int) -> None:
        self.charges: list[int] = []
        self._story = story
        self._salt = salt
        self._kind = f'"t":"{kind}"'.encode()
        self._number = number
        self._tight = False

    def write(self, handle: int, data: bytes | memoryview) -> int:
        line = bytes(data)
        self._number -= line.startswith(b'{"v":1,"n"') and self._kind in line
        if not self._number and not self.charges:
            self._tight = True
            self._number = -1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(handle, data)

    def free(self, folder: Path) -> int:
        if not self._tight or folder.name == "videos":
            return super().free(folder)
        self.charges.append(len(self._story.till(self._salt)))
        self._tight = len(self.charges) < 5
        return 0


def bought_on(story: Story, salt: str, disk: Disk) -> tuple[list[Event], Counter[str]]:
    manifest = story.manifest([f"{salt} boat {n}" for n in range(4)])
    runner, tally = anyio.run(lambda: story.session(manifest, disk=disk))
    assert runner.failure is None
    assert tally.counts["done"] == 4
    counts = Counter(charge.prompt for charge in story.till(f"{salt} "))
    assert set(counts.values()) == {1}
    return [record.event for record in read(story.folder(manifest))], counts


def test_nothing_is_bought_while_the_disk_is_full(story: Story) -> None:
    disk = Tight(story, "tight ", "AttemptAccepted", number=1)
    bought_on(story, "tight", disk)
    assert set(disk.charges) == {1}


def test_an_intent_that_was_caught_by_the_full_disk_is_not_sent(story: Story) -> None:
    disk = Tight(story, "caught ", "AttemptStarted", number=2)
    events, _ = bought_on(story, "caught", disk)
    held = [event for event in events if isinstance(event, AttemptNotSent)]
    assert held
    assert {event.phase for event in held} == {"disk"}
    assert set(disk.charges) == {1}


def test_room_is_set_aside_before_anything_is_bought(story: Story) -> None:
    sizes: list[int] = []

    class Watched(Disk):
        def write(self, handle: int, data: bytes | memoryview) -> int:
            if b'"t":"AttemptStarted"' in bytes(data):
                reserve = story.root / "outputs" / "run-room.sandbox" / ballast.NAME
                sizes.append(reserve.stat().st_size)
            return super().write(handle, data)

    bought_on(story, "room", Watched())
    assert set(sizes) == {(64 + 2 * 8) * 1024}


def test_what_was_rescued_is_taken_in_by_the_next_session(story: Story) -> None:
    class NoAnswers(Disk):
        def write(self, handle: int, data: bytes | memoryview) -> int:
            line = bytes(data)
            if line.startswith(b'{"v":1,"n"') and b'"t":"AttemptAccepted"' in line:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(handle, data)

    manifest = story.manifest([f"rescued boat {n}" for n in range(2)])
    runner, _ = anyio.run(lambda: story.session(manifest, disk=NoAnswers()))
    assert runner.failure is not None
    events, _ = _resumed(story, manifest)
    (imported,) = [event for event in events if isinstance(event, Imported)]
    assert imported.accepted == 1
    accepted = [event for event in events if isinstance(event, AttemptAccepted)]
    assert [event.via for event in accepted] == ["answer", "answer"]
    assert len(story.till("rescued ")) == 2


def _resumed(story: Story, manifest: Path) -> tuple[list[Event], Tally]:
    _, tally = anyio.run(story.session, manifest)
    return [record.event for record in read(story.folder(manifest))], tally


# For real: a limit of the system, and a file system of its own.


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process may pass this size (EFBIG, after a short write)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting is not permitted here")
    command = [mount, "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def fill_and_resume(story: Story, salt: str, shortage: ExitStack) -> str:
    """Run into the shortage, run again without it, hold the till against it."""
    manifest = story.manifest([f"{salt} boat {n}" for n in range(3)])
    met = ""
    with shortage:
        try:
            runner, _ = anyio.run(story.session, manifest)
            met = runner.failure.rule if runner.failure else ""
        except BatchgenError as error:
            met = error.rule
        except BaseExceptionGroup as group:
            met = type(group.exceptions[0]).__name__
            if group.subgroup(BatchgenError) is None:
                raise
        committed = Tally.of(read(story.folder(manifest))).ledger.committed
        charged = sum(charge.price for charge in story.till(f"{salt} "))
        # What was accepted and not written was begun, so it counts in full.
        assert charged <= committed, (salt, charged, committed)
    for _ in range(2):
        anyio.run(story.session, manifest)
    counts = Counter(charge.prompt for charge in story.till(f"{salt} "))
    tally = Tally.of(read(story.folder(manifest)))
    assert sorted(counts.values()) == [1, 1, 1], (salt, counts)
    assert {state.status for state in tally.states.values()} == {"done"}, salt
    assert waiting(story.folder(manifest), World(runtime=story.root / "runtime")) == []
    return met


def limit(story: Story, name: str, size: int) -> str:
    shortage = ExitStack()
    shortage.enter_context(limited(size))
    return fill_and_resume(story, f"{name}{size}", shortage)


def test_a_journal_that_may_not_grow_costs_nothing_twice(story: Story) -> None:
    met = [limit(story, "some", size) for size in (700, 1100, 1700)]
    assert all(met)


@pytest.mark.slow
def test_a_journal_that_may_not_grow_at_any_length(story: Story) -> None:
    met = Counter(limit(story, "any", size) for size in range(256, 8 * 1024, 256))
    assert met.total() == 31
    assert met[""] == 0  # no clip fits, so each of them met the limit


def filled(story: Story, name: str, left: int) -> str:
    """`name` is the test's own: the account remembers what another one bought."""
    salt = f"{name}{left}"
    folder = story.root / "outputs" / f"run-{salt}.sandbox"
    with mounted(folder, MIB):
        folder.chmod(0o700)
        shortage = ExitStack()
        filler = folder / "filler"
        free = shutil.disk_usage(folder).free
        filler.write_bytes(bytes(max(0, free - left)))
        shortage.callback(filler.unlink)
        return fill_and_resume(story, salt, shortage)


def test_a_full_file_system_costs_nothing_twice(story: Story) -> None:
    met = [filled(story, "twice", left) for left in (8192, 200 * 1024)]
    assert met[0]


@pytest.mark.slow
def test_a_file_system_that_is_full_at_any_level(story: Story) -> None:
    """A tmpfs gives whole pages, so the levels are pages."""
    levels = range(0, 400 * 1024, 8 * 1024)
    met = Counter(filled(story, "level", left) for left in levels)
    assert met.total() == 50
    assert len(met) > 1
