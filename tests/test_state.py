"""The law: which event may follow which status."""

from collections.abc import Sequence

import pytest
from msgspec import convert
from msgspec.structs import replace

from batchgen.errors import JournalError
from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    CostSettled,
    Move,
    OutputsMissing,
    OutputsMoved,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    SavedFile,
    TaskAbandoned,
    TaskEvent,
    TaskPlanned,
    Window,
)
from batchgen.state import TRANSITIONS, Stage, Status, TaskState, evolve, fold, word

TASK = "0" * 32
WINDOW = Window(since="2026-10-01T12:00:00.000Z", until="2026-10-01T12:02:00.000Z")
FILE = SavedFile(name="clip.mp4", bytes=9, sha256="f" * 64)

# architecture.md, "Events and the machine", as it is printed there.
MACHINE = """
pending      + AttemptStarted       -> submitting
submitting   + AttemptAccepted      -> rendering
submitting   + AttemptRefused       -> pending
submitting   + AttemptNotSent       -> pending
submitting   + AttemptUncertain     -> uncertain
uncertain    + AttemptAccepted      -> rendering
uncertain    + AttemptAbsent        -> pending
rendering    + PredictionCompleted  -> downloading
rendering    + PredictionFailed     -> pending
downloading  + OutputsSaved         -> done
pending      + TaskAbandoned        -> failed
downloading  + TaskAbandoned        -> failed
failed       + AttemptStarted       -> submitting
done         + AttemptStarted       -> submitting
uncertain    + AttemptStarted       -> submitting
done         + OutputsMissing       -> downloading
"""
ANYWHERE = ("TaskPlanned", "CostSettled", "OutputsMoved")


def started(attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(task=TASK, attempt=attempt, reserve=420_000)


def accepted(attempt: int = 1, prediction: str = "p1") -> AttemptAccepted:
    return AttemptAccepted(task=TASK, attempt=attempt, prediction=prediction)


def refused(attempt: int = 1) -> AttemptRefused:
    return AttemptRefused(task=TASK, attempt=attempt, kind="rate", message="slow down")


def uncertain(attempt: int = 1) -> AttemptUncertain:
    return AttemptUncertain(
        task=TASK, attempt=attempt, phase="no answer", error="cut", window=WINDOW
    )


def absent(attempt: int = 1) -> AttemptAbsent:
    return AttemptAbsent(task=TASK, attempt=attempt, scans=2, window=WINDOW, by="me")


def completed(attempt: int = 1) -> PredictionCompleted:
    return PredictionCompleted(task=TASK, attempt=attempt, outputs=())


def failed(attempt: int = 1, kind: str = "provider") -> PredictionFailed:
    return convert(
        {"task": TASK, "attempt": attempt, "kind": kind, "message": "no"},
        PredictionFailed,
    )


def abandoned(kind: str = "provider") -> TaskAbandoned:
    return convert({"task": TASK, "kind": kind, "message": "no"}, TaskAbandoned)


def saved(attempt: int = 1) -> OutputsSaved:
    return OutputsSaved(task=TASK, attempt=attempt, files=(FILE,))


def planned(slug: str = "clip") -> TaskPlanned:
    return TaskPlanned(
        task=TASK,
        slug=slug,
        labels={},
        model="acme/video",
        input={"prompt": "a"},
        take=1,
        price=420_000,
        seconds=5,
        output=f"{slug}.mp4",
    )


STORIES: dict[Status, tuple[TaskEvent, ...]] = {
    Status.PENDING: (started(), refused()),
    Status.SUBMITTING: (started(),),
    Status.UNCERTAIN: (started(), uncertain()),
    Status.RENDERING: (started(), accepted()),
    Status.DOWNLOADING: (started(), accepted(), completed()),
    Status.DONE: (started(), accepted(), completed(), saved()),
    Status.FAILED: (started(), accepted(), completed(), abandoned("lost")),
}

SAMPLES: tuple[TaskEvent, ...] = (
    planned(),
    started(),
    accepted(),
    refused(),
    AttemptNotSent(task=TASK, attempt=1, phase="connect_tcp", error="refused"),
    uncertain(),
    absent(),
    completed(),
    failed(),
    CostSettled(task=TASK, attempt=1, amount=410_000),
    saved(),
    OutputsMoved(task=TASK, moves=(Move(source="clip.mp4", target="b.mp4"),)),
    OutputsMissing(task=TASK, names=("clip.mp4",)),
    abandoned(),
)


def machine() -> dict[tuple[str, str], str]:
    rows = (line.split() for line in MACHINE.strip().splitlines())
    moves = {(row[0], row[2]): row[4] for row in rows}
    return moves | {(str(s), kind): str(s) for s in Status for kind in ANYWHERE}


def outcome(status: Status, event: TaskEvent) -> str:
    state = fold(STORIES[status])
    if isinstance(event, AttemptStarted):
        event = started(len(state.attempts) + 1)
    try:
        return str(evolve(state, event).status)
    except JournalError:
        return "refused"


def test_a_story_exists_for_every_status_and_a_sample_for_every_event() -> None:
    assert {status: fold(story).status for status, story in STORIES.items()} == {
        status: status for status in Status
    }
    assert {type(event) for event in SAMPLES} == set(TaskEvent.__args__)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.t)
