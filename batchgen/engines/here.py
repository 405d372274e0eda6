"""The engine that nearly everybody wants: this process."""

from collections.abc import Callable

import anyio

from batchgen.bodies import TooSlow
from batchgen.engines.lease import Brought, Lease
from batchgen.engines.worker import Worker
from batchgen.flow import MOST_AT_ONCE, Lanes, Meter
from batchgen.sockets import Carrier
from batchgen.world import World


class Here:
    """One worker in this process; how many threads it uses, it learns."""

    def __init__(self, files: Carrier, world: World) -> None:
        self._worker = Worker(files, world)
        self._world = world
        self._threads = anyio.CapacityLimiter(MOST_AT_ONCE)
        self._lanes = Lanes()
        self._meter = Meter()
        self._busy = 0
        self.hear(lambda _count: None)

    @property
    def at_once(self) -> int:
        """As many as the line can make use of, by what came until now."""
        return self._lanes.count

    async def bring(self, lease: Lease) -> Brought:
        """Fetch the outputs of a prediction.

        Raises:
            BatchgenError: as `Worker.bring` does.
        """
        self._note(+1)
        try:
            brought: Brought = await self._world.thread(
                self._worker.bring, lease, limiter=self._threads
            )
        except TooSlow:
            self._lanes.relieve(anyio.current_time())
            raise
        finally:
            self._note(-1)
        return brought

    def _note(self, more: int) -> None:
        self._busy += more
        self._lanes.note(anyio.current_time(), self._meter.total, self._busy)
        # Also those that are tried again keep to it.
        if self._threads.total_tokens != self._lanes.count:
            self._threads.total_tokens = self._lanes.count

    async def ready(self) -> None:
        """Come back at once: it is always there."""

    def hear(self, received: Callable[[int], None]) -> None:
        """Tell every piece that comes, from the thread that fetches it."""

        def both(count: int) -> None:
            self._meter.add(count)
            received(count)

        self._worker.received = both

    def stop(self) -> None:
        """End downloads under way; their parts stay for the next session."""
        self._worker.stop.set()
