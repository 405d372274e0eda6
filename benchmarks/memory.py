"""P9: memory of a run with thousands in flight and many more to come.

    python -m benchmarks.memory [--quick] [--json]

A real `batchgen run` of 100,000 tasks with 5,000 slots, the limits of the account's
highest tier, against a sandbox whose clips take an hour. When all slots are taken its
memory is read from the system, at its peak. Then the same with few tasks tells what
each further one costs.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, Skipped, main
from benchmarks.stage import stage
from benchmarks.tasks_cpu import in_flight

SLOW = (*("--profile", "plain", "--tier", "ultra"), "--speed", "0.05")
_MIB = 1 << 20


def measure(*, quick: bool) -> Iterator[Figure]:
    """The peak, and bytes for each task that is not bought yet."""
    if not Path("/proc/self/status").exists():
        raise Skipped("this system does not tell the memory of a process")
    slots, few, many = (20, 50, 500) if quick else (5_000, 6_000, 100_000)
    small = _peak(few, slots)
    large = _peak(many, slots)
    what = f"memory, {many:,} tasks, {slots:,} in flight"
    yield Figure("P9", what, large / _MIB, "MiB", 250, 150)
    each = (large - small) / (many - few)
    yield Figure("P9", "memory of a task that waits", each, "bytes", 2_000, 1_000)


def _peak(tasks: int, slots: int) -> float:
    """The most bytes that a run has held until all its slots are taken."""
    with stage(*SLOW, "--list-delay", "0", "--balance", "100000000") as on:
        manifest = on.manifest("boats", tasks, "tier: ultra", f"concurrency: {slots}")
        with in_flight(on, manifest, slots) as run:
            time.sleep(min(5, slots / 100))  # every one was looked at
            return _held(run.pid)


def _held(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").split("\n"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{os.uname().sysname} does not tell the peak of a process")


if __name__ == "__main__":
    main(measure)