def test_every_pair_moves_as_the_table_says_or_is_refused(
    status: Status, event: TaskEvent
) -> None:
    assert outcome(status, event) == machine().get((status, event.t), "refused")


def test_the_code_has_no_move_that_the_table_lacks() -> None:
    written = {
        (str(status), kind.__name__): str(after)
        for (status, kind), after in TRANSITIONS.items()
    }
    assert written == machine()


@pytest.mark.parametrize(
    ("late", "stage"),
    [
        ((accepted(prediction="old"),), Stage.ACCEPTED),
        ((absent(),), Stage.ABSENT),
        ((accepted(prediction="old"), completed()), Stage.COMPLETED),
        ((accepted(prediction="old"), failed()), Stage.FAILED),
    ],
)
@pytest.mark.parametrize(
    "newest",
    [
        (started(2),),
        (started(2), accepted(2, "new")),
        (started(2), uncertain(2)),
        (started(2), accepted(2, "new"), completed(2)),
        (started(2), accepted(2, "new"), completed(2), saved(2)),
        (started(2), refused(2)),
    ],
)
def test_news_of_an_older_attempt_settles_it_and_leaves_the_status_alone(
    late: Sequence[TaskEvent], stage: Stage, newest: Sequence[TaskEvent]
) -> None:
    before = fold((started(), uncertain(), *newest))
    after = before
    for event in late:
        after = evolve(after, event)
    assert after.attempts[0].stage is stage
    assert (after.status, after.trouble, after.files, after.prediction) == (
        before.status,
        before.trouble,
        before.files,
        before.prediction,
    )
    assert after.attempts[1:] == before.attempts[1:]


@pytest.mark.parametrize(
    "story",
    [
        (started(2),),
        (started(1), refused(), started(1)),
        (started(), refused(), started(3)),
        (accepted(),),
        (started(), accepted(2)),
        (started(), uncertain(), started(2), refused(1)),
        (started(), uncertain(), started(2), absent(1), accepted(1)),
        (started(), uncertain(), started(2), accepted(1), absent(1)),
        (started(), CostSettled(task=TASK, attempt=2, amount=1)),
        (started(), accepted(), accepted(prediction="p2")),
    ],
)
def test_an_attempt_out_of_turn_or_settled_twice_is_refused(
    story: Sequence[TaskEvent],
) -> None:
    with pytest.raises(JournalError):
        fold(story)


def test_a_refused_move_changes_nothing() -> None:
    state = fold(STORIES[Status.RENDERING])
    with pytest.raises(JournalError):
        evolve(state, saved())
    assert state == fold(STORIES[Status.RENDERING])


def test_a_state_remembers_what_the_next_decision_needs() -> None:
    no = AttemptRefused(
        task=TASK,
        attempt=1,
        kind="rate",
        message="slow",
        retryable=True,
        retry_after_ms=7000,
    )
    trouble = fold((started(), no)).trouble
    assert trouble is not None
    assert (trouble.kind, trouble.retryable, trouble.retry_after_ms) == (
        "rate",
        True,
        7000,
    )
    assert fold((started(), no, started(2))).trouble is None
    latest = fold((started(), uncertain())).latest
    assert latest is not None
    assert latest.window == WINDOW
    assert fold((planned("a"), planned("b"))).planned == planned("b")
    assert TaskState().latest is None
    assert TaskState().prediction == ""


def test_moved_files_keep_their_content_and_the_rest_its_name() -> None:
    event = OutputsMoved(task=TASK, moves=(Move(source="clip.mp4", target="a/b.mp4"),))
    other = OutputsMoved(task=TASK, moves=(Move(source="x.mp4", target="y.mp4"),))
    state = fold((*STORIES[Status.DONE], event, other))
    assert state.files == (replace(FILE, name="a/b.mp4"),)


@pytest.mark.parametrize(
    ("story", "spelled"),
    [
        (STORIES[Status.SUBMITTING], "rendering"),
        (STORIES[Status.UNCERTAIN], "uncertain"),
        ((started(), accepted(), failed(), abandoned("provider")), "failed"),
        ((started(), refused(), abandoned("moderation")), "rejected"),
        ((started(), refused(), abandoned("invalid")), "rejected"),
        ((started(), accepted(), failed(kind="gone"), abandoned("gone")), "lost"),
        (STORIES[Status.FAILED], "lost"),
        ((started(), accepted(), failed(kind="moderation")), "pending"),
    ],
)
def test_the_words_for_people_refine_the_status(
    story: Sequence[TaskEvent], spelled: str
) -> None:
    assert word(fold(story)) == spelled
