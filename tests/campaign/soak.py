"""T15: one run of very many clips, through mixed faults and many deaths.

The time is virtual and the parts are the real ones, as in `simulate`; beside the laws
it holds that memory and descriptors do not grow, and that the totals of the state file
are those of the provider's ledger. `python -m tests.campaign soak --tasks 100000`.
"""

import argparse
import gc
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio

from batchgen.journal import NAME

from .oracle import Violation
from .replay import Story, tell
from .scenario import Result
from .simulate import Night
from .theatre import staged
from .world import Fuse

DEATHS = 50
STEPS = 22
"""Calls to disk and network that a clip takes, at least: its share of a fuse."""
REFUNDED = 7200.0
"""Seconds after which billing has shown everything."""
STRAY = 8
"""Descriptors that the interpreter may open meanwhile."""


class Soak(Night):
    """A night of many clips that dies and starts again all the time.

    Attributes:
        descriptors: how many were open after each session.
        story: what the state file told at the end.
    """

    FAULTS = (*Night.FAULTS, "fails")

    def __init__(self, clips: int, deaths: int, seed: int, root: Path) -> None:
        super().__init__(clips, seed, root)
        for fault in self.FAULTS:
            self.swarm.rates[fault] = 0.01
        self.swarm.rates["power-loss"] = 0.2
        self.deaths = deaths
        self.descriptors: list[int] = []
        self.story = Story()

    async def perform(self) -> Result:
        """All sessions, and one more when all refunds have been shown."""
        result = await super().perform()
        await anyio.sleep(REFUNDED)
        await self._session(Fuse())
        self.story = tell((self.folder / NAME).read_bytes())
        self._balanced()
        first, last = self.descriptors[0], self.descriptors[-1]
        if last > first + STRAY:
            raise Violation(f"T15: {first} descriptors were open, {last} are")
        return result

    def _balanced(self) -> None:
        """The totals of the state file are those of the ledger."""
        now = self.provider.now()
        paid = sum(row.net(now) for row in self.provider.ledger if row.ours)
        if self.story.in_doubt():
            raise Violation(f"T15: {self.story.in_doubt()} are left in doubt")
        if self.story.committed != paid:
            told = f"{self.story.committed} in the state file"
            raise Violation(f"T15: {told}, {paid} in the ledger")

    async def _session(self, fuse: Fuse) -> Story:
        story = await super()._session(fuse)
        gc.collect()
        self.descriptors.append(_descriptors())
        return story

    def _crashes(self) -> int:
        return self.deaths

    def _fuse(self) -> Fuse:
        most = 2 * STEPS * len(self.tasks) // self.deaths
        return Fuse(steps=self.chance.randint(1, max(2, most)))


def soak(clips: int, deaths: int = DEATHS, seed: int = 15) -> tuple[Result, list[Soak]]:
    """Run it; its result, and the play with its figures."""
    kept: list[Soak] = []

    def make(root: Path) -> Soak:
        kept.append(Soak(clips, deaths, seed, root))
        return kept[0]

    return staged(seed, make), kept


def _descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def megabytes() -> int:
    """The most memory that this process had until now."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def main(argv: Sequence[str]) -> int:
    """`soak --tasks N --deaths D`; 1 if a law was broken or memory too small."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--deaths", type=int, default=DEATHS)
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--megabytes", type=int, help="a ceiling, with the judge")
    asked = parser.parse_args(argv)
    began = time.monotonic()
    result, (play,) = soak(asked.tasks, asked.deaths, asked.seed)
    seconds = time.monotonic() - began
    first, last = play.descriptors[:1], play.descriptors[-1:]
    print(
        f"{result.tasks:,} tasks, {result.charges:,} charges, {play.story.last:,} "
        f"records; {result.sessions} sessions, {result.crashes} crashes, "
        f"{result.hours:.1f} hours of virtual time; descriptors {first} to {last}; "
        f"{megabytes()} MB with the judge and the provider; {seconds:.0f} s"
    )
    if asked.megabytes and megabytes() > asked.megabytes:
        print(f"it took more than {asked.megabytes} MB")
        return 1
    print(result.problem or "no law was broken")
    return 1 if result.problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
