"""Readings that fail: how long to wait for the next, and when to stop asking."""

from batchgen.errors import Unavailable
from batchgen.profile import Profile
from batchgen.world import World

_KEY_STRIKES = 3


class KeyRejected(Unavailable):
    """Readings are answered 401 or 403 again and again; nothing paid is lost."""


class Trouble:
    """How long to wait between readings that fail, and when to stop asking."""

    def __init__(self, profile: Profile, world: World) -> None:
        self._profile = profile
        self._world = world
        self._failures = 0
        self._strikes = 0

    def pause(self, error: Unavailable) -> float:
        """Seconds until the next look: as told, else doubling with jitter."""
        self._failures += 1
        self._strikes = self._strikes + 1 if error.http in (401, 403) else 0
        if self._strikes >= _KEY_STRIKES:
            raise KeyRejected(error.message, http=error.http)
        ceiling = min(
            self._profile.backoff_first * 2.0 ** min(self._failures, 32),
            self._profile.backoff_longest,
        )
        jitter = self._world.chance.uniform(0.5, 1.0)
        return error.retry_after or ceiling * jitter
