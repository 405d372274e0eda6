"""Settles attempts of unknown fate against the API's own history.

The decisions are pure. The scan only reads, and whatever it cannot prove it calls
inconclusive.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from batchgen.answers import Prediction, when
from batchgen.errors import Unavailable
from batchgen.profile import Profile

_MOST_PASSES = 4

History = Callable[[str, datetime, datetime], Awaitable[list[Prediction]]]


@dataclass(frozen=True, slots=True)
class Doubt:
    """An attempt of unknown fate.

    `fingerprint` is equal for equal request bodies: doubts that share one are
    interchangeable. `since` and `until` are when it can have left us, by the
    service's clock. One that was `taken` is never absent.
    """

    task: str
    attempt: int
    model: str
    fingerprint: str
    since: datetime
    until: datetime
    taken: bool = False

    def settled_at(self, profile: Profile) -> datetime:
        """From this moment on an empty history proves something."""
        wait = profile.accept_settle + profile.list_settle
        return max(self.since, self.until) + timedelta(seconds=wait)


@dataclass(frozen=True, slots=True)
class Adoption:
    """This prediction is that attempt's."""

    doubt: Doubt
    prediction: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look at the history says of every doubt.

    `missing` was not found where its inputs would have shown; `unclear` cannot be
    told, because the history hides inputs or could not be read whole.
    """

    adopted: tuple[Adoption, ...] = ()
    missing: tuple[Doubt, ...] = ()
    unclear: tuple[Doubt, ...] = ()


def judge(
    doubts: Sequence[Doubt],
    listed: Iterable[Prediction],
    owned: AbstractSet[str],
    fingerprint: Callable[[Prediction], str | None],
    profile: Profile,
) -> Verdict:
    """Match doubts to listed predictions, oldest to oldest inside equal bodies.

    Args:
        doubts: open questions, in the order in which they left us.
        listed: complete history over every doubt's window.
        owned: predictions that belong to an attempt already; never candidates.
        fingerprint: of a listed prediction; None where its inputs are hidden.
        profile: how far the service's dates may be off.
    """
    candidates = _not_owned(listed, owned)
    rows = sorted(candidates.values(), key=_age)
    adopted = sorted(
        _adoptions(doubts, rows, fingerprint, profile),
        key=lambda found: (found.doubt.since, doubts.index(found.doubt)),
    )
    taken = {found.prediction for found in adopted}
    settled = [found.doubt for found in adopted]
    free = [row for row in rows if row.id not in taken]
    missing: list[Doubt] = []
    unclear: list[Doubt] = []
    for doubt in doubts:
        if doubt not in settled:
            close = (row for row in free if near(row, doubt, profile))
            hidden = any(fingerprint(row) is None for row in close)
            (unclear if hidden else missing).append(doubt)
    return Verdict(tuple(adopted), tuple(missing), tuple(unclear))


def _not_owned(
    listed: Iterable[Prediction], owned: AbstractSet[str]
) -> dict[str, Prediction]:
    return {row.id: row for row in listed if row.id not in owned}


def alone(
    unclear: Sequence[Doubt],
    open_models: Sequence[str],
    listed: Iterable[Prediction],
    owned: AbstractSet[str],
    profile: Profile,
    now: datetime,
) -> Iterator[Adoption]:
    """The one doubt of a model with the one prediction that can be its.

    Nothing shows that they belong together but that there is no other: it takes a
    second witness to adopt.

    Args:
        unclear: doubts whose candidates hide their inputs.
        open_models: of every attempt of unknown fate or under way; one each.
        listed: complete history over every doubt's window.
        owned: predictions that belong to an attempt already.
        profile: how far the service's dates may be off, and how late it may be.
        now: by the service's clock; before the window has ended more may come.
    """
    candidates = _not_owned(listed, owned)
    for doubt in unclear:
        close = [row for row in candidates.values() if near(row, doubt, profile)]
        if len(close) != 1 or open_models.count(doubt.model) != 1:
            continue
        (row,) = close
        known = row.model == doubt.model and when(row.created_at) is not None
        if known and row.inputs is None and now >= doubt.settled_at(profile):
            yield Adoption(doubt, row.id, "billing")


def _adoptions(
    doubts: Sequence[Doubt],
    rows: Sequence[Prediction],
    fingerprint: Callable[[Prediction], str | None],
    profile: Profile,
) -> Iterator[Adoption]:
    """As many one-to-one matches as there can be.

    Each row, oldest first, goes to the equal doubt whose window ends first: a wide
    window never takes the only row of a narrow one.
    """
    waiting = sorted(doubts, key=lambda doubt: (doubt.until, doubt.since))
    for row in rows:
        body = fingerprint(row)
        equal = [
            doubt
            for doubt in waiting
            if doubt.fingerprint == body and near(row, doubt, profile)
        ]
        if equal:
            waiting.remove(equal[0])
            yield Adoption(equal[0], row.id, _note(rows, doubts, body, fingerprint))


def _note(
    rows: Sequence[Prediction],
    doubts: Sequence[Doubt],
    body: str | None,
    fingerprint: Callable[[Prediction], str | None],
) -> str:
    """More candidates than doubts: somebody else uses this key, or lost some before."""
    candidates = sum(fingerprint(row) == body for row in rows)
    return "ambiguous" if candidates > _count(doubts, body) else ""


def _count(doubts: Sequence[Doubt], body: str | None) -> int:
    return sum(doubt.fingerprint == body for doubt in doubts)


def _age(row: Prediction) -> tuple[bool, datetime]:
    """Oldest first; what has no date comes last."""
    created = when(row.created_at)
    return (created is None, created or datetime.max.replace(tzinfo=UTC))


def near(row: Prediction, doubt: Doubt, profile: Profile) -> bool:
    """Whether a listed prediction can be that attempt's by its model and time."""
    created = when(row.created_at)
    if row.model and row.model != doubt.model:
        return False
    if created is None:
        return True  # undated: it cannot be ruled out
    early, late = sorted((doubt.since, doubt.until))
    first = early - timedelta(seconds=profile.window_before)
    last = late + timedelta(seconds=profile.accept_settle)
    return first <= created <= last


async def scan(
    history: History, doubts: Sequence[Doubt], profile: Profile
) -> list[Prediction] | None:
    """Everything of the doubts' models in their windows; None when inconclusive.

    Pages drift while they are read, so a scan is repeated until two passes agree.
    """
    spans = _spans(doubts, profile)
    before: set[str] | None = None
    for _ in range(_MOST_PASSES):
        rows: list[Prediction] = []
        try:
            for model, (since, until) in spans.items():
                rows += await history(model, since, until)
        except Unavailable:
            return None
        found = {row.id for row in rows}
        if found == before:
            return rows
        before = found
    return None


def _spans(
    doubts: Sequence[Doubt], profile: Profile
) -> dict[str, tuple[datetime, datetime]]:
    spans: dict[str, tuple[datetime, datetime]] = {}
    for doubt in doubts:
        since = doubt.since - timedelta(seconds=profile.window_before)
        until = doubt.until + timedelta(seconds=profile.accept_settle)
        first, last = spans.get(doubt.model, (since, until))
        spans[doubt.model] = (min(first, since), max(last, until))
    return spans
