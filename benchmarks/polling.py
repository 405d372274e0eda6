"""Status reads for each clip, against looking at fixed intervals with the same lag.

python -m benchmarks.polling [--quick]

Lag is how long a clip was finished before anybody saw it; all that time its slot
stands idle. A simulation of events, on a clock of its own, drives the schedule of
batchgen, which learns from nothing but what it sees: the account's slots are refilled
at once, and reads beyond the account's limit wait in a queue. The same clips are then
looked at in fixed intervals, long enough for the same lag, and without any limit.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import exp, inf, pi, sin

from msgspec import Struct
from msgspec.structs import replace

from batchgen.polls import Polls
from batchgen.profile import TIERS, WAVESPEED
from benchmarks.figures import Figure, main

Law = Callable[[random.Random, float], float]
"""Seconds that a clip takes which begins at a moment."""

MEDIAN, SIGMA = 180.0, 0.35
DAY = 7200.0  # seconds; two hours here are as different as noon and midnight


def usual(dice: random.Random, _now: float) -> float:
    """The log-normal law of the target."""
    return MEDIAN * exp(dice.gauss(0, SIGMA))


def by_the_hour(dice: random.Random, now: float) -> float:
    """A service that is two and a half times as slow at noon as at midnight."""
    return usual(dice, now) * exp(0.45 * sin(2 * pi * now / DAY))


def of_two_kinds(dice: random.Random, _now: float) -> float:
    """Half of the clips are short, half are long, and nothing tells which."""
    return dice.choice((60.0, 300.0)) * exp(dice.gauss(0, 0.15))


class Account(Struct, frozen=True):
    """How many clips are in flight, how many there are, and reads a second."""

    slots: int
    clips: int
    reads: float = inf


@dataclass(frozen=True, slots=True)
class Seen:
    """Reads and seconds of lag for each clip."""

    reads: float
    lag: float


def learned(account: Account, law: Law) -> Seen:
    """Look when batchgen does."""
    polls = Polls(WAVESPEED, lambda: account.reads)
    return _looked(account, law, polls)


def fixed(account: Account, law: Law, interval: float) -> Seen:
    """Look every so many seconds."""
    profile = replace(
        WAVESPEED, poll_first=interval, poll_every=interval, poll_longest=interval
    )
    blind = Polls(profile)
    return _looked(replace(account, reads=inf), law, blind, learns=False)


def _looked(account: Account, law: Law, polls: Polls, *, learns: bool = True) -> Seen:
    dice = random.Random(1)  # noqa: S311 - the same clips each time
    begun = reads = 0
    lag = reader_free = now = 0.0
    due: list[tuple[float, int]] = []
    clips = {}

    def begin() -> None:
        nonlocal begun
        begun += 1
        poll = polls.begin("model")
        clips[begun] = (poll, now, law(dice, now))
        heappush(due, (now + polls.gap(poll, 0.0), begun))

    for number in range(min(account.slots, account.clips)):
        now = number * 0.01
        begin()
    while due:
        asked, number = heappop(due)
        now = reader_free = max(asked, reader_free + 1 / account.reads)
        reads += 1
        poll, born, took = clips[number]
        age = now - born
        if age < took:
            heappush(due, (now + polls.gap(poll, age), number))
            continue
        polls.end(poll, age if learns else None)
        del clips[number]
        lag += age - took
        if begun < account.clips:
            begin()
    return Seen(reads / account.clips, lag / account.clips)


def as_late(account: Account, law: Law, lag: float) -> Seen:
    """Fixed intervals that come as late as that."""
    interval = 2 * lag
    for _ in range(3):
        found = fixed(account, law, interval)
        interval *= lag / found.lag
    return fixed(account, law, interval)


def measure(*, quick: bool) -> Iterator[Figure]:
    """The law of the target on two accounts; then what no law of ours foresees."""
    gold = Account(2000, 20_000, TIERS["gold"].reads)
    silver = Account(100, 5_000, TIERS["silver"].reads)
    cases: list[tuple[str, Account, Law, float, float | None]] = [
        ("gold", gold, usual, 0.8, 0.7),
        ("silver", silver, usual, 0.8, 0.7),
        ("gold, slower at noon", gold, by_the_hour, 1.0, 0.8),
        ("silver, slower at noon", silver, by_the_hour, 1.0, 0.8),
        ("silver, two kinds of clips", silver, of_two_kinds, 1.0, None),
    ]
    for name, account, law, bound, beyond in cases:
        size = replace(account, clips=account.clips // 20) if quick else account
        ours = learned(size, law)
        theirs = as_late(size, law, ours.lag)
        yield Figure(
            "P3",
            f"reads a clip of {size.clips:,}, tier {name}, lag {ours.lag:.1f} s",
            ours.reads,
            "reads",
            bound,
            beyond,
            peer=f"fixed, lag {theirs.lag:.1f} s",
            theirs=theirs.reads,
        )


if __name__ == "__main__":
    main(measure)
