"""What the service's clock shows, as far as its answers tell."""

from collections.abc import Callable
from datetime import datetime, timedelta

import anyio

from batchgen.answers import Answer, when
from batchgen.events import Window
from batchgen.world import awake as never_asleep
from batchgen.world import iso

_MOST_OFF = timedelta(days=3650)  # beyond that a date is nonsense
_PROMPT = 5.0  # seconds; the date of a slower answer may be as old as that


class ServiceClock:
    """The clock of the service, seen through the dates of its answers.

    Attributes:
        offset: seconds by which it is ahead of ours, at least.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        awake: Callable[[], float] = never_asleep,
    ) -> None:
        self.offset = 0.0
        self._now = now
        self._awake = awake
        self._anchor: tuple[datetime, float] | None = None
        self._anchored = 0.0  # by the clock that counts sleep
        self._slack = 0.0

    @property
    def known(self) -> bool:
        """Whether any answer told what it shows."""
        return self._anchor is not None

    def asked(self) -> tuple[float, datetime]:
        """When a request begins: by the event loop's clock and by the time of day."""
        return anyio.current_time(), self._now()

    def learn(self, answer: Answer, asked: tuple[float, datetime]) -> None:
        """From whole answers of the service only: a proxy has a clock of its own.

        An answer is dated when it is begun and may take minutes to come, so its date
        tells only what the clock shows at least. The loop's clock stands still while
        the machine sleeps, and an answer may have waited for it to wake up.
        """
        server = when(answer.headers.get("date", ""))
        if server is None or abs(server - self._now()) > _MOST_OFF:
            return
        began, day = asked
        slack = anyio.current_time() - began
        slack = max(slack, (self._now() - day).total_seconds())
        if self._anchor and slack > _PROMPT:
            return
        self.offset = (server - self._now()).total_seconds()
        self._anchor, self._slack = (server, anyio.current_time()), slack
        self._anchored = self._awake()

    def was_set(self) -> None:
        """Our time of day is another one; what the service's was goes on counting.

        Also while the machine slept, so the loop's clock is not what counts here.
        """
        if self._anchor:
            server = self._anchor[0] + self._since_anchor()
            self.offset = (server - self._now()).total_seconds()

    def _since_anchor(self) -> timedelta:
        return timedelta(seconds=self._awake() - self._anchored)

    def at_most(self) -> datetime:
        """The latest that it can show, by what the answers told."""
        return self._now() + timedelta(seconds=self.offset + self._slack)

    def latest(self) -> str:
        """The same as text."""
        return iso(self.at_most())

    def earliest(self) -> datetime:
        """The earliest that it can show.

        Told by the time of day and by the clock that nobody sets: whoever waits for
        a moment of the service must not be deceived by one of them.
        """
        by_day = self._now() + timedelta(seconds=self.offset)
        if self._anchor is None:
            return by_day
        server, then = self._anchor
        return min(by_day, server + timedelta(seconds=anyio.current_time() - then))

    def window(self, began: float) -> Window:
        """From `began`, by the event loop's clock, until now, as the service dates it.

        Told by the time of day and by the clocks that nobody sets, of which one stands
        still while the machine sleeps; the widest holds.
        """
        now = self._now() + timedelta(seconds=self.offset)
        elapsed = anyio.current_time() - began
        since, until = [now - timedelta(seconds=elapsed)], [now]
        if self._anchor:
            server, then = self._anchor
            since.append(server + timedelta(seconds=began - then))
            until.append(since[1] + timedelta(seconds=elapsed))
            until.append(server + self._since_anchor())
        latest = max(until) + timedelta(seconds=self._slack)
        return Window(since=iso(min(since)), until=iso(latest))
