"""The state file: one writer, durable before anybody acts on it. Real files."""

import errno
import fcntl
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from batchgen import journal as journals
from batchgen.disk import Disk
from batchgen.errors import (
    BatchgenError,
    JournalDamaged,
    JournalError,
    JournalLocked,
    StoreError,
)
from batchgen.events import AttemptStarted, Event, Repaired, TaskPlanned
from batchgen.journal import Journal
from batchgen.recorder import Recorder
from batchgen.replay import replay
from batchgen.tally import Tally
from batchgen.world import World

pytestmark = pytest.mark.anyio

TASK = "a" * 32


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Both loops."""
    return request.param


def started(attempt: int) -> AttemptStarted:
    return AttemptStarted(task=TASK, attempt=attempt, reserve=attempt)


class Watched(Disk):
    """A real disk that counts, and breaks when it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.longest: int | None = None
        self.broken: dict[str, OSError] = {}
        self.folders: list[Path] = []
        self.before_sync: Callable[[], None] = lambda: None

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise self.broken[name]

    def write(self, handle: int, data: bytes | memoryview) -> int:
        if self.longest is not None:
            data = data[: self.longest]
        self._call("write")
        return super().write(handle, data)

    def sync(self, handle: int) -> None:
        self.before_sync()
        self._call("sync")
        super().sync(handle)

    def sync_folder(self, folder: Path) -> None:
        self._call("sync_folder")
        self.folders.append(folder)
        super().sync_folder(folder)

    def truncate(self, handle: int, length: int) -> None:
        self._call("truncate")
        super().truncate(handle, length)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "spring"


def world(disk: Disk | None = None) -> World:
    return World(disk=disk or Disk(), host="a-host")


async def written(folder: Path, count: int, disk: Disk | None = None) -> bytes:
    """A journal of so many attempts, closed; its bytes."""
    with Journal.open(folder, world(disk)) as journal:
        for number in range(1, count + 1):
            await journal.durable(journal.append(started(number)))
    return (folder / "state.jsonl").read_bytes()


def torn_off(folder: Path) -> list[Path]:
    return sorted(folder.glob("torn-*"))


def begun_anew(folder: Path, content: bytes) -> None:
    """The folder with only this state file in it, so without a high-water mark."""
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "state.jsonl").write_bytes(content)


def attempts(folder: Path) -> list[Event]:
    return [record.event for record in journals.read(folder)]


async def test_what_was_recorded_is_there_at_the_next_start(folder: Path) -> None:
    await written(folder, 3)
    with Journal.open(folder, world()) as journal:
        assert [record.n for record in journal.records] == [1, 2, 3]
        assert [record.event for record in journal.records] == attempts(folder)
        assert await durable(journal, started(4)) == 4
    assert attempts(folder) == [started(number) for number in (1, 2, 3, 4)]


async def durable(journal: Journal, event: Event) -> int:
    number = journal.append(event)
    await journal.durable(number)
    return number


