"""Clips that are paid and wait to be brought in: the soonest to expire goes first."""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

import anyio

from batchgen.flow import Meter, Rate, endangered, takes
from batchgen.plan import Download
from batchgen.world import World

_MOST = 1000  # waiting; then workers wait with their clips, and nothing is bought
_HOUR, _DAY = 3600.0, 86_400.0


class Backlog:
    """Hands out as many downloads as may be under way at once.

    Args:
        world: tells the time of day.
        at_once: how many that is just now.
        life: seconds for which the service keeps a clip after it was accepted.

    Attributes:
        meter: to be told of every piece that comes.
        notice: told when buying waits for clips to come in, and when it goes on.
    """

    def __init__(
        self, world: World, at_once: Callable[[], int], *, life: float
    ) -> None:
        self.meter = Meter()
        self.notice: Callable[[str], None] = lambda _text: None
        self._world = world
        self._at_once = at_once
        self._life = life
        self._born: dict[str, float] = {}
        self._waiting: list[tuple[float, int, Download]] = []
        self._under_way: dict[str, float] = {}  # prediction -> when it was born
        self._known: set[str] = set()  # those that wait or are under way
        self._order = count()
        self._rate = Rate()
        self._brought = 0
        self._paused = False
        self._is_open = False
        self._changed: anyio.Event | None = None  # while somebody waits for it
        self._outside: deque[anyio.Event] = deque()  # of those who wait with a clip
        self._door = anyio.Lock()

    def born(self, prediction: str, moment: float) -> None:
        """When a prediction was accepted, in seconds of the epoch."""
        self._born[prediction] = moment

    def open(self) -> None:
        """Downloads come from now on."""
        self._is_open = True

    def close(self) -> None:
        """No more come; `take` ends when all are handed out."""
        self._is_open = False
        self._wake()

    async def put(self, step: Download) -> None:
        """Let a download wait for its turn; wait with it while too many do.

        One that waits or is under way already is not brought twice.
        """
        while len(self._waiting) >= _MOST:
            await self._wait_outside()
        if step.prediction in self._known:
            self._let_in()
            return
        self._known.add(step.prediction)
        # Of unknown age is only what an earlier session began.
        born = self._born.get(step.prediction, 0.0)
        heapq.heappush(self._waiting, (born, next(self._order), step))
        self._wake()

    async def take(self) -> Download | None:
        """The next one, when one more may be under way; None at the end."""
        while (step := self.ready()) is None:
            if not self._waiting and not self._is_open:
                return None
            await self._change()
        return step

    def ready(self) -> Download | None:
        """The next one, if there is one and one more may be under way just now."""
        free = len(self._under_way) < max(1, self._at_once())
        if not (free and self._waiting):
            return None
        born, _, step = heapq.heappop(self._waiting)
        self._under_way[step.prediction] = born
        self._note()
        self._let_in()
        self._wake()
        return step

    def done(self, step: Download, *, brought: bool) -> None:
        """One that was taken has ended; it is here, or it was given up."""
        self._under_way.pop(step.prediction, None)
        self._known.discard(step.prediction)
        self._born.pop(step.prediction, None)
        self._brought += brought
        self._note()
        self._wake()

    async def in_time(self, rendering: Callable[[], int]) -> None:
        """Come back when all that is paid comes in long before it expires.

        Args:
            rendering: how many more clips are paid and still to be made.
        """
        if not self._is_late(rendering()):
            return
        async with self._door:  # one looks again and again, for all
            while self._is_late(rendering()):
                with anyio.move_on_after(self._world.patience.retry):
                    await self._change()

    async def _wait_outside(self) -> None:
        turn = anyio.Event()
        self._outside.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._let_in()  # somebody else
            else:
                self._outside.remove(turn)
            raise

    def _let_in(self) -> None:
        """One alone: hundreds may wait, for one place."""
        if self._outside and len(self._waiting) < _MOST:
            self._outside.popleft().set()

    def _is_late(self, rendering: int) -> bool:
        self._note()
        clips = len(self._waiting) + len(self._under_way) + rendering
        mean = self.meter.total / self._brought if self._brought else 0.0
        needed, life = takes(clips, mean, self._rate.a_second), self._left()
        late = endangered(needed, life, paused=self._paused)
        if late and not self._paused:
            self._tell(clips, needed, life)
        elif self._paused and not late:
            self.notice("the clips that are paid come in early enough; buying goes on")
        self._paused = late
        return late

    def _left(self) -> float:
        """Seconds until the first clip expires."""
        now = self._world.now().timestamp()
        waiting = [self._waiting[0][0]] if self._waiting else []
        known = [one for one in (*self._under_way.values(), *waiting) if one]
        return max(0.0, min(known, default=now) + self._life - now)

    def _tell(self, clips: int, needed: float, life: float) -> None:
        rate = (self._rate.a_second or 0.0) / 1e6
        self.notice(
            f"{clips:,} paid clips are still to come in. At {rate:.1f} MB/s that takes "
            f"{_span(needed)}, and the first of them expires in {_span(life)}. Nothing "
            "more is bought until there is time enough; what is paid is brought in."
        )

    def _note(self) -> None:
        busy = bool(self._under_way)
        self._rate.note(anyio.current_time(), self.meter.total, busy=busy)

    async def _change(self) -> None:
        """Come back when anything has changed."""
        self._changed = self._changed or anyio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def _span(seconds: float) -> str:
    if seconds == float("inf"):
        return "for ever"
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.1f} days"
    return f"{seconds / _HOUR:.1f} hours"
