"""How many downloads at once, and whether what is paid comes in before it expires."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from batchgen.backlog import Backlog
from batchgen.bodies import TooSlow
from batchgen.engines.here import Here
from batchgen.engines.lease import Lease
from batchgen.flow import MOST_AT_ONCE, Lanes, Meter, Rate, endangered, takes
from batchgen.plan import Download
from batchgen.sockets import Question, Served
from batchgen.task import Task
from batchgen.world import Patience, World

DAY = 86_400.0


def used(lanes: Lanes, rate: Callable[[int, float], float], seconds: int) -> list[int]:
    """How many lanes there were in each second of a line that is always in demand."""
    received, seen = 0.0, []
    for second in range(seconds):
        lanes.note(float(second), int(received), lanes.count)
        received += rate(lanes.count, float(second))
        seen.append(lanes.count)
    return seen


def settled(seen: list[int]) -> tuple[int, int]:
    """The fewest and the most of the second half."""
    half = seen[len(seen) // 2 :]
    return min(half), max(half)


@pytest.mark.parametrize(
    ("line", "each", "fewest", "most"),
    [
        (1e9, 1e6, 15, 16),  # every lane brings its own megabyte
        (100e6, 10e6, 9, 11),  # ten fill the line
        (100e6, 16e6, 5, 8),
        (100e6, 100e6, 2, 3),  # one fills it
    ],
)
def test_lanes_settle_where_one_more_brings_nothing(
    line: float, each: float, fewest: int, most: int
) -> None:
    seen = used(Lanes(), lambda count, _: min(line, count * each), 2000)
    low, high = settled(seen)
    assert fewest <= low <= high <= most


def test_lanes_follow_a_line_that_changes() -> None:
    def rate(count: int, second: float) -> float:
        return min(20e6 if second < 1000 else 1e9, count * 10e6)

    seen = used(Lanes(), rate, 2000)
    assert seen[990] <= 4
    assert seen[-1] >= 15


def test_lanes_that_nobody_uses_prove_nothing() -> None:
    lanes = Lanes()
    for second in range(1000):
        lanes.note(float(second), second * 1_000_000, lanes.count // 2)
        assert lanes.count == 16


def test_a_try_that_demand_did_not_last_for_is_taken_back() -> None:
    lanes = Lanes()
    second = 0
    while lanes.count == 16:
        lanes.note(second, second, 16)
        second += 5
    assert lanes.count == 15
    lanes.note(second - 4, second, 1)
    lanes.note(second + 1, second, 1)
    assert lanes.count == 16


def test_lanes_that_are_too_slow_together_are_halved_once() -> None:
    lanes = Lanes()
    for moment in (60.0, 60.1, 61.0):
        lanes.relieve(moment)
    assert lanes.count == 8
    for minute in range(2, 9):
        lanes.relieve(60.0 * minute)
    assert lanes.count == 2


@pytest.mark.anyio
async def test_downloads_that_come_too_slowly_take_turns(tmp_path: Path) -> None:
    """Each gives up below a rate; on a slow line all would, for ever."""

    class Slow:
        def ask(self, question: Question) -> Served:
            raise TooSlow(f"{question.name}: less than 10 KiB a second came")

        def close(self) -> None:
            pass

    here = Here(Slow(), World())
    link = ("http://127.0.0.1/a.mp4", "a.mp4")
    lease = Lease("a" * 32, 1, "p1", str(tmp_path), (link,), loopback=True)
    assert here.at_once == MOST_AT_ONCE
    with pytest.raises(TooSlow):
        await here.bring(lease)
    assert here.at_once == MOST_AT_ONCE // 2


def test_lanes_stay_within_their_bounds_whatever_comes() -> None:
    noise = [3, 0, 9, 1, 7, 0, 0, 12, 5, 2]
    seen = used(Lanes(), lambda _, second: noise[int(second / 5) % 10] * 1e6, 3000)
    assert min(seen) >= 2
    assert max(seen) <= MOST_AT_ONCE


def test_a_rate_is_told_after_a_while_and_counts_busy_time_alone() -> None:
    rate = Rate()
    rate.note(0.0, 0, busy=True)
    rate.note(30.0, 30_000, busy=False)
    assert rate.a_second is None
    rate.note(1000.0, 30_000, busy=True)
    rate.note(1040.0, 70_000, busy=True)
    assert rate.a_second == pytest.approx(1000.0)


def test_a_rate_forgets() -> None:
    rate = Rate()
    rate.note(0.0, 0, busy=True)
    rate.note(600.0, 600_000, busy=True)
    for minute in range(60):
        rate.note(660.0 + 60 * minute, 600_000, busy=True)
    assert rate.a_second is not None
    assert rate.a_second < 50


def test_what_is_not_known_endangers_nothing() -> None:
    assert takes(0, 1e6, 1.0) == 0
    assert takes(1000, 0.0, 1.0) == 0
    assert takes(1000, 1e6, None) == 0
    assert takes(1000, 1e6, 0.0) == float("inf")
    assert takes(1000, 1e6, 1e6) == 1000


def test_buying_pauses_at_a_quarter_of_the_life_that_is_left_and_resumes_later() -> (
    None
):
    assert not endangered(25.0, 100.0, paused=False)
    assert endangered(25.1, 100.0, paused=False)
    assert endangered(25.0, 100.0, paused=True)
    assert not endangered(20.0, 100.0, paused=True)
    assert endangered(1.0, 0.0, paused=False)


def test_a_meter_loses_nothing_between_threads() -> None:
    meter = Meter()

    async def all_at_once() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(anyio.to_thread.run_sync, many)

    def many() -> None:
        for _ in range(5000):
            meter.add(3)

    anyio.run(all_at_once)
    assert meter.total == 8 * 5000 * 3


def download(name: str) -> Download:
    fields = {"prompt": name}
    task = Task(name, name, "a/model", fields, 1, 1000, 5, {}, f"{name}.mp4")
    return Download(task, 1, name)


def backlog(at_once: int = 1, *, retry: float = 0.01) -> Backlog:
    world = World(patience=Patience(retry=retry))
    return Backlog(world, lambda: at_once, life=7 * DAY)


@pytest.mark.anyio
async def test_the_soonest_to_expire_goes_first() -> None:
    waiting = backlog(at_once=3)
    waiting.open()
    for name, born in (("new", 300.0), ("old", 100.0), ("middle", 200.0)):
        waiting.born(name, born)
        await waiting.put(download(name))
    await waiting.put(download("of unknown age"))
    waiting.close()
    names = []
    while (step := await waiting.take()) is not None:
        names.append(step.prediction)
        waiting.done(step, brought=True)
    assert names == ["of unknown age", "old", "middle", "new"]


@pytest.mark.anyio
async def test_no_more_are_handed_out_than_may_be_under_way() -> None:
    waiting, taken = backlog(at_once=2), []

    async def take_all() -> None:
        while (step := await waiting.take()) is not None:
            taken.append(step)

    waiting.open()
    async with anyio.create_task_group() as group:
        group.start_soon(take_all)
        for number in range(4):
            await waiting.put(download(str(number)))
        await anyio.wait_all_tasks_blocked()
        assert len(taken) == 2
        waiting.done(taken[0], brought=True)
        await anyio.wait_all_tasks_blocked()
        assert len(taken) == 3
        waiting.close()
        for step in (taken[1], taken[2]):
            waiting.done(step, brought=False)
    assert [step.prediction for step in taken] == ["0", "1", "2", "3"]


@pytest.mark.anyio
async def test_what_is_being_brought_is_not_brought_twice() -> None:
    waiting = backlog(at_once=2)
    waiting.open()
    await waiting.put(download("a"))
    await waiting.put(download("a"))
    step = await waiting.take()
    assert step is not None
    await waiting.put(download("a"))
    waiting.done(step, brought=False)
    await waiting.put(download("a"))  # it was given up, and is asked for anew
    waiting.close()
    found = await waiting.take()
    assert found is not None
    assert await waiting.take() is None


@pytest.mark.anyio
async def test_who_brings_too_many_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchgen.backlog._MOST", 2)
    waiting = backlog()
    waiting.open()
    await waiting.put(download("a"))
    await waiting.put(download("b"))
    with anyio.move_on_after(0.05) as scope:
        await waiting.put(download("c"))
    assert scope.cancelled_caught
    async with anyio.create_task_group() as group:
        group.start_soon(waiting.put, download("c"))
        assert await waiting.take() is not None


@pytest.mark.anyio
async def test_one_place_lets_one_in_and_who_leaves_gives_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("batchgen.backlog._MOST", 1)
    line, inside = backlog(at_once=9), list[str]()
    line.open()
    await line.put(download("a"))

    async def enter(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await line.put(download(name))
            inside.append(name)

    scopes = {name: anyio.CancelScope() for name in "bcde"}
    async with anyio.create_task_group() as outside:
        for name, scope in scopes.items():
            outside.start_soon(enter, name, scope)
            await anyio.wait_all_tasks_blocked()
        scopes["b"].cancel()  # before its turn
        await anyio.wait_all_tasks_blocked()
        await line.take()
        await anyio.wait_all_tasks_blocked()
        assert inside == ["c"]
        scopes["d"].cancel()
        await line.take()  # it is let in on its way out
        await anyio.wait_all_tasks_blocked()
        assert inside == ["c", "e"]


@pytest.mark.anyio
async def test_buying_waits_while_what_is_paid_would_expire() -> None:
    """50 MB came in 100 s, and a thousand such clips are to come: far too slow."""
    said: list[str] = []
    waiting = backlog()
    waiting.notice = said.append
    waiting.open()
    now = World().now().timestamp()
    waiting.born("a", now - 6.9 * DAY)
    await waiting.put(download("a"))
    rate = waiting._rate  # noqa: SLF001 - it was watched for a while already
    rate.note(anyio.current_time() - 100, 0, busy=True)
    waiting.meter.add(50_000_000)
    step = await waiting.take()
    assert step is not None
    waiting.done(step, brought=True)
    waiting.born("b", now - 6.9 * DAY)
    await waiting.put(download("b"))
    await waiting.in_time(lambda: 0)
    assert said == []
    left = [1000]
    async with anyio.create_task_group() as group:
        group.start_soon(waiting.in_time, lambda: left[0])
        await anyio.wait_all_tasks_blocked()
        assert "1,001 paid clips are still to come in" in said[0]
        assert "expires in 2.4 hours" in said[0]
        assert "Nothing more is bought" in said[0]
        left[0] = 0
    assert said[1:] == ["the clips that are paid come in early enough; buying goes on"]