async def test_files_of_a_run_are_its_owners_alone(folder: Path) -> None:
    await written(folder, 1)
    for name in ("state.jsonl", ".lock"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


async def test_a_record_is_synced_before_durable_returns(folder: Path) -> None:
    disk = Watched()
    with Journal.open(folder, world(disk)) as journal:
        seen: list[bytes] = []
        disk.before_sync = lambda: seen.append(journal.path.read_bytes())
        number = journal.append(started(1))
        assert journal.path.read_bytes() == b""
        await journal.durable(number)
        assert seen == [journal.path.read_bytes()]
        first = [call for call in disk.calls if call != "sync_folder"]
        assert first == ["write", "sync"]
        assert folder in disk.folders
        disk.calls.clear()
        await durable(journal, started(2))
        assert disk.calls == ["write", "sync"]
        await journal.durable(2)
        assert len(disk.calls) == 2


async def test_the_names_of_new_folders_are_durable_too(folder: Path) -> None:
    """Or power loss takes the whole run, and the next one buys everything again."""
    disk = Watched()
    await written(folder, 1, disk)
    assert {folder, folder.parent, folder.parent.parent} <= set(disk.folders)


async def test_a_hundred_waiters_share_a_few_syncs(folder: Path) -> None:
    disk = Watched()
    with Journal.open(folder, world(disk)) as journal:
        woken: list[int] = []

        async def wait(number: int) -> None:
            await journal.durable(number)
            assert replay(journal.path.read_bytes()).last >= number
            woken.append(number)

        async with anyio.create_task_group() as group:
            for number in range(1, 101):
                group.start_soon(wait, journal.append(started(number)))
    assert sorted(woken) == list(range(1, 101))
    assert disk.calls.count("sync") <= 2
    assert attempts(folder) == [started(number) for number in range(1, 101)]


async def test_records_that_come_during_a_sync_ride_with_the_next(
    folder: Path,
) -> None:
    disk = Watched()
    reached, go_on = threading.Event(), threading.Event()
    with Journal.open(folder, world(disk)) as journal:

        def held() -> None:
            reached.set()
            assert go_on.wait(10)

        disk.before_sync = held
        async with anyio.create_task_group() as group:
            group.start_soon(journal.durable, journal.append(started(1)))
            await anyio.to_thread.run_sync(reached.wait, 10)
            for number in range(2, 51):
                group.start_soon(journal.durable, journal.append(started(number)))
            disk.before_sync = lambda: None
            go_on.set()
    assert disk.calls.count("sync") == 2
    assert len(attempts(folder)) == 50


async def test_a_cancelled_waiter_does_not_stop_the_write_it_began(
    folder: Path,
) -> None:
    disk = Watched()
    reached, go_on = threading.Event(), threading.Event()

    def held() -> None:
        reached.set()
        assert go_on.wait(10)

    with Journal.open(folder, world(disk)) as journal:
        disk.before_sync = held
        async with anyio.create_task_group() as group:
            group.start_soon(journal.durable, journal.append(started(1)))
            await anyio.to_thread.run_sync(reached.wait, 10)
            group.cancel_scope.cancel()
            go_on.set()
        disk.before_sync = lambda: None
        await durable(journal, started(2))
    assert attempts(folder) == [started(1), started(2)]


async def test_a_waiter_that_was_cancelled_before_it_began_loses_no_record(
    folder: Path,
) -> None:
    with Journal.open(folder, world()) as journal:
        number = journal.append(started(1))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await journal.durable(number)
        await durable(journal, started(2))
    assert attempts(folder) == [started(1), started(2)]


async def test_a_torn_tail_is_cut_at_every_byte_and_kept(folder: Path) -> None:
    whole = await written(folder, 4)
    path = folder / "state.jsonl"
    third = whole.rindex(b"\n", 0, -1) + 1
    for length in range(third + 1, len(whole) - 1):
        begun_anew(folder, whole[:length])
        with Journal.open(folder, world()) as journal:
            torn = whole[third:length]
            assert len(journal.records) == 3
            (kept,) = torn_off(folder)
            assert kept.read_bytes() == torn
            assert path.read_bytes().startswith(whole[:third] + b'{"v":1,"n":4,')
            assert await durable(journal, started(4)) == 5
        assert attempts(folder)[3:] == [
            Repaired(bytes=len(torn), kept=kept.name),
            started(4),
        ]


async def test_a_last_line_without_its_end_is_kept_and_ended(folder: Path) -> None:
    whole = await written(folder, 2)
    (folder / "state.jsonl").write_bytes(whole[:-1])
    with Journal.open(folder, world()) as journal:
        assert journal.path.read_bytes() == whole
        await durable(journal, started(3))
    assert attempts(folder) == [started(1), started(2), started(3)]
    assert torn_off(folder) == []


async def test_zeros_at_the_end_are_a_torn_tail(folder: Path) -> None:
    whole = await written(folder, 2)
    with (folder / "state.jsonl").open("ab") as file:
        file.write(b"\0" * 4096)
    with Journal.open(folder, world()) as journal:
        assert len(journal.records) == 2
    assert (folder / "state.jsonl").read_bytes().startswith(whole)
    assert attempts(folder)[2] == Repaired(bytes=4096, kept=torn_off(folder)[0].name)


async def test_a_damaged_middle_is_refused_and_left_as_it_is(folder: Path) -> None:
    whole = await written(folder, 4)
    hurt = whole.replace(b'"reserve":"2"', b'"reserve":"0"')
    (folder / "state.jsonl").write_bytes(hurt)
    with pytest.raises(JournalDamaged, match="line 2"):
        Journal.open(folder, world())
    assert (folder / "state.jsonl").read_bytes() == hurt
    with pytest.raises(JournalDamaged):
        journals.read(folder)


async def test_a_file_cut_below_the_high_water_mark_is_refused(folder: Path) -> None:
    whole = await written(folder, 4)
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 0x0A]
    for length in [0, *ends[:-1], ends[-1] - 9]:
        (folder / "state.jsonl").write_bytes(whole[:length])
        with pytest.raises(JournalDamaged) as caught:
            Journal.open(folder, world())
        assert caught.value.rule == "rolled-back"
    (folder / "state.jsonl").unlink()
    with pytest.raises(JournalDamaged):
        Journal.open(folder, world())
    (folder / "state.jsonl").write_bytes(whole)
    with Journal.open(folder, world()) as journal:
        assert len(journal.records) == 4


