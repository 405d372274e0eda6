"""How often something may be begun: never more than so many in any window."""

from collections import deque

import anyio


class Pace:
    """At most `count` turns in any `seconds`; without a count, as many as you like.

    It also holds a pause that everybody keeps, for an account-wide "slow down".
    """

    def __init__(self, count: int | None, seconds: float) -> None:
        self._seconds = seconds
        self._turns: deque[float] = deque(maxlen=count or 1)
        self._count = count
        self._paused_until = 0.0

    def pause(self, seconds: float) -> bool:
        """Nobody begins for this long; False if everybody waits already."""
        now = anyio.current_time()
        new = self._paused_until <= now
        self._paused_until = max(self._paused_until, now + seconds)
        return new

    def _reserve(self) -> float:
        """Take the next free moment of the window."""
        moment = max(anyio.current_time(), self._paused_until)
        if self._count and len(self._turns) == self._count:
            moment = max(moment, self._turns[0] + self._seconds)
        self._turns.append(moment)
        return moment

    async def turn(self) -> None:
        """Come back when it is your turn; turns are given in the order of asking."""
        moment = self._reserve()
        await anyio.sleep_until(moment)
        # A pause that came meanwhile moves the turn behind it, still at the pace.
        while moment < self._paused_until:
            moment = self._reserve()
            await anyio.sleep_until(moment)
