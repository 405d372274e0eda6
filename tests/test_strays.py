"""Attempts found to be paid after a newer one had begun: their clips count too."""

from collections.abc import Sequence

import pytest
from msgspec import convert

from batchgen.errors import JournalError
from batchgen.events import (
    AttemptAccepted,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    CostSettled,
    OutputsMissing,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    SavedFile,
    SessionOpened,
    TaskEvent,
    TaskPlanned,
    Window,
)
from batchgen.ledger import Account, Ledger
from batchgen.plan import Await, Download, Policy, Step, Submit, beside, next_step
from batchgen.state import Status, fold
from batchgen.tally import Tally
from batchgen.tasks import Task

TASK = "a" * 32
CAT = Task(
    id=TASK,
    slug="cat",
    model="acme/video",
    input={"prompt": "a cat"},
    take=1,
    price=100,
    seconds=5,
    labels={},
    output="cat.mp4",
)
OLD, NEW = "0123456789", "9876543210"


def started(attempt: int, reserve: int = 100) -> AttemptStarted:
    return AttemptStarted(task=TASK, attempt=attempt, reserve=reserve)


def accepted(attempt: int, prediction: str) -> AttemptAccepted:
    return AttemptAccepted(task=TASK, attempt=attempt, prediction=prediction)


def completed(attempt: int) -> PredictionCompleted:
    return PredictionCompleted(task=TASK, attempt=attempt, outputs=())


def failed(attempt: int, kind: str = "provider") -> PredictionFailed:
    return convert(
        {"task": TASK, "attempt": attempt, "kind": kind, "message": "no"},
        PredictionFailed,
    )


def saved(attempt: int) -> OutputsSaved:
    file = SavedFile(name=f"cat{attempt}.mp4", bytes=9, sha256="0" * 64)
    return OutputsSaved(task=TASK, attempt=attempt, files=(file,))


TWICE: tuple[TaskEvent, ...] = (
    started(1),
    AttemptUncertain(
        task=TASK,
        attempt=1,
        phase="no answer",
        error="cut",
        window=Window(since="", until=""),
    ),
    started(2),
)
REFUSED = AttemptRefused(task=TASK, attempt=2, kind="invalid", message="no")
FOUND = (*TWICE, accepted(2, NEW), accepted(1, OLD))
EXTRA = "cat~01234567.mp4"


@pytest.mark.parametrize(
    ("story", "main", "extra"),
    [
        # Beside a newer one that is under way, or done: kept under a name of its own.
        (FOUND, (Await, 2, "cat.mp4"), (Await, 1, EXTRA)),
        (
            (*FOUND, completed(2), completed(1)),
            (Download, 2, "cat.mp4"),
            (Download, 1, EXTRA),
        ),
        ((*FOUND, completed(2), saved(2)), None, (Await, 1, EXTRA)),
        (
            (*FOUND, completed(2), saved(2), completed(1)),
            None,
            (Download, 1, EXTRA),
        ),
        ((*FOUND, completed(2), saved(2), completed(1), saved(1)), None, None),
        ((*FOUND, completed(2), saved(2), failed(1)), None, None),
        # Where the newer one gave nothing, it is the task's own clip.
        ((*FOUND, failed(2)), (Await, 1, "cat.mp4"), None),
        ((*FOUND, failed(2), completed(1)), (Download, 1, "cat.mp4"), None),
        ((*FOUND, completed(1), saved(1), failed(2)), (Download, 1, "cat.mp4"), None),
        ((*TWICE, REFUSED, accepted(1, OLD)), (Await, 1, "cat.mp4"), None),
        ((*FOUND, failed(2), completed(1), saved(1)), None, None),
        # It can no longer be fetched: the task is bought as if it had not been found.
        (
            (*FOUND, failed(2), completed(1), failed(1, "gone")),
            (Submit, 3, "cat.mp4"),
            None,
        ),
    ],
)
def test_what_is_paid_is_collected_and_nothing_is_bought_meanwhile(
    story: Sequence[TaskEvent],
    main: tuple[type[Step], int, str] | None,
    extra: tuple[type[Step], int, str] | None,
) -> None:
    state = fold(story)
    before = len(state.attempts)

    def seen(step: Step | None) -> tuple[type[Step], int, str] | None:
        if step is None:
            return None
        assert isinstance(step, Submit | Await | Download)
        return type(step), step.attempt, step.task.output

    assert seen(next_step(CAT, state, Policy(), before)) == main
    assert seen(beside(CAT, state)) == extra


