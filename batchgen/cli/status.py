"""`batchgen status`: where a run stands, or all of them. Only reads."""

import os
import platform
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import cast

import click
from msgspec import json

from batchgen import journal, report
from batchgen.cli import settings, split
from batchgen.cli.colour import say
from batchgen.cli.identities import Ordered
from batchgen.cli.order import sheet
from batchgen.errors import UsageError
from batchgen.events import AttemptAccepted, SessionClosed, SessionOpened
from batchgen.history import only
from batchgen.profile import WAVESPEED
from batchgen.records import Record
from batchgen.replay import Hear, Page, nobody, undisturbed
from batchgen.selector import selector
from batchgen.shards import told
from batchgen.state import Status, TaskState, word
from batchgen.tally import Tally
from batchgen.tasks import Task
from batchgen.world import iso

_NEW = TaskState()
_PAID = frozenset({Status.SUBMITTING, Status.RENDERING, Status.DOWNLOADING})
_LOOK_AGAIN = 1.0  # seconds
# What the last look was made from. Nobody needs it any more; but to give it back piece
# by piece takes a tenth of a look, and as a rule the process ends now.
_KEPT: list[object] = []


def status(
    *,
    names: Sequence[str],
    select: Sequence[str],
    watch: bool,
    statement: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Show one run, or a line for each."""
    outputs = settings.read().outputs
    folders = folders_of(outputs, names)
    if len(folders) != 1 and (select or statement):
        raise UsageError(f"say which run: {_known(outputs)}", rule="no-run")
    if not names:
        if watch:
            raise UsageError(f"say which run: {_known(outputs)}", rule="no-run")
        return _all(outputs, as_json=as_json)
    if statement:
        from batchgen.cli.statement import show  # noqa: PLC0415 - heavy

        return show(folders[0], as_json=as_json)
    listed = bool(select) or (verbose and not quiet)
    if watch and not as_json:
        return _watched(folders, select, listed=listed)
    alone = len(folders) == 1 and (listed or not _is_part(names[0], folders))
    if as_json and alone:
        click.echo(report.to_json(_whole(folders[0], select)))
    elif as_json:
        found = [_whole(folder, ()) for folder in folders]
        click.echo(_joined_json(folders, found))
    elif alone:
        say(_text(folders[0], select, listed=listed), nl=False)
    else:
        say(_joined(folders), nl=False)
    return 0


def _is_part(name: str, folders: Sequence[Path]) -> bool:
    """Whether a run was asked for of which not every shard is here."""
    return told(Path(name).name) is None and bool(split.missing(folders))


def _joined(folders: Sequence[Path]) -> str:
    """Several runs as one: a line for each, and for all of them."""
    now = datetime.now().astimezone()
    found = [_standing(folder) for folder in folders]
    return report.joined_text(found, now, split.missing(folders))


def _joined_json(folders: Sequence[Path], found: Sequence[report.Status]) -> str:
    document = report.runs(found)
    document["total"] = report.total(found)
    document["shards_not_here"] = [str(one) for one in split.missing(folders)]
    return report.to_json(document)


def _all(outputs: Path, *, as_json: bool) -> int:
    found = [_summary(folder)[0] for folder in runs(outputs)]
    if as_json:
        click.echo(report.to_json(report.runs(found)))
    elif found:
        click.echo(report.runs_text(found, datetime.now().astimezone()), nl=False)
    else:
        click.echo(f"no runs in {outputs}/", err=True)
    return 0


def _text(folder: Path, select: Sequence[str], *, listed: bool) -> str:
    now = datetime.now().astimezone()
    if not listed:
        return report.status_text(_standing(folder), now)
    whole = _whole(folder, select)
    return report.status_text(report.standing(whole), now, whole["tasks"])


def _whole(folder: Path, select: Sequence[str]) -> report.Status:
    """The run with the selected tasks; the counts are those of the whole run."""
    with undisturbed():
        document, order, tally, records = _summary(folder, whole=True)
        tasks = order.tasks
        if select:
            meant, states = selector(select, sheet), tally.states
            tasks = [one for one in tasks if meant(one, word(states.get(one.id, _NEW)))]
        bought = {
            cast("AttemptAccepted", one.event).task: one.at
            for one in only(records, AttemptAccepted)
        }
        expiries = {
            task: _expiry(bought[task]) for task in tally.in_flight() if task in bought
        }
        return report.status(document, tasks, tally, expiries)


def _standing(folder: Path) -> report.Standing:
    """What the text on a run says; only the tasks that it names have a row."""
    with undisturbed():
        bought = _Bought()
        document, order, tally, records = _summary(folder, bought.hear)
        counts, states = tally.everything, tally.states
        first = bought.first(_uncollected(tally), records)
        doubtful = frozenset(
            task
            for task in (order.ids if counts["uncertain"] else ())
            if states.get(task, _NEW).status is Status.UNCERTAIN
        )
        return report.Standing(
            document,
            counts["rendering"] + counts["downloading"],
            _expiry(first) if first else "",
            report.status(document, order.some(doubtful), tally)["tasks"],
        )


def _uncollected(tally: Tally) -> set[str]:
    """Predictions of what was ordered that are paid, and not collected."""
    ordered = tally.wanted or frozenset()
    paid = [
        state
        for task, state in tally.states.items()
        if state.status in _PAID and task in ordered
    ]
    # Nearly all of them have one attempt alone, and there may be a million.
    last = [one.attempts[-1] for one in paid]
    older = [stray for one in paid if len(one.attempts) > 1 for stray in one.strays]
    return {one.prediction for one in (*last, *older) if not one.saved}


def _watched(folders: Sequence[Path], select: Sequence[str], *, listed: bool) -> int:
    """Show it again whenever a state file grew, until nobody works on it."""
    screen = sys.stdout.isatty()
    shown = ""
    while True:
        busy = any(map(_busy, folders))
        if len(folders) == 1:
            text = _text(folders[0], select, listed=listed)
        else:
            text = _joined(folders)
        if text != shown:
            if screen:
                click.clear()
            say(text, nl=False)
            shown = text
        if not busy:
            return 0
        time.sleep(_LOOK_AGAIN)


def _busy(folder: Path) -> bool:
    """Whether the session that was opened last is still at work."""
    records = journal.read(folder, lambda _: None)
    last = deque(only(records, SessionOpened, SessionClosed), maxlen=1)
    session = last[0].event if last else None
    if not isinstance(session, SessionOpened):
        return False
    if session.host != platform.node():
        return True  # on another machine: only its own last record tells
    try:
        os.kill(session.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _Bought:
    """Which predictions were accepted in which order, heard while it is read."""

    def __init__(self) -> None:
        self._pages: list[tuple[int, list[str]]] = []
        self._heard = 0

    def hear(self, pages: Sequence[Page]) -> None:
        for page in pages:
            accepted = [
                one.prediction for one in page.events if type(one) is AttemptAccepted
            ]
            self._pages.append((self._heard, accepted))
            self._heard += len(page.events)

    def first(self, wanted: AbstractSet[str], records: Sequence[Record]) -> str:
        """When the first of some predictions was accepted; empty if none was."""
        for before, accepted in self._pages:
            if not wanted.isdisjoint(accepted):
                page = (records[number] for number in count(before))
                return next(
                    one.at
                    for one in page
                    if isinstance(one.event, AttemptAccepted)
                    and one.event.prediction in wanted
                )
        return ""


def _expiry(bought: str) -> str:
    """When the service forgets what is paid for and not collected."""
    keeps = timedelta(seconds=WAVESPEED.retention)
    return iso(datetime.fromisoformat(bought) + keeps)


def summary(
    folder: Path,
) -> tuple[report.Summary, list[Task], Tally, Sequence[Record]]:
    """What a run's journal says, over the tasks that were last ordered; the journal."""
    document, order, tally, records = _summary(folder, whole=True)
    return document, order.tasks, tally, records


def _summary(
    folder: Path, hear: Hear = nobody, *, whole: bool = False
) -> tuple[report.Summary, Ordered, Tally, Sequence[Record]]:
    _KEPT.clear()
    tally = Tally()

    def both(pages: Sequence[Page]) -> None:
        tally.hear(pages)
        hear(pages)

    records = journal.read(folder, _warn, both)
    order = Ordered(folder, tally, whole=whole)
    tally.want(order.ids, order.elements)
    ending = report.exit_code(tally.everything)
    closed = tally.closed
    opened, last = _session(records)
    document = report.summarise(
        folder.name,
        order,
        tally,
        exit=closed.exit if closed else ending.exit,
        reason=closed.reason if closed else ending.reason,
        started_at=opened,
        wall_s=_seconds(opened, last),
        files={"videos": str(folder / "videos"), "state": str(folder / journal.NAME)},
    )
    _KEPT.extend((tally, order, hear))
    return {**document, **_origin(folder)}, order, tally, records


def _origin(folder: Path) -> report.Summary:
    """What only the run itself knew: its command and its plan."""
    try:
        left = json.decode((folder / "summary.json").read_bytes())
        found = {key: str(left[key]) for key in ("command", "plan") if key in left}
    except (OSError, ValueError, TypeError):
        found = {}
    return cast("report.Summary", found)


def _warn(text: str) -> None:
    say(f"warning: {text}", err=True)


def _session(records: Sequence[Record]) -> tuple[str, str]:
    """When the last session began, and when something last happened."""
    stamps = [one.at for one in only(records, SessionOpened)]
    opened = stamps[-1] if stamps else "1970-01-01T00:00:00.000Z"
    return opened, records[-1].at if records else opened


def _seconds(since: str, until: str) -> float:
    span = datetime.fromisoformat(until) - datetime.fromisoformat(since)
    return max(0.0, span.total_seconds())


def runs(outputs: Path) -> Iterator[Path]:
    """The folders of all runs, by name."""
    if outputs.is_dir():
        yield from sorted(path.parent for path in outputs.glob(f"*/{journal.NAME}"))


def known_runs() -> list[str]:
    """The names of all runs."""
    return [folder.name for folder in runs(settings.read().outputs)]


def _known(outputs: Path) -> str:
    return ", ".join(path.name for path in runs(outputs)) or "none"


def folders_of(outputs: Path, names: Sequence[str]) -> list[Path]:
    """The folders of some runs, each once; of a run in shards, those that are here.

    Raises:
        UsageError: there is no such run.
    """
    found: list[Path] = []
    for name in names:
        for run in (name, f"{name}.sandbox"):
            shards = [path for _, path in split.parts(outputs, run)]
            if shards and not (outputs / run / journal.NAME).is_file():
                found += shards
                break
            if shards or (outputs / run / journal.NAME).is_file():
                found.append(outputs / run)
                break
        else:
            found.append(folder_of(outputs, name))
    return list(dict.fromkeys(found))


def folder_of(outputs: Path, name: str) -> Path:
    """The folder of a run, by its name or its path.

    Raises:
        UsageError: there is no such run.
    """
    for folder in (outputs / name, outputs / f"{name}.sandbox", Path(name)):
        if (folder / journal.NAME).is_file():
            return folder
    raise UsageError(
        f"there is no run {name} in {outputs}/",
        rule="no-run",
        advice=f"runs: {_known(outputs)}",
    )
