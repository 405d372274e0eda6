"""Who fetches what: decides, and touches nothing."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace

from batchgen.engines.lease import Lease

MOST_DEATHS = 5
"""So many workers may die with a lease; then it may be the lease that kills them."""


class Leases:
    """Every lease waits, or is with one worker.

    Args:
        depth: how many a worker holds at most: those it fetches at once, and a few so
            that it need not wait for the driver in between.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._all: dict[str, Lease] = {}
        self._waiting: deque[str] = deque()
        self._held: dict[str, set[str]] = {}
        self._deaths: Counter[str] = Counter()

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._held)

    @property
    def held(self) -> Mapping[str, int]:
        """How many leases each worker has."""
        return {worker: len(keys) for worker, keys in self._held.items()}

    def add(self, lease: Lease) -> None:
        """One more; again under the same key only after `drop`."""
        self._all[lease.key] = lease
        self._waiting.append(lease.key)

    def drop(self, key: str) -> None:
        """Nobody wants it any more; whoever has it may go on in vain."""
        if self._all.pop(key, None) is None:
            return
        self._deaths.pop(key, None)
        for keys in self._held.values():
            keys.discard(key)
        if key in self._waiting:
            self._waiting.remove(key)

    def join(self, worker: str) -> None:
        """A worker is there."""
        self._held.setdefault(worker, set())

    def leave(self, worker: str) -> list[str]:
        """A worker is gone: its leases wait for another, the oldest first.

        Returns:
            Those that saw too many die; they are nobody's.
        """
        lost = [key for key in self._all if key in self._held.get(worker, ())]
        self._held.pop(worker, None)
        self._deaths.update(lost)
        for key in lost:
            if self._deaths[key] > 1:
                # A decoder may break on a clip that nobody has a fault with.
                self._all[key] = replace(self._all[key], posters=False)
        doomed = [key for key in lost if self._deaths[key] >= MOST_DEATHS]
        self._waiting.extendleft(key for key in reversed(lost) if key not in doomed)
        return doomed

    def end(self, worker: str, key: str) -> bool:
        """A worker is done with a lease; False if it was not its own any more."""
        keys = self._held.get(worker, set())
        own = key in keys
        keys.discard(key)
        return own

    def deal(self) -> dict[str, list[Lease]]:
        """Give what waits to whoever has least; what each worker is given now."""
        given: dict[str, list[Lease]] = {}
        while self._waiting and self._held:
            worker = min(self._held, key=lambda one: len(self._held[one]))
            if len(self._held[worker]) >= self._depth:
                break
            key = self._waiting.popleft()
            self._held[worker].add(key)
            given.setdefault(worker, []).append(self._all[key])
        return given
