"""Orphans: predictions of our models in our sessions' times that no attempt owns.

Somebody else who uses the key, a run of another folder, or a loss of ours.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchgen.answers import Prediction, when
from batchgen.client import Client
from batchgen.errors import Unavailable
from batchgen.events import SessionClosed, SessionOpened
from batchgen.history import only
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

Foreign = Callable[[Prediction], bool | None]
"""Whether another shard of the run bought it; None if nobody can tell."""


def nobodys(row: Prediction) -> bool | None:
    """Of a run that is in one piece, no other shard has bought anything."""
    del row
    return False


@dataclass(frozen=True, slots=True)
class Orphan:
    """A prediction without an owner; `cost` is what it may have cost at most.

    One that is not `sure` may be that of another shard of the run.
    """

    prediction: str
    model: str
    created_at: str
    cost: Micros
    sure: bool = True


def spans(records: Sequence[Record], until: datetime) -> list[Span]:
    """When our sessions were open; the last one, where nothing ended it, until now."""
    found: list[Span] = []
    opened: datetime | None = None
    ahead = timedelta()
    for record in only(records, SessionOpened, SessionClosed):
        at = when(record.at)
        if at is None:
            continue
        if isinstance(record.event, SessionOpened):
            if opened:
                last = _before(records, record.n)
                found.append((opened, max(opened, last + ahead if last else until)))
            ahead = timedelta(milliseconds=record.event.clock_offset_ms)
            opened = at + ahead
        elif opened:
            found.append((opened, max(opened, at + ahead)))
            opened = None
    if opened:
        found.append((opened, until))
    return found


def _before(records: Sequence[Record], n: int) -> datetime | None:
    """When the last thing happened before record `n`."""
    place = bisect_left(records, n, key=lambda record: record.n)
    found = (when(records[index].at) for index in range(place - 1, -1, -1))
    return next((at for at in found if at is not None), None)


def orphans(
    rows: Iterable[Prediction],
    tally: Tally,
    sessions: Sequence[Span],
    slack: float,
    foreign: Foreign = nobodys,
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
            theirs = foreign(row)
            if not theirs:
                sure = theirs is False
                yield Orphan(row.id, row.model, row.created_at, cost, sure)


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
    client: Client,
    tally: Tally,
    sessions: Sequence[Span],
    profile: Profile,
    foreign: Foreign = nobodys,
) -> list[Orphan] | None:
    """Look at the newest pages of every model of the run; None if it cannot be told.

    The settle time of a session belongs to it: what it sent may arrive that late.
    """
    if not sessions:
        return []
    slack = profile.accept_settle
    wide = timedelta(seconds=slack) + _DATE_STEP
    since = min(span[0] for span in sessions) - wide
    until = max(span[1] for span in sessions) + wide
    models = {state.planned.model for state in tally.states.values() if state.planned}
    found: dict[str, Orphan] = {}
    try:
        for model in sorted(models):
            rows = await client.newest(model, since, until, pages=_PAGES)
            mine = orphans(rows, tally, sessions, slack, foreign)
            found.update((orphan.prediction, orphan) for orphan in mine)
    except Unavailable:
        return None
    return list(found.values())


async def audit_whole(
    client: Client,
    tally: Tally,
    records: Sequence[Record],
    models: Iterable[str],
    profile: Profile,
    foreign: Foreign = nobodys,
) -> list[Orphan] | None:
    """Look at all of the time since the run began; None if it cannot be told.

    What was edited or restored may lack whole sessions, so their times are not asked.
    A model that is an empty word stands for all of them.
    """
    now = client.clock.at_most()
    opened = [record.event for record in only(records, SessionOpened)]
    ahead = [one.clock_offset_ms for one in opened if isinstance(one, SessionOpened)]
    slack = timedelta(milliseconds=max(map(abs, ahead), default=0))
    slack += timedelta(seconds=profile.window_before)
    oldest = now - timedelta(seconds=profile.retention)
    began = _beginning(records)
    since = oldest if began is None else began - slack
    if since < oldest:
        return None
    until = now + timedelta(seconds=profile.accept_settle)
    rows: list[Prediction] = []
    try:
        for model in sorted(set(models)):
            rows += await client.history(model, since, until)
    except Unavailable:
        return None
    mine = orphans(rows, tally, [(since, until)], 0.0, foreign)
    return list({orphan.prediction: orphan for orphan in mine}.values())


def told(found: Sequence[Orphan]) -> str:
    """The warning that names them."""
    sure = [orphan for orphan in found if orphan.sure]
    rest = [orphan for orphan in found if not orphan.sure]
    others = (
        f"{len(rest)} predictions from the time of this shard, up to "
        f"{_cost_and_ids(rest)}, may be those of the run's other shards, whose folders "
        "are not here."
    )
    if not sure:
        return f"the account's history has {others}"
    text = (
        f"the account's history has {len(sure)} predictions from the time of this run "
        f"that it does not know, up to {_cost_and_ids(sure)}. Another run or program "
        "may use this key; else one of them was lost."
    )
    return f"{text} Another {others}" if rest else text


def _cost_and_ids(found: Sequence[Orphan]) -> str:
    cost = sum(orphan.cost for orphan in found)
    ids = ", ".join(orphan.prediction for orphan in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{dollars(cost)}: {ids}{more}"


def _beginning(records: Sequence[Record]) -> datetime | None:
    """When the run began; None if the copy does not go back so far."""
    if not records or not isinstance(records[0].event, SessionOpened):
        return None
    return min((at for record in records if (at := when(record.at))), default=None)


class Auditor:
    """Warns at the start of what earlier sessions lost, at the end of this one's."""

    def __init__(
        self,
        recorder: Recorder,
        client: Client,
        profile: Profile,
        records: Sequence[Record],
        foreign: Callable[[], Foreign] = lambda: nobodys,
    ) -> None:
        self._recorder = recorder
        self._client = client
        self._profile = profile
        self._records = records
        self._foreign = foreign
        self._began = self._now()

    async def whole(
        self, models: Iterable[str], stop: Callable[[str, str], None]
    ) -> None:
        """Look at everything; nothing may be bought unless all of it is known.

        For a state file that a person took as it is: it may lack purchases.
        """
        run, tally = self._recorder.folder.name, self._recorder.tally
        found = await audit_whole(
            self._client, tally, self._records, models, self._profile, self._foreign()
        )
        why = "Nothing is bought: the state file was edited or is an older copy, and "
        if found is None:
            stop(
                "state",
                f"{why}the account's history, which may show more, cannot be read "
                "back to its beginning. Run again later; or look at the account "
                f"yourself, then: batchgen state {run} accept-rollback --offline",
            )
        elif found:
            stop(
                "state",
                f"{why}{told(found)}\nTo go on without them: batchgen state {run} "
                "accept-rollback",
            )

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
        foreign = self._foreign()
        found = await audit(self._client, tally, sessions, self._profile, foreign)
        if found:
            self._recorder.observer.notice(told(found))

    def _now(self) -> datetime:
        return self._client.clock.at_most()
