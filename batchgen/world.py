"""The door through which the world comes in: time, chance, disk, network, signals."""

import platform
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
from anyio.to_thread import run_sync

from batchgen.disk import Disk

if TYPE_CHECKING:
    from httpcore import AsyncNetworkBackend

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
        thread: runs what blocks beside the event loop, as anyio's `run_sync` does.
        signals: opens a receiver of signals, as anyio's does.
        network: beneath the API's stock transport; None for real sockets.
        files: transport of the downloads; None for the stock one.
    """

    now: Callable[[], datetime] = _now
    chance: random.Random = field(default_factory=random.Random)
    disk: Disk = field(default_factory=Disk)
    boot: str = field(default_factory=_boot)
    host: str = field(default_factory=platform.node)
    thread: Callable[..., Awaitable[Any]] = run_sync
    signals: Callable[..., AbstractContextManager[AsyncIterator[int]]] = (
        anyio.open_signal_receiver
    )
    network: "AsyncNetworkBackend | None" = None
    files: httpx.BaseTransport | None = None

    def stamp(self) -> str:
        """The time of day as the journal writes it."""
        return iso(self.now())


def iso(moment: datetime) -> str:
    """`2026-10-01T12:00:00.000Z`."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
