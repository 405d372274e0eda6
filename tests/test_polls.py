"""When a prediction is looked at: rarely before it can end, often while it may."""

import random
from functools import partial
from heapq import heappop, heappush
from itertools import pairwise
from math import exp, inf
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as some
from test_clocks import on_a_machine

from batchgen.downloads import carrier
from batchgen.events import PredictionCompleted
from batchgen.fetcher import Fetcher
from batchgen.plan import Await
from batchgen.polls import Poll, Polls
from batchgen.profile import WAVESPEED, Limits
from benchmarks.makespan import Night, Service, on_a_clock_that_jumps, run
from campaign.provider import Provider
from campaign.scenario import PROFILE
from campaign.shoot import MODEL, task_of
from campaign.world import Machine

FLOOR = WAVESPEED.poll_every


def dice(seed: int) -> random.Random:
    """The same numbers each time."""
    return random.Random(seed)  # noqa: S311 - reproducible


def taught(polls: Polls, middle: float, ends: int = 300, model: str = MODEL) -> None:
    """Let it see how long a model's predictions take."""
    chance = dice(5)
    for _ in range(ends):
        polls.recall(model, middle * exp(chance.gauss(0, 0.35)))


def looks(polls: Polls, took: float, model: str = MODEL) -> list[float]:
    """The ages at which one prediction alone is looked at, until it has ended."""
    poll, age, ages = polls.begin(model), 0.0, []
    while age < took:
        age += polls.gap(poll, age)
        ages.append(age)
    polls.end(poll)
    return ages


def test_of_an_unknown_model_the_gaps_stretch() -> None:
    ages = looks(Polls(WAVESPEED), 100)
    gaps = [after - before for before, after in pairwise(ages)]
    assert ages[0] == WAVESPEED.poll_first
    assert gaps == pytest.approx(sorted(gaps))
    assert FLOOR == gaps[0] < WAVESPEED.poll_longest == pytest.approx(gaps[-1])


def test_a_known_model_is_looked_at_when_it_may_end() -> None:
    polls = Polls(WAVESPEED)
    taught(polls, 180)
    ages = looks(polls, 1000)
    assert 60 < ages[0] < 100
    in_time = [age for age in ages if 120 < age < 240]
    assert len(in_time) > 120 / FLOOR * 0.6
    assert len(looks(polls, 180)) < 0.7 * 180 / FLOOR


def test_what_takes_long_is_looked_at_once_early() -> None:
    """A request that is refused for its words fails in seconds."""
    polls = Polls(WAVESPEED)
    taught(polls, 900)
    first, second, *_ = looks(polls, 1000)
    assert first == WAVESPEED.poll_early
    assert second > 4 * first


def test_models_have_habits_of_their_own() -> None:
    polls = Polls(WAVESPEED)
    taught(polls, 180)
    taught(polls, 30, model="quick")
    assert looks(polls, 10, "quick")[0] < 20
    assert looks(polls, 10)[0] > 60


def test_a_service_that_slows_down_is_followed() -> None:
    polls = Polls(WAVESPEED)
    taught(polls, 60)
    chance = dice(1)
    for _ in range(400):
        poll, age, took = polls.begin(MODEL), 0.0, 300 * exp(chance.gauss(0, 0.35))
        while age < took:
            age += polls.gap(poll, age)
        polls.end(poll, age)
    assert looks(polls, 300)[-1] - 300 < 3 * FLOOR
    assert len(looks(polls, 300)) < 0.7 * 300 / FLOOR


def test_a_night_in_which_the_machine_slept_teaches_little() -> None:
    polls, slept = Polls(WAVESPEED), Polls(WAVESPEED)
    for one in (polls, slept):
        taught(one, 180)
    slept.recall(MODEL, 8 * 3600)
    assert looks(slept, 180)[0] == pytest.approx(looks(polls, 180)[0], rel=0.3)


