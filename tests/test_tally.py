"""Where a whole run stands."""

import pytest

from batchgen.errors import JournalError
from batchgen.events import (
    AttemptAccepted,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    Event,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    Repaired,
    SessionClosed,
    SessionOpened,
    TaskAbandoned,
    TaskPlanned,
    Window,
)
from batchgen.records import Record
from batchgen.state import TaskState
from batchgen.tally import WORDS, Tally

A, B, C, D = (letter * 32 for letter in "abcd")
WINDOW = Window(since="2026-10-01T12:00:00.000Z", until="2026-10-01T12:02:00.000Z")
OPENED = SessionOpened(
    tool="batchgen",
    pid=1,
    host="here",
    cap=1000,
    concurrency=1,
    manifest="m",
    endpoint="sandbox",
)
CLOSED = SessionClosed(exit=0, reason="done", spent=0, committed=0)


def planned(task: str) -> TaskPlanned:
    return TaskPlanned(
        task=task,
        slug="s",
        labels={},
        model="acme/video",
        input={},
        take=1,
        price=100,
        seconds=5,
        output="s.mp4",
    )


def started(task: str, attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(task=task, attempt=attempt, reserve=100)


def accepted(task: str, prediction: str, attempt: int = 1) -> AttemptAccepted:
    return AttemptAccepted(task=task, attempt=attempt, prediction=prediction)


def uncertain(task: str, attempt: int = 1) -> AttemptUncertain:
    return AttemptUncertain(
        task=task, attempt=attempt, phase="no answer", error="cut", window=WINDOW
    )


def done(task: str) -> list[Event]:
    return [
        planned(task),
        started(task),
        accepted(task, f"p-{task[0]}"),
        PredictionCompleted(task=task, attempt=1, outputs=()),
        OutputsSaved(task=task, attempt=1, files=()),
    ]


def lost(task: str) -> list[Event]:
    return [*done(task)[:4], TaskAbandoned(task=task, kind="lost", message="gone")]


def tally(*events: Event) -> Tally:
    return Tally.of(Record(n, "", event) for n, event in enumerate(events, 1))


def shown(run: Tally) -> dict[str, int]:
    return {name: count for name, count in run.counts.items() if count}


def test_every_task_is_counted_once_whatever_happened_to_it() -> None:
    run = tally(
        OPENED,
        *done(A),
        *lost(B),
        planned(C),
        started(C),
        uncertain(C),
        planned(D),
        started(D),
        Repaired(bytes=1, kept="torn"),
    )
    assert shown(run) == {"done": 1, "lost": 1, "uncertain": 1, "rendering": 1}
    assert run.total == 4
    assert run.left == 1
    assert tuple(run.counts) == WORDS


def test_only_wanted_tasks_are_counted_and_all_of_them() -> None:
    run = tally(OPENED, *done(A), *lost(B))
    run.want([A, C, D])
    assert shown(run) == {"done": 1, "pending": 2}
    assert (run.total, run.left) == (3, 2)
    for event in (planned(C), started(C)):
        run.apply(event)
    run.apply(planned(B))
    assert shown(run) == {"done": 1, "pending": 1, "rendering": 1}
    assert sum(run.counts.values()) == run.total == 3


def test_counts_follow_every_event_one_by_one() -> None:
    story = [*done(A), *lost(B), planned(C), started(C), uncertain(C)]
    grown = Tally()
    for number, event in enumerate(story, 1):
        grown.apply(event)
        fresh = tally(*story[:number])
        fresh.want(fresh.states)
        assert grown.counts == fresh.counts


def test_who_is_in_doubt_who_is_open_and_who_is_in_flight() -> None:
    run = tally(
        *(planned(A), started(A), uncertain(A), started(A, 2)),
        *(planned(B), started(B), accepted(B, "b1")),
        *done(C),
        *(planned(D), started(D), uncertain(D)),
    )
    assert list(run.doubtful()) == [(A, 1, WINDOW), (A, 2, None), (D, 1, WINDOW)]
    assert list(run.open_attempts()) == [(A, 2)]
    assert list(run.in_flight()) == [B]
    assert run.owned == {"b1", "p-c"}


def test_a_prediction_adopted_for_an_older_attempt_is_owned_too() -> None:
    run = tally(planned(A), started(A), uncertain(A), started(A, 2))
    run.apply(accepted(A, "late", 1))
    assert run.owned == {"late"}
    assert list(run.open_attempts()) == [(A, 2)]
    assert list(run.doubtful()) == [(A, 2, None)]


def test_a_session_is_open_until_it_is_closed() -> None:
    run = tally(OPENED)
    assert (run.session, run.closed) == (OPENED, None)
    run.apply(CLOSED)
    assert run.closed == CLOSED
    run.apply(OPENED)
    assert run.closed is None
    assert run.ledger.cap == 1000


def test_an_impossible_event_changes_nothing_at_all() -> None:
    run = tally(OPENED, planned(A), started(A))
    with pytest.raises(JournalError):
        run.apply(OutputsSaved(task=A, attempt=1, files=()))
    with pytest.raises(JournalError):
        run.apply(accepted(B, "b1"))
    assert (run.ledger.committed, run.ledger.in_flight) == (100, 100)
    assert run.owned == set()
    assert B not in run.states
    assert shown(run) == {"rendering": 1}


def test_a_story_that_cannot_have_happened_names_its_record() -> None:
    with pytest.raises(JournalError, match="record 3: attempt 3 is out of turn"):
        tally(OPENED, planned(A), started(A, 3))


def test_money_and_state_are_folded_from_the_same_events() -> None:
    failed = PredictionFailed(task=B, attempt=1, kind="provider", message="no GPU")
    refused = AttemptRefused(task=C, attempt=1, kind="rate", message="slow down")
    run = tally(
        *done(A),
        *(planned(B), started(B), accepted(B, "b1"), failed),
        *(planned(C), started(C), refused),
        *(planned(D), started(D), uncertain(D)),
    )
    book = run.ledger
    assert (book.spent, book.refundable, book.in_flight, book.uncertain) == (
        100,
        100,
        0,
        100,
    )
    assert {task: state.status for task, state in run.states.items()} == {
        A: "done",
        B: "pending",
        C: "pending",
        D: "uncertain",
    }


def test_an_unknown_task_is_pending() -> None:
    assert tally().states.get(A, TaskState()).status == "pending"
    assert tally().left == 0
