"""A run on a real cluster of Dask processes, some of which die."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from buckets import serving

from conftest import Story, sandboxed

pytestmark = pytest.mark.slow

CLIPS = 12


@pytest.fixture
def slow_story(tmp_path: Path) -> Iterator[Story]:
    """A sandbox whose first downloads stop half way for long enough to die there."""
    plan = tmp_path / "faults.yaml"
    plan.write_text("rules: [{fault: stalled=15, at: [1, 2, 3]}]\n")
    with sandboxed(tmp_path, "--balance", "1000", "--faults", str(plan)) as found:
        yield Story(tmp_path, found.api, tmp_path / "sandbox")


def until(fact: Callable[[], object], what: str) -> None:
    for _ in range(600):
        if fact():
            return
        time.sleep(0.1)
    pytest.fail(f"it never came to: {what}")


def descendants(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    try:
        mine = [int(child) for one in threads for child in one.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []  # gone meanwhile
    return mine + [one for child in mine for one in descendants(child)]


def words(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # gone meanwhile
    return line.replace(b"\0", b" ").decode()


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def workers(pid: int) -> list[int]:
    """The processes that fetch for a run: children of its cluster's process."""
    found = []
    for one in descendants(pid):
        if "batchgen.engines.processes" in words(one):
            found += [x for x in descendants(one) if "spawn_main" in words(x)]
    return found


def fetching(crew: list[int]) -> list[int]:
    """Those that are in the middle of a clip."""
    return [pid for pid in crew if any(map(is_part, open_files(pid)))]


