"""The service's time: real time plus an offset, durations divided by the speed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate

Nanoseconds = int

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Moments in nanoseconds since 1970, as the service sees them."""

    speed: float = 180.0
    offset: float = 0.0
    source: Callable[[], Nanoseconds] = time.time_ns

    def now(self) -> Nanoseconds:
        """This moment."""
        return self.source() + int(self.offset * SECOND)

    def lasting(self, seconds: float) -> Nanoseconds:
        """How long something takes here that takes the vendor `seconds`."""
        return int(seconds / self.speed * SECOND)


def stamp(moment: Nanoseconds) -> str:
    """RFC 3339 in UTC with nine digits of fraction, as the vendor writes it."""
    whole, rest = divmod(moment, SECOND)
    # gmtime is several times faster than datetime, and every answer holds a stamp.
    parts = time.gmtime(whole)
    return (
        f"{parts[0]}-{parts[1]:02}-{parts[2]:02}"
        f"T{parts[3]:02}:{parts[4]:02}:{parts[5]:02}.{rest:09}Z"
    )


def moment(text: str) -> Nanoseconds:
    """Read RFC 3339; a time without a zone is UTC.

    Raises:
        ValueError: not a time.
    """
    read = datetime.fromisoformat(text)
    if read.tzinfo is None:
        read = read.replace(tzinfo=UTC)
    whole = int(read.replace(microsecond=0).timestamp())
    return whole * SECOND + read.microsecond * 1000


def http_date(now: Nanoseconds) -> str:
    """The form of the `Date` header."""
    return formatdate(now // SECOND, usegmt=True)
