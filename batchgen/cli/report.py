"""`batchgen report`: write a run's page and sheet again, or those of several runs."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click

from batchgen import posters
from batchgen import report as reports
from batchgen.cli import results, settings
from batchgen.cli.exits import answer
from batchgen.cli.status import folders_of, runs, summary
from batchgen.errors import UsageError
from batchgen.records import Record
from batchgen.tally import Tally
from batchgen.tasks import Task


class _Found(NamedTuple):
    folder: Path
    document: reports.Summary
    tasks: list[Task]
    tally: Tally
    records: Sequence[Record]


def report(
    *, names: Sequence[str], open_page: bool, as_json: bool, quiet: bool, verbose: bool
) -> int:
    """Write the page of one run beside its clips, of several beside their folders."""
    del verbose
    outputs = settings.read().outputs
    found = [_found(folder) for folder in _folders(outputs, names)]
    for one in found if posters.available() else ():
        posters.look(one.folder, results.saved(one.tally), results.told)
    place = found[0].folder if len(found) == 1 else outputs
    parts = [
        reports.Part(
            one.document["run"],
            one.tasks,
            one.tally,
            results.remembered_sheet(one.folder, one.tasks),
            results.left_places(
                one.folder, sum(task.kind == "clip" for task in one.tasks)
            ),
        )
        for one in found
    ]
    text = (
        reports.results_csv(*parts[0][1:4])
        if len(parts) == 1
        else reports.joined_csv(parts)
    )
    results.publish(place / results.SHEET, text)
    _check_size(found)
    books = [
        results.book(*one, base="" if one.folder == place else _base(one.folder, place))
        for one in found
    ]
    results.publish_page(place / results.PAGE, books, datetime.now(UTC))
    _say(place, as_json=as_json, quiet=quiet)
    if open_page:
        results.show(place)
    return 0


def _folders(outputs: Path, names: Sequence[str]) -> list[Path]:
    if names:
        return folders_of(outputs, names)
    known = list(runs(outputs))
    if len(known) == 1:
        return known
    if not known:
        raise UsageError(f"there are no runs in {outputs}/", rule="no-run")
    listed = " ".join(folder.name for folder in known)
    raise UsageError(
        f"there are {len(known)} runs in {outputs}/: which?",
        rule="no-run",
        advice=f"one page for all: batchgen report {listed}",
    )


def _found(folder: Path) -> _Found:
    return _Found(folder, *summary(folder))


def _check_size(found: Sequence[_Found]) -> None:
    clips = sum(len(one.tasks) for one in found)
    if clips > results.MOST_CLIPS:
        raise UsageError(
            f"a page holds {results.MOST_CLIPS:,} clips, and these are {clips:,}",
            rule="too-many",
            advice=f"{results.SHEET} has them all and was written.",
        )


def _base(folder: Path, place: Path) -> str:
    """The way from the page to a run's folder, as an address has it."""
    return Path(os.path.relpath(folder, place)).as_posix() + "/"


def _say(place: Path, *, as_json: bool, quiet: bool) -> None:
    files = {
        "report": str(place / results.PAGE),
        "results": str(place / results.SHEET),
    }
    if as_json:
        answer("report", 0, "done", files=files)
    elif not quiet:
        click.echo("\n".join(f"{name:<10} {path}" for name, path in files.items()))
