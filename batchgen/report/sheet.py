"""results.csv: one row a task, for the spreadsheet people. Pure."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct

from batchgen.money import plain
from batchgen.patterns import pattern
from batchgen.report.summary import error_of, file_of, links_of
from batchgen.state import TaskState, word
from batchgen.tally import Tally
from batchgen.tasks import Task

OURS = (
    "bg_slug",
    "bg_hash",
    "bg_status",
    "bg_file",
    "bg_cost_usd",
    "bg_seconds",
    "bg_error",
    "bg_prediction",
)
_NUMBER = pattern(r"-?[0-9]+(\.[0-9]+)?")
_LINES = pattern(r"(\r\n|\r|\n)")
_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")


class Sheet(Struct, frozen=True):
    """The spreadsheet a run was made from: its columns, and each task's cells."""

    columns: Sequence[str]
    cells: Mapping[str, Sequence[str]]


def kept_columns(text: str, tasks: Sequence[Task]) -> Sheet | None:
    """The columns in front of ours in an earlier results.csv; None if it is not one."""
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    if not rows or "bg_hash" not in rows[0]:
        return None
    head, at = rows[0], rows[0].index("bg_hash")
    cells = {row[at]: row for row in rows[1:] if len(row) > at}
    return Sheet(
        head, {task.id: cells[task.id[:8]] for task in tasks if task.id[:8] in cells}
    )


def results_csv(tasks: Sequence[Task], tally: Tally, sheet: Sheet | None = None) -> str:
    """The whole file in input order, with the mark that spreadsheets need.

    Without a sheet the labels are the columns in front of our own. The columns of an
    earlier results.csv that was used as a sheet are not doubled.
    """
    return _written([Part("", tasks, tally, sheet)], OURS)


class Part(NamedTuple):
    """One run of a joined sheet; `places` are those of its clips in the whole run."""

    run: str
    tasks: Sequence[Task]
    tally: Tally
    sheet: Sheet | None = None
    places: Sequence[int] | None = None


def joined_csv(parts: Sequence[Part]) -> str:
    """Several runs in one sheet: all their columns, and `bg_run` before our own.

    One run after the other; shards of one run that know their places are in its order.
    """
    return _written(parts, ("bg_run", *OURS))


def _written(parts: Sequence[Part], ours: Sequence[str]) -> str:
    sheets = [part.sheet or _labels(part.tasks) for part in parts]
    taken = {*OURS, "bg_run"}
    names = dict.fromkeys(n for s in sheets for n in s.columns if n not in taken)
    text = io.StringIO("\ufeff", newline="")
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*map(inert, names), *ours])
    writer.writerows(row for _, row in _rows(parts, sheets, names, ours))
    return text.getvalue()


def _rows(
    parts: Sequence[Part],
    sheets: Sequence[Sheet],
    names: Iterable[str],
    ours: Sequence[str],
) -> Sequence[tuple[tuple[object, ...], list[str]]]:
    """What the rows are sorted by, and the rows."""
    found = []
    ordered = all(part.places is not None for part in parts)
    for number, (part, sheet) in enumerate(zip(parts, sheets, strict=True)):
        run = [inert(part.run)] if "bg_run" in ours else []
        # What clips show is paid for too; it stands behind what was asked for.
        tasks = sorted(part.tasks, key=lambda task: task.kind)
        places = part.places or () if ordered else ()
        for at, task in enumerate(tasks):
            cells = dict(zip(sheet.columns, sheet.cells.get(task.id, ()), strict=False))
            theirs = [inert(cells.get(name, "")) for name in names]
            place = places[at] if at < len(places) else len(tasks)
            behind = ordered and at >= len(places)
            key = (behind, place, number, at) if ordered else (number, at)
            found.append((key, [*theirs, *run, *_ours(task, part.tally)]))
    return sorted(found, key=itemgetter(0))


def _labels(tasks: Sequence[Task]) -> Sheet:
    names = dict.fromkeys(chain.from_iterable(task.labels for task in tasks))
    cells = {task.id: [task.labels.get(n, "") for n in names] for task in tasks}
    return Sheet(tuple(names), cells)


def inert(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; plain numbers stay numbers."""
    if _NUMBER.fullmatch(text):
        return text
    parts = _LINES.split(text)
    parts[::2] = map(_quoted, parts[::2])
    joined = "".join(parts)
    return f"'{joined}" if joined.startswith(("\r", "\n")) else joined


def _quoted(line: str) -> str:
    """With an apostrophe in front if the first thing seen would start a formula."""
    seen = (c for c in line if unicodedata.category(c) not in _UNSEEN)
    first = unicodedata.normalize("NFKC", next(seen, " "))
    risky = line.startswith("\t") or first.startswith(("=", "+", "-", "@"))
    return f"'{line}" if risky else line


def _ours(task: Task, tally: Tally) -> list[str]:
    state = tally.states.get(task.id, TaskState())
    error = error_of(state)
    return [
        inert(task.slug),
        task.id[:8],
        word(state),
        inert(file_of(state, links_of(tally)) or ""),
        plain(tally.ledger.cost(task.id, len(state.attempts))),
        str(task.seconds),
        inert(f"{error['kind']}: {error['message']}") if error else "",
        inert(state.prediction),
    ]
