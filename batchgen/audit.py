"""Orphans: predictions of our models in our sessions' times that no attempt owns.

Somebody else who uses the key, a run of another folder, or a loss of ours.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchgen.answers import Prediction, when
from batchgen.client import Client
from batchgen.errors import Unavailable
from batchgen.events import SessionClosed, SessionOpened
from batchgen.money import Micros, dollars
from batchgen.profile import Profile
from batchgen.recorder import Recorder
from batchgen.records import Record
from batchgen.tally import Tally

_PAGES = 2
_DATE_STEP = timedelta(seconds=2)  # how well we know the service's whole seconds
_SHOWN = 5

Span = tuple[datetime, datetime]
"""From the opening of a session to its end, by the service's clock."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A prediction without an owner; `cost` is what it may have cost at most."""

    prediction: str
    model: str
    created_at: str
    cost: Micros


def spans(records: Sequence[Record], until: datetime) -> list[Span]:
    """When our sessions were open; the last one, where nothing ended it, until now."""
    found: list[Span] = []
    opened: datetime | None = None
    last = until
    for record in records:
        at = when(record.at)
        if at is None:
            continue
        match record.event:
            case SessionOpened(clock_offset_ms=ahead):
                if opened:
                    found.append((opened, last))
                opened = at + timedelta(milliseconds=ahead)
            case SessionClosed() if opened:
                found.append((opened, max(opened, at)))
                opened = None
            case _:
                pass
        last = at
    if opened:
        found.append((opened, until))
    return found


def orphans(
    rows: Iterable[Prediction], tally: Tally, sessions: Sequence[Span], slack: float
) -> Iterator[Orphan]:
    """Rows of a history in one of the sessions that belong to nobody."""
    wide = timedelta(seconds=slack) + _DATE_STEP
    costs = dict(_costs(tally))
    for row in rows:
        created = when(row.created_at)
        if row.id in tally.owned or created is None:
            continue
        if any(since - wide <= created <= until + wide for since, until in sessions):
            cost = costs.get(row.model, max(costs.values(), default=0))
            yield Orphan(row.id, row.model, row.created_at, cost)


def _costs(tally: Tally) -> Iterator[tuple[str, Micros]]:
    """The dearest attempt of each model."""
    prices = [
        (state.planned.model, attempt.reserve)
        for state in tally.states.values()
        if state.planned
        for attempt in state.attempts
    ]
    yield from sorted(prices)  # the last one of a model wins


async def audit(
    client: Client, tally: Tally, sessions: Sequence[Span], profile: Profile
) -> list[Orphan] | None:
    """Look at the newest pages of every model of the run; None if it cannot be told.

    The settle time of a session belongs to it: what it sent may arrive that late.
    """
    if not sessions:
        return []
    slack = profile.accept_settle
    since = min(span[0] for span in sessions) - timedelta(seconds=slack)
    until = max(span[1] for span in sessions) + timedelta(seconds=slack)
    models = {state.planned.model for state in tally.states.values() if state.planned}
    found: dict[str, Orphan] = {}
    try:
        for model in sorted(models):
            rows = await client.newest(model, since, until, pages=_PAGES)
            mine = orphans(rows, tally, sessions, slack)
            found.update((orphan.prediction, orphan) for orphan in mine)
    except Unavailable:
        return None
    return list(found.values())


def told(found: Sequence[Orphan]) -> str:
    """The warning that names them."""
    cost = sum(orphan.cost for orphan in found)
    ids = ", ".join(orphan.prediction for orphan in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (
        f"the account's history has {len(found)} predictions from the time of this run "
        f"that it does not know, up to {dollars(cost)}: {ids}{more}. Another run or "
        "program may use this key; else one of them was lost."
    )


class Auditor:
    """Warns at the start of what earlier sessions lost, at the end of this one's."""

    def __init__(
        self,
        recorder: Recorder,
        client: Client,
        profile: Profile,
        records: Sequence[Record],
    ) -> None:
        self._recorder = recorder
        self._client = client
        self._profile = profile
        self._records = records
        self._began = self._now()

    async def earlier(self) -> None:
        """Look at the sessions before this one."""
        now = self._now()
        oldest = now - timedelta(seconds=self._profile.retention)
        sessions = spans(self._records, self._began)
        await self._look([(max(a, oldest), b) for a, b in sessions if b > oldest])

    async def this_one(self) -> None:
        """Look at this session."""
        await self._look([(self._began, self._now())])

    async def _look(self, sessions: Sequence[Span]) -> None:
        tally = self._recorder.tally
        found = await audit(self._client, tally, sessions, self._profile)
        if found:
            self._recorder.observer.notice(told(found))

    def _now(self) -> datetime:
        now = when(self._client.service_time())
        assert now is not None  # noqa: S101 - it is written by us
        return now
