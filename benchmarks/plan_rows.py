# ruff: noqa: INP001 - benchmarks is a folder of scripts, not a package
"""What a row of a spreadsheet costs to plan: CPU and memory, at two sizes.

    python benchmarks/plan_rows.py [--cpu 20] [--memory 100] [ROWS ...]

Each size is measured in a process of its own, the best of three walks: reading,
checking, pricing, comparing all rows, and nothing kept of a task but what the language
itself remembers. Ends with 1 past its bounds: microseconds of CPU a row, MiB at the
peak.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batchgen import manifest, models, tasks

HEAD = "id,prompt,duration,aspect_ratio,sound,negative_prompt,campaign,locale\n"
ROW = (
    "clip-{0},A paper boat number {0} drifts down a rain-filled gutter,"
    "{1},{2},true,blurry,spring,de-DE\n"
)
RATIOS = ("9:16", "16:9", "1:1")


def write(path: Path, rows: int) -> None:
    """A sheet as a marketer keeps it, only longer."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(HEAD)
        for number in range(rows):
            stream.write(ROW.format(number, 3 + number % 13, RATIOS[number % 3]))


def walk(read: manifest.Manifest, catalog: models.Catalog, rows: int) -> float:
    """CPU seconds of one expansion, checked to its end."""
    started = time.process_time()
    expansion = tasks.check(read, catalog, live=True, max_tasks=rows)
    for _ in expansion:
        pass
    expansion.verify()
    if expansion.count != rows:
        raise AssertionError(f"{expansion.count} tasks of {rows} rows")
    return time.process_time() - started


def measure(path: Path, rows: int) -> tuple[float, float, float]:
    """CPU microseconds a row, MiB at the peak, MiB before the first row."""
    catalog = models.catalog()
    read = manifest.load(path, environ={}, catalog=catalog, live=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = min(walk(read, catalog, rows) for _ in range(3))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return spent / rows * 1e6, peak, before


def main() -> int:
    """Measure all sizes; 1 if one is past its bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--cpu", type=float, default=20.0)
    parser.add_argument("--memory", type=float, default=100.0)
    parser.add_argument("--one", type=Path)
    asked = parser.parse_args()
    if asked.one:
        print(*measure(asked.one, asked.rows[0]))  # noqa: T201 - for the parent
        return 0
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        for rows in asked.rows:
            write(path, rows)
            command = [sys.executable, __file__, str(rows), "--one", str(path)]
            found = subprocess.run(  # noqa: S603 - this very file
                command, check=True, capture_output=True, text=True
            ).stdout.split()
            cpu, peak, before = map(float, found)
            past = cpu > asked.cpu or peak > asked.memory
            worst = max(worst, int(past))
            print(  # noqa: T201 - what a benchmark is for
                f"{rows:>9,} rows  {cpu:6.1f} us a row  {peak:6.1f} MiB at the peak "
                f"({before:.1f} before the rows){'  PAST ITS BOUND' * past}"
            )
    return worst


if __name__ == "__main__":
    sys.exit(main())
