"""The whole program over a real socket: what it does when it dies, and what it costs.

Every verdict comes from the sandbox's till, never from our own totals.
"""

import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchgen import journal
from batchgen.disk import Disk
from batchgen.plan import Policy
from batchgen.state import word
from batchgen.tally import Tally
from conftest import Story, sandboxed

TASKS = 4
SEED = 20_261_122
ABSENT = Policy(retry=frozenset({"absent"}))


class Died(BaseException):
    """The process is dead; nothing after this line happens."""


class MortalDisk(Disk):
    """Dies once the state file holds so many bytes, or lines and `more` bytes.

    Or in the middle of the first line that holds `word`.
    """

    def __init__(
        self,
        *,
        after: int | None = None,
        lines: int | None = None,
        more: int = 0,
        word: bytes = b"",
    ) -> None:
        self._word = word
        self._bytes_left = after
        self._lines_left = lines
        self._more = more
        self._state = -1
        self._dead = False

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Remember which handle is the state file."""
        self._breathe()
        handle = super().open(path, flags, mode)
        if path.name == journal.NAME:
            self._state = handle
        return handle

    def write(self, handle: int, data: bytes | memoryview) -> int:
        """Write as much as life is left."""
        self._breathe()
        if handle != self._state:
            return super().write(handle, data)
        keep = self._keep(bytes(data))
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
        if self._word and self._word in data:
            return data.index(self._word)
        if self._bytes_left is not None:
            self._bytes_left -= len(data)
            return len(data) + self._bytes_left if self._bytes_left <= 0 else None
        if self._lines_left is not None:
            ends = [0, *(n + 1 for n, byte in enumerate(data) if byte == ord("\n"))]
            if len(ends) > self._lines_left:
                keep = ends[self._lines_left] + self._more
                if keep <= len(data):
                    return keep
            self._lines_left -= len(ends) - 1
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
    charged = sum(charge.price for charge in story.till(f"{salt} "))
    assert charged <= replayed(story, manifest).ledger.committed


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
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3))]
)
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


@pytest.fixture
def slow_answers(tmp_path: Path) -> Iterator[Story]:
    """A sandbox that takes a while to answer half of the submissions it accepts."""
    plan = tmp_path / "faults.yaml"
    rule = "{fault: slow_answer=0.4, probability: 0.5}"
    plan.write_text(f"seed: 7\nrules: [{rule}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan)) as addresses:
        yield Story(tmp_path, addresses.api, tmp_path / "sandbox")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_fifty_kills_cost_forty_clips_forty_charges(slow_answers: Story) -> None:
    story, chance = slow_answers, random.Random(SEED)  # noqa: S311 - reproducible
    kills = rounds = in_doubt = 0
    while kills < 50:
        rounds += 1
        salt = f"kill{rounds}"
        manifest = story.manifest([f"{salt} boat {n}" for n in range(40)])
        while kills < 50 and killed(story, manifest, chance.uniform(0.2, 1.2)):
            kills += 1
            charges = Counter(charge.prompt for charge in story.till(f"{salt} "))
            assert max(charges.values(), default=0) <= 1
            covered(story, manifest, salt)
        in_doubt += len(list(replayed(story, manifest).doubtful()))
        found = story.command("run", str(manifest), "--retry", "absent")
        assert found.returncode == 0, found.stderr
        assert len(story.till(f"{salt} ")) == 40
        assert len(list((story.folder(manifest) / "videos").glob("*.mp4"))) == 40
        assert len(set(story.till(f"{salt} "))) == 40
    print(f"{kills} kills in {rounds} rounds, {in_doubt} left in doubt")  # noqa: T201


def killed(story: Story, manifest: Path, after: float) -> bool:
    """Start a session and kill it; False if it ended before."""
    running = story.start("run", str(manifest), "-c", "3", "--rate", "2/min")
    try:
        running.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        return running.returncode == -signal.SIGKILL
    return False


def replayed(story: Story, manifest: Path) -> Tally:
    """What the state file says now."""
    return Tally.of(journal.read(story.folder(manifest)))


@pytest.mark.anyio
async def test_what_is_in_doubt_is_bought_again_only_when_told(story: Story) -> None:
    await story.session(
        story.manifest(["listed boat 0"])
    )  # the history shows something
    manifest = story.manifest(["doubt boat 0"])
    # Session, plan and intent are written; the process dies before the request.
    disk = MortalDisk(lines=3)
    with pytest.raises(BaseExceptionGroup):
        await story.session(manifest, disk=disk)
    assert story.till("doubt ") == []
    for _ in range(2):
        _, tally = await story.session(manifest)
        assert tally.counts["uncertain"] == 1
        assert tally.ledger.uncertain == tally.ledger.committed == 1_260_000
    assert story.till("doubt ") == []
    _, tally = await story.session(manifest, policy=ABSENT)
    assert tally.counts["done"] == 1
    assert tally.ledger.committed == 1_260_000
    assert len(story.till("doubt ")) == 1


@pytest.mark.anyio
async def test_an_answer_that_was_lost_is_found_in_the_history(story: Story) -> None:
    manifest = story.manifest([f"lost boat {n}" for n in range(3)])
    # The answer of the first submission arrives, and its record is never written.
    with pytest.raises(BaseExceptionGroup):
        await story.session(manifest, disk=MortalDisk(lines=3, more=9))
    bought = story.till("lost ")
    assert len(bought) == 1
    _, tally = await story.session(manifest)
    assert tally.counts["done"] == 3
    assert len(story.till("lost ")) == 3
    assert bought == story.till("lost ")[: len(bought)]


@pytest.mark.anyio
async def test_accepting_to_pay_twice_keeps_the_first_reserve(story: Story) -> None:
    manifest = story.manifest(["twice boat 0"])
    with pytest.raises(BaseExceptionGroup):
        await story.session(manifest, disk=MortalDisk(lines=3))
    _, tally = await story.session(
        manifest, policy=Policy(retry=frozenset({"uncertain"}))
    )
    assert tally.counts["done"] == 1
    assert tally.ledger.committed == 2 * 1_260_000


def test_one_interrupt_drains_and_two_detach(story: Story) -> None:
    manifest = story.manifest([f"stop boat {n}" for n in range(12)], "concurrency: 3")
    for signals in (1, 2):
        running = story.start("run", str(manifest))
        assert running.stdout is not None
        next(line for line in running.stdout if " start " in line)
        running.send_signal(signal.SIGINT)
        next(line for line in running.stdout if "Stopping" in line)
        if signals == 2:
            running.send_signal(signal.SIGINT)
        running.communicate()
        assert running.returncode == 130
        tally = replayed(story, manifest)
        assert not list(tally.doubtful())
        if signals == 1:
            assert not list(tally.in_flight())
    found = story.command("run", str(manifest))
    assert found.returncode == 0
    assert len(story.till("stop ")) == 12


def test_a_second_runner_is_told_who_holds_the_run(story: Story) -> None:
    manifest = story.manifest([f"both boat {n}" for n in range(4)], "concurrency: 1")
    first = story.start("run", str(manifest))
    assert first.stdout is not None
    next(line for line in first.stdout if " start " in line)
    first.send_signal(signal.SIGSTOP)  # it keeps the lock, however long this takes
    second = story.command("run", str(manifest))
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 5
    assert f"process {first.pid} on" in second.stderr
    first.communicate()
    assert first.returncode == 0
    assert len(story.till("both ")) == 4
