"""Several processes on one run by several paths: one wins, the others say who."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# Waits for the starting shot, opens, tells how it went, and holds until told.
RACER = """
import sys
from pathlib import Path
from batchgen.cli.exits import code_of
from batchgen.errors import BatchgenError
from batchgen.journal import Journal
from batchgen.world import World
for line in sys.stdin:
    try:
        with Journal.open(Path(line.strip()), World()) as journal:
            print("0 won", flush=True)
            sys.stdin.readline()
    except BatchgenError as error:
        print(code_of(error)[0], error.message, flush=True)
    print("out", flush=True)
"""


class Racer:
    """A process that races again and again."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RACER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, line: str) -> None:
        """One line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """One line from it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture(scope="module")
def racers() -> Iterator[list[Racer]]:
    """Eight processes, started once."""
    found = [Racer() for _ in range(8)]
    yield found
    for racer in found:
        racer.end()


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[list[Path]]:
    """One run by its own path, a link above it, a second name and a bind mount."""
    run = tmp_path / "outputs" / "spring"
    run.mkdir(parents=True)
    (run / "state.jsonl").touch(0o600)
    (tmp_path / "link").symlink_to(run.parent, target_is_directory=True)
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "state.jsonl").hardlink_to(run / "state.jsonl")
    found = [run, tmp_path / "link" / "spring", twin, run / ".." / "spring"]
    with ExitStack() as stack:
        bound = tmp_path / "bound"
        if _bind(run, bound):
            stack.callback(subprocess.run, ["umount", str(bound)], check=True)
            found.append(bound)
        yield found


def _bind(source: Path, target: Path) -> bool:
    target.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        return False
    command = [mount, "--bind", str(source), str(target)]
    return not subprocess.run(command, check=False, capture_output=True).returncode


def race(racers: list[Racer], paths: list[Path], chance: random.Random) -> Racer:
    """Everybody at once; the winner, who still holds the run."""
    for racer in racers:
        racer.send(str(chance.choice(paths)))
    answers = [racer.hear() for racer in racers]
    winners = [
        racer
        for racer, answer in zip(racers, answers, strict=True)
        if answer == "0 won"
    ]
    assert len(winners) == 1, answers
    for racer, answer in zip(racers, answers, strict=True):
        if racer is not winners[0]:
            assert answer.startswith("5 "), answers
            assert racer.hear() == "out"
    return winners[0]


def let_go(winner: Racer) -> None:
    winner.send("")
    assert winner.hear() == "out"


def races(racers: list[Racer], paths: list[Path], count: int) -> None:
    chance = random.Random(count)  # noqa: S311 - a race is no secret
    for _ in range(count):
        let_go(race(chance.sample(racers, chance.randint(2, 8)), paths, chance))


def test_of_several_runners_exactly_one_wins(
    racers: list[Racer], paths: list[Path]
) -> None:
    races(racers, paths, 20)


@pytest.mark.slow
def test_of_several_runners_exactly_one_wins_200_times(
    racers: list[Racer], paths: list[Path]
) -> None:
    races(racers, paths, 200)


def test_the_others_name_the_holder(racers: list[Racer], paths: list[Path]) -> None:
    holder, *others = racers
    holder.send(str(paths[0]))
    assert holder.hear() == "0 won"
    for racer, path in zip(others, [paths[0], paths[1], paths[3]], strict=False):
        racer.send(str(path))
        assert f"process {holder.process.pid} on " in racer.hear()
        assert racer.hear() == "out"
    others[-1].send(str(paths[2]))  # a second name of the file, in another folder
    assert "another path" in others[-1].hear()
    assert others[-1].hear() == "out"
    let_go(holder)


def test_when_the_holder_is_killed_the_next_one_wins(paths: list[Path]) -> None:
    first, second = Racer(), Racer()
    try:
        for path in paths:
            first.send(str(paths[0]))
            assert first.hear() == "0 won"
            second.send(str(path))
            assert second.hear().startswith("5 ")
            assert second.hear() == "out"
            first.end()
            second.send(str(path))
            assert second.hear() == "0 won"
            let_go(second)
            first = Racer()
    finally:
        first.end()
        second.end()
