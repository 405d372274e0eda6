"""What the driver asks of a worker, and what it hears in return."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from batchgen.events import SavedFile


@dataclass(frozen=True, slots=True)
class Lease:
    """One prediction whose outputs are to be fetched; idempotent, as often as you like.

    Attributes:
        task: its id.
        attempt: its number.
        prediction: the service's id.
        folder: the run's; the outputs go below its `videos`.
        links: link and file name of each output. A link is a secret: it opens the clip
            to whoever has it, until it expires.
        loopback: links may lead to this machine: those of a sandbox do.
        sidecar: what is told beside each file; None for no sidecars.
        store: address of the bucket that the outputs go to; empty for the folder.
        posters: look into each clip, and leave a picture of it for the report.
    """

    task: str
    attempt: int
    prediction: str
    folder: str
    links: tuple[tuple[str, str], ...] = field(repr=False)
    loopback: bool = False
    sidecar: Mapping[str, Any] | None = None
    store: str = ""
    posters: bool = False

    @property
    def key(self) -> str:
        """What is leased once, whoever holds it."""
        return f"{self.task}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class Brought:
    """The files of a lease, whole, verified and durable.

    Attributes:
        files: where they are.
        pictures: name and content of what belongs into the run's folder, from a worker
            that does not see it.
    """

    files: tuple[SavedFile, ...]
    pictures: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """One lease is over: what came of it, or what went wrong."""

    key: str
    outcome: Brought | Exception


@dataclass(frozen=True, slots=True)
class News:
    """Everything a worker has to tell since it was asked last.

    Attributes:
        ended: leases that are over.
        received: how many bytes came, those of unfinished downloads included.
    """

    ended: tuple[Ended, ...] = ()
    received: int = 0


class Engine(Protocol):
    """Where clips are fetched."""

    @property
    def at_once(self) -> int:
        """How many leases it can make use of at a time."""

    async def bring(self, lease: Lease) -> Brought:
        """Fetch the outputs of a prediction.

        Raises:
            LinkExpired: ask for fresh links and lease it again.
            Unavailable: passing trouble; lease it again later, the part is kept.
            DownloadStopped: `stop` was called.
            StoreError: the disk does not take a file, or it is no clip.
            EngineLost: nobody is left to fetch it.
        """

    async def ready(self) -> None:
        """Come back when there is somebody to fetch what is bought from now on."""

    def hear(self, received: Callable[[int], None]) -> None:
        """Tell every piece that comes; from any thread."""

    def stop(self) -> None:
        """End downloads under way; their parts stay for the next session."""