def open_files(pid: int) -> list[Path]:
    try:
        return [one.readlink() for one in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []  # gone, or a file was closed meanwhile: the next look tells


def listening(crew: list[int]) -> set[str]:
    """The addresses at which these processes can be reached."""
    table = "\n".join(Path(f"/proc/net/{one}").read_text() for one in ("tcp", "tcp6"))
    listens = {
        words[9]: words[1].rpartition(":")[0]
        for words in map(str.split, table.splitlines())
        if len(words) > 9 and words[3] == "0A"
    }
    held = {path.name for pid in crew for path in open_files(pid)}
    found = {
        address for inode, address in listens.items() if f"socket:[{inode}]" in held
    }
    raw = {bytes.fromhex(one)[::-1] for one in found}
    return {".".join(map(str, one)) for one in raw}


def is_part(path: Path) -> bool:
    """Its bytes may still be in the worker's buffer."""
    return path.suffix == ".part"


def saved(story: Story, manifest: Path) -> int:
    return len(list((story.folder(manifest) / "videos").rglob("*.mp4")))


def check_all_is_there(story: Story, manifest: Path, word: str, count: int) -> None:
    """Everything done, every clip charged once, every file of its own."""
    _, tally = story.replay(manifest)
    assert tally.counts["done"] == count
    assert len(story.till(word)) == count
    assert saved(story, manifest) == count
    videos = story.folder(manifest) / "videos"
    assert not list(videos.rglob("*.part*"))
    assert not list(videos.rglob(".probe*"))
    sidecars = [json.loads(path.read_text()) for path in videos.rglob("*.json")]
    assert len({one["prediction"] for one in sidecars}) == count


def test_a_killed_worker_costs_nothing_and_no_worker_has_the_key(
    slow_story: Story,
) -> None:
    story = slow_story
    manifest = story.manifest([f"crew boat {n}" for n in range(CLIPS)])
    running = story.start("run", str(manifest), "--engine", "dask", "--yes")
    assert running.stdout is not None
    next(line for line in running.stdout if " start " in line)
    until(lambda: len(workers(running.pid)) >= 2, "two workers")
    crew = workers(running.pid)
    for pid in crew:
        assert b"story-key" not in environment(pid)
    assert b"story-key" in environment(running.pid)
    until(lambda: fetching(crew), "a worker with half a clip")
    victim = fetching(crew)[0]
    assert listening([*crew, *descendants(running.pid)]) == {"127.0.0.1"}
    os.kill(victim, signal.SIGKILL)
    text, _ = running.communicate(timeout=100)
    assert running.returncode == 0, text
    check_all_is_there(story, manifest, "crew ", CLIPS)
    assert all(not Path(f"/proc/{pid}").exists() for pid in crew)


def test_workers_die_with_a_killed_driver_and_the_run_goes_on_without_them(
    slow_story: Story,
) -> None:
    story = slow_story
    manifest = story.manifest([f"dead boat {n}" for n in range(CLIPS)])
    running = story.start("run", str(manifest), "--engine", "dask", "--yes")
    assert running.stdout is not None
    next(line for line in running.stdout if " start " in line)
    until(lambda: fetching(workers(running.pid)), "a worker with half a clip")
    crew = descendants(running.pid)
    running.kill()
    running.wait()
    running.stdout.close()
    until(lambda: not any(map(alive, crew)), "no process is left")
    found = story.command("run", str(manifest), "--yes")
    assert found.returncode == 0, found.stderr
    check_all_is_there(story, manifest, "dead ", CLIPS)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Scheduler:
    """A cluster that somebody else has started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self._started: list[subprocess.Popen[bytes]] = []
        self.process = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        until(self._file.exists, "the scheduler is there")
        self.address = str(json.loads(self._file.read_text())["address"])

    def worker(self) -> "subprocess.Popen[bytes]":
        """One more."""
        return self._start(
            "worker", "--no-nanny", "--host", "127.0.0.1", "--no-dashboard"
        )

    def close(self) -> None:
        for one in reversed(self._started):
            one.kill()
            one.wait()

    def _start(self, what: str, *more: str) -> "subprocess.Popen[bytes]":
        command = [
            *(sys.executable, "-m", f"distributed.cli.dask_{what}", *more),
            *("--scheduler-file", str(self._file)),
        ]
        environ = {k: v for k, v in os.environ.items() if "WAVESPEED" not in k}
        environ["DASK_TEMPORARY_DIRECTORY"] = str(self._folder)
        null = subprocess.DEVNULL
        one = subprocess.Popen(command, env=environ, stdout=null, stderr=null)
        self._started.append(one)
        return one


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    found = Scheduler(tmp_path)
    yield found
    found.close()


def test_workers_of_a_cluster_join_late_and_die(
    slow_story: Story, scheduler: Scheduler
) -> None:
    story = slow_story
    manifest = story.manifest([f"late boat {n}" for n in range(CLIPS)])
    first = scheduler.worker()
    given = ("--engine", "dask", "--scheduler", scheduler.address)
    running = story.start("run", str(manifest), *given, "--yes", "-c", "3")
    assert running.stdout is not None
    until(lambda: fetching([first.pid]), "half a clip")
    first.kill()
    scheduler.worker()
    text, _ = running.communicate(timeout=100)
    assert running.returncode == 0, text
    check_all_is_there(story, manifest, "late ", CLIPS)


def test_a_lost_scheduler_ends_the_run_and_the_same_command_resumes(
    slow_story: Story, scheduler: Scheduler
) -> None:
    story = slow_story
    manifest = story.manifest([f"lost boat {n}" for n in range(CLIPS)])
    only = scheduler.worker()
    given = ("--engine", "dask", "--scheduler", scheduler.address)
    command = ("run", str(manifest), "--yes", "-c", "3")
    running = story.start(*command, *given)
    assert running.stdout is not None
    until(lambda: fetching([only.pid]), "half a clip")
    scheduler.process.kill()
    text, _ = running.communicate(timeout=100)
    assert running.returncode == 4, text
    assert "scheduler does not answer" in text
    assert "the same command collects it" in text
    gone = story.command(*command, *given)
    assert gone.returncode == 4
    assert "no Dask scheduler answers at" in gone.stderr
    assert "Nothing was submitted" in gone.stderr
    again = story.command(*command)
    assert again.returncode == 0, again.stderr
    check_all_is_there(story, manifest, "lost ", CLIPS)


def test_workers_put_clips_into_a_bucket(slow_story: Story) -> None:
    story = slow_story
    keep = "output: {store: s3://clips/night}"
    manifest = story.manifest([f"pail boat {n}" for n in range(4)], keep)
    with serving(story.root) as bucket:
        story.environ.update(bucket.environ)
        found = story.command("run", str(manifest), "--engine", "dask", "--yes")
        assert found.returncode == 0, found.stderr
        clips = [name for name in bucket.names() if name.endswith(".mp4")]
    assert len(clips) == len(story.till("pail ")) == 4
    assert saved(story, manifest) == 0
