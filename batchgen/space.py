"""Room for clips: who finds none waits here, and meanwhile nothing is bought."""

from collections.abc import Callable
from pathlib import Path

import anyio

from batchgen.errors import StoreError
from batchgen.world import World

FULL = "disk-full"


class Space:
    """The disk of the outputs, as downloads and the buyer see it.

    `notice` is told when it runs full and when there is room again.
    """

    def __init__(self, videos: Path, world: World) -> None:
        self.notice: Callable[[str], None] = lambda _text: None
        self._videos = videos
        self._world = world
        self._waiting = 0
        self._calm_since = float("-inf")

    @property
    def full(self) -> bool:
        """Whether a download waits for room."""
        return self._waiting > 0

    async def free(self) -> int:
        """Bytes; 0 where it is not told."""
        try:
            found: int = await self._world.thread(self._world.disk.free, self._videos)
        except OSError:
            return 0
        return found

    async def more(self, error: StoreError, since: float) -> None:
        """Come back when there is more room than now.

        Args:
            error: what the disk said.
            since: when it said so first, by the event loop's clock.

        Raises:
            StoreError: `error`, if it is none of a full disk or no room came for as
                long as patience lasts.
        """
        if error.rule != FULL:
            raise error
        patience, before = self._world.patience, await self.free()
        if not self._waiting:
            self.notice(
                f"{error.message}. Downloads wait for room and nothing is bought; "
                "predictions under way are still asked about."
            )
        self._waiting += 1
        try:
            while await self.free() <= before:
                if anyio.current_time() - since >= patience.hold:
                    raise error
                await anyio.sleep(patience.retry)
            # Not in vain at once: the last piece of room may be a drop.
            await anyio.sleep(patience.retry)
        finally:
            self._waiting -= 1
            self._calm_since = anyio.current_time()

    async def calm(self) -> None:
        """Come back when no download has waited for room for a while."""
        patience = self._world.patience
        waited = False
        while self.full or anyio.current_time() - self._calm_since < patience.calm:
            waited = True
            await anyio.sleep(patience.retry)
        if waited:
            self.notice("there is room on the disk again; buying goes on")
