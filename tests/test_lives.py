"""A page of a journal taken in at once comes to what its events come to one by one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import JournalError
from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptNotSent,
    AttemptStarted,
    AttemptUncertain,
    ClockJumped,
    CostSettled,
    Event,
    MediaUploaded,
    Output,
    OutputsMissing,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    Resealed,
    SavedFile,
    SessionOpened,
    TaskAbandoned,
    TaskPlanned,
    Window,
)
from batchgen.records import Record, encode
from batchgen.replay import replay, scan
from batchgen.tally import Tally

TASKS = ("a" * 32, "b" * 32, "c" * 32)
WINDOW = Window(since="2026-10-01T12:00:00.000Z", until="2026-10-01T12:02:00.000Z")
REF = f"sha256:{'d' * 64}"
FILE = SavedFile(name="clip.mp4", bytes=9, sha256="f" * 64)
MADE = Output(kind="url", host="cdn.example", path="/clip.mp4")
ELEMENT = Output(kind="json", value={"element_id": 7})
AT = "2026-10-01T12:00:00.000Z"


def usual(task: str, attempt: int, money: int) -> list[Event]:
    """A clip's life as it nearly always is."""
    return [
        TaskPlanned(
            task=task, slug="s", labels={}, model="acme/video", input={"image": REF},
            take=1, price=money, seconds=5, output="s.mp4",
        ),
        AttemptStarted(task=task, attempt=attempt, reserve=money),
        AttemptAccepted(task=task, attempt=attempt, prediction=f"p{task[0]}{attempt}"),
        PredictionCompleted(task=task, attempt=attempt, outputs=(MADE,)),
        OutputsSaved(task=task, attempt=attempt, files=(FILE,)),
    ]  # fmt: skip


def unusual(task: str, attempt: int, money: int) -> list[Event]:
    """What may come between."""
    of: dict[str, Any] = {"task": task, "attempt": attempt}
    return [
        AttemptUncertain(**of, phase="no answer", error="cut", window=WINDOW),
        AttemptAbsent(**of, scans=2, window=WINDOW, by="me"),
        AttemptNotSent(**of, phase="connecting", error="refused"),
        PredictionCompleted(**of, outputs=(ELEMENT,), flagged=True, cost=money),
        PredictionFailed(**of, kind="provider", message="no"),
        CostSettled(**of, amount=money * 2),
        TaskAbandoned(task=task, kind="lost", message="gone"),
        OutputsMissing(task=task, names=("clip.mp4",)),
        ClockJumped(ahead_ms=money),
        MediaUploaded(ref=REF, url="https://cdn.example/1", until=AT),
        Resealed(what="edited", by="me"),
        SessionOpened(
            tool="t", pid=1, host="h", cap=None, concurrency=1, manifest="m",
            endpoint="sandbox", continues=money % 2 == 0,
        ),
    ]  # fmt: skip


@st.composite
def wishes(draw: st.DrawFn) -> Event:
    task = draw(st.sampled_from(TASKS))
    attempt = draw(st.sampled_from((1, 1, 1, 2, 3)))
    money = draw(st.integers(0, 300))
    rare = draw(st.integers(0, 9)) == 0
    return draw(st.sampled_from((unusual if rare else usual)(task, attempt, money)))


def story(wanted: list[Event]) -> list[Event]:
    """Those of them that may happen, in order."""
    tally, told = Tally(), []
    for event in wanted:
        try:
            tally.apply(event)
        except JournalError:
            continue
        told.append(event)
    return told


def journal(events: list[Event]) -> bytes:
    return b"".join(encode(Record(n, AT, event)) for n, event in enumerate(events, 1))


def one_by_one(events: list[Event]) -> Tally:
    tally = Tally()
    for event in events:
        tally.apply(event)
    return tally


def by_pages(data: bytes, sizes: int, *, asked: bool = False) -> Tally:
    """Heard in pages that are about so long."""
    tally = Tally()
    assert not asked or tally.counts["done"] == 0
    scan(lambda length, offset: data[offset : offset + min(length, sizes)], tally.hear)
    return tally


def all_of(tally: Tally) -> dict[str, object]:
    found = {**vars(tally), **vars(tally.ledger)}
    for name in ("ledger", "_counts", "_equal", "_planned"):  # the last spare work
        del found[name]
    return {**found, "order": list(tally.states), "counts": tally.counts}


@settings(max_examples=300, deadline=None)
@given(st.lists(wishes(), max_size=60), st.sampled_from((300, 2_000, 1 << 17)))
def test_pages_come_to_what_their_events_come_to(
    wanted: list[Event], sizes: int
) -> None:
    told = story(wanted)
    expected = all_of(one_by_one(told))
    assert all_of(by_pages(journal(told), sizes)) == expected
    assert all_of(by_pages(journal(told), sizes, asked=True)) == expected


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_usual_life_is_the_same_wherever_a_page_ends(cut: int) -> None:
    lives = [usual(task, 1, 100) for task in TASKS]
    whole = [event for life in lives for event in life[:cut]]
    whole += [event for step in zip(*lives, strict=True) for event in step[cut:]]
    told = story(whole)
    data = journal(told)
    for sizes in range(200, len(data), 97):
        assert all_of(by_pages(data, sizes)) == all_of(one_by_one(told))


def test_every_story_that_cannot_have_happened_is_refused_with_its_number() -> None:
    life = usual(TASKS[0], 1, 100)
    for missing in range(1, 4):
        wrong = life[:missing] + life[missing + 1 :]
        with pytest.raises(JournalError, match=f"record {missing + 1}: "):
            by_pages(journal(wrong), 1 << 17)
        with pytest.raises(JournalError, match=f"record {missing + 1}: "):
            Tally.of(replay(journal(wrong)).records)
    for event in life[1:]:
        with pytest.raises(JournalError, match=r"record 6: "):
            by_pages(journal([*life, event]), 1 << 17)
    for number, event in enumerate(usual(TASKS[0], 2, 100)[1:], 1):
        wrong = [*life[:number], event, *life[number + 1 :]]
        with pytest.raises(JournalError, match=f"record {number + 1}: "):
            by_pages(journal(wrong), 1 << 17)


def test_what_many_tasks_have_alike_is_kept_once() -> None:
    data = journal([usual(task, 1, 100)[0] for task in TASKS])
    first, *others = by_pages(data, 300).states.values()
    assert first.planned
    for other in others:
        assert other.planned
        assert other.planned.model is first.planned.model
        assert other.planned.labels is first.planned.labels
