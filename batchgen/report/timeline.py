"""When things happened, from the stamps of the journal. Pure.

Times are seconds of running: what lies between two sessions is left out, so that a
run of three nights reads as one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct, field

from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    OutputsSaved,
    PredictionCompleted,
    SessionOpened,
)
from batchgen.ledger import Ledger
from batchgen.money import Micros
from batchgen.records import Record


class Times(Struct):
    """One clip's last attempt, in seconds of running; None has not happened.

    `inference` is what the service says of its own work, in seconds. `found` means
    that we learned of it later, so that nobody knows when the work began.
    """

    started: float
    accepted: float | None = None
    completed: float | None = None
    saved: float | None = None
    inference: float | None = None
    found: bool = False

    @property
    def render(self) -> float | None:
        """Seconds of work at the service, never more than we waited."""
        if self.accepted is None or self.completed is None or self.found:
            return None
        waited = self.completed - self.accepted
        return waited if self.inference is None else min(waited, self.inference)

    @property
    def queue(self) -> float | None:
        """Seconds from the submission to the beginning of that work."""
        if self.completed is None or self.render is None:
            return None
        return self.completed - self.render - self.started

    @property
    def download(self) -> float | None:
        """Seconds until the file was whole."""
        if self.completed is None or self.saved is None:
            return None
        return self.saved - self.completed


class Timeline(Struct):
    """All clips' times, and the money over time.

    Attributes:
        clips: task id -> times.
        money: (second, spent, committed) after each change.
        finished: task id -> when its file was whole, seconds since 1970.
        length: seconds of running.
        sessions: how often the run was taken up.
    """

    clips: dict[str, Times] = field(default_factory=dict)
    money: list[tuple[float, Micros, Micros]] = field(default_factory=list)
    finished: dict[str, float] = field(default_factory=dict)
    length: float = 0.0
    sessions: int = 0


def timeline(records: Iterable[Record]) -> Timeline:
    """The story of a journal with its times."""
    found, ledger = Timeline(), Ledger()
    before = ledger.spent, ledger.committed
    begin = last = base = 0.0
    for record in records:
        at = datetime.fromisoformat(record.at).timestamp()
        if isinstance(record.event, SessionOpened):
            base += max(last - begin, 0.0)
            begin = at
            found.sessions += 1
        last = max(at, begin)
        second = base + last - begin
        _note(found, record, second, at)
        ledger.apply(record.event)
        after = ledger.spent, ledger.committed
        if after != before:
            found.money.append((second, *after))
            before = after
        found.length = second
    return found


def _note(found: Timeline, record: Record, second: float, at: float) -> None:
    match record.event:
        case AttemptStarted(task=task):
            found.clips[task] = Times(second)
        case AttemptAccepted(task=task, via=via) if task in found.clips:
            found.clips[task].accepted = second
            found.clips[task].found = via != "answer"
        case PredictionCompleted(task=task, inference_ms=spent) if task in found.clips:
            found.clips[task].completed = second
            found.clips[task].inference = None if spent is None else spent / 1000
        case OutputsSaved(task=task) if task in found.clips:
            found.clips[task].saved = second
            found.finished[task] = at
        case _:
            pass


def in_flight(times: Iterable[Times], end: float) -> list[tuple[float, int]]:
    """How many clips were in the making, after each change."""
    changes = [
        change
        for one in times
        if one.accepted is not None
        for change in (
            (one.accepted, 1),
            (end if one.completed is None else one.completed, -1),
        )
    ]
    count, points = 0, [(0.0, 0)]
    for second, step in sorted(changes):
        count += step
        points.append((second, count))
    return points


def thinned(
    points: Sequence[tuple[float, float]], most: int
) -> list[tuple[float, float]]:
    """The highest point of each of `most` equal spans, and the last point of all."""
    if len(points) <= most:
        return list(points)
    seconds = [second for second, _ in points]
    span = (seconds[-1] - seconds[0]) / most or 1.0
    kept = [points[0]]
    for number in range(most):
        low = bisect_right(seconds, seconds[0] + number * span)
        high = bisect_right(seconds, seconds[0] + (number + 1) * span)
        if high > low:
            kept.append(max(points[low:high], key=lambda point: point[1]))
    return [*kept, points[-1]]


def median(values: Sequence[float]) -> float:
    """The middle one; 0 without values."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0
