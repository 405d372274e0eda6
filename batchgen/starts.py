"""What one session inherits from the one before: a restart is the same start. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from batchgen.deadline import Deadline
from batchgen.events import SessionClosed, SessionOpened, TaskPlanned
from batchgen.history import only
from batchgen.records import Record
from batchgen.task import Days

_SOON = timedelta(hours=12)
_CUT_SHORT = frozenset({4, 8, 129, 143})  # exit codes after which a restart goes on


def continued(records: Sequence[Record], now: datetime) -> SessionOpened | None:
    """The session that one starting now carries on, if it is the same start.

    That is the last one, if it crashed or was cut short by the outside world, not
    more than twelve hours ago.
    """
    sessions = [one.event for one in only(records, SessionOpened, SessionClosed)]
    opened = next((s for s in reversed(sessions) if isinstance(s, SessionOpened)), None)
    if opened is None:
        return None
    last = sessions[-1]
    if isinstance(last, SessionClosed) and last.exit not in _CUT_SHORT:
        return None
    ended = datetime.fromisoformat(records[-1].at)
    return opened if now - ended <= _SOON else None


def deadline_of(wanted: Deadline, records: Sequence[Record], now: datetime) -> datetime:
    """When a session that starts now buys nothing more.

    A start that is carried on keeps its moment, unless the manifest says another.
    """
    before = continued(records, now)
    if before and before.deadline and before.deadline_text == wanted.text:
        return datetime.fromisoformat(before.deadline)
    return wanted.after(now)


def days_of(records: Sequence[Record], now: datetime) -> Days:
    """What `{{ date }}` is: the day of the start that planned a task first, in UTC.

    UTC, so that neither a journey nor summer time renames a file; the day of the
    start, so that a night's clips stay together.
    """
    before = continued(records, now)
    today = (before.day if before else "") or now.astimezone(UTC).date().isoformat()
    planned: dict[str, str] = {}
    day = ""
    for record in only(records, SessionOpened, TaskPlanned):
        match record.event:
            case SessionOpened():
                day = record.event.day or record.at[:10]
            case TaskPlanned(task=task):
                planned.setdefault(task, day or record.at[:10])
            case _:
                pass
    return Days(today, planned)
