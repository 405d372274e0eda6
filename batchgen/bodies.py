"""Whether the bytes of a clip come fast enough, and what is said if they do not."""

from batchgen.errors import Unavailable
from batchgen.sockets import SILENCE

LEAST_RATE = 10 << 10  # bytes a second, over
RATE_WINDOW = 60.0  # seconds


class TooSlow(Unavailable):
    """Too little came for too long; nearly as little may be all that the line has."""


class Speed:
    """Gives up on a body that comes too slowly, or not at all."""

    def __init__(self, now: float) -> None:
        self._since = self._heard = now
        self._bytes = 0

    def note(self, count: int, now: float) -> None:
        """So many bytes came by now.

        Raises:
            TooSlow: that is too few.
            Unavailable: nothing came for too long.
        """
        self._bytes += count
        if count:
            self._heard = now
        elif now - self._heard >= SILENCE:
            raise Unavailable(f"no byte came for {SILENCE:.0f} s")
        if now - self._since >= RATE_WINDOW:
            if self._bytes < LEAST_RATE * (now - self._since):
                raise TooSlow(f"less than {LEAST_RATE >> 10} KiB a second came")
            self._since, self._bytes = now, 0


def broken(what: str, error: Exception | None) -> Unavailable:
    """A transfer that broke, in a few words."""
    return Unavailable(f"{what}: {str(error) or type(error).__name__}")
