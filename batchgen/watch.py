"""What can end a session from outside: signals, and a service that fell silent."""

import os
import signal
from datetime import datetime, timedelta

import anyio
from anyio.abc import TaskStatus

from batchgen.client import Client
from batchgen.profile import Profile
from batchgen.recorder import Observer
from batchgen.runner import Runner
from batchgen.tally import Tally
from batchgen.world import World

_LOOK = 0.5
_HEARTBEAT = 1.0
_CLOCK_LOOK = 30.0
_JUMP = 2.0  # seconds; what a time service corrects by the way is less


async def signals(
    runner: Runner,
    tally: Tally,
    observer: Observer,
    world: World,
    drain: float,
    *,
    task_status: TaskStatus[None],
) -> None:
    """First: buy nothing more. Second: leave now. Third: die at once.

    Whoever sends SIGTERM or SIGHUP will not wait for hours: after `drain` seconds paid
    clips are left to the next session.

    Started before the first record is written: Python's own KeyboardInterrupt could
    land between a write and its sync.
    """
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with world.signals(*wanted) as received:
        task_status.started()
        count = 0
        async with anyio.create_task_group() as group:
            async for number in received:
                count += 1
                if count == 1:
                    limit = None if number == signal.SIGINT else drain
                    runner.stop("interrupted", _farewell(tally, limit), number)
                    if limit is not None:
                        group.start_soon(_drain, runner, limit)
                elif count == 2:  # noqa: PLR2004
                    observer.notice("Leaving. Submissions under way are written down.")
                    runner.detach()
                else:
                    os._exit(128 + number)


async def _drain(runner: Runner, limit: float) -> None:
    await anyio.sleep(limit)
    runner.detach()


def _farewell(tally: Tally, limit: float | None) -> str:
    paid = sum(1 for _ in tally.in_flight())
    if not paid:
        return "Stopping. No paid clip is under way."
    clips = "clip is" if paid == 1 else "clips are"
    wait = "waiting for them" if limit is None else f"waiting at most {limit:.0f} s"
    return (
        f"Stopping. {paid} {clips} paid for and not yet on disk; {wait}.\n"
        "Ctrl-C again to leave now: the next run collects them at no extra cost."
    )


async def silence(runner: Runner, client: Client, profile: Profile) -> None:
    """Stop when no request got any answer for too long."""
    while True:
        await anyio.sleep(_LOOK)
        limit = profile.endurance if client.wire.answered else profile.patience
        since = client.wire.silent_since
        if since is not None and anyio.current_time() - since > limit:
            runner.stop("network", f"no answer from the service for {limit:.0f} s")
            runner.detach()
            return


async def deadline(
    runner: Runner,
    until: datetime,
    tally: Tally,
    world: World,
    *,
    task_status: TaskStatus[None],
) -> None:
    """Stop buying at a moment of the day, also if the clock is set meanwhile.

    A moment that is past stops it before anything else can begin.
    """
    ahead = world.now() < until
    if ahead:
        task_status.started()
    while True:
        left = (until - world.now()).total_seconds()
        if left <= 0:
            break
        await anyio.sleep(min(left, _CLOCK_LOOK))
    paid = sum(1 for _ in tally.in_flight())
    waiting = f"; waiting for {paid} in flight" if paid else ""
    runner.stop("deadline", f"deadline: no new clips{waiting}")
    if not ahead:
        task_status.started()


async def heartbeat(tally: Tally, observer: Observer) -> None:
    """Tell the observer every second that the run is alive; it says so when it must."""
    while True:
        await anyio.sleep(_HEARTBEAT)
        observer.alive(tally)


async def clocks(runner: Runner, world: World) -> None:
    """Notice that somebody set the clock; a machine that slept is none of that."""
    wall, awake = world.now(), world.awake()
    while True:
        await anyio.sleep(_HEARTBEAT)
        ahead = (world.now() - wall).total_seconds() - (world.awake() - awake)
        if abs(ahead) > _JUMP:
            wall += timedelta(seconds=ahead)
            await runner.note_jump(ahead)
