"""What a session inherits: the day that stands in names."""

from datetime import datetime

from batchgen.events import SessionClosed, SessionOpened, TaskPlanned
from batchgen.records import Record
from batchgen.starts import days_of

OLD, NEW = "a" * 32, "b" * 32


def opened(day: str = "") -> SessionOpened:
    return SessionOpened(
        tool="batchgen 0.1.0",
        pid=1,
        host="here",
        cap=None,
        concurrency=1,
        manifest="",
        endpoint="https://api.example",
        day=day,
    )


def planned(task: str, slug: str = "boat") -> TaskPlanned:
    return TaskPlanned(
        task=task,
        slug=slug,
        labels={},
        model="m",
        input={},
        take=1,
        price=1,
        seconds=5,
        output="boat.mp4",
    )


def record(at: str, event: SessionOpened | SessionClosed | TaskPlanned) -> Record:
    return Record(1, at, event)


def closed(code: int) -> SessionClosed:
    return SessionClosed(exit=code, reason="done", spent=0, committed=0)


def test_without_a_state_the_day_is_that_of_greenwich() -> None:
    late = datetime.fromisoformat("2026-11-23T00:30:00+01:00")
    assert days_of((), late).of(NEW) == "2026-11-22"


def test_a_task_has_the_day_of_the_start_that_planned_it_first() -> None:
    records = (
        record("2026-11-22T23:50:00Z", opened("2026-11-22")),
        record("2026-11-23T00:10:00Z", planned(OLD)),  # after midnight, same start
        record("2026-11-23T04:00:00Z", closed(0)),
        record("2026-11-24T23:00:00Z", opened("2026-11-24")),
        record("2026-11-24T23:00:01Z", planned(OLD, "renamed")),
        record("2026-11-24T23:01:00Z", closed(0)),
    )
    days = days_of(records, datetime.fromisoformat("2026-11-25T09:00:00Z"))
    assert (days.of(OLD), days.of(NEW)) == ("2026-11-22", "2026-11-25")


def test_a_start_that_goes_on_after_a_crash_keeps_its_day() -> None:
    records = (
        record("2026-11-22T22:00:00Z", opened("2026-11-22")),
        record("2026-11-22T23:59:00Z", planned(OLD)),
    )
    crashed = days_of(records, datetime.fromisoformat("2026-11-23T00:10:00Z"))
    assert crashed.of(NEW) == "2026-11-22"
    ended = (*records, record("2026-11-23T00:00:00Z", closed(0)))
    other = days_of(ended, datetime.fromisoformat("2026-11-23T00:10:00Z"))
    assert other.of(NEW) == "2026-11-23"


def test_a_state_file_of_before_tells_the_day_by_its_times() -> None:
    records = (
        record("2026-11-22T23:50:00Z", opened()),
        record("2026-11-23T00:10:00Z", planned(OLD)),
    )
    days = days_of(records, datetime.fromisoformat("2026-11-26T09:00:00Z"))
    assert days.of(OLD) == "2026-11-22"
