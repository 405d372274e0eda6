"""C1, C2: fetching by 1, 2 and 4 worker processes, against one without a cluster.

python -m benchmarks.cluster [--quick]

Clips come from an nginx on loopback: a real first picture, and noise up to the size of
a clip. Each is downloaded, hashed, synced, named, and looked into for a poster.
Throughput tells how much the cores give, and on two of them, which the server shares,
four workers cannot beat two. What tells how far a cluster goes is the driver's own
processor time for a lease, measured with clips so small that nothing else counts: one
over it is how many clips a second one driver can have fetched, by however many workers.
"""

import os
import resource
import shutil
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from batchgen import frames
from batchgen.downloads import carrier
from batchgen.engines import Engine, Here, Lease, cluster
from batchgen.engines.cluster import require
from batchgen.errors import UsageError
from batchgen.events import SavedFile
from batchgen.frames import available
from batchgen.world import World
from benchmarks.downloads import Site, serving
from benchmarks.figures import Figure, Skipped, main

_MANY = 2000
_SMALL = 20_000


class Cost(NamedTuple):
    """What bringing in a number of clips took; seconds, `cpu` of this process alone."""

    wall: float
    cpu: float


def measure(*, quick: bool) -> Iterator[Figure]:
    """Throughput with more and more workers, then the driver's part alone."""
    try:
        require()
    except UsageError as error:
        raise Skipped(error.message) from error
    if not available():
        raise Skipped("the extra media is not installed")
    if shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        raise Skipped("nginx is not installed")
    size, count = (4_000_000, 8) if quick else (60_000_000, 24)
    with tempfile.TemporaryDirectory() as root, serving(Path(root), size) as site:
        _film(site.root / "www" / "clip.mp4", size)
        yield from _throughput(site, count, (1, 2) if quick else (1, 2, 4))
    many = 100 if quick else _MANY
    with tempfile.TemporaryDirectory() as root, serving(Path(root), _SMALL) as site:
        yield from _driver(site, many)


def _throughput(site: Site, count: int, crews: tuple[int, ...]) -> Iterator[Figure]:
    alone = anyio.run(_timed, site, count, 0)
    rate = count * site.size / 1e6 / alone.wall
    for workers in crews:
        cost = anyio.run(_timed, site, count, workers)
        yield Figure(
            target="C1",
            what=f"{count} clips of {site.size / 1e6:.0f} MB with posters, "
            f"{workers} workers",
            ours=count * site.size / 1e6 / cost.wall,
            unit="MB/s",
            bound=0.5,
            peer="one process",
            theirs=rate,
            more_is_better=True,
        )


def _driver(site: Site, many: int) -> Iterator[Figure]:
    here = anyio.run(_timed, site, many, 0)
    for workers in (1, 2):
        cost = anyio.run(_timed, site, many, workers)
        yield Figure(
            target="C2",
            what=f"the driver's own CPU for each of {many:,} leases, {workers} workers",
            ours=cost.cpu / many * 1e6,
            unit="us",
            bound=2000,
            beyond=1000,
        )
    yield Figure(
        target="C2",
        what=f"one process's CPU for each of {many:,} small clips, work included",
        ours=here.cpu / many * 1e6,
        unit="us",
        bound=20_000,
    )


async def _timed(site: Site, count: int, workers: int) -> Cost:
    posters = site.size > _SMALL
    folder = site.root / "out"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "videos").mkdir(parents=True)
    async with _engine(folder, workers, posters=posters) as engine:
        await _bring(engine, site, folder, range(-2 * max(workers, 1), 0))  # warm
        began, used = time.perf_counter(), _used()
        done = await _bring(engine, site, folder, range(count))
        if posters and not workers:  # as the report would do it afterwards
            for file in done:
                path = folder / "videos" / file.name
                await World().thread(frames.look, folder, path, file.sha256)
        cost = Cost(time.perf_counter() - began, _used() - used)
    if len(done) != count or not all(
        (folder / "videos" / f.name).exists() for f in done
    ):
        raise RuntimeError(f"{len(done)} of {count} clips came")
    return cost


async def _bring(
    engine: Engine, site: Site, folder: Path, numbers: Iterable[int]
) -> list[SavedFile]:
    left = iter(numbers)
    done: list[SavedFile] = []

    async def bring() -> None:
        for number in left:
            link = (site.link(f"{number}.mp4", tls=False), f"{number}.mp4")
            key = f"{number:032d}"
            lease = Lease(key, 1, f"p{number}", str(folder), (link,), loopback=True)
            done.extend((await engine.bring(lease)).files)

    async with anyio.create_task_group() as group:
        for _ in range(max(engine.at_once, 4)):
            group.start_soon(bring)
    return done


@asynccontextmanager
async def _engine(
    folder: Path, workers: int, *, posters: bool
) -> AsyncIterator[Engine]:
    if workers:
        async with cluster.opened(
            folder, lambda _text: None, workers=workers, posters=posters
        ) as pool:
            while pool.workers < workers:  # noqa: ASYNC110 - they tell nobody
                await anyio.sleep(0.05)
            yield pool
    else:
        with closing(carrier()) as files:
            yield Here(files, World())


def _used() -> float:
    mine = resource.getrusage(resource.RUSAGE_SELF)
    return mine.ru_utime + mine.ru_stime


def _film(path: Path, size: int) -> None:
    """One picture in 4K, and noise in a box that players pass over."""
    import av  # noqa: PLC0415 - an extra
    from PIL import Image  # noqa: PLC0415 - the same

    frame_of: Any = av.VideoFrame.from_image
    noise = Image.frombytes("RGB", (480, 270), os.urandom(480 * 270 * 3))
    picture = noise.resize((3840, 2160))
    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("h264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 3840, 2160, "yuv420p"
        for _ in range(2):
            film.mux(stream.encode(frame_of(picture)))
        film.mux(stream.encode(None))
    with path.open("ab") as file:
        rest = size - file.tell()
        file.write(struct.pack(">I4s", rest, b"free"))
        while left := size - file.tell():
            file.write(os.urandom(min(left, 1 << 20)))


if __name__ == "__main__":
    main(measure)
