"""How long a whole run takes, against an oracle that refills each slot at once.

python -m benchmarks.makespan [--quick]

The real session, runner, client and journal work on a clock that jumps: waiting costs
nothing, and an hour takes as long as its computing. Beneath them is a make-believe
network that answers as slowly as a real one, and an engine that lets downloads take
their time without moving bytes. What the run loses is what it loses by waiting: for
the answer of a POST, for the platter, for its turn, and above all for the look that
sees a clip finished.
"""

import json
import math
import random
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from heapq import heappush, heapreplace
from pathlib import Path
from typing import Any

import anyio
import httpcore
from msgspec.structs import replace

from batchgen.cli.session import Account, Session, Terms, connected, first_contact
from batchgen.engines import Brought, Lease
from batchgen.events import SavedFile
from batchgen.journal import Journal
from batchgen.models import catalog
from batchgen.plan import Policy
from batchgen.profile import TIERS, WAVESPEED, Limits
from batchgen.recorder import Nobody
from batchgen.tally import Tally
from batchgen.task import Task
from batchgen.world import World
from benchmarks.figures import Figure, Skipped, main

EPOCH = datetime(2026, 11, 22, 20, tzinfo=UTC)
MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"
MEDIAN, SIGMA = 180.0, 0.35
CONNECTS, READS, SUBMITS = 0.03, 0.1, 0.3  # seconds for an answer
SYNC = 0.005  # seconds for a line to be on the platter
DOWNLOADS, DOWNLOAD = 4, 0.25  # at once, and seconds for each
GOLD = TIERS["gold"]
PRICE = 1_260_000

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Night:
    """What is bought in one run, and how fast that may go."""

    clips: int
    limits: Limits
    reads: int

    def latencies(self) -> list[float]:
        """Seconds that each clip takes at the service."""
        dice = random.Random(1)  # noqa: S311 - the same clips each time
        return [MEDIAN * math.exp(dice.gauss(0, SIGMA)) for _ in range(self.clips)]


def oracle(night: Night) -> float:
    """Seconds of a run that knows everything at once, within the same limits."""
    ends: list[float] = []
    starts: list[float] = []
    limits = night.limits
    for number, took in enumerate(night.latencies()):
        now = ends[0] if len(ends) >= limits.concurrency else 0.0
        if limits.starts and number >= limits.starts:
            now = max(now, starts[number - limits.starts] + limits.seconds)
        starts.append(now)
        if len(ends) >= limits.concurrency:
            heapreplace(ends, now + took)
        else:
            heappush(ends, now + took)
    return max(ends)


@dataclass
class Service:
    """The API, as far as a run that meets no trouble sees of it."""

    latencies: list[float]
    reads: int = 0
    ends: dict[str, float] = field(default_factory=dict)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, head: bytes, body: Any) -> tuple[float, Any]:
        """Seconds, and what is said then."""
        method, path = head.split(b" ", 2)[:2]
        name = path.decode().removeprefix("/api/v3/")
        match name.split("/"):
            case ["predictions", prediction, "result"]:
                self.reads += 1
                return READS, self._result(prediction)
            case ["predictions"]:
                return READS, {"items": self.shown[::-1] if body["page"] == 1 else []}
            case ["balance"]:
                return READS, {"balance": 1_000_000.0}
            case ["billings", "search"]:
                asked = body.get("prediction_uuids", ())
                return READS, {"items": [*map(_bill, asked)], "has_more": False}
            case _ if method == b"POST" and isinstance(body, dict):
                return SUBMITS, self._submit(body)
            case _:
                raise AssertionError(f"nobody asks for {name}")

    def _submit(self, body: dict[str, Any]) -> dict[str, Any]:
        number = int(body["prompt"].rpartition(" ")[2])
        name = f"p{number:06d}"
        self.ends[name] = anyio.current_time() + self.latencies[number]
        row = {
            "id": name,
            "model": MODEL,
            "status": "created",
            "outputs": [],
            "created_at": now().isoformat(),
        }
        if not self.shown:  # the first one is looked for
            self.shown.append({**row, "inputs": body})
        return row

    def _result(self, name: str) -> dict[str, Any]:
        done = anyio.current_time() >= self.ends[name]
        return {
            "id": name,
            "model": MODEL,
            "status": "completed" if done else "processing",
            "outputs": [f"https://files.test/{name}.mp4"] if done else [],
        }


def _bill(prediction: str) -> dict[str, Any]:
    """What was charged for it; shown at once."""
    return {
        "uuid": f"bill-{prediction}",
        "billing_type": "deduct",
        "price": PRICE / 1_000_000,
        "prediction": {"uuid": prediction},
    }


