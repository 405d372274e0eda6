"""How often something may be begun: never more than so many in any window."""

from collections import deque

import anyio

_SLOWEST = 64.0  # halved six times: nothing is gained by crawling
_REGROWTH = 0.8  # of the slowness, after each window without a "slow down"
_FULL = 1.05  # from here on it is the full rate again


class Pace:
    """At most `count` turns in any `seconds`; without a count, as many as you like.

    It also holds a pause that everybody keeps, for an account-wide "slow down", and
    half of the rate after each of them, which grows back slowly.
    """

    def __init__(self, count: int | None, seconds: float) -> None:
        self._seconds = seconds
        self._turns: deque[float] = deque(maxlen=count or 1)
        self._count = count
        self._paused_until = 0.0
        self._slowness = 1.0
        self._slowed_at = 0.0
        self._last = float("-inf")

    def pause(self, seconds: float) -> bool:
        """Nobody begins for this long; False if everybody waits already."""
        now = anyio.current_time()
        new = self._paused_until <= now
        self._paused_until = max(self._paused_until, now + seconds)
        return new

    def halve(self) -> float | None:
        """Go half as fast, as long as it takes; turns a minute, if there is a count.

        Those that were begun before the first "slow down" may be told the same: one
        window halves once.
        """
        now = anyio.current_time()
        self._regrow(now)
        if self._slowness <= 1.0 or now - self._slowed_at >= self._window():
            self._slowness = min(self._slowness * 2, _SLOWEST)
            self._slowed_at = now
        return self.a_minute

    @property
    def a_minute(self) -> float | None:
        """Turns a minute at the present rate; None without a count."""
        if self._count is None:
            return None
        return self._count * 60 / self._seconds / self._slowness

    def _window(self) -> float:
        return self._seconds if self._count else min(self._seconds, 1.0)

    def _regrow(self, now: float) -> None:
        while self._slowness > 1.0 and now - self._slowed_at >= 2 * self._window():
            self._slowed_at += self._window()
            self._slowness *= _REGROWTH
            if self._slowness < _FULL:
                self._slowness = 1.0

    def _gap(self) -> float:
        """Seconds between turns while it goes slower than it might."""
        if self._slowness <= 1.0:
            return 0.0
        # Without a count nobody knows the rate: a tenth of a second is a guess.
        full = self._seconds / self._count if self._count else 0.1
        return full * self._slowness

    def _reserve(self) -> float:
        """Take the next free moment of the window."""
        now = anyio.current_time()
        self._regrow(now)
        moment = max(now, self._paused_until, self._last + self._gap())
        if self._count and len(self._turns) == self._count:
            moment = max(moment, self._turns[0] + self._seconds)
        self._turns.append(moment)
        self._last = moment
        return moment

    async def turn(self) -> None:
        """Come back when it is your turn, at once if it is now.

        Turns are given in the order of asking.
        """
        moment = self._reserve()
        if moment > anyio.current_time():
            await anyio.sleep_until(moment)
        # A pause that came meanwhile moves the turn behind it, still at the pace.
        while moment < self._paused_until:
            moment = self._reserve()
            await anyio.sleep_until(moment)
