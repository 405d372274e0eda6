"""When to look at a prediction next: often while it is likely to end. Pure.

A look costs a read, not looking costs lag, and the best gap between two looks is
`sqrt(2 / (price of lag x hazard))`, where the hazard is how likely a prediction of this
age is to end in the next second. How long predictions take is learned from their ends,
for each model. The price of lag follows from the reads that are allowed: they are
shared out among all predictions in flight, in proportion to the root of the hazard.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from math import erfc, exp, inf, log, pi, sqrt

from batchgen.profile import Profile

_ENOUGH = 8  # ends; of fewer nothing is concluded
_MEMORY = 100  # ends; older ones fade, because a service is slower by day
_RECALLED = 30  # ends; what earlier sessions saw is worth no more
_WIDER = 1.15  # than the spread that was seen, which is always too small
_STRANGE = 0.15  # of all predictions follow no rule that was learned
_NARROWEST, _WIDEST = 0.05, 1.0  # spread of the logarithm; of the strange ones at least
_FIRST = -2.326  # spreads from the middle: one in a hundred ends earlier
_SHARE = 0.95  # of the reads that are allowed; the others are for histories and bills
_SOONER = 1.5  # an early look is worth it if the first one is so much later
_STEPS = (_FIRST, *(step / 4 for step in range(-9, 17)))  # spreads from the middle
_ZERO = 1e-3  # seconds; a logarithm needs more than nothing
_LEAST = 1e-12
_RARE = 1e-6  # what is less likely says that the law is wrong
_FAR = 4.0  # spreads; what is farther off counts as so far: the machine may have slept
_REDRAWN = 1.02  # times as many ends


class Habit:
    """How long the predictions of one model take: a log-normal law that follows them.

    Attributes:
        ends: how many it was learned from.
        peak: the highest urgency at any age.
    """

    def __init__(self) -> None:
        self.ends = 0
        self.peak = 0.0
        self._middle = 0.0
        self._square = 0.0
        self._drawn = 0
        self._ages: list[float] = []
        self._sums: list[float] = []

    @property
    def known(self) -> bool:
        """Whether it was learned from enough."""
        return self.ends >= _ENOUGH

    @property
    def first(self) -> float:
        """The age at which looking begins to be worth while, in seconds."""
        return self._ages[0]

    def learn(self, after: float, by: float) -> None:
        """One prediction ended after more than `after` seconds, and by `by`."""
        off, square = self._expected(log(max(after, _ZERO)), log(max(by, _ZERO)))
        self.ends += 1
        weight = 1 / min(self.ends, _MEMORY)
        self._middle += weight * off
        self._square += weight * (square - weight * off * off - self._square)
        if self.known and self.ends >= self._drawn * _REDRAWN:
            self._draw()

    def _expected(self, low: float, high: float) -> tuple[float, float]:
        """Of the logarithm between two bounds: how far off the middle, and its square.

        By the law as it is known so far: a gap may be long, and its ends are unlike.
        """
        spread = max(_NARROWEST, sqrt(self._square))
        at, to = (low - self._middle) / spread, (high - self._middle) / spread
        share = (erfc(at / sqrt(2)) - erfc(to / sqrt(2))) / 2
        if not self.known or share < _RARE:
            off = (max(low, high - 1) + high) / 2 - self._middle
            if self.known:
                off = max(min(off, _FAR * spread), -_FAR * spread)
            return off, off * off
        mine, yours = (exp(-x * x / 2) / sqrt(2 * pi) for x in (at, to))
        off = (mine - yours) / share
        square = 1 + (at * mine - to * yours) / share
        return off * spread, square * spread * spread

    def _draw(self) -> None:
        """Add up the urgency over all ages, once for many looks."""
        self._drawn = self.ends
        doubt = 1 + 1 / sqrt(self.ends)
        spread = max(_NARROWEST, sqrt(self._square) * _WIDER * doubt)
        self._ages = [exp(self._middle + at * spread) for at in _STEPS]
        rates = [urgency(log(age) - self._middle, spread, age) for age in self._ages]
        self.peak = max(rates)
        pieces = (
            (rates[n] + rates[n + 1]) / 2 * (self._ages[n + 1] - self._ages[n])
            for n in range(len(rates) - 1)
        )
        self._sums = list(accumulate(pieces, initial=0.0))

    def sum(self, age: float) -> float:
        """The urgency of all ages until this one."""
        return _between(self._ages, self._sums, age)

    def age(self, total: float) -> float:
        """The other way round."""
        return _between(self._sums, self._ages, total)


def urgency(off: float, spread: float, age: float) -> float:
    """The root of half the hazard: how often to look, but for a factor.

    Args:
        off: logarithm of the age, less the middle one.
        spread: of the logarithm.
        age: in seconds.
    """
    density = alive = 0.0
    wide = max(_WIDEST, 2 * spread)
    for share, width in ((1 - _STRANGE, spread), (_STRANGE, wide)):
        at = off / width
        density += share * exp(-at * at / 2) / width
        alive += share * erfc(at / sqrt(2)) / 2
    return sqrt(density / (sqrt(2 * pi) * age * alive) / 2)


def _between(xs: list[float], ys: list[float], x: float) -> float:
    """A line through points; it goes on straight behind the last one."""
    if x <= xs[0]:
        return ys[0]
    n = min(bisect_right(xs, x), len(xs) - 1)
    slope = (ys[n] - ys[n - 1]) / (xs[n] - xs[n - 1])
    return ys[n - 1] + slope * (x - xs[n - 1])


@dataclass(slots=True)
class Poll:
    """One prediction that is looked at again and again.

    Attributes:
        model: whose habit it follows.
        last: its age at the last look, in seconds; 0 before the first one.
        gap: seconds until the look that was planned last.
        stretched: the same while nothing is known of its model.
        urgency: how much of all reads it may have.
    """

    model: str
    last: float = 0.0
    gap: float = 0.0
    stretched: float = 0.0
    urgency: float = 0.0


class Polls:
    """Shares the reads that are allowed among the predictions in flight.

    Args:
        profile: how to look at what nothing is known of, and the bounds of all gaps.
        allowed: reads a second just now; infinite where there is no limit.
    """

    def __init__(
        self, profile: Profile, allowed: Callable[[], float] = lambda: inf
    ) -> None:
        self._profile = profile
        self._allowed = allowed
        self._habits: defaultdict[str, Habit] = defaultdict(Habit)
        self._all = 0
        self._urgency = 0.0

    def recall(self, model: str, took: float) -> None:
        """An earlier session saw a prediction that took so many seconds."""
        habit = self._habits[model]
        habit.learn(took, took)
        habit.ends = min(habit.ends, _RECALLED)

    def begin(self, model: str) -> Poll:
        """A prediction is in flight."""
        self._all += 1
        return Poll(model)

    def end(self, poll: Poll, age: float | None = None) -> None:
        """It is in flight no more; with an age, it was seen to be completed then."""
        self._all -= 1
        self._put(poll, 0.0)
        if age is not None and poll.gap:
            self._habits[poll.model].learn(poll.last, age)

    def gap(self, poll: Poll, age: float | None) -> float:
        """Seconds until the next look at a prediction, whose age may be unknown."""
        habit = self._habits[poll.model]
        if habit.known and age is not None:
            poll.gap = self._learned(poll, habit, age)
        else:
            poll.gap = self._stretching(poll, age)
        poll.last = age or 0.0
        return poll.gap

    def _stretching(self, poll: Poll, age: float | None) -> float:
        """Rarer with every look, and never more often than reads are allowed."""
        profile = self._profile
        gap = profile.poll_first
        if age != 0.0:
            poll.stretched = max(profile.poll_every, poll.stretched)
            gap = min(poll.stretched, profile.poll_longest)
            poll.stretched *= profile.poll_growth
        return max(gap, self._all / self._budget)

    def _learned(self, poll: Poll, habit: Habit, age: float) -> float:
        """So long that each look is worth as much as any other."""
        profile = self._profile
        most = 1 / (profile.poll_every * habit.peak)
        spent = max(self._urgency, _LEAST)  # sums of fractions end beside zero
        price = min(self._budget / spent, most)
        before = habit.sum(age)
        due = habit.age(before + 1 / price)
        self._put(poll, (habit.sum(due) - before) / (due - age))
        soon = profile.poll_early
        if age < soon < habit.first / _SOONER:
            return soon - age
        gap = max(due - age, profile.poll_every)
        if age < habit.first:
            return gap
        return min(gap, max(profile.poll_rarest, 2 * self._all / self._budget))

    @property
    def _budget(self) -> float:
        return self._allowed() * _SHARE

    def _put(self, poll: Poll, urgency: float) -> None:
        self._urgency += urgency - poll.urgency
        poll.urgency = urgency
