"""Leases and who has them; real workers in this process, which die as told."""

import io
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from buckets import serving
from test_downloads import CLIP, SHA, Site, answer, file
from test_downloads import site as site  # noqa: PLC0414 - a fixture

from batchgen import frames, posters
from batchgen.downloads import LinkExpired
from batchgen.engines import Brought, Ended, Lease, News, pool
from batchgen.engines.cluster import without_secrets
from batchgen.engines.leases import MOST_DEATHS, Leases
from batchgen.engines.pool import Pool, Unfit
from batchgen.engines.probe import probe
from batchgen.engines.station import Station
from batchgen.errors import EngineLost
from batchgen.parts import BadClip
from conftest import Story

pytestmark = pytest.mark.anyio


def lease(number: int, folder: Path = Path(), *urls: str) -> Lease:
    links = tuple((url, f"{number}-{n}.mp4") for n, url in enumerate(urls))
    return Lease(f"task{number}", 1, f"p{number}", str(folder), links, loopback=True)


def names(given: dict[str, list[Lease]]) -> dict[str, list[str]]:
    return {worker: [one.task for one in leases] for worker, leases in given.items()}


def test_leases_go_to_whoever_has_least() -> None:
    leases = Leases(2)
    for number in range(5):
        leases.add(lease(number))
    assert leases.deal() == {}
    leases.join("a")
    leases.join("b")
    given = names(leases.deal())
    assert given == {"a": ["task0", "task2"], "b": ["task1", "task3"]}
    assert leases.end("b", "task1.1")
    assert names(leases.deal()) == {"b": ["task4"]}


def test_the_leases_of_the_dead_come_first_and_in_order() -> None:
    leases = Leases(3)
    leases.join("a")
    for number in range(5):
        leases.add(lease(number))
    leases.deal()
    assert leases.leave("a") == []
    leases.join("b")
    assert names(leases.deal()) == {"b": ["task0", "task1", "task2"]}
    assert not leases.end("a", "task0.1")  # a late word of the dead
    assert leases.end("b", "task0.1")


def test_what_nobody_wants_is_not_given_to_anybody() -> None:
    leases = Leases(3)
    leases.add(lease(0))
    leases.drop("task0.1")
    leases.join("a")
    assert leases.deal() == {}


def test_a_lease_that_kills_is_given_up() -> None:
    leases = Leases(1)
    leases.add(lease(0))
    for number in range(MOST_DEATHS):
        leases.join(f"w{number}")
        assert leases.deal()
        assert leases.held == {f"w{number}": 1}
        doomed = leases.leave(f"w{number}")
        assert doomed == (["task0.1"] if number == MOST_DEATHS - 1 else [])


def test_a_lease_whose_workers_die_is_tried_without_a_look_into_the_clip() -> None:
    leases = Leases(1)
    leases.add(replace(lease(0), posters=True))
    looked = []
    for worker in "abc":
        leases.join(worker)
        ((given,),) = leases.deal().values()
        looked.append(given.posters)
        leases.leave(worker)
    assert looked == [True, True, False]


def test_a_lease_does_not_show_its_links() -> None:
    assert "secret" not in repr(lease(0, Path(), "https://x/?sig=secret"))


def test_a_worker_inherits_no_key() -> None:
    mine = {"WAVESPEED_API_KEY": "k", "WAVESPEED_API_KEY_FILE": "/k", "PATH": "/bin"}
    assert without_secrets(mine) == {"PATH": "/bin"}


