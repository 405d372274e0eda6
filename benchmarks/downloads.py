"""P4: from links to verified files, against aria2c and curl.

python -m benchmarks.downloads [--quick]

Eight clips of 100 MB come from an nginx of its own on loopback, plain and with TLS.
Ours is the real `fetch` in worker threads: every check, SHA-256, syncs, and the final
name. `aria2c` writes the same files and neither hashes nor syncs them; curl with
sha256sum hashes and writes nothing. By the clock we are held to aria2c as it comes.
Processor seconds are those of the client alone, without nginx's: as they are they are
only told, for hashing takes half as long as all the rest; held to are aria2c's with
those of OpenSSL over the same bytes, and curl's. Each figure is the best of the rounds:
what else the machine does only adds to it.

The status reads of the last figure go through our client to a sandbox of its own, alone
and while as many downloads as a run begins with fill a line of one gigabit a second.
"""

import hashlib
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.to_thread import run_sync

from batchgen.client import Client
from batchgen.disk import Disk
from batchgen.downloads import DownloadStopped, carrier, fetch
from batchgen.flow import MOST_AT_ONCE
from batchgen.pace import Pace
from batchgen.parts import BLOCK
from batchgen.sandbox.launch import process
from batchgen.sockets import Carrier, Question, Served
from benchmarks import nginx
from benchmarks.figures import Figure, Skipped, main

_CLIPS = 8
_SLOTS = 4
_GIGABIT = 100_000_000  # bytes a second that such a line carries, about
_READ_EVERY = 0.01
_TOOLS = ("aria2c", "curl", "sha256sum", "sh")
# `fetch` dials public addresses only, and never over TLS on loopback: so the links
# name this one, and the connections of the benchmark end on loopback all the same.
_PUBLIC = "9.9.9.9"
_MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"

_SITE = """
  sendfile on; tcp_nopush on; default_type video/mp4;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl;
    root www;
    location /line/ {{ limit_rate {rate}; rewrite ^/line/ /clip.mp4 break; }}
    location / {{ rewrite ^ /clip.mp4 break; }}
  }}
"""


