"""What a run leaves beside its clips: a summary, a sheet, the expansion."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from batchgen import report
from batchgen.errors import StoreError
from batchgen.tally import Tally
from batchgen.tasks import Task


def leave(
    folder: Path,
    tasks: Sequence[Task],
    tally: Tally,
    ending: report.Ending,
    *,
    began: datetime,
    now: datetime,
) -> report.Summary:
    """Write `summary.json` and `results.csv`; the summary.

    A run that had nothing to do keeps the summary of the one that did something.

    Raises:
        StoreError: a file cannot be written.
    """
    files = {
        "results": str(folder / "results.csv"),
        "videos": str(folder / "videos"),
        "log": str(folder / "run.log"),
    }
    document = report.summarise(
        folder.name,
        tasks,
        tally,
        exit=ending.exit,
        reason=ending.reason,
        started_at=began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        wall_s=(now - began).total_seconds(),
        files=files,
    )
    if ending.reason != "nothing_to_do" or not (folder / "summary.json").exists():
        publish(folder / "summary.json", report.to_json(document) + "\n")
    publish(folder / "results.csv", report.results_csv(tasks, tally))
    return document


def publish(path: Path, text: str) -> None:
    """Replace a file of results in one step; it is never the truth.

    Raises:
        StoreError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
