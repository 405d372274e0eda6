"""What a person reads of runs that were, or still are. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from batchgen import terminal
from batchgen.report.summary import Row, Status, Summary, Total, total
from batchgen.report.text import page, problems, progress, spent
from batchgen.shards import Shard
from batchgen.words import clips, money

_STOPPED = {
    "budget": "stopped at the cap",
    "deadline": "stopped at deadline",
    "breaker": "stopped by the breaker",
    "interrupted": "interrupted",
    "uncertain": "uncertain clips",
    "still_rendering": "still rendering",
    "key": "key refused",
    "credit": "out of credit",
    "network": "no network",
    "state": "state file refused",
    "disk": "disk full or not writable",
    "bug": "bug in batchgen",
}


class Standing(NamedTuple):
    """What the text on a run says besides its summary.

    Attributes:
        paid: clips that are paid for and not collected.
        expires: when the service forgets the first of them; empty if it is unknown.
        doubts: the rows of those that nobody knows to be bought.
    """

    summary: Summary
    paid: int
    expires: str
    doubts: Sequence[Row]


def standing(document: Status) -> Standing:
    """What the text says of a document with every task."""
    rows = document["tasks"]
    paid = [row for row in rows if row["status"] in ("rendering", "downloading")]
    return Standing(
        document,
        len(paid),
        min((row["expires_at"] for row in paid if row["expires_at"]), default=""),
        [row for row in rows if row["status"] == "uncertain"],
    )


def status_text(run: Standing, now: datetime, rows: Sequence[Row] = ()) -> str:
    """Where one run stands; what is paid and not collected comes first.

    `rows` are to be listed.
    """
    document, counts = run.summary, run.summary["counts"]
    standing = ", ".join(
        f"{count:,} {name}"
        for name, count in counts.items()
        if count and name not in ("total", "done")
    )
    lines = [
        *_uncollected(run, now),
        f"{document['run']}: {', '.join(filter(None, (progress(document), standing)))}",
        f"  spent      {spent(document)}",
    ]
    if document["refund_expected_usd"]:
        lines.append(f"  refund     {money(document['refund_expected_usd'])} expected")
    lines += problems(document["failed"])
    lines += _doubts(run)
    lines += [f"  {name:<10} {path}" for name, path in document["files"].items()]
    if rows:
        lines += ["", *_listing(rows)]
    return page(lines)


def _doubts(run: Standing) -> Iterator[str]:
    for row in run.doubts:
        cost = money(row["cost_usd"])
        yield f"  uncertain  {row['slug']}   {cost}, counts as spent"


def _listing(rows: Sequence[Row]) -> Iterator[str]:
    """One line a task: where it stands, what it cost, what it left or what failed."""
    columns = max((terminal.width(row["slug"]) for row in rows), default=0)
    for row in rows:
        slug = terminal.left(row["slug"], columns)
        error = row["error"]
        rest = f"{error['kind']}: {error['message']}" if error else row["file"] or ""
        cost = money(row["cost_usd"])
        yield f"  {row['status']:<11} {slug}  {cost:>8}  {rest}".rstrip()


_UNFINISHED = ("pending", "rendering", "downloading")
_NAMED = 8  # shards
_LEFT, _RIGHT = terminal.left, terminal.right
_ALIGN = (_LEFT, _RIGHT, _RIGHT, _RIGHT, _LEFT, _LEFT, _LEFT)


class _Line(NamedTuple):
    run: str
    done: str
    failed: str
    left: str
    money: str
    last: str
    note: str


def runs_text(documents: Iterable[Summary], now: datetime) -> str:
    """One line a run; `now` is local time and says which day is today."""
    return page(_table([_line(document, now) for document in documents]))


def joined_text(
    found: Sequence[Standing], now: datetime, missing: Sequence[Shard] = ()
) -> str:
    """One line a run, one for all of them, and what there is to do about any.

    `missing` are shards of the run that are not among them.
    """
    documents = [run.summary for run in found]
    sums, paid = total(documents), []
    for run in found:
        paid += [f"{run.summary['run']}: {text}" for text in _uncollected(run, now)]
    lines = [
        *paid,
        *_table([*(_line(one, now) for one in documents), _sum_line(documents, sums)]),
    ]
    if sums["refund_expected_usd"]:
        lines.append(f"  refund     {money(sums['refund_expected_usd'])} expected")
    lines += problems([one for document in documents for one in document["failed"]])
    for run in found:
        lines += _doubts(run)
    if missing:
        named = ", ".join(map(str, missing[:_NAMED]))
        named += f" and {len(missing) - _NAMED:,} more" if missing[_NAMED:] else ""
        lines.append(
            f"  not here   {named}: not begun, without a clip, or on another machine"
        )
    return page(lines)


def _sum_line(documents: Sequence[Summary], sums: Total) -> _Line:
    counts, cap = sums["counts"], sums["budget_usd"]
    spent_of = money(sums["spent_usd"])
    return _Line(
        run=f"all {len(documents):,}",
        done=f"{counts['done']:,}",
        failed=f"{counts['failed'] + counts['rejected'] + counts['lost']:,}",
        left=f"{sum(counts[name] for name in _UNFINISHED):,}",
        money=spent_of if cap is None else f"{spent_of} / {money(cap)}",
        last="",
        note="",
    )


def _table(lines: Sequence[_Line]) -> Iterator[str]:
    head = _Line("run", "done", "failed", "left", "spent / cap", "last activity", "")
    rows = [head, *lines]
    widths = [max(map(terminal.width, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        yield "   ".join(
            align(cell, columns)
            for align, cell, columns in zip(_ALIGN, line, widths, strict=True)
        ).rstrip()


def _line(document: Summary, now: datetime) -> _Line:
    counts = document["counts"]
    began = datetime.fromisoformat(document["started_at"])
    return _Line(
        run=terminal.safe(document["run"]),
        done=f"{counts['done']:,}",
        failed=f"{counts['failed'] + counts['rejected'] + counts['lost']:,}",
        left=f"{sum(counts[name] for name in _UNFINISHED):,}",
        money=spent(document, " / "),
        last=_moment(began + timedelta(seconds=document["wall_s"]), now),
        note=_STOPPED.get(document["reason"], ""),
    )


def _uncollected(run: Standing, now: datetime) -> Iterator[str]:
    if not run.paid:
        return
    first = ""
    if run.expires:
        moment = datetime.fromisoformat(run.expires).astimezone(now.tzinfo)
        first = f", first expires {moment:%a %H:%M}"
    yield f"{clips(run.paid, 'paid')} not collected{first}"


def _moment(moment: datetime, now: datetime) -> str:
    moment = moment.astimezone(now.tzinfo)
    days = (now.date() - moment.date()).days
    day = {0: "today", 1: "yesterday"}.get(days, f"{moment:%Y-%m-%d}")
    return f"{day} {moment:%H:%M}"