class Cost(NamedTuple):
    """What one round of one client took."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Site:
    """The server, and the folder that all of it is in."""

    root: Path
    plain: int
    tls: int
    size: int

    def link(self, path: str, *, tls: bool, host: str = "127.0.0.1") -> str:
        """Where a clip is."""
        scheme, port = ("https", self.tls) if tls else ("http", self.plain)
        return f"{scheme}://{host}:{port}/{path}"

    def fresh(self) -> Path:
        """An empty folder, and memory that was in use until now.

        A virtual machine gives free memory back to its host, and whoever takes it first
        pays for that: without this the figure tells who came after whom.
        """
        folder = self.root / "out"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        junk, block = folder / "junk", bytes(1 << 20)
        with junk.open("wb") as file:
            for _ in range(self.size * _CLIPS // len(block) * 5 // 4):
                file.write(block)
        junk.unlink()
        return folder


class _Detour:
    """Dials loopback whatever the address: nothing here leaves the machine."""

    def __init__(self, wire: Carrier) -> None:
        self._wire = wire

    def ask(self, question: Question) -> Served:
        url = question.url.copy_with(host="127.0.0.1")
        return self._wire.ask(question._replace(url=url))

    def close(self) -> None:
        self._wire.close()


@contextmanager
def serving(root: Path, size: int) -> Iterator[Site]:
    """An nginx that gives one clip under every name."""
    (root / "www").mkdir(mode=0o755)
    _clip(root / "www" / "clip.mp4", size)
    nginx.certificate(root, _PUBLIC, "127.0.0.1")
    site = Site(root, nginx.free_port(), nginx.free_port(), size)
    rate = _GIGABIT // MOST_AT_ONCE
    conf = _SITE.format(plain=site.plain, tls=site.tls, rate=rate)
    with nginx.running(root, conf, site.tls):
        yield site


def _clip(path: Path, size: int) -> None:
    """A file whose boxes are those of a whole MP4, and whose content is noise."""
    head = struct.pack(">I4s8s", 16, b"ftyp", b"isom") + struct.pack(
        ">I4s4s", 12, b"moov", b""
    )
    with path.open("wb") as file:
        file.write(head + struct.pack(">I4s", size - len(head), b"mdat"))
        while left := size - file.tell():
            file.write(os.urandom(min(left, 1 << 20)))


def _run(command: list[str], folder: Path) -> Cost:
    """Another program, from its start to its end."""
    began = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command[0]} ended with {child.returncode}")
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime)


def client(site: Site, *, tls: bool) -> Carrier:
    """Our connections of downloads; with TLS they trust the made certificate."""
    if not tls:
        return carrier()
    return _Detour(carrier(authorities=site.root / "cert.pem"))


def ours(site: Site, *, tls: bool) -> Cost:
    """All clips by `fetch`, some at a time."""
    folder, stop = site.fresh(), threading.Event()
    host = _PUBLIC if tls else "127.0.0.1"

    async def all_of_them(http: Carrier) -> None:
        slots = anyio.CapacityLimiter(_SLOTS)
        async with anyio.create_task_group() as group:
            for number in range(_CLIPS):
                one = partial(
                    fetch,
                    site.link(f"{number}.mp4", tls=tls, host=host),
                    folder / f"{number}.mp4",
                    http=http,
                    loopback=True,
                    disk=Disk(),
                    stop=stop,
                )
                group.start_soon(partial(run_sync, one, limiter=slots))

    with closing(client(site, tls=tls)) as http:
        before, began = _used(), time.perf_counter()
        anyio.run(all_of_them, http)
        cost = Cost(time.perf_counter() - began, _used() - before)
    _expect(folder, site)
    return cost


def aria2c(site: Site, *, tls: bool) -> Cost:
    """The same files by aria2c, unhashed."""
    folder = site.fresh()
    pairs = (
        f"{site.link(f'{number}.mp4', tls=tls)}\n  out={number}.mp4\n"
        for number in range(_CLIPS)
    )
    (folder / "links").write_text("".join(pairs))
    options = f"-q --no-conf -j{_CLIPS} -x1 -s1 --file-allocation=none -i links"
    trust = f"--ca-certificate={site.root / 'cert.pem'}"
    cost = _run(["aria2c", *options.split(), trust], folder)
    _expect(folder, site)
    return cost


def hashed(site: Site, *, tls: bool) -> Cost:
    """The same hashes by OpenSSL, of bytes that are there already."""
    del tls
    block, digest = os.urandom(BLOCK), hashlib.sha256()
    before, began = _used(), time.perf_counter()
    for _ in range(site.size * _CLIPS // len(block)):
        digest.update(block)
    return Cost(time.perf_counter() - began, _used() - before)


def curl(site: Site, *, tls: bool) -> Cost:
    """The same hashes by curl and sha256sum, unwritten."""
    each = (
        f"curl -sf --cacert {site.root / 'cert.pem'} "
        f"{site.link(f'{number}.mp4', tls=tls)} | sha256sum"
        for number in range(_CLIPS)
    )
    return _run(["sh", "-c", " & ".join(each) + " & wait"], site.fresh())


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _expect(folder: Path, site: Site) -> None:
    sizes = [file.stat().st_size for file in folder.glob("*.mp4")]
    if sizes != [site.size] * _CLIPS:
        raise RuntimeError(f"not every clip came whole: {sizes}")


def transfers(site: Site, *, tls: bool, rounds: int) -> Iterator[Figure]:
    """Bytes a second of the clock, and processor seconds a gigabyte."""
    clients: dict[str, Callable[..., Cost]] = {
        "ours": ours,
        "aria2c": aria2c,
        "hashing": hashed,
        "curl|sha256sum": curl,
    }
    costs: dict[str, list[Cost]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, run in clients.items():
            costs[name].append(run(site, tls=tls))
    volume = site.size * _CLIPS
    speed = {n: volume / 1e6 / min(c.wall for c in some) for n, some in costs.items()}
    effort = {n: min(c.cpu for c in some) * 1e9 / volume for n, some in costs.items()}
    effort["aria2c + SHA-256"] = effort["aria2c"] + effort["hashing"]
    way = "TLS" if tls else "plain"
    # What is encrypted has a figure to go for; its bound only tells a break.
    yield Figure(
        "P4",
        f"downloads, {way}: by the clock",
        speed["ours"],
        "MB/s",
        0.7 if tls else 1.0,
        1.0 if tls else 1.2,
        "aria2c",
        speed["aria2c"],
        more_is_better=True,
    )
    # Sixteen processes beside our one: the clock would tell who else is at work.
    for peer in ("aria2c", "aria2c + SHA-256", "curl|sha256sum"):
        hashes = peer != "aria2c"
        yield Figure(
            "P4",
            f"downloads, {way}: processor time",
            effort["ours"],
            "s/GB",
            1.0 if hashes else None,
            1 / 1.2 if hashes else None,
            peer,
            effort[peer],
        )


async def _read(client: Client, prediction: str, seconds: float) -> list[float]:
    """How long each of many status reads took, one after the other."""
    took = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        await client.result(prediction)
        took.append(time.perf_counter() - began)
        await anyio.sleep(_READ_EVERY)
    return took


async def _meanwhile(
    site: Site, client: Client, prediction: str, seconds: float
) -> list[float]:
    """The same while a line is full of clips."""
    stop, folder = threading.Event(), site.fresh()

    async def one_after_the_other(lane: int, http: Carrier) -> None:
        while not stop.is_set():
            target = folder / f"{lane}.mp4"
            one = partial(
                fetch,
                site.link(f"line/{lane}.mp4", tls=False),
                target,
                http=http,
                loopback=True,
                disk=Disk(),
                stop=stop,
            )
            try:
                await run_sync(one)
            except DownloadStopped:
                return
            target.unlink()

    with closing(carrier()) as http:
        async with anyio.create_task_group() as group:
            for lane in range(MOST_AT_ONCE):
                group.start_soon(one_after_the_other, lane, http)
            try:
                took = await _read(client, prediction, seconds)
            finally:
                stop.set()
    return took


async def _reads(
    site: Site, api: str, *, rounds: int, seconds: float
) -> tuple[float, float]:
    """The 99th percentile of a read alone and meanwhile; the best rounds."""
    alone, meanwhile = [], []
    async with Client.connect(
        api,
        "benchmark",
        pace=Pace(5000, 1.0),
        now=partial(datetime.now, UTC),
        loopback=True,
    ) as client:
        body = {"prompt": "A paper boat drifts", "duration": 5, "sound": False}
        bought = await client.submit(_MODEL, body)
        for _ in range(rounds):
            alone.append(_p99(await _read(client, bought.id, seconds)))
            meanwhile.append(_p99(await _meanwhile(site, client, bought.id, seconds)))
    return min(alone), min(meanwhile)


def _p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)] * 1000


def reads(site: Site, *, quick: bool) -> Iterator[Figure]:
    """Status reads while clips come in, against status reads alone."""
    sandbox = "--profile", "plain", "--speed", "1e9", "--balance", "1000"
    with process(site.root / "sandbox", *sandbox) as (addresses, _):
        rounds, seconds = (1, 0.5) if quick else (3, 8.0)
        look = partial(_reads, site, addresses.api, rounds=rounds, seconds=seconds)
        alone, meanwhile = anyio.run(look)
    yield Figure(
        "P4",
        "status read, p99, while clips come at 1 Gbit/s",
        meanwhile,
        "ms",
        10.0,
        2.0,
        "alone",
        alone,
    )


def measure(*, quick: bool) -> Iterator[Figure]:
    """Both ways of transfer, then the reads."""
    missing = nginx.missing(*_TOOLS)
    if missing:
        raise Skipped(f"{', '.join(missing)} not installed")
    if sys.platform != "linux":
        raise Skipped("processor times are read as Linux tells them")
    rounds, size = (1, 1 << 20) if quick else (5, 100_000_000)
    with (
        tempfile.TemporaryDirectory(prefix="batchgen-p4-") as folder,
        serving(Path(folder).resolve(), size) as site,
    ):
        for tls in (False, True):
            yield from transfers(site, tls=tls, rounds=rounds)
        yield from reads(site, quick=quick)


if __name__ == "__main__":
    main(measure)
