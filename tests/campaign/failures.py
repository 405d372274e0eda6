"""T5: every call to the disk fails in every way, once and for good.

The session may end with a message; it may not lose an id, pay twice, or raise what
nobody foresaw. With a sound disk the next one comes to the end.
`python -m tests.campaign failures`.
"""

import argparse
import errno
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from .crashes import SEED, TASKS, Drill, calls
from .disk import Twist
from .oracle import Violation
from .scenario import Result
from .theatre import staged
from .world import Fuse

KINDS = (
    "ENOSPC", "EDQUOT", "EIO", "EFBIG", "EROFS", "EINTR", "EMFILE", "short",
)  # fmt: skip
OPENING = frozenset({"open", "sync_folder"})
WRITING = frozenset({"write", "pwrite"})


@dataclass(frozen=True)
class Failure:
    """How the disk fails, from which call on, and whether it ever stops."""

    call: int
    kind: str
    lasting: bool

    def strikes(self, call: int, name: str) -> bool:
        """Whether this call fails: only some can have too few descriptors."""
        if call < self.call or (call > self.call and not self.lasting):
            return False
        if self.kind == "EMFILE":
            return name in OPENING
        return name in WRITING if self.kind == "short" else True

    def __call__(self, call: int, name: str) -> Twist:
        """Fail, or let the call pass."""
        if not self.strikes(call, name):
            return ""
        if self.kind == "short":
            return "short"
        number = getattr(errno, self.kind)
        raise OSError(number, os.strerror(number))

    def __str__(self) -> str:
        return f"{self.kind} {'from' if self.lasting else 'at'} call {self.call}"


class Trial(Drill):
    """Six clips on a disk that fails, then on a sound one."""

    def __init__(self, failure: Failure, root: Path) -> None:
        super().__init__((), root)
        self.failure = failure

    async def perform(self) -> Result:
        """Fail, then come to the end."""
        self.machine.spoil = self.failure
        await self._session(Fuse())
        self.machine.spoil = lambda _call, _name: ""
        story = await self._session(Fuse())
        self.oracle.progress(self.tasks, story, whole=True)
        charges = len(self.provider.ledger)
        if charges != TASKS:
            raise Violation(f"I4: {charges} charges for {TASKS} tasks")
        return self._finished()


def trial(failure: Failure) -> str:
    """The law that was broken, or nothing."""
    return staged(SEED, partial(Trial, failure)).problem


def failures(numbers: Iterable[int]) -> Iterator[Failure]:
    """Every kind at each of these calls, once and for good."""
    for number in numbers:
        for kind in KINDS:
            for lasting in (False, True):
                yield Failure(number, kind, lasting)


def tried(numbers: Iterable[int], jobs: int = 1) -> Iterator[tuple[Failure, str]]:
    """What each of them broke."""
    planned = list(failures(numbers))
    if jobs == 1:
        yield from zip(planned, map(trial, planned), strict=True)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from zip(planned, pool.map(trial, planned, chunksize=16), strict=True)


def main(argv: Sequence[str]) -> int:
    """`failures --jobs J --every E`; 1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="failures", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="only each E-th call")
    asked = parser.parse_args(argv)
    began, count = time.monotonic(), calls()
    total = broken = 0
    for failure, problem in tried(range(1, count + 1, asked.every), asked.jobs):
        total += 1
        if problem:
            broken += 1
            print(f"{failure}: {problem}", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{count} calls to the disk in a run of {TASKS} clips; {total:,} failures; "
        f"{broken} broke a law; {seconds:.0f} s"
    )
    return 1 if broken else 0
