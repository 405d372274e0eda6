"""Sessions on a disk that fails or fills up: what is paid is still looked after."""

import errno
import os
import signal
from functools import partial
from pathlib import Path

import anyio
import pytest

from batchgen.disk import Disk
from batchgen.errors import StoreError
from batchgen.events import AttemptAccepted, PredictionCompleted, SessionClosed
from batchgen.profile import Limits
from batchgen.world import Patience
from conftest import Story


class Dies(Disk):
    """Its syncs of the state file fail from the first one on after a word was written.

    From then on nothing can be said of what is on the platter.
    """

    def __init__(self, word: str) -> None:
        self.broken = False
        self.writes_after = 0
        self._word = word.encode()
        self._due = False

    def write(self, handle: int, data: bytes | memoryview) -> int:
        line = bytes(data)
        self.writes_after += self.broken and line.startswith(b'{"v":1,"n"')
        self._due = self._due or self._word in line
        return super().write(handle, data)

    def sync(self, handle: int) -> None:
        if self._due and not self.broken:
            self.broken = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(handle)


def test_with_a_dead_disk_what_is_paid_is_watched_to_its_end(story: Story) -> None:
    """One id is in the file, one only in the batch that failed."""
    for word in ("AttemptAccepted", "PredictionCompleted"):
        salt = f"dead{word[:4].lower()}"
        manifest = story.manifest([f"{salt} boat {n}" for n in range(3)])
        disk = Dies(f'"t":"{word}"')
        run = partial(story.session, manifest, disk=disk, limits=Limits(1, None))
        runner, _ = anyio.run(run)
        assert isinstance(runner.failure, StoreError)
        assert disk.writes_after == 0
        assert len(story.till(salt)) == 1, "something was submitted after the disk died"
        told = [text for text in story.notices if " finished" in text]
        assert len(told) == (word == "AttemptAccepted")
        _, tally = anyio.run(story.session, manifest)
        assert tally.counts["done"] == 3
        assert len(story.till(salt)) == 3
        ids = {one.prediction for one in tally.states.values()}
        assert all(any(name in text for name in ids) for text in told)


class Cramped(Disk):
    """No room for clips until somebody has made some."""

    def __init__(self, story: Story, salt: str, looks: int) -> None:
        self.charges: set[int] = set()
        self._story, self._salt, self._looks = story, salt, looks

    def free(self, folder: Path) -> int:
        if folder.name != "videos" or self._looks <= 0:
            return super().free(folder)
        self._looks -= 1
        self.charges.add(len(self._story.till(self._salt)))
        return 1000


def test_downloads_wait_for_room_and_nothing_is_bought(story: Story) -> None:
    manifest = story.manifest([f"cramped boat {n}" for n in range(4)])
    disk = Cramped(story, "cramped", looks=12)
    calm = Patience(retry=0.02, calm=0.1, endure=60, hold=60)
    run = partial(
        story.session, manifest, disk=disk, patience=calm, limits=Limits(1, None)
    )
    runner, tally = anyio.run(run)
    assert runner.failure is None
    assert tally.counts["done"] == 4
    assert len(story.till("cramped")) == 4
    assert len(disk.charges) <= 2, "it went on buying"
    assert max(disk.charges) <= 3
    (said,) = [text for text in story.notices if "Downloads wait" in text]
    assert "bytes free" in said
    assert any("room on the disk again" in text for text in story.notices)


def test_a_disk_without_room_ends_the_session_and_loses_nothing(story: Story) -> None:
    manifest = story.manifest(["crammed boat 0"])
    disk = Cramped(story, "crammed", looks=10**9)
    runner, tally = anyio.run(lambda: story.session(manifest, disk=disk))
    assert isinstance(runner.failure, StoreError)
    assert tally.counts["downloading"] == 1
    _, tally = anyio.run(story.session, manifest)
    assert tally.counts["done"] == 1
    events = [record.event for record in story.replay(manifest)[0]]
    assert sum(isinstance(one, AttemptAccepted) for one in events) == 1
    assert sum(isinstance(one, PredictionCompleted) for one in events) == 1


RESULTS = ("summary.json", "results.csv", "report.html", "statement.json")
no_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="nothing is full")


def fill(folder: Path) -> None:
    """Everything but the state file and the clips meets a full disk once."""
    folder.mkdir(parents=True, mode=0o700)
    for name in (*(f".{name}.new" for name in RESULTS), "run.log"):
        (folder / name).symlink_to("/dev/full")


@no_full
@pytest.mark.parametrize("clips", [2, 1])
def test_full_results_change_neither_the_money_nor_the_exit_code(
    story: Story, clips: int
) -> None:
    manifest = story.manifest([f"full{clips} boat {n}" for n in range(2)])
    folder = story.folder(manifest)
    fill(folder)
    budget = ("--budget", f"{1.26 * clips:.2f}")
    found = story.command("run", str(manifest), *budget)
    assert found.returncode == (0 if clips == 2 else 3), found.stderr
    assert found.stderr.count("warning: cannot write") == len(RESULTS)
    assert f"{clips} of 2 clips done" in found.stdout
    assert len(story.till(f"full{clips} ")) == clips
    records, tally = story.replay(manifest)
    assert isinstance(records[-1].event, SessionClosed)
    assert records[-1].event.exit == found.returncode
    assert tally.ledger.committed == clips * 1_260_000
    again = story.command("run", str(manifest), *budget)
    assert again.returncode == found.returncode
    assert all((folder / name).exists() for name in RESULTS[:3])


@no_full
def test_a_signal_is_told_by_the_exit_code_though_the_results_are_full(
    story: Story,
) -> None:
    manifest = story.manifest([f"heard boat {n}" for n in range(4)], "concurrency: 1")
    fill(story.folder(manifest))
    running = story.start("run", str(manifest))
    assert running.stdout is not None
    next(line for line in running.stdout if " start " in line)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate()
    assert running.returncode == 130, said
    assert "warning: cannot write" in said
    assert story.command("run", str(manifest)).returncode == 0
    assert len(story.till("heard ")) == 4
