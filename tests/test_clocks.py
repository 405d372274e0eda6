"""Clocks that are set and machines that sleep: no window becomes narrower by it."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from batchgen.answers import when
from batchgen.cli.session import Account, connected
from batchgen.downloads import carrier
from batchgen.events import (
    AttemptStarted,
    AttemptUncertain,
    ClockJumped,
    Window,
)
from batchgen.fetcher import Fetcher
from batchgen.perform import Local
from batchgen.plan import Submit
from batchgen.profile import Profile
from batchgen.tally import Tally
from batchgen.world import World
from campaign.oracle import KEY
from campaign.provider import Provider, Swarm
from campaign.scenario import PROFILE
from campaign.world import Machine
from conftest import Story

HOURS = 8 * 3600


def test_a_clock_that_is_set_is_written_down_and_told(story: Story) -> None:
    manifest = story.manifest(["wound boat 0"])
    ahead = timedelta()
    began = Event()

    def now() -> datetime:
        return datetime.now(UTC) + ahead

    async def main() -> None:
        nonlocal ahead
        async with anyio.create_task_group() as group:
            group.start_soon(wind)
            await story.session(manifest, now=now, faults="slow_answer=2.5")
            group.cancel_scope.cancel()

    async def wind() -> None:
        nonlocal ahead
        await anyio.sleep(0.5)
        ahead = timedelta(hours=-1)
        began.set()

    anyio.run(main)
    assert began.is_set()
    events = [record.event for record in story.replay(manifest)[0]]
    (jump,) = [one for one in events if isinstance(one, ClockJumped)]
    assert -3_601_000 < jump.ahead_ms < -3_599_000
    (told,) = [text for text in story.notices if "clock of this machine" in text]
    assert "-3600 s" in told
    # The request was under way.
    (task,) = story.tasks(manifest)
    _, tally = story.replay(manifest)
    assert tally.widened == {(task.id, 1): -jump.ahead_ms}


def test_an_attempt_under_way_gets_a_wider_window_and_no_other() -> None:
    tally = Tally()
    window = Window(since="2026-10-01T12:00:00Z", until="2026-10-01T12:01:00Z")
    for letter, done in (("a", True), ("b", False)):
        start = AttemptStarted(task=letter * 32, attempt=1, reserve=1)
        tally.apply(start)
        if done:
            doubt = AttemptUncertain(
                task=letter * 32, attempt=1, phase="x", error="", window=window
            )
            tally.apply(doubt)
    tally.apply(ClockJumped(ahead_ms=-5000))
    assert tally.widened == {("b" * 32, 1): 5000}


def on_a_machine(
    rates: dict[str, float], folder: Path, work: Callable[..., Any]
) -> Any:
    """Do something with a machine, its client and its provider, without waiting."""

    async def main() -> Any:
        swarm, chance = Swarm(1, rates), random.Random(1)  # noqa: S311
        provider = Provider(swarm, anyio.current_time, chance)
        machine = Machine(folder, swarm, provider, chance)
        world = machine.start()
        account = Account("https://sim.test", KEY, PROFILE)
        async with connected(account, (100, 1.0), world) as client:
            return await work(machine, world, client, provider)

    clock = MockClock(autojump_threshold=0)
    return anyio.run(main, backend="trio", backend_options={"clock": clock})


def sleep(machine: Machine, provider: Provider, seconds: float) -> None:
    """Close the lid: the loop's clock stands still, all others go on."""
    machine.skew += seconds
    provider.offset += seconds


@pytest.mark.parametrize("fault", ["lost-answer", "never-answered"])
def test_a_machine_that_slept_knows_how_long_ago_it_asked(
    tmp_path: Path, fault: str, story: Story
) -> None:
    (task,) = story.tasks(story.manifest(["asleep boat 0"]))

    async def work(machine: Machine, world: World, client: Any, provider: Any) -> None:
        await client.balance()
        asked = provider.clock(anyio.current_time())
        profile: Profile = PROFILE
        fetcher = Fetcher(client, carrier(), profile, tmp_path, world)
        perform = Local(client, fetcher, profile, tmp_path, world)
        found: list[Any] = []

        async def submit() -> None:
            found.append(await perform(Submit(task, 1)))

        async with anyio.create_task_group() as group:
            group.start_soon(submit)
            await anyio.sleep(0.001)
            sleep(machine, provider, HOURS)
            await client.balance()  # it hears of the new time before the POST ends
        (event,) = found
        assert isinstance(event, AttemptUncertain)
        since, until = when(event.window.since), when(event.window.until)
        assert since is not None
        assert until is not None
        assert since - asked <= timedelta(seconds=2)
        assert until - asked >= timedelta(seconds=HOURS)

    on_a_machine({fault: 1.0}, tmp_path, work)


@pytest.mark.parametrize("set_by", [HOURS, -HOURS])
def test_no_clock_that_is_set_makes_a_settle_time_shorter(
    tmp_path: Path, set_by: float
) -> None:
    async def work(machine: Machine, _: World, client: Any, provider: Any) -> None:
        await client.balance()
        machine.skew += set_by
        await anyio.sleep(5)
        now = provider.clock(anyio.current_time())
        assert client.clock.earliest() <= now + timedelta(seconds=2)
        client.clock.was_set()
        told = when(client.clock.latest())
        assert told is not None
        assert abs(told - now) <= timedelta(seconds=3)

    on_a_machine({}, tmp_path, work)


def test_a_clock_that_is_set_after_a_sleep_does_not_take_the_sleep_away(
    tmp_path: Path,
) -> None:
    """Else a window would end hours before what was bought in it."""

    async def work(machine: Machine, _: World, client: Any, provider: Any) -> None:
        await client.balance()
        machine.slept += HOURS
        provider.offset += HOURS
        machine.skew += 86_400
        client.clock.was_set()
        now = provider.clock(anyio.current_time())
        window = client.clock.window(anyio.current_time())
        for told in (client.clock.latest(), window.until):
            assert abs(when(told) - now) <= timedelta(seconds=3)

    on_a_machine({}, tmp_path, work)
