"""What one event says to a person, in one line. Pure: the clock is an argument."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, assert_never

from msgspec import Struct

from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    ClockJumped,
    CostSettled,
    ElementKnown,
    Event,
    Imported,
    MediaUploaded,
    OutputsMissing,
    OutputsMoved,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    Repaired,
    Resealed,
    SessionClosed,
    SessionOpened,
    TaskAbandoned,
    TaskPlanned,
)
from batchgen.money import Micros, dollars
from batchgen.report.summary import paid_attempts
from batchgen.state import LOST
from batchgen.tally import Tally
from batchgen.words import ordered

Level = Literal["frame", "problem", "outcome", "detail"]
"""Start and end of a session; what went wrong; what came of it; everything else."""


class Line(Struct, frozen=True):
    """A word that says what kind of thing happened, and the thing."""

    word: str
    text: str
    level: Level

    def __str__(self) -> str:
        return f"{self.word} {self.text}"


class Narrator:
    """Turns events into lines; remembers only what a later line needs.

    Args:
        run: the run's name, for the first line.
        cost: what this session would buy, for the first line.
    """

    def __init__(self, run: str = "", cost: Micros | None = None) -> None:
        self._run = run
        self._cost = cost
        self._accepted: dict[str, datetime] = {}
        self._failed: dict[str, str] = {}
        self._told: tuple[Event | None, Line | None] = (None, None)

    def tell(
        self, event: Event, tally: Tally, now: Callable[[], datetime]
    ) -> Line | None:
        """The line of an event that was just applied; None if it has none.

        Several observers may ask for the line of one event.
        """
        if event is not self._told[0]:
            self._told = (event, self._line(event, tally, now))
        return self._told[1]

    def _line(  # noqa: C901, PLR0911, PLR0912 - one row for each event
        self, event: Event, tally: Tally, now: Callable[[], datetime]
    ) -> Line | None:
        match event:
            case SessionOpened():
                return self._start(event, tally, now())
            case SessionClosed():
                return _end(event, tally)
            case AttemptStarted():
                return self._attempt(event, tally)
            case AttemptAccepted():
                return self._accept(event, tally, now())
            case AttemptRefused():
                text = f"{_slug(event.task, tally)} {event.kind}: {event.message}"
                return Line("refused", text, "detail")
            case AttemptNotSent():
                text = f"{_slug(event.task, tally)} {event.error}"
                return Line("not sent", text, "detail")
            case AttemptUncertain():
                return _doubt(event, tally)
            case AttemptAbsent():
                text = f"{_slug(event.task, tally)} never reached the service"
                return Line("absent", text, "outcome")
            case PredictionFailed():
                return self._fail(event, tally)
            case OutputsSaved():
                return self._done(event, tally, now())
            case OutputsMissing():
                names = ", ".join(event.names)
                text = f"{_slug(event.task, tally)} {names}: fetching again, free"
                return Line("MISSING", text, "problem")
            case TaskAbandoned():
                return self._abandon(event, tally)
            case Repaired():
                text = f"the state file: {event.bytes} torn bytes kept in {event.kept}"
                return Line("repaired", text, "problem")
            case Resealed():
                text = f"the state file: {event.what} was accepted by {event.by}"
                return Line("resealed", text, "problem")
            case Imported():
                text = f"{event.accepted} paid ids taken in from {event.source}"
                return Line("imported", text, "problem")
            case ClockJumped():
                text = f"by {event.ahead_ms / 1000:+,.0f} s; nothing depends on it"
                return Line("clock set", text, "detail")
            case MediaUploaded():
                return Line("uploaded", f"picture {event.ref[7:19]}", "detail")
            case ElementKnown():
                text = f"element {event.element_id}, made by an earlier run"
                return Line("known", text, "detail")
            case CostSettled():
                text = f"{_slug(event.task, tally)} costs {dollars(event.amount)}"
                return Line("billed", text, "detail")
            case TaskPlanned() | PredictionCompleted() | OutputsMoved():
                return None
            case _:
                assert_never(event)

    def _start(self, event: SessionOpened, tally: Tally, at: datetime) -> Line:
        done = tally.counts["done"]
        parts = [ordered(tally.total, len(tally.element_tasks))]
        if done:
            parts.append(f"{done:,} done already")
        if self._cost is not None:
            parts.append(dollars(self._cost))
        parts.append("no cap" if event.cap is None else f"cap {dollars(event.cap)}")
        if event.deadline:
            until = datetime.fromisoformat(event.deadline).astimezone(at.tzinfo)
            soon = until - at < timedelta(days=1)
            parts.append(f"until {until:%H:%M}" if soon else f"until {until:%F %H:%M}")
        parts.append(f"{event.concurrency:,} at a time")
        name = f"{self._run}: " if self._run else ""
        return Line("start", f"{name}{', '.join(parts)}", "frame")

    def _attempt(self, event: AttemptStarted, tally: Tally) -> Line:
        slug = _slug(event.task, tally)
        number = paid_attempts(tally.states[event.task])
        before = self._failed.pop(event.task, "")
        if before:
            return Line("RETRY", f"{slug} attempt {number}: {before}", "outcome")
        return Line("submit", f"{slug} attempt {number}", "detail")

    def _accept(self, event: AttemptAccepted, tally: Tally, at: datetime) -> Line:
        self._accepted[event.task] = at
        slug = _slug(event.task, tally)
        if event.via == "answer":
            return Line("accepted", f"{slug} {event.prediction}", "detail")
        where = "in the account's history" if event.via == "history" else "by a person"
        text = f"{slug} {where}: {event.prediction}, not bought again"
        return Line("found", text, "outcome")

    def _fail(self, event: PredictionFailed, tally: Tally) -> Line:
        code = f" error {event.code}" if event.code is not None else ""
        reason = f"{event.kind}{code}: {event.message.rstrip('.')}"
        self._failed[event.task] = reason
        return Line("broken", f"{_slug(event.task, tally)} {reason}", "detail")

    def _done(self, event: OutputsSaved, tally: Tally, at: datetime) -> Line:
        began = self._accepted.pop(event.task, None)
        self._failed.pop(event.task, None)
        ledger, number = tally.ledger, event.attempt
        paid = ledger.cost(event.task, number) - ledger.cost(event.task, number - 1)
        took = f" {(at - began).total_seconds():.0f}s" if began else ""
        count = f"{tally.counts['done']}/{tally.total}"
        text = f"{count} {_slug(event.task, tally)} {dollars(paid)}{took}"
        return Line("done", text, "outcome")

    def _abandon(self, event: TaskAbandoned, tally: Tally) -> Line:
        slug = _slug(event.task, tally)
        reason = self._failed.pop(
            event.task, f"{event.kind}: {event.message.rstrip('.')}"
        )
        match event.kind:
            case "moderation" | "invalid":
                what = "prompt" if event.kind == "moderation" else "request"
                text = f"rejected: {event.message}. Not retried; edit the {what}"
            case "provider" | "cancelled":
                text = f"{reason}, refund expected"
            case _ if event.kind in LOST:
                text = f"lost: {event.message}. Paid, and no longer to be fetched"
            case _:
                text = reason
        return Line("FAILED", f"{slug} {text}", "problem")


def alive(tally: Tally) -> Line:
    """A sign of life for a quiet night."""
    counts = tally.counts
    text = (
        f"{counts['done']}/{tally.total} done, {counts['rendering']} rendering, "
        f"{dollars(tally.ledger.spent)} spent"
    )
    return Line("alive", text, "outcome")


def _end(event: SessionClosed, tally: Tally) -> Line:
    counts = tally.counts
    parts = [f"{counts['done']}/{tally.total} done"]
    bad = ("failed", "rejected", "lost", "uncertain")
    parts += [f"{counts[name]:,} {name}" for name in bad if counts[name]]
    if tally.left:
        parts.append(f"{tally.left:,} left")
    cap = tally.ledger.cap
    of = "" if cap is None else f" of {dollars(cap)}"
    parts += [f"{dollars(event.spent)}{of}", f"exit {event.exit}"]
    return Line("end", ", ".join(parts), "frame")


def _doubt(event: AttemptUncertain, tally: Tally) -> Line:
    reserve = tally.states[event.task].attempts[event.attempt - 1].reserve
    error = event.error.rstrip(".")
    text = (
        f"{_slug(event.task, tally)} may have been bought: {error}. It counts as "
        f"{dollars(reserve)} spent; not bought again on its own"
    )
    return Line("UNCERTAIN", text, "problem")


def _slug(task: str, tally: Tally) -> str:
    planned = tally.states[task].planned
    return planned.slug if planned else task[:8]