async def test_no_flipped_bit_of_the_last_record_loses_it_unseen(
    folder: Path,
) -> None:
    whole = await written(folder, 2)
    path = folder / "state.jsonl"
    last = whole.index(b"\n") + 1
    for place in range(last - 1, len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(JournalDamaged):
                Journal.open(folder, world())


async def test_a_stale_or_broken_mark_is_harmless(folder: Path) -> None:
    await written(folder, 2)
    mark = (folder / ".lock").read_bytes()
    await written(folder, 1)
    for content in (mark, b"", b"\0" * 64, b"99 9999 00000000\n"):
        (folder / ".lock").write_bytes(content)
        with Journal.open(folder, world()) as journal:
            assert journal.records[-1].n == 3


async def test_half_of_a_mark_is_not_left_behind(folder: Path) -> None:
    class Halves(Disk):
        def pwrite(self, handle: int, data: bytes, offset: int) -> int:
            return super().pwrite(handle, data[: max(1, len(data) // 2)], offset)

    with Journal.open(folder, world(Halves())) as journal:
        for number in (1, 2):
            await durable(journal, started(number))
    whole = (folder / "state.jsonl").read_bytes()
    (folder / "state.jsonl").write_bytes(whole[: whole.index(b"\n") + 1])
    with pytest.raises(JournalDamaged) as caught:
        Journal.open(folder, world())
    assert caught.value.rule == "rolled-back"


async def test_a_second_opener_is_told_who_holds_the_run(folder: Path) -> None:
    with Journal.open(folder, world()) as journal:
        await durable(journal, started(1))
        with pytest.raises(JournalLocked) as caught:
            Journal.open(folder, world())
        assert re.search(
            rf"process {os.getpid()} on a-host since \d\d:\d\d", caught.value.message
        )
        assert "spring" in caught.value.message
        await durable(journal, started(2))
    with Journal.open(folder, world()) as journal:
        assert len(journal.records) == 2


@pytest.mark.parametrize("way", ["symlink", "hardlink"])
async def test_another_path_to_the_same_file_is_locked_too(
    folder: Path, tmp_path: Path, way: str
) -> None:
    other = tmp_path / "elsewhere"
    with Journal.open(folder, world()):
        if way == "symlink":
            (tmp_path / "link").symlink_to(folder.parent, target_is_directory=True)
            other = tmp_path / "link" / folder.name
        else:
            other.mkdir()
            (other / "state.jsonl").hardlink_to(folder / "state.jsonl")
        with pytest.raises(JournalLocked):
            Journal.open(other, world())


def test_a_state_file_that_is_a_link_is_not_followed(
    folder: Path, tmp_path: Path
) -> None:
    folder.mkdir(parents=True)
    (tmp_path / "target").write_bytes(b"")
    (folder / "state.jsonl").symlink_to(tmp_path / "target")
    with pytest.raises(StoreError):
        Journal.open(folder, world())


def replaced(path: Path) -> None:
    """What an editor or a restored backup does: the same bytes, another file."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


async def test_a_replaced_file_does_not_let_a_second_runner_in(folder: Path) -> None:
    with Journal.open(folder, world()) as journal:
        await durable(journal, started(1))
        replaced(journal.path)
        with pytest.raises(JournalLocked):
            Journal.open(folder, world()).close()


async def test_a_runner_sees_that_its_file_was_replaced(folder: Path) -> None:
    with Journal.open(folder, world()) as journal:
        await durable(journal, started(1))
        replaced(journal.path)
        with pytest.raises(JournalDamaged):
            await durable(journal, started(2))


async def test_a_failed_opening_gives_the_lock_back(folder: Path) -> None:
    whole = await written(folder, 2)
    (folder / "state.jsonl").write_bytes(whole[1:])
    for _ in range(2):
        with pytest.raises(JournalDamaged):
            Journal.open(folder, world())
    (folder / "state.jsonl").write_bytes(whole)
    Journal.open(folder, world()).close()


async def test_the_descriptors_are_not_inherited_and_are_closed(folder: Path) -> None:
    class Recording(Disk):
        def __init__(self) -> None:
            self.handles: list[int] = []

        def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
            self.handles.append(super().open(path, flags, mode))
            return self.handles[-1]

    disk = Recording()
    journal = Journal.open(folder, world(disk))
    assert len(disk.handles) == 3
    del disk.handles[2]  # it only tried the lock
    assert not any(os.get_inheritable(handle) for handle in disk.handles)
    journal.close()
    journal.close()
    for handle in disk.handles:
        with pytest.raises(OSError, match="Bad file descriptor"):
            fcntl.fcntl(handle, fcntl.F_GETFD)


@pytest.mark.parametrize("call", ["write", "sync", "sync_folder"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG])
async def test_a_failed_write_poisons_the_journal_for_good(
    folder: Path, call: str, code: int
) -> None:
    disk = Watched()
    with Journal.open(folder, world(disk)) as journal:
        disk.broken = {call: OSError(code, os.strerror(code))}
        with pytest.raises(StoreError, match=os.strerror(code)):
            await durable(journal, started(1))
        disk.broken = {}
        calls = list(disk.calls)
        with pytest.raises(StoreError):
            await journal.durable(1)
        with pytest.raises(StoreError):
            journal.append(started(2))
        assert disk.calls == calls  # a failed sync is never repeated


async def test_every_waiter_of_a_failed_batch_is_told(folder: Path) -> None:
    disk = Watched()
    with Journal.open(folder, world(disk)) as journal:
        await durable(journal, started(1))
        disk.broken = {"sync": OSError(errno.EIO, "gone")}
        told: list[int] = []

        async def wait(number: int) -> None:
            with suppress(StoreError):
                await journal.durable(number)
                return
            told.append(number)

        async with anyio.create_task_group() as group:
            for number in range(2, 12):
                group.start_soon(wait, journal.append(started(number)))
        assert sorted(told) == list(range(2, 12))
        await journal.durable(1)


async def test_a_write_for_which_there_is_no_room_leaves_nothing_behind(
    folder: Path,
) -> None:
    class Filling(Disk):
        room = 200

        def write(self, handle: int, data: bytes | memoryview) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, "full")
            count = super().write(handle, data[: self.room])
            self.room -= count
            return count

    with Journal.open(folder, world(Filling())) as journal:
        for number in range(1, 4):
            journal.append(started(number))
        with pytest.raises(StoreError, match="full"):
            await journal.durable(1)
    with Journal.open(folder, world()) as journal:
        assert journal.path.read_bytes() == b""
        assert await durable(journal, started(1)) == 1


async def test_short_writes_are_carried_on(folder: Path) -> None:
    disk = Watched()
    disk.longest = 7
    whole = await written(folder, 3, disk)
    assert disk.calls.count("write") == sum(
        -(-len(line) // 7) for line in whole.splitlines(keepends=True)
    )
    assert attempts(folder) == [started(1), started(2), started(3)]


async def test_another_writer_shows_in_the_size(folder: Path) -> None:
    disk = Watched()
    with Journal.open(folder, world(disk)) as journal:
        await durable(journal, started(1))
        with journal.path.open("ab") as file:
            file.write(b"\n")
        calls = list(disk.calls)
        with pytest.raises(JournalDamaged, match="changed under our hands"):
            await durable(journal, started(2))
        with pytest.raises(JournalDamaged):
            journal.append(started(3))
        assert disk.calls == calls


@pytest.mark.timeout(10)  # it would spin for ever
async def test_a_commit_that_fails_in_an_unforeseen_way_does_not_hang(
    folder: Path,
) -> None:
    """Such as "can't start new thread": its records are gone, so all must stop."""

    class Odd(Disk):
        def sync(self, handle: int) -> None:
            del handle
            raise RuntimeError("can't start new thread")

    with Journal.open(folder, world(Odd())) as journal:
        number = journal.append(started(1))
        with pytest.raises(RuntimeError):
            await journal.durable(number)
        with anyio.move_on_after(1) as scope, suppress(BatchgenError, RuntimeError):
            await journal.durable(number)
        assert not scope.cancelled_caught
        with pytest.raises((BatchgenError, RuntimeError)):
            journal.append(started(2))


async def test_a_record_that_does_not_fit_a_line_leaves_the_journal_sound(
    folder: Path,
) -> None:
    with Journal.open(folder, world()) as journal:
        with pytest.raises(JournalError, match="does not fit"):
            journal.append(Repaired(bytes=1, kept="x" * 70_000))
        assert await durable(journal, started(1)) == 1
    assert attempts(folder) == [started(1)]


async def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write"):
        Journal.open(tmp_path / "outputs" / "spring", world())


def test_a_run_that_never_began_reads_as_empty(tmp_path: Path) -> None:
    assert list(journals.read(tmp_path / "nothing")) == []


def test_a_state_file_that_cannot_be_read_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "state.jsonl").mkdir()
    with pytest.raises(StoreError):
        journals.read(tmp_path)


class Loud:
    """An observer whose terminal has gone."""

    def event(self, event: Event, tally: Tally) -> None:
        del event, tally
        raise BrokenPipeError

    def notice(self, text: str) -> None:
        del text

    def received(self, count: int) -> None:
        del count

    def alive(self, tally: Tally) -> None:
        del tally

    def close(self) -> None: ...


PLANNED = TaskPlanned(
    task=TASK,
    slug="cat",
    labels={},
    model="acme/video",
    input={},
    take=1,
    price=1,
    seconds=5,
    output="cat.mp4",
)


async def test_an_observer_that_fails_does_not_keep_a_record_from_the_disk(
    folder: Path,
) -> None:
    with Journal.open(folder, world()) as journal:
        recorder = Recorder(journal, Tally(), Loud())
        await recorder.write(PLANNED)
        await recorder.write(started(1))
        assert attempts(folder) == [PLANNED, started(1)]


async def test_a_record_that_the_journal_does_not_take_is_not_counted(
    folder: Path,
) -> None:
    """Or memory and file part, and a later record fits only one of them."""
    with Journal.open(folder, world()) as journal:
        tally = Tally()
        recorder = Recorder(journal, tally, Quiet())
        with pytest.raises(JournalError):
            recorder.record(replace(PLANNED, output="x" * 70_000))
        assert tally.states == {}


class Quiet(Loud):
    def event(self, event: Event, tally: Tally) -> None:
        del event, tally
