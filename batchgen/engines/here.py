"""The engine that nearly everybody wants: this process."""

from collections.abc import Callable

import anyio
import httpx

from batchgen.engines.lease import Brought, Lease
from batchgen.engines.worker import Worker
from batchgen.world import World

DOWNLOADS_AT_ONCE = 4


class Here:
    """One worker in this process, with a few threads."""

    at_once = DOWNLOADS_AT_ONCE

    def __init__(self, files: httpx.Client, world: World) -> None:
        self._worker = Worker(files, world)
        self._world = world
        self._threads = anyio.CapacityLimiter(DOWNLOADS_AT_ONCE)

    async def bring(self, lease: Lease) -> Brought:
        """Fetch the outputs of a prediction.

        Raises:
            BatchgenError: as `Worker.bring` does.
        """
        brought: Brought = await self._world.thread(
            self._worker.bring, lease, limiter=self._threads
        )
        return brought

    async def ready(self) -> None:
        """Come back at once: it is always there."""

    def hear(self, received: Callable[[int], None]) -> None:
        """Tell every piece that comes, from the thread that fetches it."""
        self._worker.received = received

    def stop(self) -> None:
        """End downloads under way; their parts stay for the next session."""
        self._worker.stop.set()
