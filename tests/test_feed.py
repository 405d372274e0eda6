"""Which task a free worker takes next, and a runner whose engine is make-believe."""

import errno
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec import structs
from msgspec.structs import replace

from batchgen.client import Client
from batchgen.disk import Disk, read_all
from batchgen.downloads import carrier
from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    Event,
    Output,
    OutputsSaved,
    PredictionCompleted,
    SessionOpened,
    TaskAbandoned,
    TaskEvent,
    TaskPlanned,
    Window,
)
from batchgen.feed import Feed
from batchgen.fetcher import Fetcher
from batchgen.journal import Journal, read
from batchgen.pace import Pace
from batchgen.perform import Local
from batchgen.plan import Abandon, Await, Download, Policy, Step, Submit
from batchgen.profile import SANDBOX, Limits
from batchgen.recorder import Recorder
from batchgen.runner import Runner
from batchgen.settle import Settlement
from batchgen.tally import Tally
from batchgen.tasks import Task
from batchgen.world import Patience, World
from conftest import Silent

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Both loops."""
    return request.param


def task(name: str) -> Task:
    return Task(
        id=name.encode().hex().rjust(32, "0"),
        slug=name,
        model="acme/video",
        input={"prompt": name},
        take=1,
        price=100,
        seconds=5,
        labels={},
        output=f"{name}.mp4",
    )


A, B, C, D = (task(name) for name in "abcd")


async def taken(feed: Feed, count: int) -> list[str]:
    found = []
    for _ in range(count):
        one = await feed.take()
        found.append(one.slug if one else "-")
    return found


async def test_paid_tasks_come_before_new_ones() -> None:
    feed = Feed([C, D], iter([A, None, B]))
    assert await taken(feed, 4) == ["c", "d", "a", "b"]


async def test_new_tasks_are_read_one_by_one() -> None:
    drawn: list[str] = []

    def fresh() -> Iterator[Task | None]:
        for one in (A, B, C):
            drawn.append(one.slug)
            yield one

    feed = Feed([], fresh())
    assert drawn == []
    assert await taken(feed, 2) == ["a", "b"]
    assert drawn == ["a", "b"]


async def test_a_feed_of_nothing_ends_at_once() -> None:
    assert await taken(Feed([], iter([None, None])), 2) == ["-", "-"]


async def test_nobody_takes_what_another_holds() -> None:
    feed = Feed([A], iter([A, B]))
    assert await taken(feed, 2) == ["a", "b"]


async def test_what_rests_is_not_drawn_meanwhile() -> None:
    feed = Feed([A], iter([A, B]))
    assert await taken(feed, 1) == ["a"]
    feed.give_back(A, again_in=0.05)
    assert await taken(feed, 2) == ["b", "a"]


async def test_a_free_worker_waits_while_a_task_may_come_back() -> None:
    feed = Feed([], iter([A]))
    order: list[str] = []
    first = await feed.take()
    assert first == A

    async def wait() -> None:
        order.append((await taken(feed, 1))[0])

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert order == []
        feed.give_back(A, again_in=0)
    assert order == ["a"]


async def test_of_many_that_wait_one_looks_for_one_task() -> None:
    class Watched(Feed):
        looks = 0

        async def _ready(self) -> Task | None:
            self.looks += 1
            return await super()._ready()

    feed = Watched([], iter([A, B]))
    seen: list[str] = []
    third = anyio.Event()

    async def work() -> None:
        while (one := await feed.take()) is not None:
            seen.append(one.slug)
            feed.give_back(one)
            if one is A:
                third.set()

    assert await taken(feed, 2) == ["a", "b"]
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            feed.looks = 0
            for one in (C, D):
                feed.found(one)
                await anyio.wait_all_tasks_blocked()
            feed.give_back(A, again_in=0.01)
            await third.wait()
            assert seen == ["c", "d", "a"]
            assert feed.looks < 15
            feed.give_back(B)
    assert feed.looks > 100


async def test_whoever_waits_for_a_retry_hands_the_watch_on() -> None:
    feed = Feed([], iter([A, B]))
    seen: list[str] = []
    came_back = anyio.Event()
    assert await taken(feed, 2) == ["a", "b"]

    async def work() -> None:
        while (one := await feed.take()) is not None:
            seen.append(one.slug)
            if one is A:
                came_back.set()
            await came_back.wait()
            feed.give_back(one)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            feed.give_back(A, again_in=0.02)
            await anyio.wait_all_tasks_blocked()
            feed.found(D)  # for the very one that watches the clock
            feed.give_back(B)
    assert seen == ["d", "a"]


async def test_all_workers_end_with_the_last_task() -> None:
    feed = Feed([], iter([A, B]))
    seen: list[str] = []

    async def work() -> None:
        while (one := await feed.take()) is not None:
            seen.append(one.slug)
            await anyio.lowlevel.checkpoint()
            feed.give_back(one)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(7):
                group.start_soon(work)
    assert sorted(seen) == ["a", "b"]


async def test_a_rested_task_comes_when_it_is_due_and_not_before() -> None:
    feed = Feed([A, B], iter([C]))
    began = anyio.current_time()
    assert await taken(feed, 3) == ["a", "b", "c"]
    feed.give_back(A, again_in=0.2)
    feed.give_back(B, again_in=0.1)
    feed.give_back(C)
    assert await taken(feed, 1) == ["b"]
    assert anyio.current_time() - began >= 0.099
    assert await taken(feed, 1) == ["a"]
    assert anyio.current_time() - began >= 0.199
    feed.give_back(A)
    feed.give_back(B)
    assert await taken(feed, 1) == ["-"]


async def test_nothing_new_ends_the_new_and_leaves_the_rest() -> None:
    feed = Feed([A], iter([B, C]))
    assert await taken(feed, 2) == ["a", "b"]
    feed.nothing_new()
    feed.give_back(A, again_in=0)
    assert await taken(feed, 1) == ["a"]
    feed.give_back(A)
    feed.give_back(B)
    assert await taken(feed, 1) == ["-"]


async def test_closing_leaves_only_what_is_paid() -> None:
    feed = Feed([A, B], iter([C]))
    assert await taken(feed, 1) == ["a"]
    feed.give_back(A, again_in=0)
    feed.close()
    assert await taken(feed, 2) == ["b", "-"]


@pytest.mark.parametrize("end", [Feed.close, Feed.nothing_new])
async def test_a_waiting_worker_is_released_at_the_end(
    end: Callable[[Feed], None],
) -> None:
    feed = Feed([], iter([A]))
    await feed.take()
    ended: list[bool] = []

    async def work() -> None:
        ended.append(await feed.take() is None)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            end(feed)
            feed.give_back(A)
    assert ended == [True] * 3


async def test_a_worker_waiting_for_a_distant_retry_is_released_by_closing() -> None:
    feed = Feed([], iter([A]))
    await feed.take()
    feed.give_back(A, again_in=3600)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(feed.take)
            await anyio.wait_all_tasks_blocked()
            feed.close()


# A runner over real files, whose engine performs without a network.

PROFILE = replace(SANDBOX, backoff_first=0.001)


class Engine(Local):
    """Everything succeeds at once; `steps` is what was asked of it."""

    steps: list[Step]
    before: Callable[[Step], None] = staticmethod(lambda _step: None)

    async def __call__(self, step: Step) -> TaskEvent:
        self.steps.append(step)
        self.before(step)
        await anyio.lowlevel.checkpoint()
        match step:
            case Submit(one, attempt):
                return AttemptAccepted(
                    task=one.id, attempt=attempt, prediction=f"{one.slug}{attempt}"
                )
            case Await(one, attempt):
                return PredictionCompleted(task=one.id, attempt=attempt, outputs=())
            case Download(one, attempt):
                await anyio.sleep(0.05)
                return OutputsSaved(task=one.id, attempt=attempt, files=())
            case Abandon(one, _, message):
                return TaskAbandoned(task=one.id, kind="provider", message=message)

    def count(self, kind: type[Step]) -> dict[str, int]:
        slugs = [step.task.slug for step in self.steps if isinstance(step, kind)]
        return {slug: slugs.count(slug) for slug in slugs}


class House:
    """One session, ready to run."""

    def __init__(
        self,
        runner: Runner,
        engine: Engine,
        tally: Tally,
        settlement: Settlement,
        notices: list[str],
    ) -> None:
        self.runner = runner
        self.settlement = settlement
        self.engine = engine
        self.tally = tally
        self.notices = notices

    async def run(self, tasks: Iterable[Task], cap: int | None = None) -> None:
        tasks = list(tasks)
        self.tally.want(one.id for one in tasks)
        with anyio.fail_after(5):
            await self.runner.run(opening(cap), [], lambda: tasks)


def opening(cap: int | None) -> SessionOpened:
    return SessionOpened(
        tool="batchgen",
        pid=1,
        host="here",
        cap=cap,
        concurrency=4,
        manifest="m",
        endpoint="sandbox",
    )


@asynccontextmanager
async def house(
    folder: Path,
    *past: Event,
    limits: Limits = Limits(4, None),  # noqa: B008 - frozen
    policy: Policy = Policy(),  # noqa: B008 - frozen
    disk: Disk | None = None,
    world: World | None = None,
) -> AsyncIterator[House]:
    world = world or World(disk=disk or Disk())
    quiet = Silent()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            Client.connect("http://127.0.0.1:9", "k", pace=Pace(None, 1), now=world.now)
        )
        journal = stack.enter_context(Journal.open(folder, world))
        for event in past:
            journal.append(event)
        tally = Tally()
        for event in past:
            tally.apply(event)
        recorder = Recorder(journal, tally, quiet)
        videos = folder / "videos"
        files = stack.enter_context(closing(carrier()))
        fetcher = Fetcher(client, files, PROFILE, videos, world)
        engine = Engine(client, fetcher, PROFILE, videos, world)
        engine.steps = []
        settlement = Settlement(
            recorder, client, PROFILE, policy, lambda model, _: model, world
        )
        runner = Runner(
            recorder,
            engine,
            settlement,
            profile=PROFILE,
            policy=policy,
            limits=limits,
            service_time=world.stamp,
        )
        yield House(runner, engine, tally, settlement, quiet.notices)


def bought(one: Task) -> list[Event]:
    return [
        TaskPlanned(
            task=one.id,
            slug=one.slug,
            labels={},
            model=one.model,
            input=dict(one.input),
            take=1,
            price=one.price,
            seconds=one.seconds,
            output=one.output,
        ),
        AttemptStarted(task=one.id, attempt=1, reserve=one.price),
        AttemptAccepted(task=one.id, attempt=1, prediction=f"{one.slug}1"),
    ]


def rendered(one: Task) -> list[Event]:
    return [
        *bought(one),
        PredictionCompleted(task=one.id, attempt=1, outputs=()),
    ]


async def test_a_run_buys_and_fetches_every_task_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.run([A, B, C, D])
        once = {"a": 1, "b": 1, "c": 1, "d": 1}
        assert [home.engine.count(kind) for kind in (Submit, Await, Download)] == [
            once,
            once,
            once,
        ]
        assert home.tally.counts["done"] == 4
        assert home.runner.bugs == []


@pytest.mark.parametrize("slots", [1, 2, 4])
async def test_a_clip_that_waits_to_be_fetched_is_fetched_once(
    tmp_path: Path, slots: int
) -> None:
    past = [*rendered(A), *bought(B)]
    async with house(tmp_path, *past, limits=Limits(slots, None)) as home:
        await home.run([A, B, C])
        assert home.runner.failure is None
        assert home.engine.count(Download) == {"a": 1, "b": 1, "c": 1}
        assert home.engine.count(Submit) == {"c": 1}
        assert home.tally.counts["done"] == 3


async def test_the_cap_is_reached_and_never_passed(tmp_path: Path) -> None:
    tasks = [task(f"t{number}") for number in range(20)]
    async with house(tmp_path, limits=Limits(20, None)) as home:
        await home.run(tasks, cap=599)
        assert home.runner.short_of_money
        assert len(home.engine.count(Submit)) == 5
        assert home.tally.ledger.committed == 500


async def test_a_stop_ends_the_waiting_for_a_turn(tmp_path: Path) -> None:
    """One start a minute, three workers in the queue: nobody waits for minutes."""
    limits = Limits(4, starts=1, seconds=60)
    async with house(tmp_path, limits=limits) as home:

        def interrupt(step: Step) -> None:
            if isinstance(step, Submit):
                home.runner.stop("interrupted")

        home.engine.before = interrupt
        began = anyio.current_time()
        await home.run([A, B, C, D])
        assert anyio.current_time() - began < 2
        assert home.engine.count(Submit) == {"a": 1}
        assert home.engine.count(Download) == {"a": 1}


async def test_every_intent_is_on_disk_before_it_is_performed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        intents: list[bool] = []

        def look(step: Step) -> None:
            if isinstance(step, Submit):
                intent = AttemptStarted(
                    task=step.task.id, attempt=step.attempt, reserve=step.task.price
                )
                kept = [record.event for record in read(tmp_path)]
                intents.append(intent in kept)

        home.engine.before = look
        await home.run([A, B, C, D])
        assert intents == [True] * 4


ADOPTED = AttemptAccepted(task=A.id, attempt=1, prediction="a1")
COMPLETED = PredictionCompleted(task=A.id, attempt=1, outputs=())
SAVED = OutputsSaved(task=A.id, attempt=1, files=())
NEVER = Window(since="", until="")
ABSENT = AttemptAbsent(task=A.id, attempt=1, scans=2, window=NEVER, by="scan")


@pytest.mark.parametrize(
    ("verdict", "then"),
    [
        ([ADOPTED], {Await: 1}),
        ([ADOPTED, COMPLETED], {}),
        ([ADOPTED, COMPLETED, SAVED], {}),
        ([ABSENT], {Submit: 1, Await: 1}),
        ([], {Submit: 1, Await: 1}),
    ],
)
async def test_a_verdict_on_the_way_to_the_till_is_heard(
    tmp_path: Path, verdict: list[TaskEvent], then: dict[type[Step], int]
) -> None:
    """A second purchase of a doubt waits while the doubt itself is settled."""
    doubt = AttemptUncertain(
        task=A.id, attempt=1, phase="read", error="cut", window=NEVER
    )
    past = [*bought(A)[:2], doubt]
    again = Policy(retry=frozenset({"uncertain"}))
    async with house(tmp_path, *past, policy=again) as home:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                with home.settlement.groups.settling([A.model]):
                    feed = Feed([], iter([]))
                    group.start_soon(home.runner._drive, A, feed)  # noqa: SLF001 - one worker, without the others
                    await anyio.wait_all_tasks_blocked()
                    for event in verdict:
                        await home.runner._recorder.write(event)  # noqa: SLF001 - as the settling does
        kinds = [type(step) for step in home.engine.steps]
        assert {kind: kinds.count(kind) for kind in kinds} == then


async def test_submissions_go_one_by_one_until_one_was_listed(
    tmp_path: Path,
) -> None:
    under_way: list[int] = []

    class Slow(Engine):
        submitting = 0

        async def __call__(self, step: Step) -> TaskEvent:
            if isinstance(step, Submit):
                self.submitting += 1
                under_way.append(self.submitting)
                await anyio.sleep(0.02)
                self.submitting -= 1
            return await super().__call__(step)

    async with house(tmp_path) as home:
        home.engine.__class__ = Slow
        await home.run([A, B, C, D])
        assert under_way == [1, 1, 1, 1]


async def test_three_doubts_in_a_row_stop_the_buying(tmp_path: Path) -> None:
    tasks = [task(f"t{number}") for number in range(20)]

    class Doubtful(Engine):
        async def __call__(self, step: Step) -> TaskEvent:
            if not isinstance(step, Submit):
                return await super().__call__(step)
            self.steps.append(step)
            return AttemptUncertain(
                task=step.task.id,
                attempt=step.attempt,
                phase="no answer",
                error="cut",
                window=Window(since="", until=""),
            )

    async with house(tmp_path) as home:
        home.engine.__class__ = Doubtful
        await home.run(tasks)
        assert home.runner.stopped is not None
        assert home.runner.stopped.reason == "breaker"
        assert len(home.engine.steps) == 3
        assert home.tally.ledger.uncertain == 300


async def test_a_429_halves_the_rate_of_starts_and_says_so(tmp_path: Path) -> None:
    class Crowded(Engine):
        async def __call__(self, step: Step) -> TaskEvent:
            if not isinstance(step, Submit) or step.attempt > 1:
                return await super().__call__(step)
            self.steps.append(step)
            return AttemptRefused(
                task=step.task.id,
                attempt=1,
                kind="rate",
                message="slow",
                retryable=True,
                retry_after_ms=10,
            )

    limits = Limits(4, starts=6000, seconds=60)
    async with house(tmp_path, limits=limits) as home:
        home.engine.__class__ = Crowded
        await home.run([A])
        assert home.tally.counts["done"] == 1
        assert any("slowing to 3000/min" in text for text in home.notices)


async def test_an_id_that_is_another_clips_is_a_doubt(tmp_path: Path) -> None:
    class Forgetful(Engine):
        async def __call__(self, step: Step) -> TaskEvent:
            event = await super().__call__(step)
            if isinstance(event, AttemptAccepted):
                return structs.replace(event, prediction="same")
            return event

    async with house(tmp_path) as home:
        home.engine.__class__ = Forgetful
        await home.run([A, B])
        assert home.tally.owned == {"same"}
        assert home.tally.counts["done"] == 1
        assert home.tally.counts["uncertain"] == 1


async def test_an_event_that_does_not_fit_a_line_does_not_end_its_siblings(
    tmp_path: Path,
) -> None:
    class Wordy(Engine):
        async def __call__(self, step: Step) -> TaskEvent:
            event = await super().__call__(step)
            if isinstance(event, PredictionCompleted) and step.task == B:
                large = Output(kind="json", value="x" * 70_000)
                return structs.replace(event, outputs=(large,))
            return event

    async with house(tmp_path, limits=Limits(1, None)) as home:
        home.engine.__class__ = Wordy
        await home.run([A, B, C])
        assert home.runner.failure is None
        assert home.engine.count(Submit) == {"a": 1, "b": 1, "c": 1}


async def test_an_id_that_the_disk_does_not_take_is_told_to_the_person(
    tmp_path: Path,
) -> None:
    """It is paid: without the line, the next session has to search for it."""

    class Full(Disk):
        def write(self, handle: int, data: bytes | memoryview) -> int:
            line = bytes(data)
            if b'"n":' in line and b"AttemptAccepted" in line:
                raise OSError(errno.ENOSPC, "full")
            return super().write(handle, data)

    told: list[str] = []
    world = World(
        disk=Full(),
        alarm=told.append,
        runtime=tmp_path / "runtime",
        patience=Patience(retry=0.01, endure=0.05),
    )
    async with house(tmp_path, world=world) as home:
        await home.run([A])
        assert home.runner.failure is not None
    (line,) = told
    assert line.startswith("BATCHGEN-RECOVER {")
    assert "a1" in line
    disk = Disk()
    files = [
        folder / name
        for folder in (tmp_path, tmp_path / "runtime")
        for name in disk.names(folder)
        if "rescue-" in name
    ]
    assert len(files) == 2
    for file in files:
        assert read_all(disk, file).decode() == f"{line[17:]}\n"
        found = disk.find(file)
        assert found is not None
        assert found.mode == 0o600
