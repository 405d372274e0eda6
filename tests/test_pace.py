"""How often something may be begun."""

import anyio
import pytest
import trio.testing

from batchgen.pace import Pace

pytestmark = pytest.mark.anyio


@pytest.fixture(
    params=[
        pytest.param(
            ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}),
            id="leaping",
        )
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Waits are leapt over."""
    return request.param


class Turns:
    """When each turn came, in seconds since the start."""

    def __init__(self, pace: Pace) -> None:
        self.at: list[float] = []
        self._pace = pace
        self._began = anyio.current_time()

    async def one(self) -> None:
        await self._pace.turn()
        self.at.append(round(anyio.current_time() - self._began, 6))

    async def many(self, count: int) -> list[float]:
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(self.one)
        return self.at


def most_in_any(seconds: float, turns: list[float]) -> int:
    return max(sum(a <= b < a + seconds for b in turns) for a in turns)


async def test_a_window_holds_so_many_turns_and_no_more() -> None:
    turns = await Turns(Pace(5, 60)).many(17)
    assert turns == [0] * 5 + [60] * 5 + [120] * 5 + [180] * 2
    assert most_in_any(60, turns) == 5


async def test_the_window_slides_with_the_turns() -> None:
    turns = Turns(Pace(2, 10))
    await turns.one()
    await anyio.sleep(6)
    await turns.many(3)
    assert turns.at == [0, 6, 10, 16]
    assert most_in_any(10, turns.at) == 2


async def test_without_a_count_nobody_waits() -> None:
    assert await Turns(Pace(None, 60)).many(50) == [0] * 50


async def test_a_pause_is_kept_by_everybody() -> None:
    pace = Pace(None, 60)
    turns = Turns(pace)
    pace.pause(30)
    pace.pause(10)
    assert await turns.many(3) == [30, 30, 30]


async def test_the_pace_is_kept_after_a_pause() -> None:
    pace = Pace(2, 10)
    turns = Turns(pace)
    pace.pause(25)
    await turns.many(6)
    assert most_in_any(10, turns.at) <= 2
    assert min(turns.at) == 25


async def test_a_pause_that_grows_holds_those_who_wait_already() -> None:
    pace = Pace(None, 60)
    turns = Turns(pace)
    pace.pause(10)
    async with anyio.create_task_group() as group:
        group.start_soon(turns.one)
        await anyio.sleep(5)
        pace.pause(60)
    assert turns.at == [65]


async def test_a_slow_down_halves_the_rate_and_it_grows_back() -> None:
    pace = Pace(60, 60)
    assert pace.halve() == 30
    assert pace.halve() == 30  # others of the same window were told the same
    turns = await Turns(pace).many(3)
    assert turns == [0, 2, 4]
    await anyio.sleep(60)
    assert pace.halve() == 15
    rates = []
    for _ in range(12):
        await anyio.sleep(60)
        await pace.turn()
        rates.append(round(pace.a_minute or 0))
    assert rates[:3] == [15, 19, 23]
    assert rates == sorted(rates)
    assert rates[-1] == 60


async def test_it_never_goes_slower_than_a_crawl() -> None:
    pace = Pace(64, 60)
    for _ in range(20):
        pace.halve()
        await anyio.sleep(60)
    assert pace.halve() == 1


async def test_also_without_a_rate_a_slow_down_slows() -> None:
    pace = Pace(None, 1)
    assert pace.halve() is None
    assert await Turns(pace).many(3) == [0, 0.2, 0.4]
    await anyio.sleep(60)
    assert await Turns(pace).many(3) == [0, 0, 0]
