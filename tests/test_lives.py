"""Pages of a journal taken in at once come to what their events come to one by one."""

from collections.abc import Callable
from contextlib import nullcontext
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import JournalDamaged, JournalError
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
from batchgen.replay import Page, replay, scan
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


@st.composite
def nights(draw: st.DrawFn) -> list[Event]:
    """Many clips, each of which nearly always goes on as it should."""
    steps = dict.fromkeys((f"{number:032x}" for number in range(8)), 0)
    told = []
    for task in draw(st.lists(st.sampled_from(list(steps)), max_size=80)):
        attempt = max(1, -(-steps[task] // 5))
        if steps[task] % 5 == 2 and draw(st.integers(0, 3)) == 0:
            told.append(unusual(task, attempt, 100)[0])  # a doubt, and an answer later
        elif draw(st.integers(0, 14)) == 0:
            told.append(draw(st.sampled_from(unusual(task, attempt, steps[task]))))
            continue
        told.append(usual(task, steps[task] // 5 + 1, 100)[steps[task] % 5])
        steps[task] += 1
    return told


@st.composite
def impossible(draw: st.DrawFn) -> Event:
    """Of a clip of a night, at a time when it can hardly be."""
    task = f"{draw(st.integers(0, 7)):032x}"
    events = usual(task, draw(st.integers(1, 2)), 100)[1:]
    return draw(st.sampled_from([*events, *unusual(task, 1, 100)]))


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


def by_pages(
    data: bytes, sizes: int, *, at_once: int = 1, asked: bool = False
) -> Tally:
    """Heard in pages that are about so long, and so many of them at once."""
    tally = Tally()
    assert not asked or (tally.counts["done"], tally.owned) == (0, set())
    pages: list[Page] = []
    scan(
        lambda length, offset: data[offset : offset + min(length, sizes)], pages.extend
    )
    for first in range(0, len(pages), at_once):
        tally.hear(pages[first : first + at_once])
    return tally


def all_of(tally: Tally) -> dict[str, object]:
    found = {**vars(tally), **vars(tally.ledger)}
    for name in ("ledger", "_counts", "_owned", "_equal", "_planned"):
        del found[name]  # they spare work
    return {
        **found,
        "order": list(tally.states),
        "counts": tally.counts,
        "owned": tally.owned,
    }


SIZES = st.sampled_from((300, 2_000, 1 << 17))
AT_ONCE = st.sampled_from((1, 2, 7, 1_000))


@settings(max_examples=300, deadline=None)
@given(st.lists(wishes(), max_size=60) | nights(), SIZES, AT_ONCE)
def test_pages_come_to_what_their_events_come_to(
    wanted: list[Event], sizes: int, at_once: int
) -> None:
    told = story(wanted)
    data, expected = journal(told), all_of(one_by_one(told))
    assert all_of(by_pages(data, sizes, at_once=at_once)) == expected
    assert all_of(by_pages(data, sizes, at_once=at_once, asked=True)) == expected


@settings(max_examples=300, deadline=None)
@given(
    nights(),
    st.lists(wishes() | impossible(), max_size=3),
    SIZES,
    AT_ONCE,
    st.randoms(),
)
def test_what_cannot_have_happened_is_refused_at_the_record_where_it_stands(
    wanted: list[Event], odd: list[Event], sizes: int, at_once: int, chance: Random
) -> None:
    told = story(wanted)
    for event in odd:
        told.insert(chance.randint(0, len(told)), event)
    data = journal(told)
    expected = refusal(lambda: Tally.of(replay(data).records))
    assert refusal(lambda: by_pages(data, sizes, at_once=at_once)) == expected


@pytest.mark.parametrize("cut", range(6))
def test_a_life_goes_on_after_anything_unusual_as_it_does_one_by_one(cut: int) -> None:
    life = usual(TASKS[0], 1, 100)
    for event in unusual(TASKS[0], 1, 100):
        rest = [life[0], *life[cut:], *usual(TASKS[0], 2, 90)]
        told = story([*life[:cut], event, *rest])
        for sizes, at_once in ((200, 1), (200, 2), (200, 3), (1 << 17, 1)):
            found = by_pages(journal(told), sizes, at_once=at_once)
            assert all_of(found) == all_of(one_by_one(told))


@pytest.mark.parametrize("between", unusual(TASKS[0], 1, 101), ids=lambda one: one.t)
def test_money_moves_at_one_step_as_it_does_attempt_by_attempt(between: Event) -> None:
    """Also where one attempt is of an earlier start, or its bill came early."""
    older, newer = usual(TASKS[0], 1, 100), usual(TASKS[1], 1, 90)
    rest = [event for step in zip(older[3:], newer[3:], strict=True) for event in step]
    told = story([*older[:3], between, *newer[:3], *rest])
    pages: list[Page] = []
    data = journal(told)
    scan(lambda length, offset: data[offset : offset + min(length, 200)], pages.extend)
    for cut in range(len(pages)):
        tally = Tally()
        tally.hear(pages[:cut])
        tally.hear(pages[cut:])
        assert all_of(tally) == all_of(one_by_one(told))


def refusal(fold: Callable[[], Tally]) -> str:
    try:
        fold()
    except JournalError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("end", ["", "torn", "{}", '{"c":1}\n'])
def test_all_that_is_sound_is_heard_however_the_file_ends(end: str) -> None:
    lives = [usual(f"{number:032x}", 1, 100) for number in range(3_000)]
    told = [event for step in zip(*lives, strict=True) for event in step]
    data, tally = journal(told) + end.encode(), Tally()
    told_of = pytest.raises(JournalDamaged) if end.endswith("\n") else nullcontext()
    with told_of:
        scan(lambda length, offset: data[offset : offset + length], tally.hear)
    assert all_of(tally) == all_of(one_by_one(told))


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