def test_what_failed_or_was_left_teaches_nothing() -> None:
    polls = Polls(WAVESPEED)
    before = looks(polls, 100)
    for _ in range(50):
        looks(polls, 3)
    assert looks(polls, 100) == before


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("allowed", [5.0, 20.0])
def test_all_together_do_not_ask_for_more_reads_than_are_allowed(
    allowed: float, *, known: bool
) -> None:
    polls, chance = Polls(WAVESPEED, lambda: allowed), dice(2)
    if known:
        taught(polls, 180)
    queue: list[tuple[float, int, Any, float, float]] = []

    def start(number: int, now: float) -> None:
        poll, took = polls.begin(MODEL), 180 * exp(chance.gauss(0, 0.35))
        heappush(queue, (now + polls.gap(poll, 0.0), number, poll, now, took))

    for number in range(400):
        start(number, number * 0.5)
    reads = 0
    while queue[0][0] < 3000:
        now, number, poll, born, took = heappop(queue)
        reads += now > 1000
        if now - born < took:
            gap = polls.gap(poll, now - born)
            heappush(queue, (now + gap, number, poll, born, took))
        else:
            polls.end(poll, now - born if known else None)
            start(number, now)
    assert 0.5 * allowed < reads / 2000 <= 1.05 * allowed


@given(
    ends=some.lists(some.floats(0, 1e6), max_size=40),
    ages=some.lists(some.floats(0, 1e7), min_size=1),
    allowed=some.sampled_from([0.01, 5.0, inf]),
)
def test_a_gap_is_never_nothing_and_never_for_ever(
    ends: list[float], ages: list[float], allowed: float
) -> None:
    polls = Polls(WAVESPEED, lambda: allowed)
    for took in ends:
        polls.recall(MODEL, took)
    poll = polls.begin(MODEL)
    for age in sorted(ages):
        gap = polls.gap(poll, age)
        assert FLOOR <= gap < inf
    polls.end(poll, max(ages) + 1)


class Overheard(Polls):
    """Polls that remember what they were told of an end."""

    told: tuple[float, float | None] = (0.0, None)

    def end(self, poll: Poll, age: float | None = None) -> None:
        self.told = (poll.last, age)
        super().end(poll, age)


async def waited(
    client: Any, machine: Machine, folder: Path, asleep: float = 0.0
) -> tuple[Any, Overheard, float]:
    """Buy a clip, wait for it; with some sleep between, like a later session."""
    task = task_of(0, 1)
    bought = await client.submit(MODEL, dict(task.input))
    fetcher = Fetcher(client, carrier(), PROFILE, folder, machine.start())
    fetcher.polls = polls = Overheard(PROFILE)
    if asleep:
        await anyio.sleep(asleep)
    else:
        fetcher.accepted(bought.id)
    began = anyio.current_time()
    event = await fetcher.wait(Await(task, 1, bought.id))
    return event, polls, anyio.current_time() - began


def test_a_clip_that_was_shown_without_outputs_is_taken_when_it_has_some(
    tmp_path: Path,
) -> None:
    async def work(machine: Machine, _: Any, client: Any, _provider: Any) -> None:
        event, _, took = await waited(client, machine, tmp_path)
        assert isinstance(event, PredictionCompleted)
        assert event.outputs
        assert took < 30

    on_a_machine({"empty-at-first": 1.0}, tmp_path, work)


@pytest.mark.parametrize("asleep", [0.0, 40.0])
def test_a_clip_of_an_earlier_session_has_the_age_that_the_service_tells(
    tmp_path: Path, asleep: float
) -> None:
    """So it is looked at as it should be, and what it took is learned."""

    async def work(machine: Machine, _: Any, client: Any, provider: Provider) -> None:
        provider.on_charge = lambda row: setattr(row, "done_at", row.at + 100)
        _, polls, _ = await waited(client, machine, tmp_path, asleep)
        before, after = polls.told
        assert after is not None
        assert 90 < before < after < 110

    on_a_machine({}, tmp_path, work)


class Watched(Service):
    """A service that notes how old each prediction is when it is looked at."""

    def __init__(self, latencies: list[float]) -> None:
        super().__init__(latencies)
        self.born: dict[str, float] = {}
        self.ages: list[float] = []

    def answer(self, head: bytes, body: Any) -> tuple[float, Any]:
        seconds, value = super().answer(head, body)
        if value.get("status") == "created":
            self.born[value["id"]] = anyio.current_time() + seconds
        elif "status" in value:
            age = anyio.current_time() - self.born[value["id"]]
            self.ages.append(age)
        return seconds, value


def test_a_session_knows_what_earlier_ones_of_its_run_saw(tmp_path: Path) -> None:
    def session(clips: int) -> float:
        """Buy what there is not yet; how old the youngest was that was looked at."""
        night = Night(clips, Limits(30, None), 50)
        service = Watched(night.latencies())
        on_a_clock_that_jumps(partial(run, service, night, tmp_path))
        return min(service.ages)

    assert session(12) < 30
    assert session(15) > 40
