"""A run as data: the documents of `--json`.

Money in a document is a `Decimal`; `to_json` prints it as the number it is, so 52.08
never becomes 52.080000001.
"""

import json
from collections import Counter
from collections.abc import (
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from decimal import Decimal
from typing import NotRequired, Protocol, TypedDict

from msgspec import Struct

from batchgen import locations
from batchgen.money import Micros, plain, usd
from batchgen.plan import as_bought
from batchgen.state import Stage, TaskState, word
from batchgen.state import Status as Stand
from batchgen.tally import Tally
from batchgen.tasks import Task

_NEW = TaskState()
_FREE = (Stage.REFUSED, Stage.NOT_SENT, Stage.ABSENT)


class Failure(TypedDict):
    """One task that was given up."""

    slug: str
    hash: str
    kind: str
    message: str
    attempts: int


class Summary(TypedDict):
    """`batchgen.summary/1`: where a run stands.

    `counts` are of clips; `elements` are what clips show, if they show any.
    `command` starts it again and `plan` is its id; only `run` knows them.
    """

    schema: str
    run: str
    exit: int
    reason: str
    counts: dict[str, int]
    elements: NotRequired[dict[str, int]]
    spent_usd: Decimal
    committed_usd: Decimal
    budget_usd: Decimal | None
    refund_expected_usd: Decimal
    seconds_of_video: int
    started_at: str
    wall_s: float
    files: dict[str, str]
    failed: list[Failure]
    command: NotRequired[str]
    plan: NotRequired[str]


class Row(TypedDict):
    """One task of a status document."""

    slug: str
    hash: str
    take: int
    status: str
    attempts: int
    cost_usd: Decimal
    prediction: str | None
    file: str | None
    labels: dict[str, str]
    error: dict[str, str] | None
    expires_at: str | None


class Status(Summary):
    """`batchgen.status/1` of one run: its summary and every task."""

    tasks: list[Row]


class Total(TypedDict):
    """What several runs come to; no budget where one of them has none."""

    counts: dict[str, int]
    spent_usd: Decimal
    committed_usd: Decimal
    budget_usd: Decimal | None
    refund_expected_usd: Decimal
    seconds_of_video: int


class Runs(TypedDict):
    """`batchgen.status/1` of a whole folder of runs, or of several that are joined.

    `shards_not_here` are those of a run in shards that the others of it leave out.
    """

    schema: str
    exit: int
    reason: str
    runs: list[Summary]
    total: NotRequired[Total]
    shards_not_here: NotRequired[list[str]]


class Order(Protocol):
    """What was ordered, in input order; only of what was given up more is asked."""

    @property
    def ids(self) -> Sequence[str]:
        """Of all tasks."""

    def some(self, ids: Collection[str]) -> Iterable[Task]:
        """The tasks of some ids."""


class Listed(Struct, frozen=True):
    """An order of which every task is at hand."""

    tasks: Sequence[Task]

    @property
    def ids(self) -> Sequence[str]:
        """Of all tasks."""
        return [task.id for task in self.tasks]

    def some(self, ids: Collection[str]) -> Iterable[Task]:
        """The tasks of some ids."""
        return [task for task in self.tasks if task.id in ids]


def summarise(
    run: str,
    order: Order,
    tally: Tally,
    *,
    exit: int,  # noqa: A002 - the word of the document
    reason: str,
    started_at: str,
    wall_s: float,
    files: Mapping[str, str],
) -> Summary:
    """Where a run stands, amounts exact."""
    ledger, ids = tally.ledger, order.ids
    states = tally.standing(ids)
    pairs = zip(ids, states, strict=True)
    lost = [task for task, one in pairs if one.status is Stand.FAILED]
    of_elements = tally.element_tasks
    made = [task for task in ids if task in of_elements] if of_elements else []
    found: Summary = {
        "schema": "batchgen.summary/1",
        "run": run,
        "exit": exit,
        "reason": reason,
        "counts": {"total": tally.total, **tally.counts},
        "spent_usd": _usd(ledger.spent),
        "committed_usd": _usd(ledger.committed),
        "budget_usd": None if ledger.cap is None else _usd(ledger.cap),
        "refund_expected_usd": _usd(ledger.refundable),
        "seconds_of_video": sum(
            [
                one.planned.seconds
                for one in states
                if one.status is Stand.DONE and one.planned
            ]
        ),
        "started_at": started_at,
        "wall_s": round(wall_s),
        "files": dict(files),
        "failed": [
            _failure(task, _state(tally, task)) for task in order.some(frozenset(lost))
        ],
    }
    if made:
        ready = [task for task in made if word(tally.states.get(task, _NEW)) == "done"]
        found["elements"] = {"total": len(made), "done": len(ready)}
    return found


def status(
    summary: Summary,
    tasks: Iterable[Task],
    tally: Tally,
    expires: Mapping[str, str] | None = None,
) -> Status:
    """The summary with every task; `expires` maps a task to when its link dies."""
    rows = [_row(task, tally, (expires or {}).get(task.id)) for task in tasks]
    return {**summary, "schema": "batchgen.status/1", "tasks": rows}


def runs(summaries: Iterable[Summary]) -> Runs:
    """Several runs in one document."""
    return {
        "schema": "batchgen.status/1",
        "exit": 0,
        "reason": "done",
        "runs": list(summaries),
    }


def total(summaries: Sequence[Summary]) -> Total:
    """The sums over several runs."""
    counts = Counter[str]()
    for one in summaries:
        counts.update(one["counts"])  # which keeps a count of nothing, in order
    caps = [one["budget_usd"] for one in summaries]
    known = [cap for cap in caps if cap is not None]
    return {
        "counts": dict(counts),
        "spent_usd": _sum(one["spent_usd"] for one in summaries),
        "committed_usd": _sum(one["committed_usd"] for one in summaries),
        "budget_usd": _sum(known) if len(known) == len(caps) else None,
        "refund_expected_usd": _sum(one["refund_expected_usd"] for one in summaries),
        "seconds_of_video": sum(one["seconds_of_video"] for one in summaries),
    }


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return Decimal(plain(sum(map(usd, amounts))))


def known(tally: Tally) -> Iterator[Task]:
    """The tasks a journal knows, for commands that have no manifest at hand."""
    for state in tally.states.values():
        if state.planned:
            yield as_bought(state.planned)


# Made once: `json.dumps` would make one for each value.
_JSON = json.JSONEncoder(allow_nan=False).encode


def to_json(document: object) -> str:
    """A document on one line, in ASCII; a Decimal is printed digit by digit."""
    match document:
        case Decimal():
            return f"{document:f}"
        case dict():
            pairs = (f"{_JSON(k)}: {to_json(v)}" for k, v in document.items())
            return "{" + ", ".join(pairs) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(to_json, document)) + "]"
        case _:
            return _JSON(document)


