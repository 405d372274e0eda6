"""How long a plan will take, by its pace and by what clips took before. Pure."""

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from math import ceil

from msgspec import Struct

from batchgen.events import (
    AttemptAccepted,
    PredictionCompleted,
    SessionOpened,
    TaskPlanned,
)
from batchgen.records import Record

_RECENT = 500  # clips; the service's pace of last month says little of tonight


class Forecast(Struct, frozen=True):
    """What a plan may start and keep in flight, and how long one clip takes.

    Attributes:
        concurrency: clips in flight.
        starts: of clips in so many `seconds`; None for no limit.
        render_s: seconds from a clip's acceptance to its end.
        measured: whether `render_s` was seen, not guessed.
    """

    concurrency: int
    starts: int | None
    seconds: float
    render_s: float
    measured: bool = False

    def span(self, clips: int) -> float:
        """Seconds until the last of so many clips is rendered."""
        return self.until_last_start(clips) + self.render_s if clips else 0.0

    def until_last_start(self, clips: int) -> float:
        """Seconds until the last one starts: by slots or by rate, the slower."""
        rounds = ceil(clips / self.concurrency) - 1
        by_rate = (clips - 1) / self.starts * self.seconds if self.starts else 0.0
        return max(rounds * self.render_s, by_rate, 0.0)

    def started_within(self, seconds: float) -> int:
        """How many clips start in that time."""
        if seconds <= 0:
            return 0
        by_slots = (int(seconds / self.render_s) + 1) * self.concurrency
        if not self.starts:
            return by_slots
        return min(by_slots, int(seconds / self.seconds * self.starts) + 1)


def render_time(records: Iterable[Record], model: str) -> float | None:
    """The usual seconds of a model's clips, as a journal saw them; None if never."""
    mine = (seconds for bought, seconds in render_times(records) if bought == model)
    took = deque(mine, maxlen=_RECENT)
    if not took:
        return None
    from statistics import median  # noqa: PLC0415 - only where a run has timings

    return median(took)


def render_times(records: Iterable[Record]) -> Iterator[tuple[str, float]]:
    """Model and seconds of each clip that one session saw from its start to its end."""
    models: dict[str, str] = {}
    accepted: dict[tuple[str, int], datetime] = {}
    for record in records:
        match record.event:
            case SessionOpened():
                accepted.clear()
            case TaskPlanned(task=task, model=model):
                models[task] = model
            case AttemptAccepted(task=task, attempt=number, via="answer"):
                accepted[task, number] = datetime.fromisoformat(record.at)
            case PredictionCompleted(task=task, attempt=number) if task in models:
                began = accepted.pop((task, number), None)
                if began is not None:
                    spent = datetime.fromisoformat(record.at) - began
                    yield models[task], max(0.0, spent.total_seconds())
            case _:
                pass
