"""The fold of the money."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import convert

from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    CostSettled,
    Event,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    SessionClosed,
    SessionOpened,
    TaskAbandoned,
    Window,
    dump,
)
from batchgen.ledger import Account, Ledger

A, B = "a" * 32, "b" * 32
WINDOW = Window(since="2026-10-01T12:00:00.000Z", until="2026-10-01T12:02:00.000Z")


def started(attempt: int = 1, reserve: int = 100, task: str = A) -> AttemptStarted:
    return AttemptStarted(task=task, attempt=attempt, reserve=reserve)


def accepted(attempt: int = 1) -> AttemptAccepted:
    return AttemptAccepted(task=A, attempt=attempt, prediction=f"p{attempt}")


def uncertain(attempt: int = 1) -> AttemptUncertain:
    return AttemptUncertain(
        task=A, attempt=attempt, phase="no answer", error="cut", window=WINDOW
    )


def completed(cost: int | None = None) -> PredictionCompleted:
    return PredictionCompleted(task=A, attempt=1, outputs=(), cost=cost)


def failed(kind: str) -> PredictionFailed:
    return convert(
        {"task": A, "attempt": 1, "kind": kind, "message": "no"}, PredictionFailed
    )


def settled(amount: int) -> CostSettled:
    return CostSettled(task=A, attempt=1, amount=amount)


def opened(cap: int | None) -> SessionOpened:
    return SessionOpened(
        tool="batchgen",
        pid=1,
        host="here",
        cap=cap,
        concurrency=1,
        manifest="m",
        endpoint="sandbox",
    )


REFUSED = AttemptRefused(task=A, attempt=1, kind="rate", message="slow down")
NOT_SENT = AttemptNotSent(task=A, attempt=1, phase="connect_tcp", error="refused")
ABSENT = AttemptAbsent(task=A, attempt=1, scans=2, window=WINDOW, by="me")
SAVED = OutputsSaved(task=A, attempt=1, files=())
ABANDONED = TaskAbandoned(task=A, kind="lost", message="gone")
CLOSED = SessionClosed(exit=0, reason="done", spent=0, committed=0)


def ledger(events: Sequence[Event], cap: int | None = None) -> Ledger:
    book = Ledger(cap)
    for event in events:
        book.apply(event)
    return book


@pytest.mark.parametrize(
    ("events", "accounts"),  # in flight, uncertain, spent, refundable
    [
        ([], (0, 0, 0, 0)),
        ([started()], (100, 0, 0, 0)),
        ([started(), REFUSED], (0, 0, 0, 0)),
        ([started(), NOT_SENT], (0, 0, 0, 0)),
        ([started(), uncertain()], (0, 100, 0, 0)),
        ([started(), uncertain(), ABSENT], (0, 0, 0, 0)),
        ([started(), uncertain(), accepted()], (100, 0, 0, 0)),
        ([started(), accepted()], (100, 0, 0, 0)),
        ([started(), accepted(), completed()], (0, 0, 100, 0)),
        ([started(), accepted(), completed(90)], (0, 0, 90, 0)),
        ([started(), accepted(), completed(130)], (0, 0, 130, 0)),
        ([started(), accepted(), completed(), SAVED], (0, 0, 100, 0)),
        ([started(), accepted(), completed(), ABANDONED], (0, 0, 100, 0)),
        ([started(), accepted(), failed("provider")], (0, 0, 0, 100)),
        ([started(), accepted(), failed("cancelled")], (0, 0, 0, 100)),
        ([started(), accepted(), failed("moderation")], (0, 0, 100, 0)),
        ([started(), accepted(), failed("invalid")], (0, 0, 100, 0)),
        ([started(), accepted(), failed("gone")], (0, 0, 100, 0)),
        ([started(), accepted(), failed("provider"), settled(0)], (0, 0, 0, 0)),
        ([started(), accepted(), failed("provider"), settled(30)], (0, 0, 30, 0)),
        ([started(), accepted(), completed(), settled(70)], (0, 0, 70, 0)),
        ([started(), accepted(), failed("provider"), ABANDONED], (0, 0, 0, 100)),
        # The old reserve stays when a person accepts paying twice.
        ([started(), uncertain(), started(2, 40)], (40, 100, 0, 0)),
        ([started(), uncertain(), started(2, 40), accepted(1)], (140, 0, 0, 0)),
        ([started(), uncertain(), started(2, 40), ABSENT], (40, 0, 0, 0)),
        ([started(), started(1, 7, B), REFUSED], (7, 0, 0, 0)),
        ([started(), opened(5), CLOSED], (100, 0, 0, 0)),
    ],
)
def test_every_story_has_its_accounts(
    events: Sequence[Event], accounts: tuple[int, int, int, int]
) -> None:
    book = ledger(events)
    found = (book.in_flight, book.uncertain, book.spent, book.refundable)
    assert found == accounts
    assert book.committed == sum(accounts)
    assert all(type(amount) is int for amount in (*found, book.committed))


@pytest.mark.parametrize("amount", [0, 1, 99, 100, 101, 10_000])
@pytest.mark.parametrize("cap", [0, 1, 99, 100, 101, 199, 200, 201])
def test_the_cap_may_be_reached_and_not_passed(cap: int, amount: int) -> None:
    book = ledger([started(reserve=100)], cap)
    assert book.covers(amount) is (100 + amount <= cap)


@pytest.mark.parametrize(
    "events",
    [
        [started()],
        [started(), uncertain()],
        [started(), accepted()],
        [started(), accepted(), completed()],
        [started(), accepted(), failed("provider")],
        [started(), accepted(), failed("moderation")],
    ],
)
def test_whatever_is_not_released_counts_against_the_cap(
    events: Sequence[Event],
) -> None:
    book = ledger(events, cap=199)
    assert not book.covers(100)
    assert book.covers(99)
    assert book.left == 99


@pytest.mark.parametrize("release", [REFUSED, NOT_SENT])
def test_released_money_may_be_reserved_again(release: Event) -> None:
    book = ledger([started(), release], cap=100)
    assert book.covers(100)
    assert book.left == 100


def test_without_a_cap_everything_is_covered() -> None:
    book = ledger([opened(None), started()])
    assert book.left is None
    assert book.covers(10**15)


def test_a_session_brings_its_own_cap_and_forgets_no_charge() -> None:
    book = ledger([opened(1000), started(), accepted(), completed(), opened(50)])
    assert (book.cap, book.committed, book.left) == (50, 100, -50)
    assert not book.covers(0)


def test_a_million_tasks_add_up_without_rounding() -> None:
    book = Ledger()
    for number in range(1, 3001):
        book.apply(started(number, 333_333))
    assert book.committed == 3000 * 333_333


def test_the_cost_of_a_task_is_that_of_all_its_attempts() -> None:
    book = ledger([started(), uncertain(), started(2, 40), started(1, 7, B)])
    assert (book.cost(A, 2), book.cost(A, 1), book.cost(B, 1)) == (140, 100, 7)


def test_money_is_never_a_float_and_is_written_as_text() -> None:
    with pytest.raises(ValueError, match="got `float`"):
        convert({"task": A, "attempt": 1, "reserve": 1.0}, AttemptStarted)
    wrong: Any = 1.0
    with pytest.raises(ValueError, match="never a float"):
        started(reserve=wrong)
    assert dump(started(reserve=420_000))["reserve"] == "420000"
    read = {"task": A, "attempt": 1, "amount": "-5"}
    assert convert(read, CostSettled).amount == -5


def test_money_of_every_earlier_start_is_known_by_its_attempt() -> None:
    ledger = Ledger()
    for number in (1, 2, 3):
        ledger.apply(opened(None))
        ledger.apply(started(number))
    ledger.apply(opened(None))
    assert [ledger.account(A, number) for number in (1, 2, 3)] == [
        (Account.IN_FLIGHT, 100)
    ] * 3
    assert ledger.cost(A, 3) == 300
