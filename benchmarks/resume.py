"""What a large run costs to look at and to take up again, against `json.loads`.

python -m benchmarks.resume [--quick]

A run of 250,000 clips in the middle of its night: half are done, half are rendering, so
that its state file has 1,000,000 records, those of one clip as far apart as a night
has them. `batchgen status` shows it, and a runner opens it as far as its first question
to the service. The peers read the same lines of the state file with `json.loads` and
with orjson, and do nothing with them. Then a run of a tenth of that, of which a record
must cost the same. CPU seconds of whole processes, which take turns.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

from batchgen.cli.identities import written
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    Event,
    Output,
    OutputsSaved,
    PredictionCompleted,
    SavedFile,
    SessionOpened,
    TaskPlanned,
)
from batchgen.journal import NAME
from batchgen.models import catalog
from batchgen.records import Record, encode
from batchgen.task import Task
from benchmarks.figures import Figure, main

PROMPT = (
    "A matte stone-glaze mug by Aurora, number 12345678, speckled like a pebble. Steam "
    "curls off the rim beside a rain-streaked window, slow dolly in, natural light."
)
KEY, NUMBER, COUNT = "a" * 32, "12345678", "1234567890"
BODY = {"duration": 5, "sound": False, "prompt": PROMPT, "aspect_ratio": "9:16"}
# How many clips were begun since, when a clip is accepted, completed and saved.
ACCEPTED, COMPLETED, SAVED = 8, 1_000, 1_010
STATUS = (sys.executable, "-m", "batchgen", "status")
RESUME = (
    sys.executable,
    "-c",
    (
        "import gc, os, sys; from pathlib import Path\n"
        "from batchgen.journal import Journal\n"
        "from batchgen.tally import Tally; from batchgen.world import World\n"
        "tally = Tally()\n"
        "Journal.open(Path(sys.argv[1]), World(), tally.hear).close()\n"
        "gc.freeze()  # as `run` does\n"
        "found = sum(1 for _ in tally.in_flight())\n"
        "print(found, tally.ledger.committed, flush=True)\n"
        "os._exit(0)  # a run would go on here\n"
    ),
)
PEER = (
    sys.executable,
    "-c",
    (
        "import importlib, sys; loads = importlib.import_module(sys.argv[1]).loads\n"
        "for line in open(sys.argv[2], 'rb'): loads(line)\n"
    ),
)
# Prints what the kernel knows of its only child.
CHILD = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(done.returncode)
"""


def moulds() -> list[bytes]:
    """The five lines of one clip, with marks where clips differ."""
    model = catalog()["kling-4k"].id
    file = SavedFile(name=f"clip-{NUMBER}.mp4", bytes=9_000_000, sha256=KEY * 2)
    output = Output(kind="url", host="cdn.example", path=f"/out/{NUMBER}.mp4")
    events: list[Event] = [
        TaskPlanned(
            task=KEY, slug=f"clip-{NUMBER}", labels={"product": "mug", "locale": "de"},
            model=model, input=BODY, take=1, price=2_100_000, seconds=5,
            output=f"clip-{NUMBER}.mp4",
        ),
        AttemptStarted(task=KEY, attempt=1, reserve=2_100_000),
        AttemptAccepted(
            task=KEY, attempt=1, prediction=f"{NUMBER}{KEY[:24]}", http=200,
            server_date="Sun, 22 Nov 2026 22:00:00 GMT", latency_ms=412,
        ),
        PredictionCompleted(task=KEY, attempt=1, outputs=(output,), inference_ms=91234),
        OutputsSaved(task=KEY, attempt=1, files=(file,)),
    ]  # fmt: skip
    stamp = "2026-11-22T22:00:00.000Z"
    return [encode(Record(int(COUNT), stamp, event))[:-17] for event in events]


@lru_cache(maxsize=2 * SAVED)  # its five lines are so far apart
def ordered(clip: int) -> Task:
    """One clip of the order."""
    model, slug = catalog()["kling-4k"], f"clip-{clip:08d}"
    fields = {**BODY, "prompt": PROMPT.replace(NUMBER, f"{clip:08d}")}
    return Task(
        model.identity(fields), slug, model.id, fields, 1, 2_100_000, 5,
        {"product": "mug", "locale": "de"}, f"{slug}.mp4",
    )  # fmt: skip


