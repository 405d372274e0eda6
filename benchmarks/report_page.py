"""How long the report of many clips takes: to write, to open, to filter.

python -m benchmarks.report_page [--quick]

Makes a run's state file, writes its page as `batchgen report` does, and opens it in
Debian's Chromium from its folder. Milliseconds, of CPU for writing and as a person
waits for the rest. Without a browser only the writing is measured.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
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
from benchmarks.figures import Figure, Skipped, main

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
    whole = summary(folder)
    read = time.process_time()
    book = results.book(folder, *whole)
    results.publish_page(folder / results.PAGE, [book], datetime.now(UTC))
    return (read - began) * 1000, (time.process_time() - read) * 1000


def look(page: Path) -> tuple[float, float]:
    """Milliseconds until the page is ready, and for a filter to be drawn.

    Raises:
        Skipped: there is no browser, or nothing that drives it.
    """
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an extra
    except ImportError:
        raise Skipped("the page was not opened: no playwright here") from None
    if program is None:
        raise Skipped("the page was not opened: no chromium here")
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
    return statistics.median(opened), statistics.median(filtered)


def measure(*, quick: bool) -> Iterator[Figure]:
    """Writing the page with what is read for it, opening it, filtering it."""
    clips = 500 if quick else 5000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, clips)
        spent = statistics.median(sum(write(folder)) for _ in range(3))
        yield Figure("P8", f"report of {clips:,} clips: write", spent, "ms", 2000, 1000)
        opened, filtered = look(folder / results.PAGE)
    yield Figure("P8", "the page in Chromium: ready", opened, "ms", 1000, 400)
    yield Figure("P8", "the page in Chromium: a filter drawn", filtered, "ms", 100, 40)


if __name__ == "__main__":
    main(measure)
