"""P10: what grows with a run, seen in a run of ten times the size.

    python -m benchmarks.growth [--quick] [--json]

A task must cost the same in a small run and in a large one, and a look at a prediction
the same whether ten are in flight or a thousand. Start-up is taken off: it is measured
by itself.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import anyio

from batchgen.client import Client
from batchgen.pace import Pace
from benchmarks.figures import Figure, main
from benchmarks.stage import INSTANT, MODEL, Stage, in_turns, stage
from benchmarks.tasks_cpu import FLAGS

_SUBMITS = 16


def measure(*, quick: bool) -> Iterator[Figure]:
    """Tasks at two sizes, then reads with few and with many in flight."""
    small, large = (10, 50) if quick else (400, 4_000)
    rounds = 1 if quick else 3
    with stage(*INSTANT) as on:
        few, many, nothing = in_turns(
            rounds,
            lambda turn: _run(on, f"few{turn}", small),
            lambda turn: _run(on, f"many{turn}", large),
            lambda turn: _run(on, f"one{turn}", 1),
        )
    yield Figure(
        "P10",
        f"CPU of a task, {large:,} of them",
        (many - nothing) / (large - 1) * 1e6,
        "us",
        1.2,
        1.05,
        f"of {small:,}",
        (few - nothing) / (small - 1) * 1e6,
    )
    few, many = (2, 20) if quick else (10, 1_000)
    reads = 100 if quick else 4_000
    with stage(*INSTANT) as on:
        seldom, often = in_turns(
            rounds,
            lambda _: _reading(on, few, reads),
            lambda _: _reading(on, many, reads),
        )
    yield Figure(
        "P10",
        f"CPU of a status read, {many:,} in flight",
        often / reads * 1e6,
        "us",
        1.5,
        1.2,
        f"with {few}",
        seldom / reads * 1e6,
    )


def _run(on: Stage, name: str, tasks: int) -> float:
    manifest = on.manifest(name, tasks, "concurrency: 500")
    return on.batchgen("run", str(manifest), *FLAGS)


def _reading(on: Stage, at_once: int, reads: int) -> float:
    """CPU seconds of so many reads, while so many predictions are waited for."""
    command = [sys.executable, "-m", "benchmarks.growth", "read", on.api]
    done = subprocess.run(
        [*command, str(at_once), str(reads)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


async def _reader(api: str, at_once: int, reads: int) -> float:
    """Tasks that look at their predictions, all of them at once, through our client."""
    async with Client.connect(
        api,
        "benchmark-key-1234567890",
        pace=Pace(None, 1.0),
        now=lambda: datetime.now(UTC),
    ) as client:
        ids: list[str] = []
        room = anyio.CapacityLimiter(_SUBMITS)

        async def buy(number: int) -> None:
            async with room:
                body = {"prompt": f"A boat, {number}", "duration": 3}
                ids.append((await client.submit(MODEL, body)).id)

        async with anyio.create_task_group() as buying:
            for number in range(at_once):
                buying.start_soon(buy, number)

        async def look(identity: str) -> None:
            for _ in range(reads // at_once):
                await client.result(identity)

        began = time.process_time()
        async with anyio.create_task_group() as looking:
            for identity in ids:
                looking.start_soon(look, identity)
        return time.process_time() - began


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        print(asyncio.run(_reader(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        main(measure)
