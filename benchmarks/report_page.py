# ruff: noqa: INP001 - benchmarks is a folder of scripts, not a package
"""How long the report of many clips takes: to write, to open, to filter.

    python benchmarks/report_page.py [--clips 5000] [--write 2000] [--open 1000]
                                     [--filter 100]

Makes a run's state file, writes its page as `batchgen report` does, and opens it in
Debian's Chromium from its folder, the best of three. Bounds are in milliseconds, of CPU
for writing and as a person waits for the rest; it ends with 1 past one of them. Without
a browser only the writing is measured.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchgen.cli import results
from batchgen.cli.status import summary
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    Event,
    OutputsSaved,
    PredictionCompleted,
    SavedFile,
    SessionOpened,
    TaskPlanned,
)
from batchgen.journal import NAME
from batchgen.models import catalog
from batchgen.records import Record, encode

PROMPT = (
    "A matte stone-glaze mug by Aurora, number {0}, speckled like a pebble. Steam "
    "curls off the rim beside a rain-streaked window, slow dolly in, natural light."
)
OPENED = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
FILTER = """() => {
  const box = document.querySelectorAll('#facets input')[4], began = performance.now();
  box.click();
  return new Promise((done) => requestAnimationFrame(() => setTimeout(
    () => done(performance.now() - began))));
}"""


def events(clips: int) -> list[Event]:
    """What happens to clips that all go well."""
    model = catalog()["kling-4k"].id
    found: list[Event] = [
        SessionOpened(
            tool="benchmark", pid=1, host="here", cap=None, concurrency=60,
            manifest="0" * 64, endpoint="sandbox",
        )
    ]  # fmt: skip
    for number in range(clips):
        key = f"{number:08x}".ljust(32, "0")
        ratio = ("9:16", "1:1", "16:9")[number % 3]
        labels = {"product": f"P{number % 20}", "locale": f"l{number % 10}"}
        file = SavedFile(name=f"clip-{number}.mp4", bytes=9_000_000, sha256=key * 2)
        found += [
            TaskPlanned(
                task=key, slug=f"clip-{number}", labels=labels, model=model,
                input={"prompt": PROMPT.format(number), "aspect_ratio": ratio},
                take=1, price=2_100_000, seconds=5, output=f"clip-{number}.mp4",
            ),
            AttemptStarted(task=key, attempt=1, reserve=2_100_000),
            AttemptAccepted(task=key, attempt=1, prediction=f"p-{number}"),
            PredictionCompleted(
                task=key, attempt=1, outputs=(), inference_ms=90_000 + number
            ),
            OutputsSaved(task=key, attempt=1, files=(file,)),
        ]  # fmt: skip
    return found


def prepare(folder: Path, clips: int) -> None:
    """A run's folder, as far as its page needs it."""
    start = datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp()
    lines = []
    for number, event in enumerate(events(clips), 1):
        moment = datetime.fromtimestamp(start + number / 2, UTC).isoformat()
        lines.append(encode(Record(number, moment, event)))
    (folder / NAME).write_bytes(b"".join(lines))


def write(folder: Path) -> tuple[float, float]:
    """Milliseconds of CPU to read the run, and to write its page."""
    began = time.process_time()
    document, tasks, tally = summary(folder)
    read = time.process_time()
    book = results.book(folder, document, tasks, tally)
    results.publish_page(folder / results.PAGE, [book], datetime.now(UTC))
    return (read - began) * 1000, (time.process_time() - read) * 1000


def look(page: Path) -> tuple[float, float] | None:
    """Milliseconds until the page is ready, and for a filter to be drawn."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an extra
    except ImportError:
        program = None
    if program is None:
        return None
    opened: list[float] = []
    filtered: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        for _ in range(3):
            tab: Any = browser.new_page(viewport={"width": 1440, "height": 900})
            tab.goto(page.as_uri())
            opened.append(tab.evaluate(OPENED))
            filtered += [tab.evaluate(FILTER) for _ in range(6)]
            tab.close()
        browser.close()
    return min(opened), statistics.median(filtered)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=5000)
    parser.add_argument("--write", type=float, default=2000)
    parser.add_argument("--open", type=float, default=1000)
    parser.add_argument("--filter", type=float, default=100)
    bounds = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, bounds.clips)
        times = [write(folder) for _ in range(3)]
        reading, writing = (min(column) for column in zip(*times, strict=True))
        size = (folder / results.PAGE).stat().st_size / 1e6
        seen = look(folder / results.PAGE)
    print(f"{bounds.clips:,} clips, {size:.1f} MB")  # noqa: T201
    print(f"read the run {reading:.0f} ms, write the page {writing:.0f} ms")  # noqa: T201
    if seen is None:
        print("no browser: not opened")  # noqa: T201
        return int(writing > bounds.write)
    print(f"ready after {seen[0]:.0f} ms, filter drawn in {seen[1]:.0f} ms")  # noqa: T201
    past = (writing > bounds.write, seen[0] > bounds.open, seen[1] > bounds.filter)
    return int(any(past))


if __name__ == "__main__":
    sys.exit(main())
