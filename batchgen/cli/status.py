"""`batchgen status`: where a run stands, or all of them. Only reads."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from batchgen import journal, report
from batchgen.cli import settings
from batchgen.errors import UsageError
from batchgen.models import Catalog, catalog
from batchgen.money import usd
from batchgen.records import Record
from batchgen.tally import Tally
from batchgen.tasks import Task


def status(*, run_name: str | None, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Show one run, or a line for each."""
    del quiet, verbose
    outputs = settings.read().outputs
    now = datetime.now().astimezone()
    if run_name is None:
        found = [summary(folder)[0] for folder in _runs(outputs)]
        if as_json:
            click.echo(report.to_json(report.runs(found)))
        elif found:
            click.echo(report.runs_text(found, now), nl=False)
        else:
            click.echo(f"no runs in {outputs}/", err=True)
        return 0
    folder = _folder(outputs, run_name)
    document, tasks, tally = summary(folder)
    whole = report.status(document, tasks, tally)
    if as_json:
        click.echo(report.to_json(whole))
    else:
        click.echo(report.status_text(whole, now), nl=False)
    return 0


def summary(folder: Path) -> tuple[report.Summary, list[Task], Tally]:
    """What a run's journal says, over the tasks that were last ordered."""
    records = journal.read(folder, _warn)
    tally = Tally.of(records)
    tasks = list(_ordered(folder)) or list(report.known(tally))
    tally.want(task.id for task in tasks)
    ending = report.exit_code(tally.counts)
    closed = tally.closed
    document = report.summarise(
        folder.name,
        tasks,
        tally,
        exit=closed.exit if closed else ending.exit,
        reason=closed.reason if closed else ending.reason,
        started_at=_opened(records),
        wall_s=0.0,
        files={"videos": str(folder / "videos"), "state": str(folder / journal.NAME)},
    )
    return document, tasks, tally


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


def _opened(records: tuple[Record, ...]) -> str:
    """When the last session began."""
    stamps = [record.at for record in records if record.event.t == "SessionOpened"]
    return stamps[-1] if stamps else "1970-01-01T00:00:00.000Z"


def _ordered(folder: Path) -> Iterator[Task]:
    """The expansion last run; the journal alone does not know what is left."""
    models = catalog()
    try:
        text = (folder / "tasks.jsonl").read_text(encoding="utf-8")
    except OSError:
        return
    for line in text.splitlines():
        task = _task(json.loads(line), models)
        if task is not None:
            yield task


def _task(line: dict[str, Any], models: Catalog) -> Task | None:
    """A task from its own line; the line holds the request as it is sent."""
    model = models.find(line["model"])
    if model is None:
        return None
    own = ("id", "model", "take", "labels", "output", "price", "extra")
    fields = {key: value for key, value in line.items() if key not in own}
    fields |= line.get("extra", {})
    whole = {**model.identity_defaults, **fields}
    price = line.get("price")
    return Task(
        id=model.identity(fields, line["take"]),
        slug=line["id"],
        model=model.id,
        input=fields,
        take=line["take"],
        price=model.price.of(whole) if price is None else usd(str(price)),
        seconds=int(whole.get("duration", 0)),
        labels=line.get("labels", {}),
        output=line["output"],
    )


def _runs(outputs: Path) -> Iterator[Path]:
    if outputs.is_dir():
        yield from sorted(path.parent for path in outputs.glob(f"*/{journal.NAME}"))


def _folder(outputs: Path, name: str) -> Path:
    for folder in (outputs / name, outputs / f"{name}.sandbox", Path(name)):
        if (folder / journal.NAME).is_file():
            return folder
    known = ", ".join(path.name for path in _runs(outputs)) or "none"
    raise UsageError(
        f"there is no run {name} in {outputs}/", rule="no-run", advice=f"runs: {known}"
    )
