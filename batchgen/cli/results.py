"""What a run leaves beside its clips: a summary, a sheet, a page."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import click

from batchgen import __version__, posters, report
from batchgen.cli.links import links_of
from batchgen.errors import StoreError
from batchgen.events import SavedFile
from batchgen.manifest import Manifest
from batchgen.models import catalog
from batchgen.readers.csv import Table
from batchgen.records import Record
from batchgen.shards import Shard
from batchgen.tally import Tally
from batchgen.tasks import Task
from batchgen.world import World

PAGE, SHEET, SUMMARY = "report.html", "results.csv", "summary.json"
PLACES, _PLACES_SCHEMA = "shard.json", "batchgen.shard/1"
MOST_CLIPS = 20_000
"""A page of more is slow to open; the sheet has them all."""
_MOST_PICTURES = 2_000
_SOON = 20  # clips to look into before the first page: two seconds


class Origin(NamedTuple):
    """Where a run comes from, as its page and its sheet tell it.

    Attributes:
        command: what starts it again.
        plan: the id of its plan.
        sheet: the spreadsheet it was made from.
    """

    command: str
    plan: str
    sheet: report.Sheet | None = None


def leave(
    folder: Path,
    tasks: Sequence[Task],
    tally: Tally,
    records: Callable[[], Sequence[Record]],
    ending: report.Ending,
    origin: Origin,
    *,
    began: datetime,
    now: datetime,
) -> tuple[report.Summary, report.Book | None]:
    """Write `summary.json`, `results.csv` and `report.html`; the summary.

    Also the page's book, if there is one, and if nobody was in a hurry to leave.
    A run that had nothing to do keeps the summary of the one that did something.
    What cannot be written is told and left out.
    """
    pages = {"report": str(folder / PAGE)} if len(tasks) <= MOST_CLIPS else {}
    files = pages | {
        "results": str(folder / SHEET),
        "videos": str(folder / "videos"),
        "log": str(folder / "run.log"),
    }
    document = report.summarise(
        folder.name,
        report.Listed(tasks),
        tally,
        exit=ending.exit,
        reason=ending.reason,
        started_at=began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        wall_s=(now - began).total_seconds(),
        files=files,
    )
    document |= {"command": origin.command, "plan": origin.plan}
    if ending.reason != "nothing_to_do" or not (folder / SUMMARY).exists():
        with spared():
            publish(folder / SUMMARY, report.to_json(document) + "\n")
    with spared():
        publish(folder / SHEET, report.results_csv(tasks, tally, origin.sheet))
    found = book(folder, document, tasks, tally, records()) if pages else None
    if found is None:
        return document, None
    first, more = found, True
    try:
        # What goes wrong here goes wrong again when all else is told.
        with suppress(Exception):
            first = _looked(folder, found, tally, _SOON)
    except KeyboardInterrupt:
        more = False
    with spared():
        publish_page(folder / PAGE, [first], now)
    return document, first if more else None


@contextmanager
def spared() -> Iterator[None]:
    """What can be made again from the state file does not change how a run ended."""
    try:
        yield
    except StoreError as error:
        click.echo(
            f"warning: {error.message}. The state file has it all: "
            "the same command writes it again.",
            err=True,
        )


def book(
    folder: Path,
    document: report.Summary,
    tasks: Sequence[Task],
    tally: Tally,
    records: Sequence[Record],
    base: str = "",
) -> report.Book:
    """A run as the page needs it, with what earlier looks into its clips showed."""
    links, until, trouble = links_of(tally, World())
    if trouble:
        click.echo(f"warning: {trouble}", err=True)
    return report.Book(
        document,
        tasks,
        records,
        tally,
        catalog(),
        posters.remembered(folder),
        base,
        links,
        until,
    )


def publish_page(path: Path, books: Sequence[report.Book], now: datetime) -> None:
    """Write the page.

    Raises:
        StoreError: it cannot be written.
    """
    from batchgen.report.page import page  # noqa: PLC0415 - heavy

    made = now.strftime("%Y-%m-%d %H:%M UTC")
    publish(path, page(books, version=__version__, made=made))


def illustrate(
    folder: Path, book: report.Book, tally: Tally, now: Callable[[], datetime]
) -> None:
    """Look into the other new clips and write the page once more, with their pictures.

    It comes last, when all that matters is written: who interrupts it loses pictures
    that the next report makes.
    """
    try:
        looked = _looked(folder, book, tally, _MOST_PICTURES)
    except KeyboardInterrupt:
        return
    if looked.media != book.media:
        with spared():
            publish_page(folder / PAGE, [looked], now())


def _looked(folder: Path, book: report.Book, tally: Tally, most: int) -> report.Book:
    """A book with what so many new clips show."""
    if not posters.available():
        return book
    return book.illustrated(posters.look(folder, saved(tally), told, most))


def saved(tally: Tally) -> Iterator[SavedFile]:
    """Every file that should be on disk."""
    for state in tally.states.values():
        yield from state.files


def told(left: int) -> None:
    """How many pictures are still to make, where somebody watches."""
    if sys.stderr is not None and sys.stderr.isatty():
        end = "\r" if left > 1 else "\r\033[K"
        click.echo(
            f"pictures for the report: {left:,} to make {end}", err=True, nl=False
        )


def sheet_of(manifest: Manifest, tasks: Sequence[Task]) -> report.Sheet | None:
    """The spreadsheet that the tasks are rows of, if there is one."""
    table = manifest.rows
    if not isinstance(table, Table):
        return None
    rows = {row.line: row.cells for row in table}
    cells = {
        task.id: rows[task.place.line]
        for task in tasks
        if task.place and task.place.file == table.file and task.place.line in rows
    }
    return report.Sheet([column.shown for column in table.columns], cells)


def remembered_sheet(folder: Path, tasks: Sequence[Task]) -> report.Sheet | None:
    """The spreadsheet's columns as an earlier `results.csv` has kept them."""
    try:
        text = (folder / SHEET).read_text(encoding="utf-8")
        return report.kept_columns(text, tasks)
    except (OSError, ValueError, csv.Error):
        return None


def leave_places(folder: Path, shard: Shard | None, places: Sequence[int]) -> None:
    """Leave where this shard's clips stand in the whole run, for a joined sheet.

    Raises:
        StoreError: it cannot be written.
    """
    if shard is not None:
        document = {
            "schema": _PLACES_SCHEMA,
            "shard": str(shard),
            "places": list(places),
        }
        publish(folder / PLACES, json.dumps(document) + "\n")


def left_places(folder: Path, clips: int) -> list[int] | None:
    """The same, read again; None if it does not fit so many clips."""
    try:
        found = json.loads((folder / PLACES).read_text(encoding="utf-8"))
        places = found["places"] if found["schema"] == _PLACES_SCHEMA else []
        whole = all(type(one) is int for one in places)
        return places if whole and len(places) == clips else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


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
        with suppress(OSError):
            fresh.unlink()
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def show(folder: Path) -> None:
    """Open a folder's page in the person's browser, where there is one."""
    page = folder / PAGE
    if page.exists():
        import webbrowser  # noqa: PLC0415 - slow to import

        webbrowser.open(page.resolve().as_uri())
