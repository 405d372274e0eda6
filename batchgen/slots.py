"""Who may submit just now: so many at once, and nobody while his like are settled."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio


class Slots:
    """POSTs under way at once: the most that one crash can leave in doubt.

    One, until the history has shown a prediction of ours: a wrong parser or a broken
    route costs one unknown, not thirty-two.
    """

    def __init__(self) -> None:
        self._all = anyio.CapacityLimiter(1)
        self._each = 1
        self._models: dict[str, anyio.CapacityLimiter] = {}

    @asynccontextmanager
    async def hold(self, model: str) -> AsyncIterator[None]:
        """Have a slot until the outcome is durable."""
        limiter = self._models.setdefault(model, anyio.CapacityLimiter(self._each))
        async with limiter, self._all:
            yield

    def open(self, most: int, *, one_each: bool = False) -> None:
        """Let so many go at once; `one_each` is one of each model at a time."""
        self._each = 1 if one_each else most
        self._all.total_tokens = most
        for limiter in self._models.values():
            limiter.total_tokens = self._each


class Groups:
    """Keeps submitting and settling of equal requests apart.

    A request under way could be the very row that the history shows, so its group is
    not settled; and while a group is settled, its submissions wait.
    """

    def __init__(self) -> None:
        self._sending: Counter[str] = Counter()
        self._settling: set[str] = set()
        self._changed = anyio.Event()

    @asynccontextmanager
    async def sending(self, group: str) -> AsyncIterator[None]:
        """Submit a request of this group, as soon as nobody settles it."""
        while group in self._settling:
            await self._changed.wait()
        self._sending[group] += 1
        try:
            yield
        finally:
            self._sending[group] -= 1
            if not self._sending[group]:
                del self._sending[group]

    @contextmanager
    def settling(self, groups: Iterable[str]) -> Iterator[frozenset[str]]:
        """Hold those groups of which nothing is under way; yields which they are."""
        quiet = frozenset(groups) - self._sending.keys() - self._settling
        self._settling |= quiet
        try:
            yield quiet
        finally:
            self._settling -= quiet
            self._changed.set()
            self._changed = anyio.Event()