class Town:
    """A cluster in this process: stations are real, and some of them die."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.there: set[str] = set()
        self.deaf: set[str] = set()
        self.unfit: set[str] = set()
        self.dead = False
        self.hired: list[str] = []

    async def addresses(self) -> AbstractSet[str]:
        if self.dead:
            raise OSError("nobody answers")
        return set(self.there)

    async def hire(self, address: str) -> "Hands":
        if address in self.unfit:
            raise Unfit("it is elsewhere")
        self.hired.append(address)
        return Hands(self, address)


class Hands:
    """A station whose answers get lost when its town says so."""

    def __init__(self, town: Town, address: str) -> None:
        self._town = town
        self._address = address
        self._station = Station(str(town.folder), 2)

    async def start(self, leases: Sequence[Lease]) -> None:
        self._listen()
        await self._station.start(leases)

    async def events(self, max_wait: float) -> News:
        news = await self._station.events(min(max_wait, 0.05))
        self._listen()
        return news

    async def close(self) -> None:
        await self._station.close()

    def _listen(self) -> None:
        if self._address in self._town.deaf:
            raise OSError("the connection broke")


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    monkeypatch.setattr(pool, "_LOOK", 0.01)
    return Town(tmp_path)


@asynccontextmanager
async def working(
    town: Town, told: list[str], *, posters: bool = False
) -> AsyncIterator[Pool]:
    async with anyio.create_task_group() as group:
        engine = Pool(town, told.append, town.folder, posters=posters)
        await group.start(engine.run)
        yield engine
        engine.stop()
        group.cancel_scope.cancel()


async def until(fact: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not fact():  # noqa: ASYNC110 - the pool tells nobody
            await anyio.sleep(0.01)


async def test_workers_bring_what_is_leased(town: Town, site: Site) -> None:
    town.there = {"a", "b"}
    site.give(file())
    got: list[int] = []
    async with working(town, []) as engine:
        engine.hear(got.append)
        found: list[Brought] = []

        async def bring(number: int) -> None:
            found.append(await engine.bring(lease(number, town.folder, site.url())))

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(bring, number)
    assert {one.files[0].sha256 for one in found} == {SHA}
    assert len({one.files[0].name for one in found}) == 12
    assert sum(got) == 12 * len(CLIP)
    assert len(site.asked) == 12


async def test_the_tasks_of_a_dead_worker_go_to_another(town: Town, site: Site) -> None:
    town.there = {"a"}
    site.give(file())
    told: list[str] = []
    async with working(town, told) as engine:
        town.deaf = {"a"}
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(engine.bring, lease(number, town.folder, site.url()))
            await anyio.sleep(0.1)
            town.there = {"a", "b"}
    assert town.hired == ["a", "b"]
    assert any("worker a is lost: the connection broke" in text for text in told)
    clips = sorted((town.folder / "videos").glob("*.mp4"))
    assert [clip.name for clip in clips] == ["0-0.mp4", "1-0.mp4", "2-0.mp4"]
    assert {clip.read_bytes() == CLIP for clip in clips} == {True}


async def test_a_worker_that_joins_late_is_given_work(town: Town, site: Site) -> None:
    town.there = {"a"}
    site.give(file())
    async with working(town, []) as engine:
        town.there = {"a", "b"}
        await until(lambda: engine.workers == 2)
        town.deaf = {"a"}
        await engine.bring(lease(0, town.folder, site.url()))
    assert town.hired == ["a", "b"]


async def test_a_worker_that_leaves_in_order_is_not_waited_for(
    town: Town, site: Site
) -> None:
    town.there = {"a", "b"}
    site.give(file())
    told: list[str] = []
    async with working(town, told) as engine:
        await until(lambda: engine.workers == 2)
        town.there = {"b"}
        await until(lambda: engine.workers == 1)
        await engine.bring(lease(0, town.folder, site.url()))
    assert "worker a has left; 1 are there" in told


async def test_an_expired_link_is_the_drivers_to_renew(town: Town, site: Site) -> None:
    town.there = {"a"}
    site.give(answer(403, {}))
    async with working(town, []) as engine:
        with pytest.raises(LinkExpired):
            await engine.bring(lease(0, town.folder, site.url()))
        site.give(file())
        brought = await engine.bring(lease(0, town.folder, site.url()))
    assert brought.files[0].sha256 == SHA


async def test_a_lost_scheduler_ends_every_wait(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_SILENT", 0.1)
    town.there = {"a"}
    async with working(town, []) as engine:
        town.deaf, town.dead = {"a"}, True
        with pytest.raises(EngineLost, match="scheduler does not answer"):
            await engine.bring(lease(0, town.folder, "http://127.0.0.1:9/"))
        with pytest.raises(EngineLost):
            await engine.ready()


async def test_no_worker_left_stops_the_buying_and_in_the_end_the_run(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_VACANT", 0.2)
    town.there = {"a"}
    told: list[str] = []
    async with working(town, told) as engine:
        await engine.ready()
        town.there = set()
        await until(lambda: not engine.workers)
        with pytest.raises(EngineLost, match="no worker was there"):
            await engine.ready()
    assert sum("nothing is bought" in text for text in told) == 1


async def test_nobody_comes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_WELCOME", 0.2)
    with pytest.raises(ExceptionGroup) as caught:
        async with working(town, []):
            pytest.fail("it began")
    error = pool.first(caught.value)
    assert isinstance(error, EngineLost)
    assert "Nothing was submitted" in error.advice


async def test_workers_that_do_not_see_the_folder_are_not_used(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_SILENT", 0.1)
    town.there, town.unfit = {"a"}, {"a"}
    with pytest.raises(ExceptionGroup) as caught:
        async with working(town, []):
            pytest.fail("it began")
    error = pool.first(caught.value)
    assert isinstance(error, Unfit)
    assert "it is elsewhere" in error.message
    town.there = {"a", "b"}
    async with working(town, []) as engine:
        assert engine.workers == 1


async def test_a_clip_whose_workers_all_die_is_left_to_the_next_run(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_REST", 0)
    town.there = {"a"}
    async with working(town, []) as engine:
        town.deaf = {"a"}
        with pytest.raises(BadClip, match=f"{MOST_DEATHS} workers died"):
            await engine.bring(lease(0, town.folder, "http://127.0.0.1:9/"))


async def test_a_lease_under_way_is_not_begun_twice(tmp_path: Path, site: Site) -> None:
    site.give(file())
    station = Station(str(tmp_path), 2)
    one = lease(0, tmp_path, site.url())
    await station.start([one, one])
    await station.start([one])
    ended: list[Ended] = []
    while not ended:
        ended += (await station.events(1)).ended
    assert (await station.events(0.05)).ended == ()
    assert len(ended) == len(site.asked) == 1
    await station.close()


async def test_a_station_proves_that_it_is_in_the_same_folder(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / ".probe").write_text("token")
    station = Station(str(tmp_path), 1)
    assert "locks do not hold" in (await station.greet(".probe", "token")).problem
    assert "another folder" in (await station.greet(".probe", "other")).problem
    assert "No such file" in (await station.greet(".absent", "token")).problem
    await station.close()


def test_flags_that_do_not_go_together_buy_nothing(story: Story) -> None:
    manifest = str(story.manifest(["flags boat"]))
    for flags, said in {
        ("--scheduler", "tcp://127.0.0.1:1"): "Add: --engine dask",
        ("--engine", "dask", "--scheduler", "10.0.0.5:8786"): "Write tcp://host:8786",
    }.items():
        found = story.command("run", manifest, "--yes", *flags)
        assert found.returncode == 2
        assert said in found.stderr
    assert story.till("flags ") == []


def test_a_missing_extra_is_named_before_anything_is_bought(story: Story) -> None:
    manifest = story.manifest(["extra boat"])
    without = (
        "import sys; sys.modules['distributed'] = None; "
        "from batchgen.cli import main; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", without, "run", manifest, "--engine", "dask", "--yes"],
        capture_output=True,
        text=True,
        env=story.env(),
        timeout=100,
        check=False,
    )
    assert found.returncode == 2
    assert "pip install 'batchgen[dask]'" in found.stderr
    assert "Nothing was submitted" in found.stderr
    assert story.till("extra ") == []
    assert not story.folder(manifest).exists()


async def test_a_worker_elsewhere_or_of_another_version_is_unfit(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        (folder / "videos").mkdir(parents=True)
    station, mine = Station(str(there), 1), Station(str(here), 1)
    with probe(here) as laid:
        asked = (laid.name, laid.token)
        with pytest.raises(Unfit, match="is not shared with") as caught:
            laid.check(await station.greet(*asked))
        assert "No such file" in caught.value.message
        (there / "videos" / laid.name).write_text("another run's")
        with pytest.raises(Unfit, match="another folder of the same name"):
            laid.check(await station.greet(*asked))
        greeting = await mine.greet(*asked)
        laid.check(greeting)
        with pytest.raises(Unfit, match="what it wrote is not here"):
            laid.check(replace(greeting, reply=f"{laid.name}.gone"))
        with pytest.raises(Unfit, match="batchgen is another at"):
            laid.check(replace(greeting, version="another"))
    assert list((here / "videos").iterdir()) == []


def film() -> bytes:
    """A second of white, as a real MP4 file."""
    av = pytest.importorskip("av")
    image = pytest.importorskip("PIL.Image")
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as made:
        stream = made.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        picture = av.VideoFrame.from_image(image.new("RGB", (160, 120), "white"))
        for _ in range(10):
            made.mux(stream.encode(picture))
        made.mux(stream.encode(None))
    return content.getvalue()


async def test_workers_look_into_clips_and_the_report_need_not(
    town: Town, site: Site
) -> None:
    town.there = {"a"}
    site.give(file(film()))
    async with working(town, [], posters=True) as engine:
        brought = await engine.bring(lease(0, town.folder, site.url()))
    told: list[int] = []
    media = posters.look(town.folder, brought.files, told.append)
    assert told == []
    (one,) = media.values()
    assert (one.seconds, one.width, one.height) == (1.0, 160, 120)
    assert (town.folder / one.poster).read_bytes().startswith(b"\xff\xd8\xff")


async def test_a_worker_that_does_not_see_the_folder_is_good_for_a_bucket(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps nothing; what it saw of the clip comes with the answer."""
    site.give(file(film()))
    here, nowhere = tmp_path / "run", tmp_path / "elsewhere" / "run"
    (here / "videos").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "tmp").mkdir()
    with serving(tmp_path) as bucket, probe(here, "s3://clips/night") as laid:
        for name, value in bucket.environ.items():
            monkeypatch.setenv(name, value)
        station = Station(str(nowhere), 1, "s3://clips/night")
        laid.check(await station.greet(laid.name, laid.token))
        one = replace(
            lease(0, nowhere, site.url()),
            store="s3://clips/night",
            sidecar={"slug": "boat"},
        )
        await station.start([one])
        ended: list[Ended] = []
        while not ended:
            ended += (await station.events(1)).ended
        await station.close()
        brought = ended[0].outcome
        assert isinstance(brought, Brought), brought
        assert bucket.names() == ["night/0-0.json", "night/0-0.mp4"]
        assert bucket.get("night/0-0.mp4").content == film()
    assert brought.files[0].store == "s3://clips/night"
    assert not nowhere.exists()
    assert list((tmp_path / "tmp").iterdir()) == []
    frames.unpack(here, [*brought.pictures, ("../evil.jpg", b"")])
    media = posters.remembered(here)
    assert (here / media[brought.files[0].sha256].poster).is_file()
    assert not (here / "evil.jpg").exists()