def test_the_clip_of_an_older_attempt_finishes_a_task_that_has_none() -> None:
    state = fold((*FOUND, failed(2), completed(1), saved(1)))
    assert (state.status, state.saved_by) == (Status.DONE, 1)
    gone = fold(
        (
            *FOUND,
            failed(2),
            completed(1),
            saved(1),
            OutputsMissing(task=TASK, names=("cat1.mp4",)),
        )
    )
    assert next_step(CAT, gone, Policy(), 2) == Download(CAT, 1, OLD)


def test_a_clip_beside_a_finished_one_changes_nothing_about_it() -> None:
    done = fold((*FOUND, completed(2), saved(2)))
    after = fold((*FOUND, completed(2), saved(2), completed(1), saved(1)))
    assert (after.status, after.files, after.saved_by) == (done.status, done.files, 2)


def test_the_newest_attempt_does_not_fail_once_its_clip_is_there() -> None:
    with pytest.raises(JournalError):
        fold((started(1), accepted(1, NEW), completed(1), failed(1)))


def test_again_buys_a_finished_clip_once_a_session() -> None:
    again = Policy(again=True)
    done = fold((started(1), accepted(1, NEW), completed(1), saved(1)))
    assert next_step(CAT, done, again, 1) == Submit(CAT, 2)
    assert next_step(CAT, done, again, 0) is None
    assert next_step(CAT, done, Policy(), 1) is None


# The money of one calendar start.


def opened(
    cap: int | None = None, session: int | None = None, *, continues: bool = False
) -> SessionOpened:
    return SessionOpened(
        tool="batchgen",
        pid=1,
        host="here",
        cap=cap,
        concurrency=1,
        manifest="m",
        endpoint="sandbox",
        session_cap=session,
        continues=continues,
    )


def test_a_session_cap_counts_what_this_start_began_and_nothing_older() -> None:
    ledger = Ledger()
    for event in (opened(1000, 250), started(1), started(2)):
        ledger.apply(event)
    assert (ledger.left, ledger.begun) == (50, 200)
    assert not ledger.covers(100)
    ledger.apply(opened(1000, 250, continues=True))
    assert (ledger.left, ledger.begun) == (50, 200)
    ledger.apply(opened(1000, 250))
    assert (ledger.left, ledger.begun) == (250, 0)
    # Money that comes back for an older night enlarges the whole life, not this one.
    ledger.apply(failed(1))
    ledger.apply(CostSettled(task=TASK, attempt=1, amount=0))
    assert (ledger.left, ledger.begun, ledger.committed) == (250, 0, 100)


def test_the_cap_of_the_whole_life_holds_beside_that_of_the_session() -> None:
    ledger = Ledger()
    for event in (opened(300, 250), started(1), started(2), opened(300, 250)):
        ledger.apply(event)
    assert ledger.left == 100


def test_a_refund_frees_what_was_expected_back() -> None:
    ledger = Ledger()
    for event in (started(1), accepted(1, OLD), failed(1)):
        ledger.apply(event)
    assert ledger.account(TASK, 1) == (Account.REFUNDABLE, 100)
    ledger.apply(CostSettled(task=TASK, attempt=1, amount=0))
    assert (ledger.refundable, ledger.spent, ledger.committed) == (0, 0, 0)


def test_a_charge_above_its_bound_raises_the_bounds_of_that_model() -> None:
    tally = Tally()
    planned = TaskPlanned(
        task=TASK,
        slug="cat",
        labels={},
        model=CAT.model,
        input={},
        take=1,
        price=100,
        seconds=5,
        output="cat.mp4",
    )
    events = (planned, started(1), accepted(1, OLD))
    for event in (*events, CostSettled(task=TASK, attempt=1, amount=90)):
        tally.apply(event)
    assert tally.bound(CAT.model, 101) == 101
    tally.apply(CostSettled(task=TASK, attempt=1, amount=150))
    assert (tally.bound(CAT.model, 101), tally.bound("acme/other", 101)) == (152, 101)
    tally.apply(CostSettled(task=TASK, attempt=1, amount=120))
    assert tally.bound(CAT.model, 100) == 150