class Network(httpcore.AsyncNetworkBackend, httpcore.AsyncNetworkStream):
    """Beneath the stock transports; each connection is one of these."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._asked = self._answer = b""
        self._at = 0.0

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """A new connection."""
        await anyio.sleep(CONNECTS)
        return Network(self._service)

    async def start_tls(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """The same, for all anybody can tell."""
        await anyio.sleep(CONNECTS)
        return self

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Take a request; its answer is fixed when it is whole."""
        del timeout
        self._asked += buffer
        head, gap, body = self._asked.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not gap or len(body) < int(length[1] if length else 0):
            return
        self._asked = b""
        wait, data = self._service.answer(head, json.loads(body) if body else None)
        content = json.dumps({"code": 200, "message": "success", "data": data}).encode()
        date = format_datetime(now(), usegmt=True)
        lines = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {len(content)}"
        self._answer = f"{lines}\r\n\r\n".encode() + content
        self._at = anyio.current_time() + wait

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """The answer, when it is time."""
        del timeout
        await anyio.sleep_until(self._at)
        data, self._answer = self._answer[:max_bytes], self._answer[max_bytes:]
        return data

    async def aclose(self) -> None:
        """Nothing to put away."""

    def get_extra_info(self, info: str) -> Any:
        """There is no socket."""
        del info


class Pretended:
    """An engine that takes its time."""

    at_once = DOWNLOADS

    async def bring(self, lease: Lease) -> Brought:
        """Wait as long as a download takes."""
        await anyio.sleep(DOWNLOAD)
        files = [
            SavedFile(name=name, bytes=1, sha256="0" * 64) for _, name in lease.links
        ]
        return Brought(tuple(files))

    async def ready(self) -> None:
        """At once."""

    def hear(self, received: Callable[[int], None]) -> None:
        """There is nothing to hear."""

    def stop(self) -> None:
        """There is nothing to stop."""


def now() -> datetime:
    """The time of day on the clock that jumps."""
    return EPOCH + timedelta(seconds=anyio.current_time())


async def thread(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    """What a thread would do, here and later."""
    await anyio.sleep(SYNC)
    return function(*args)


@contextmanager
def signals(*_: int) -> Iterator[AsyncIterator[int]]:
    """None ever comes."""
    send, receive = anyio.create_memory_object_stream[int]()
    with send, receive:
        yield receive


def clip(number: int) -> Task:
    """One task of the run."""
    return Task(
        id=f"{number:032x}",
        slug=f"clip-{number:05d}",
        model=MODEL,
        input={"prompt": f"clip {number}", "duration": 3},
        take=1,
        price=PRICE,
        seconds=3,
        labels={},
        output=f"clip-{number:05d}.mp4",
    )


async def run(service: Service, night: Night, folder: Path) -> float:
    """Seconds of a whole session."""
    world = World(
        now=now,
        awake=anyio.current_time,
        chance=random.Random(1),  # noqa: S311 - for jitter
        thread=thread,
        signals=signals,
        network=Network(service),
        runtime=folder / "runtime",
    )
    profile = replace(WAVESPEED, name="simulated")
    account = Account("https://api.test", "key", profile)
    tasks = [clip(number) for number in range(night.clips)]
    async with connected(account, (night.reads, 1.0), world) as client:
        await first_contact(client, account, print)
        with Journal.open(folder / "run", world) as journal:
            tally = Tally.of(journal.records)
            tally.want(task.id for task in tasks)
            terms = Terms(Policy(sidecars=False), night.limits, None, "digest")
            session = Session(
                account, terms, client, journal, tally, Nobody(), world, Pretended()
            )
            began = anyio.current_time()
            await session.run(lambda: tasks, [], catalog(), lambda _: (0, "done"))
    if tally.counts["done"] != night.clips:
        raise AssertionError(f"it ended with {tally.counts}")
    return anyio.current_time() - began


def on_a_clock_that_jumps(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run something without waiting.

    Raises:
        Skipped: trio is not installed.
    """
    try:
        from trio.testing import MockClock  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise Skipped("trio is not installed: pip install 'batchgen[test]'") from error
    options = {"clock": MockClock(autojump_threshold=0)}
    return anyio.run(work, backend="trio", backend_options=options)


def measure(*, quick: bool) -> Iterator[Figure]:
    """The tier as it is; a tenth of it without its limit of starts, and more reads."""
    clips, slots, starts, reads = 20_000, GOLD.concurrency, GOLD.starts, GOLD.reads
    if quick:
        clips, slots, starts, reads = 200, 50, 15, 2
    nights = [Night(clips, Limits(slots, starts), reads)]
    if not quick:
        nights.append(Night(clips // 10, Limits(slots // 10, None), 4 * reads // 10))
    for night in nights:
        rate = (
            f"{night.limits.starts} starts/min" if night.limits.starts else "no limit"
        )
        service = Service(night.latencies())
        with tempfile.TemporaryDirectory(dir=_memory()) as folder:
            work = partial(run, service, night, Path(folder))
            ours = on_a_clock_that_jumps(work)
        looks = service.reads / night.clips
        yield Figure(
            "P1",
            f"{night.clips:,} clips, {night.limits.concurrency:,} slots, {rate}, "
            f"{night.reads} reads/s, {looks:.1f} a clip",
            ours,
            "s",
            1.05,
            1.015,
            peer="oracle",
            theirs=oracle(night),
        )


def _memory() -> str | None:
    """A folder that is not on a platter, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


if __name__ == "__main__":
    main(measure)