def night(clips: int) -> Iterator[tuple[int, int]]:
    """Clip and line of every record, in the order in which a runner writes them."""
    for begun in range(clips + SAVED):
        for step, late in enumerate((0, 0, ACCEPTED, COMPLETED, SAVED)):
            clip = begun - late
            # Every second one is still rendering when the night is looked at.
            if 0 <= clip < clips and (clip % 2 or late <= ACCEPTED):
                yield clip, step


def write(folder: Path, clips: int) -> int:
    """The run's folder; how many records it has."""
    opened = SessionOpened(
        tool="benchmark", pid=1, host="here", cap=None, concurrency=60,
        manifest="0" * 64, endpoint="https://api.wavespeed.ai",
    )  # fmt: skip
    lines, count = moulds(), 1
    folder.mkdir(parents=True)
    with (folder / NAME).open("wb") as stream:
        stream.write(encode(Record(1, "2026-11-22T22:00:00.000Z", opened)))
        for clip, step in night(clips):
            count += 1
            body = lines[step].replace(COUNT.encode(), b"%d" % count, 1)
            body = body.replace(KEY.encode(), ordered(clip).id.encode())
            body = body.replace(NUMBER.encode(), b"%08d" % clip)
            stream.write(body + b',"c":"%08x"}\n' % crc32(body))
    for name, text in written(map(ordered, range(clips))).items():
        (folder / name).write_text(text, encoding="utf-8")
    return count


def spent(command: tuple[str, ...], outputs: Path) -> tuple[float, float]:
    """CPU seconds of a process, and bytes at its peak."""
    found = subprocess.run(
        [sys.executable, "-c", CHILD, *command],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "BATCHGEN_OUTPUTS": str(outputs)},
    ).stdout.split()
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return float(found[0]), float(found[1]) * unit


def measure(*, quick: bool) -> Iterator[Figure]:
    """Status and resume in CPU, how that grows, and what a task takes in memory."""
    clips = 2_500 if quick else 250_000
    sizes = {"night": clips, "tenth": clips // 10, "one": 1}
    with tempfile.TemporaryDirectory() as name:
        outputs = Path(name)
        records = {run: write(outputs / run, size) for run, size in sizes.items()}
        commands = _commands(outputs)
        nothing = spent((sys.executable, "-c", "import batchgen.journal"), outputs)[1]
        turns: dict[str, list[tuple[float, float]]] = {title: [] for title in commands}
        for _ in range(1 if quick else 3):
            for title, command in commands.items():
                turns[title].append(spent(command, outputs))
    seconds = {
        title: statistics.median(one for one, _ in found)
        for title, found in turns.items()
    }
    peak = statistics.median(peak for _, peak in turns["resume night"])
    for title in ("status", "resume"):
        what = f"{title} of {clips:,} tasks, {records['night']:,} records"
        ours = seconds[f"{title} night"]
        yield Figure("P6", what, ours, "s", 1.0, 0.25, "json.loads", seconds["json"])
        if "orjson" in seconds:
            yield Figure("P6", what, ours, "s", None, None, "orjson", seconds["orjson"])
    # 100,000 tasks in 250 MB, and in 150 MB (P9).
    size = (peak - nothing) / clips
    yield Figure("P6", "resume: memory", size, "B/task", 2500, 1500)
    for title in ("status", "resume"):
        few, many = (
            (seconds[f"{title} {run}"] - seconds[f"{title} one"]) / records[run] * 1e6
            for run in ("tenth", "night")
        )
        what = f"CPU of a record, {title} of {records['night']:,}"
        of = f"of {records['tenth']:,}"
        yield Figure("P10", what, many, "us", 1.2, 1.05, of, few)


def _commands(outputs: Path) -> dict[str, tuple[str, ...]]:
    """Whose turn it is, by name."""
    lines = str(outputs / "night" / NAME)
    found: dict[str, tuple[str, ...]] = {"json": (*PEER, "json", lines)}
    if find_spec("orjson") is not None:
        found["orjson"] = (*PEER, "orjson", lines)
    for run in ("night", "tenth", "one"):
        found[f"status {run}"] = (*STATUS, run)
        found[f"resume {run}"] = (*RESUME, str(outputs / run))
    return found


if __name__ == "__main__":
    main(measure)
