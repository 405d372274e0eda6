"""Which task a free worker takes next; nobody ever holds a task that another holds."""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count

import anyio
import anyio.lowlevel

from batchgen.tasks import Task


class Feed:
    """Paid tasks first, then retries that are due, then new ones, read lazily.

    Args:
        paid: tasks that are bought and not yet collected.
        fresh: the others, drawn one by one; None stands for "nothing here, go on".
    """

    def __init__(self, paid: Iterable[Task], fresh: Iterator[Task | None]) -> None:
        self._paid = deque(paid)
        self._fresh: Iterator[Task | None] | None = fresh
        self._later: list[tuple[float, int, Task]] = []
        self._order = count()
        self._held: set[str] = set()
        self._resting: set[str] = set()  # those in `_later`
        self._closed = False
        self._waiting: dict[anyio.Event, None] = {}

    async def take(self) -> Task | None:
        """The next task, held by the caller until `give_back`; None at the end."""
        while True:
            task = await self._ready()
            if task is not None and task.id not in self._held:
                self._held.add(task.id)
                if self._paid or self._later:
                    self._wake()  # whoever wakes up looks after what is still to come
                return task
            if task is None and not await self._wait():
                return None

    def give_back(self, task: Task, *, again_in: float | None = None) -> None:
        """Let go of a task; with `again_in` it is due once more after these seconds."""
        self._held.discard(task.id)
        if again_in is not None:
            self._resting.add(task.id)
            due = anyio.current_time() + again_in
            heapq.heappush(self._later, (due, next(self._order), task))
            self._wake()
        elif not self._held and not self._later:
            self._wake_all()  # it may have been the last one

    def found(self, task: Task) -> None:
        """Hand out a task that turned out to be paid."""
        self._paid.append(task)
        self._wake()

    def nothing_new(self) -> None:
        """Draw no further tasks until `renew`; retries and paid ones go on."""
        self._fresh = None
        self._wake_all()

    def renew(self, fresh: Iterator[Task | None]) -> None:
        """Draw tasks anew: some that were passed over can be bought by now."""
        self._fresh = fresh
        self._wake_all()

    def close(self) -> None:
        """Hand out only what is paid already."""
        self._closed = True
        self._wake_all()

    async def _ready(self) -> Task | None:
        if self._paid:
            return self._paid.popleft()
        if self._closed:
            return None
        if self._later and self._later[0][0] <= anyio.current_time():
            task = heapq.heappop(self._later)[2]
            self._resting.discard(task.id)
            return task
        while self._fresh is not None:
            drawn = next(self._fresh, self._fresh)
            if isinstance(drawn, Task):
                if drawn.id not in self._resting:
                    return drawn
            elif drawn is self._fresh:
                self._fresh = None
            else:
                await anyio.lowlevel.checkpoint()  # a long row of finished tasks
        return None

    async def _wait(self) -> bool:
        """Wait for a reason to look again; False when none can come."""
        if self._closed or not (self._later or self._held):
            self._wake_all()
            return False
        due = self._later[0][0] if self._later else float("inf")
        reason = anyio.Event()
        self._waiting[reason] = None
        try:
            with anyio.CancelScope(deadline=due):
                await reason.wait()
        finally:
            self._waiting.pop(reason, None)
        return True

    def _wake(self) -> None:
        """Let one of the waiting look again: thousands may wait, for one task."""
        if self._waiting:
            self._waiting.popitem()[0].set()

    def _wake_all(self) -> None:
        while self._waiting:
            self._wake()
