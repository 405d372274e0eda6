"""The whole program over a real socket: what it does when it dies, and what it costs.

Every verdict comes from the sandbox's till, never from our own totals.
"""

import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from batchgen import journal
from batchgen.disk import Disk
from batchgen.plan import Policy
from batchgen.runner import Limits
from batchgen.state import word
from batchgen.tally import Tally
from conftest import Story

TASKS = 4
SEED = 20_261_122


class Died(BaseException):
    """The process is dead; nothing after this line happens."""


class MortalDisk(Disk):
    """Dies once the state file holds so many bytes or lines, in the midst of a write."""

    def __init__(self, *, after: int | None = None, lines: int | None = None) -> None:
        self._bytes_left = after
        self._lines_left = lines
        self._state = -1
        self._dead = False

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Remember which handle is the state file."""
        self._breathe()
        handle = super().open(path, flags, mode)
        if path.name == journal.NAME:
            self._state = handle
        return handle

    def write(self, handle: int, data: bytes) -> int:
        """Write as much as life is left."""
        self._breathe()
        if handle != self._state:
            return super().write(handle, data)
        keep = self._keep(data)
        if keep is None:
            return super().write(handle, data)
        super().write(handle, data[:keep])
        self._dead = True
        raise Died

    def sync(self, handle: int) -> None:
        """The dead sync nothing."""
        self._breathe()
        super().sync(handle)

    def link(self, source: Path, target: Path) -> None:
        """The dead link nothing."""
        self._breathe()
        super().link(source, target)

    def _keep(self, data: bytes) -> int | None:
        """How much of a write still happens; None if all of it and life goes on."""
        if self._bytes_left is not None:
            self._bytes_left -= len(data)
            return len(data) + self._bytes_left if self._bytes_left <= 0 else None
        if self._lines_left is not None:
            ends = [n + 1 for n, byte in enumerate(data) if byte == ord("\n")]
            if len(ends) >= self._lines_left:
                return ends[self._lines_left - 1]
            self._lines_left -= len(ends)
        return None

    def _breathe(self) -> None:
        if self._dead:
            raise Died


async def die_and_resume(story: Story, salt: str, disk: MortalDisk) -> bool:
    """Run into death, run again, and hold the till against the journal.

    Returns whether the first session died at all.
    """
    manifest = story.manifest([f"{salt} boat {n}" for n in range(TASKS)])
    died = False
    try:
        await story.session(manifest, disk=disk)
    except BaseExceptionGroup as group:
        died = group.subgroup(Died) is not None
        if not died:
            raise
    except Died:
        died = True
    _, tally = await story.session(manifest)
    charges = Counter(charge.prompt for charge in story.till(f"{salt} "))
    assert max(charges.values(), default=0) <= 1, (salt, charges)
    words = [word(state) for state in tally.states.values()]
    assert len(words) == TASKS
    assert set(words) <= {"done", "uncertain"}, (salt, words)
    assert len(words) - words.count("uncertain") <= sum(charges.values())
    covered(story, manifest, salt)
    return died


def covered(story: Story, manifest: Path, salt: str) -> None:
    """Every charge stands in the journal: as spent, in flight or uncertain."""
    tally = Tally.of(journal.read(story.folder(manifest)))
    charged = sum(round(float(c.price) * 1) for c in story.till(f"{salt} "))
    assert charged <= tally.ledger.committed


@pytest.mark.anyio
async def test_a_run_buys_every_clip_once_and_again_nothing(story: Story) -> None:
    manifest = story.manifest([f"calm boat {n}" for n in range(TASKS)])
    await story.session(manifest)
    _, tally = await story.session(manifest)
    assert [word(state) for state in tally.states.values()] == ["done"] * TASKS
    assert len(story.till("calm ")) == TASKS
    assert len(list((story.folder(manifest) / "videos").glob("*.mp4"))) == TASKS


@pytest.mark.anyio
async def test_death_at_every_line_end_buys_nothing_twice(story: Story) -> None:
    for lines in range(1, 100):
        salt = f"line{lines:03d}"
        if not await die_and_resume(story, salt, MortalDisk(lines=lines)):
            break
    assert lines > 5 * TASKS


@pytest.mark.anyio
@pytest.mark.parametrize("part", range(4))
async def test_death_at_random_bytes_buys_nothing_twice(
    story: Story, part: int
) -> None:
    chance = random.Random(SEED + part)  # noqa: S311 - reproducible
    for n in range(50):
        after = chance.randrange(1, 6000)
        await die_and_resume(story, f"byte{part}{n:02d}", MortalDisk(after=after))


def test_a_finished_state_file_that_was_cut_is_refused(story: Story) -> None:
    manifest = story.manifest([f"cut boat {n}" for n in range(TASKS)])
    assert story.command("run", str(manifest)).returncode == 0
    state = story.folder(manifest) / journal.NAME
    whole, bought = state.read_bytes(), story.till("cut ")
    for keep in (whole.rindex(b"\n", 0, -1) + 1, len(whole) // 2, 0):
        state.write_bytes(whole[:keep])
        found = story.command("run", str(manifest))
        assert found.returncode == 7, found.stderr
        assert "nothing was submitted" in found.stderr.lower()
    assert story.till("cut ") == bought
    state.write_bytes(whole)
    assert story.command("run", str(manifest)).returncode == 0


def test_a_budget_for_five_buys_five_through_twenty_slots(story: Story) -> None:
    manifest = story.manifest([f"five boat {n}" for n in range(20)], "concurrency: 20")
    found = story.command("run", str(manifest), "--budget", "6.30")
    assert found.returncode == 3, found.stderr
    assert len(story.till("five ")) == 5
    again = story.command("run", str(manifest), "--budget", "6.30")
    assert again.returncode == 3, again.stderr
    assert len(story.till("five ")) == 5


@pytest.mark.slow
def test_fifty_kills_cost_forty_clips_forty_charges(story: Story) -> None:
    manifest = story.manifest([f"kill boat {n}" for n in range(40)])
    chance = random.Random(SEED)  # noqa: S311 - reproducible
    for _ in range(50):
        running = story.start("run", str(manifest), "-c", "2")
        try:
            running.communicate(timeout=chance.uniform(0.3, 1.6))
        except TimeoutError:
            pass
        except Exception as error:
            assert type(error).__name__ == "TimeoutExpired", error  # noqa: PT017
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        charges = Counter(charge.prompt for charge in story.till("kill "))
        assert max(charges.values(), default=0) <= 1
        covered(story, manifest, "kill")
    found = story.command("run", str(manifest), "--retry", "absent")
    assert found.returncode == 0, found.stderr
    assert len(story.till("kill ")) == 40
    assert len(list((story.folder(manifest) / "videos").glob("*.mp4"))) == 40


@pytest.mark.anyio
async def test_uncertain_is_bought_again_only_when_told(story: Story) -> None:
    """Placeholder for the policy; see the body."""
    manifest = story.manifest(["told boat 0"])
    disk = MortalDisk(lines=3)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - it dies
        await story.session(manifest, disk=disk)
    _, tally = await story.session(manifest, policy=Policy(), limits=Limits(1, None))
    assert tally.counts
