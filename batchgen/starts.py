"""What one session inherits from the one before: a restart is the same start. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from batchgen.deadline import Deadline
from batchgen.events import SessionClosed, SessionOpened
from batchgen.records import Record

_SOON = timedelta(hours=12)
_CUT_SHORT = frozenset({4, 8, 129, 143})  # exit codes after which a restart goes on


def continued(records: Sequence[Record], now: datetime) -> SessionOpened | None:
    """The session that one starting now carries on, if it is the same start.

    That is the last one, if it crashed or was cut short by the outside world, not
    more than twelve hours ago.
    """
    sessions = [
        record.event
        for record in records
        if isinstance(record.event, SessionOpened | SessionClosed)
    ]
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