def paid_attempts(state: TaskState) -> int:
    """Attempts that may have cost something; what was refused was free."""
    return sum(attempt.stage not in _FREE for attempt in state.attempts)


def file_of(state: TaskState, links: str = "") -> str | None:
    """The first file of a finished clip: below the run's folder, or its address.

    `links` is how objects of a bucket are reached; see `locations.address`.
    """
    if word(state) != "done" or not state.files:
        return None
    file = state.files[0]
    if file.store:
        return locations.address(file.store, file.name, links)
    return f"videos/{file.name}"


def links_of(tally: Tally) -> str:
    """How objects are reached, as the last session had it."""
    return tally.session.links if tally.session else ""


def error_of(state: TaskState) -> dict[str, str] | None:
    """What stands in the way of a task that is not done."""
    if state.trouble is None or word(state) == "done":
        return None
    return {"kind": state.trouble.kind, "message": state.trouble.message}


def _failure(task: Task, state: TaskState) -> Failure:
    error = error_of(state) or {"kind": "", "message": ""}
    return {
        "slug": task.slug,
        "hash": task.id[:8],
        "kind": error["kind"],
        "message": error["message"],
        "attempts": paid_attempts(state),
    }


def _row(task: Task, tally: Tally, expires: str | None) -> Row:
    state = _state(tally, task)
    return {
        "slug": task.slug,
        "hash": task.id[:8],
        "take": task.take,
        "status": word(state),
        "attempts": paid_attempts(state),
        "cost_usd": _usd(tally.ledger.cost(task.id, len(state.attempts))),
        "prediction": state.prediction or None,
        "file": file_of(state, links_of(tally)),
        "labels": dict(task.labels),
        "error": error_of(state),
        "expires_at": expires,
    }


def _state(tally: Tally, task: Task) -> TaskState:
    return tally.states.get(task.id, _NEW)


def _usd(amount: Micros) -> Decimal:
    return Decimal(plain(amount))
