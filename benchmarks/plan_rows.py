"""What a row of a spreadsheet costs to plan: CPU and memory, at two sizes.

python -m benchmarks.plan_rows [--quick]

`batchgen plan` as a user runs it, in a process of its own: reading, checking, pricing,
comparing all rows, and the page. What a plan of one row costs is taken off, so that the
figure is of the rows alone; the median of three.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, main

HEAD = "id,prompt,duration,aspect_ratio,sound,negative_prompt,campaign,locale\n"
ROW = (
    "clip-{0},A paper boat number {0} drifts down a rain-filled gutter,"
    "{1},{2},true,blurry,spring,de-DE\n"
)
RATIOS = ("9:16", "16:9", "1:1")
PLAN = (sys.executable, "-m", "batchgen", "plan", "--max-tasks", "10000000")
# Prints what the kernel knows of its only child: the plan.
CHILD = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(code)
"""


def write(path: Path, rows: int) -> None:
    """A sheet as a marketer keeps it, only longer."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(HEAD)
        for number in range(rows):
            stream.write(ROW.format(number, 3 + number % 13, RATIOS[number % 3]))


def planned(path: Path) -> tuple[float, float]:
    """CPU seconds of a plan, and MB at its peak."""
    environ = {**os.environ, "BATCHGEN_OUTPUTS": str(path.parent / "outputs")}
    found = subprocess.run(
        [sys.executable, "-c", CHILD, *PLAN, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=environ,
    ).stdout.split()
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return float(found[0]), float(found[1]) * unit / 1e6


def measure(*, quick: bool) -> Iterator[Figure]:
    """A hundred thousand rows and a million, each in CPU and in memory."""
    sizes = (2_000, 20_000) if quick else (100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write(path, 1)
        planned(path)  # compiles
        start = statistics.median(planned(path)[0] for _ in range(3))
        for rows in sizes:
            write(path, rows)
            turns = [planned(path) for _ in range(1 if quick else 3)]
            seconds, peaks = zip(*turns, strict=True)
            each = (statistics.median(seconds) - start) / rows * 1e6
            what = f"plan of {rows:,} CSV rows"
            yield Figure("P5", what, each, "us/row", bound=20, beyond=10)
        memory = statistics.median(peaks)
        yield Figure("P5", f"{what}: memory", memory, "MB", bound=400, beyond=200)


if __name__ == "__main__":
    main(measure)
