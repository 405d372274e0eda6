"""Until when a session buys."""

from datetime import UTC, datetime, timedelta

import pytest

from batchgen.deadline import BadTime, read
from batchgen.events import Event, SessionClosed, SessionOpened
from batchgen.records import Record
from batchgen.starts import continued, deadline_of
from batchgen.world import iso

BERLIN = "06:30 Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}+00:00")


@pytest.mark.parametrize(
    ("text", "start", "meant"),
    [
        (BERLIN, "11-22T01:00", "11-22T05:30"),
        (BERLIN, "11-22T05:29", "11-22T05:30"),
        (BERLIN, "11-22T05:30", "11-23T05:30"),
        (BERLIN, "11-22T23:30", "11-23T05:30"),  # tomorrow already in Berlin
        ("6:30 UTC", "11-22T20:00", "11-23T06:30"),
        (BERLIN, "10-24T20:00", "10-25T05:30"),  # the night summer time ends
        (BERLIN, "03-28T20:00", "03-29T04:30"),  # the night it begins
        ("02:30 Europe/Berlin", "03-28T20:00", "03-29T01:30"),  # an hour that is not
        ("23:00 America/New_York", "11-22T01:00", "11-22T04:00"),
        ("8h", "11-22T20:00", "11-23T04:00"),
        ("90s", "11-22T20:00", "11-22T20:01:30"),
        ("2026-11-23T06:30:00+01:00", "11-22T20:00", "11-23T05:30"),
        ("2026-11-23T06:30Z", "12-31T20:00", "11-23T06:30"),
    ],
)
def test_what_a_deadline_means(text: str, start: str, meant: str) -> None:
    assert read(text).after(utc(start)) == utc(meant)


@pytest.mark.parametrize("text", ["", "8", "24:00", "06:60", "0s", "8 h", "tomorrow"])
def test_what_is_no_deadline(text: str) -> None:
    with pytest.raises(BadTime) as caught:
        read(text)
    assert "06:30" in caught.value.label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("06:30 Europe/Berlim", "did you mean `Europe/Berlin`?"),
        ("06:30 berlin", "did you mean `Europe/Berlin`?"),
        ("06:30 New York", "write"),
        ("06:30 ../../etc/passwd", "write a name such as"),
        ("2026-11-23T06:30", "write 2026-11-23T06:30:00+01:00, or Z for UTC"),
        ("2026-13-01T06:30Z", "write"),
    ],
)
def test_a_wrong_deadline_is_told_the_right_one(text: str, label: str) -> None:
    with pytest.raises(BadTime) as caught:
        read(text)
    assert caught.value.label.startswith(label)


def test_without_a_zone_it_is_the_machines_own_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import time  # noqa: PLC0415 - for the zone of this process alone

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert read("06:30").after(utc("11-22T20:00")) == utc("11-22T21:30")
    finally:
        monkeypatch.undo()
        time.tzset()


START = utc("11-22T22:00")
OPENED = SessionOpened(
    tool="t",
    pid=1,
    host="h",
    cap=None,
    concurrency=1,
    manifest="m",
    endpoint="e",
    deadline=iso(utc("11-23T05:30")),
    deadline_text=BERLIN,
)


def told(*events: Event, at: datetime = START) -> list[Record]:
    return [Record(n, iso(at), event) for n, event in enumerate(events, 1)]


def ended(code: int) -> SessionClosed:
    return SessionClosed(exit=code, reason="r", spent=0, committed=0)


@pytest.mark.parametrize("code", [4, 8, 129, 143])
def test_what_the_world_cut_short_goes_on_as_the_same_start(code: int) -> None:
    records = told(OPENED, ended(code))
    assert continued(records, START + timedelta(hours=12)) == OPENED
    assert continued(records, START + timedelta(hours=12, seconds=1)) is None


def test_so_does_a_crash() -> None:
    assert continued(told(OPENED), START + timedelta(hours=11)) == OPENED
    assert continued(told(OPENED, ended(3), OPENED), START) == OPENED


@pytest.mark.parametrize("code", [0, 1, 3, 6, 7, 70, 130])
def test_what_came_to_its_own_end_does_not(code: int) -> None:
    assert continued(told(OPENED, ended(code)), START) is None
    assert continued([], START) is None


def test_a_restart_keeps_the_moment_and_an_edit_of_it_does_not() -> None:
    late = utc("11-23T06:00")
    assert deadline_of(read(BERLIN), told(OPENED), late) == utc("11-23T05:30")
    assert deadline_of(read("8h"), told(OPENED), late) == utc("11-23T14:00")
    own_end = told(OPENED, ended(0))
    assert deadline_of(read(BERLIN), own_end, late) == utc("11-24T05:30")
    assert late.tzinfo is UTC
