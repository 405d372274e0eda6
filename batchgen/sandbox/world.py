"""What both origins of a sandbox share."""

import heapq
import secrets
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from batchgen.errors import BatchgenError
from batchgen.models import Model
from batchgen.money import Micros, usd
from batchgen.sandbox import faults
from batchgen.sandbox.clock import SECOND, Clock, Nanoseconds
from batchgen.sandbox.options import Addresses, Options
from batchgen.sandbox.predictions import Prediction, accepted, share
from batchgen.sandbox.till import Till

_TIERS = {
    # videos a minute, tasks at once
    "calm": (None, 64),
    "bronze": (5, 3),
    "silver": (60, 100),
    "gold": (600, 2000),
    "ultra": (5000, 5000),
}


@dataclass(slots=True)
class Counts:
    """What was seen at the door, for tests."""

    requests: Counter[str] = field(default_factory=Counter)
    most_in_flight: int = 0
    authorization_at_downloads: int = 0


class World:
    """One sandbox: its time, its till, its misbehaviour and its limits."""

    def __init__(
        self, options: Options, addresses: Addresses, clock: Clock | None = None
    ) -> None:
        self.options = options
        self.addresses = addresses
        self.clock = clock or Clock(options.speed, options.offset)
        self.plan = faults.plan(options.faults)
        self.counts = Counts()
        try:
            self._balance: Micros = usd(options.balance)
        except ValueError as error:
            raise BatchgenError(str(error), rule="usage") from error
        self.clips = _folder(options.data / "clips")
        self.till = Till(options.data / "sandbox.db")
        self._in_flight = self.till.unfinished(self.clock.now())
        heapq.heapify(self._in_flight)
        self._recent: deque[Nanoseconds] = deque()
        self._renewed: Counter[str] = Counter()

    def close(self) -> None:
        """Give the data back."""
        self.till.close()

    def crowded(self) -> str | None:
        """Why the tier lets nobody in just now."""
        per_minute, at_once = _TIERS[self.options.tier]
        now = self.clock.now()
        while self._recent and self._recent[0] <= now - 60 * SECOND:
            self._recent.popleft()
        if per_minute is not None and len(self._recent) >= per_minute:
            return f"Rate limit exceeded: {per_minute} predictions per 1 minute."
        if self._running(now) >= at_once:
            return "You have reached your concurrency limit."
        return None

    def affords(self, price: Micros) -> bool:
        """Whether the balance covers a price."""
        covered = self.till.charged + price <= self._balance
        return covered or self.left() >= price

    def left(self) -> Micros:
        """The balance, in micro-dollars."""
        back = self.till.refunded(self.clock.now())
        return self._balance - self.till.charged + back

    def accept(self, model: Model, text: str, drawn: faults.Drawn) -> Prediction:
        """Charge for a prediction and remember it, before any answer is chosen."""
        prediction = accepted(
            secrets.token_hex(16),
            model,
            text,
            self.clock,
            faults=drawn,
            refund_delay=self.options.refund_delay,
        )
        self.till.record(prediction)
        now = prediction.created
        heapq.heappush(self._in_flight, prediction.ready)
        self._recent.append(now)
        self.counts.most_in_flight = max(self.counts.most_in_flight, self._running(now))
        return prediction

    def _running(self, now: Nanoseconds) -> int:
        while self._in_flight and self._in_flight[0] <= now:
            heapq.heappop(self._in_flight)
        return len(self._in_flight)

    def output(self, prediction: Prediction, number: int) -> str:
        """Today's address of an output; the same until it is taken back."""
        signature = self.signature(prediction.id)
        path = f"predictions/{prediction.id}/{number}.mp4?sig={signature}"
        return f"{self.addresses.downloads}/{path}"

    def signature(self, identity: str) -> str:
        """What an address must carry just now."""
        drawn = share(f"signature/{identity}/{self._renewed[identity]}")
        return f"{int(drawn * 2**48):012x}"

    def expire(self, identity: str) -> None:
        """Take back the addresses given out so far; a fresh result holds new ones."""
        self._renewed[identity] += 1


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchgenError(f"{path}: {error.strerror}", rule="disk") from error
    return path
