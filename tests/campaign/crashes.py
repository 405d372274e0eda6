"""T4: death at every call to the disk, with every image that power loss may leave.

A run of six clips is recorded once. Then for each of its calls: die before it, half-way
through it and after it; put each distinct image of the unsynced data in its place; run
again to the end. And once more with a second death inside that recovery.
`python -m tests.campaign crashes`.
"""

import argparse
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from batchgen.profile import Limits

from .disk import IMAGES, Image, Twist
from .oracle import Violation
from .provider import PRICE
from .scenario import ABSENT, Result, Scenario
from .shoot import task_of
from .stage import Play
from .theatre import staged
from .world import Fuse

TASKS = 6
SEED = 0
TWISTS: tuple[Twist, ...] = ("", "half", "after")


@dataclass(frozen=True)
class Death:
    """Where it dies, and what is found afterwards; `kill` keeps what was written."""

    call: int
    twist: Twist
    image: Image
    kill: bool = False

    def __str__(self) -> str:
        how = {"": "before", "half": "half-way through", "after": "after"}[self.twist]
        left = "kill" if self.kill else f"power loss, image {self.image}"
        return f"{how} call {self.call}, {left}"


@dataclass
class Outcome:
    """What came of a drill.

    Attributes:
        calls: to the disk, of every session.
        images: digests of the images that the last death could leave.
    """

    result: Result
    calls: list[int] = field(default_factory=list)
    images: dict[Image, str] = field(default_factory=dict)


class Drill(Play):
    """Six clips in quiet times, on a machine that dies where it is told to."""

    def __init__(self, deaths: Sequence[Death], root: Path) -> None:
        super().__init__(Scenario(SEED, {}), root)
        self.deaths = deaths
        self.outcome = Outcome(self.result)
        self.tasks = [task_of(n % 3, n // 3 + 1) for n in range(TASKS)]
        self.limits = Limits(2, None)
        self.policy, self.cap = ABSENT, PRICE * TASKS
        self.oracle.slots = self.limits.submits
        self.provider.offset = 0.0

    async def perform(self) -> Result:
        """Die as told, then come to the end."""
        for death in self.deaths:
            before = self.result.crashes
            await self._dies(death)
            self.outcome.calls.append(self.machine.calls)
            if self.result.crashes == before:
                break
        story = await self._session(Fuse())
        self.outcome.calls.append(self.machine.calls)
        self.oracle.progress(self.tasks, story, whole=True)
        charges = len(self.provider.ledger)
        if charges != TASKS:
            raise Violation(f"I4: {charges} charges for {TASKS} tasks")
        return self._finished()

    async def _dies(self, death: Death) -> None:
        self.next_image, self.next_power = death.image, not death.kill
        await self._session(Fuse(call=death.call, twist=death.twist))

    def _restart(self) -> None:
        self.outcome.images = {
            image: self.machine.disk.digest(image, self._dice()) for image in IMAGES
        }
        self.machine.chance = self._dice()
        self.machine.restart(self.next_image, power_loss=self.next_power)

    @staticmethod
    def _dice() -> random.Random:
        return random.Random("image")  # noqa: S311 - the same for digest and image


def drill(deaths: Sequence[Death]) -> Outcome:
    """Play one drill."""
    kept: list[Drill] = []

    def make(root: Path) -> Drill:
        kept.append(Drill(deaths, root))
        return kept[0]

    result = staged(SEED, make)
    kept[0].outcome.result = result
    return kept[0].outcome


def calls() -> int:
    """Calls to the disk of an undisturbed run."""
    return drill(()).calls[0]


def at_call(first: Sequence[Death], call: int) -> Iterator[tuple[str, str]]:
    """Every distinct crash at one call: what it was, and the law it broke, if any."""
    for twist in TWISTS:
        known: dict[Image, str] = {}
        seen: set[str] = set()
        for image in IMAGES:
            if image in known and known[image] in seen:
                continue
            death = Death(call, twist, image)
            found = drill((*first, death))
            known = found.images
            seen.add(known.get(image, ""))
            yield "; then ".join(map(str, (*first, death))), found.result.problem
        killed = Death(call, twist, "all", kill=True)
        yield str(killed), drill((*first, killed)).result.problem


def _at(first: Sequence[Death], call: int) -> list[tuple[str, str]]:
    return list(at_call(first, call))


def everywhere(
    numbers: Iterable[int], jobs: int = 1, first: Sequence[Death] = ()
) -> Iterator[tuple[str, str]]:
    """Every distinct crash at each of these calls."""
    work = partial(_at, tuple(first))
    if jobs == 1:
        for number in numbers:
            yield from work(number)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for found in pool.map(work, numbers, chunksize=4):
            yield from found


def recoveries(sample: int, seed: int, depth: int = 20) -> Iterator[tuple[str, str]]:
    """A second death, inside the first calls of a recovery; drawn at random."""
    chance, count = random.Random(seed), calls()  # noqa: S311 - reproducible
    for _ in range(sample):
        deaths = [
            Death(
                chance.randint(1, most),
                chance.choice(TWISTS),
                chance.choice(IMAGES),
                kill=chance.random() < 0.25,
            )
            for most in (count, depth)
        ]
        yield "; then ".join(map(str, deaths)), drill(deaths).result.problem


def main(argv: Sequence[str]) -> int:
    """`crashes --jobs J --every E --recoveries N`; 1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="crashes", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="only each E-th call")
    parser.add_argument("--recoveries", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(argv)
    began, count = time.monotonic(), calls()
    crashes = broken = 0
    numbers = range(1, count + 1, asked.every)
    for group in (
        everywhere(numbers, asked.jobs),
        recoveries(asked.recoveries, asked.seed),
    ):
        for where, problem in group:
            crashes += 1
            if problem:
                broken += 1
                print(f"{where}: {problem}", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{count} calls to the disk in a run of {TASKS} clips; {crashes:,} crashes, "
        f"{asked.recoveries:,} of them double; {broken} broke a law; {seconds:.0f} s"
    )
    return 1 if broken else 0
