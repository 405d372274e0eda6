"""T3: the real runner, client, journal and downloads on a virtual clock.

Each seed draws a swarm of faults and crashes, runs sessions until they are used up,
then lets everything be calm and asks for the end. `python -m tests.campaign simulate`.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from batchgen.profile import Limits

from .provider import PRICE
from .scenario import ABSENT, Result, Scenario
from .shoot import task_of
from .stage import Play
from .theatre import staged
from .world import Fuse


class Night(Play):
    """Many clips, with every kind of trouble now and then."""

    FAULTS: tuple[str, ...] = (
        "lost-answer", "late-accept", "5xx-charged", "5xx-free", "rate-limit",
        "read-5xx", "read-drop", "list-lag", "list-5xx", "connect-refused",
        "file-reset", "short-write",
    )  # fmt: skip

    def __init__(self, clips: int, seed: int, root: Path) -> None:
        rates = dict.fromkeys(self.FAULTS, 0.02) | {"power-loss": 0.5, "crash": 1.0}
        super().__init__(Scenario(seed, rates), root)
        self.tasks = [task_of(n // 3, n % 3 + 1) for n in range(clips)]
        self.limits = Limits(8, None)
        self.oracle.slots = self.limits.submits
        self.policy, self.cap = ABSENT, PRICE * clips

    def _fuse(self) -> Fuse:
        return Fuse(steps=self.chance.randint(200, 3000))


def night(clips: int, seed: int) -> Result:
    """A whole night at once; its result, with what went wrong."""
    return staged(seed, partial(Night, clips, seed))


def play(scenario: Scenario) -> Result:
    """Run one scenario; its result, with what went wrong."""
    return staged(scenario.seed, partial(Play, scenario))


def shrunk(scenario: Scenario) -> Scenario:
    """The same failure with as few kinds of faults as can be.

    They are taken out one at a time, until none can be spared.
    """
    smaller = True
    while smaller:
        smaller = False
        for fault in sorted(scenario.rates):
            less = scenario.without(fault)
            if play(less).problem:
                scenario, smaller = less, True
    return scenario


def explain(scenario: Scenario) -> str:
    """Seed, faults, what happened and the state file, for a person."""
    result = play(scenario)
    faults = ", ".join(f"{name} {rate}" for name, rate in scenario.rates.items())
    lines = [
        f"seed {scenario.seed}: {result.problem}",
        f"faults: {faults or 'none'}",
        *result.trace,
        *result.journal.decode("ascii", "replace").splitlines(),
    ]
    return "\n".join(lines)


def run(first: int, count: int, jobs: int = 1) -> Iterator[Result]:
    """The results of so many seeds, in order."""
    seeds = range(first, first + count)
    if jobs == 1:
        yield from map(_play_seed, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_play_seed, seeds, chunksize=8)


def _play_seed(seed: int) -> Result:
    return play(Scenario.of(seed))


def main(argv: Sequence[str]) -> int:
    """`simulate --seeds N --from S --jobs J`; 1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args(argv)
    began, totals, broken = time.monotonic(), Counter[str](), 0
    for result in run(asked.first, asked.seeds, asked.jobs):
        for name in ("sessions", "crashes", "tasks", "charges"):
            totals[name] += getattr(result, name)
        totals["minutes"] += round(result.hours * 60)
        if result.problem:
            broken += 1
            print(explain(shrunk(Scenario.of(result.seed))), flush=True)
    told = ", ".join(f"{totals[name]:,} {name}" for name in sorted(totals))
    print(f"{asked.seeds:,} seeds, {told} of virtual time", end="; ")
    print(f"{broken} broke a law; {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
