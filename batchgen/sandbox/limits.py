"""What an account's tier allows, and what happens to more than that."""

import heapq
from collections import deque
from collections.abc import Sequence

from batchgen.sandbox.clock import SECOND, Nanoseconds

_TIERS = {
    # videos a minute, tasks at once
    "calm": (None, 64),
    "bronze": (5, 3),
    "silver": (60, 100),
    "gold": (600, 2000),
    "ultra": (5000, 5000),
}


class Limits:
    """The limits of a tier, and who is in flight.

    The vendor's page says that tasks beyond the concurrency limit wait in a queue;
    users report a 429. `excess` is "queue" or "reject". The limit of submissions a
    minute is a 429 in both.
    """

    def __init__(
        self, tier: str, unfinished: Sequence[Nanoseconds], *, excess: str
    ) -> None:
        self._per_minute, self._at_once = _TIERS[tier]
        self._queues = excess == "queue"
        self._in_flight = list(unfinished)
        heapq.heapify(self._in_flight)
        # Of a queue only those count that hold a place until the others are done.
        self._places = heapq.nlargest(self._at_once, unfinished)
        heapq.heapify(self._places)
        self._recent: deque[Nanoseconds] = deque()

    def crowded(self, now: Nanoseconds) -> str | None:
        """Why nobody is let in just now, in the vendor's words."""
        recent = self._recent
        while recent and recent[0] <= now - 60 * SECOND:
            recent.popleft()
        if self._per_minute is not None and len(recent) >= self._per_minute:
            return f"Rate limit exceeded: {self._per_minute} predictions per 1 minute."
        if not self._queues and self._running(now) >= self._at_once:
            return "You have reached your concurrency limit."
        return None

    def free(self, now: Nanoseconds) -> Nanoseconds:
        """When the next prediction may begin."""
        if not self._queues or len(self._places) < self._at_once:
            return now
        return max(now, self._places[0])

    def enter(self, now: Nanoseconds, ready: Nanoseconds) -> int:
        """Let one in that ends at `ready`; how many are in flight with it."""
        if self._per_minute is not None:
            self._recent.append(now)
        heapq.heappush(self._in_flight, ready)
        if self._queues:
            if len(self._places) >= self._at_once:
                heapq.heapreplace(self._places, ready)
            else:
                heapq.heappush(self._places, ready)
        return self._running(now)

    def _running(self, now: Nanoseconds) -> int:
        while self._in_flight and self._in_flight[0] <= now:
            heapq.heappop(self._in_flight)
        return len(self._in_flight)
