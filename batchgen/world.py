"""The door through which the world comes in: time of day, chance, disk, machine."""

import platform
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from batchgen.disk import Disk

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _now() -> datetime:
    return datetime.now(UTC)


def _boot() -> str:
    """Changes with every start of the machine; empty where it is not told."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class World:
    """What a run takes from outside; a test hands in another one.

    Attributes:
        now: the time of day, UTC; timers use the event loop's clock instead.
        chance: for jitter only; no safety depends on it.
        disk: the calls to the file system.
        boot: identity of this start of the machine.
        host: name of the machine.
    """

    now: Callable[[], datetime] = _now
    chance: random.Random = field(default_factory=random.Random)
    disk: Disk = field(default_factory=Disk)
    boot: str = field(default_factory=_boot)
    host: str = field(default_factory=platform.node)

    def stamp(self) -> str:
        """The time of day as the journal writes it."""
        return iso(self.now())


def iso(moment: datetime) -> str:
    """`2026-10-01T12:00:00.000Z`."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
