"""The door through which the world comes in: time, chance, disk, network, signals."""

import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync
from msgspec import Struct, field

from batchgen.clock import iso, now
from batchgen.disk import Disk

if TYPE_CHECKING:
    from httpcore import AsyncNetworkBackend

    from batchgen.sockets import Carrier

__all__ = ["Patience", "World", "awake", "iso"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def awake() -> float:
    """The event loop's clock, and what the machine slept besides, where that is told.

    The loop's own clock stands still while the machine is suspended.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    asleep = 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()
    return anyio.current_time() + asleep


def _boot() -> str:
    """Changes with every start of the machine; empty where it is not told."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _runtime() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(given) if given else Path(tempfile.gettempdir())
    return base / ("batchgen" if given else f"batchgen-{os.getuid()}")


def _alarm(line: str) -> None:
    """On a line of its own, also where a bar stands."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"\n{line}\n")
        sys.stderr.flush()


class Patience(Struct, frozen=True):
    """How long a full disk is borne; seconds.

    Attributes:
        retry: between two tries to write down an outcome.
        calm: room must have been there for so long before anything is bought again.
        endure: outcomes that find no room at all are tried for so long.
        hold: buying waits for room so long; then the session ends.
    """

    retry: float = 5.0
    calm: float = 60.0
    endure: float = 60.0
    hold: float = 600.0


class World(Struct, frozen=True):
    """What a run takes from outside; a test hands in another one.

    Attributes:
        now: the time of day, UTC; timers use the event loop's clock instead.
        awake: seconds on a clock that nobody sets and that sleep does not stop.
        chance: for jitter only; no safety depends on it.
        disk: the calls to the file system.
        boot: identity of this start of the machine.
        host: name of the machine.
        thread: runs what blocks beside the event loop, as anyio's `run_sync` does.
        signals: opens a receiver of signals, as anyio's does.
        patience: with a full disk.
        runtime: the user's own folder for what does not outlive a boot.
        alarm: says a line that nobody may miss, whatever the display shows.
        network: beneath the API's stock transport; None for real sockets.
        files: asks servers for files; None for the stock one.
    """

    now: Callable[[], datetime] = now
    awake: Callable[[], float] = awake
    chance: random.Random = field(default_factory=random.Random)
    disk: Disk = field(default_factory=Disk)
    boot: str = field(default_factory=_boot)
    host: str = field(default_factory=platform.node)
    thread: Callable[..., Awaitable[Any]] = run_sync
    signals: Callable[..., AbstractContextManager[AsyncIterator[int]]] = (
        anyio.open_signal_receiver
    )
    patience: Patience = field(default_factory=Patience)
    runtime: Path = field(default_factory=_runtime)
    alarm: Callable[[str], None] = _alarm
    network: "AsyncNetworkBackend | None" = None
    files: "Carrier | None" = None

    def stamp(self) -> str:
        """The time of day as the journal writes it."""
        return iso(self.now())
