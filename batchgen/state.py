"""The law: which event may follow which status, and what a task is afterwards.

The table is the whole of it. A pair that is not in the table is a `JournalError`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Any

from msgspec import Struct
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
    OfAttempt,
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


class Status(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    SUBMITTING = "submitting"
    UNCERTAIN = "uncertain"
    RENDERING = "rendering"
    DOWNLOADING = "downloading"
    DONE = "done"
    FAILED = "failed"

    __hash__ = str.__hash__  # that of an Enum is slow, and a fold is made of look-ups


class Stage(StrEnum):
    """Where one attempt stands; its money follows from this."""

    OPEN = "open"
    UNCERTAIN = "uncertain"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not-sent"
    ABSENT = "absent"
    COMPLETED = "completed"
    FAILED = "failed"

    __hash__ = str.__hash__


_S = Status

TRANSITIONS: dict[tuple[Status, type[object]], Status] = {
    (_S.PENDING, AttemptStarted): _S.SUBMITTING,
    (_S.SUBMITTING, AttemptAccepted): _S.RENDERING,
    (_S.SUBMITTING, AttemptRefused): _S.PENDING,
    (_S.SUBMITTING, AttemptNotSent): _S.PENDING,
    (_S.SUBMITTING, AttemptUncertain): _S.UNCERTAIN,
    (_S.UNCERTAIN, AttemptAccepted): _S.RENDERING,
    (_S.UNCERTAIN, AttemptAbsent): _S.PENDING,
    (_S.RENDERING, PredictionCompleted): _S.DOWNLOADING,
    (_S.RENDERING, PredictionFailed): _S.PENDING,
    (_S.DOWNLOADING, OutputsSaved): _S.DONE,
    (_S.PENDING, TaskAbandoned): _S.FAILED,
    (_S.DOWNLOADING, TaskAbandoned): _S.FAILED,
    (_S.FAILED, AttemptStarted): _S.SUBMITTING,
    (_S.DONE, AttemptStarted): _S.SUBMITTING,
    (_S.UNCERTAIN, AttemptStarted): _S.SUBMITTING,
    (_S.DONE, OutputsMissing): _S.DOWNLOADING,
    **{
        (status, kind): status
        for status in Status
        for kind in (TaskPlanned, CostSettled, OutputsMoved)
    },
}
"""`(status, event type) -> status`; anything else is a `JournalError`."""

ATTEMPT_MOVES: dict[tuple[Stage, type[object]], Stage] = {
    (Stage.OPEN, AttemptAccepted): Stage.ACCEPTED,
    (Stage.OPEN, AttemptRefused): Stage.REFUSED,
    (Stage.OPEN, AttemptNotSent): Stage.NOT_SENT,
    (Stage.OPEN, AttemptUncertain): Stage.UNCERTAIN,
    (Stage.UNCERTAIN, AttemptAccepted): Stage.ACCEPTED,
    (Stage.UNCERTAIN, AttemptAbsent): Stage.ABSENT,
    (Stage.ACCEPTED, PredictionCompleted): Stage.COMPLETED,
    (Stage.ACCEPTED, PredictionFailed): Stage.FAILED,
    (Stage.COMPLETED, OutputsSaved): Stage.COMPLETED,
    # Only of an older attempt: its clip can no longer be fetched.
    (Stage.COMPLETED, PredictionFailed): Stage.FAILED,
}
"""`(stage of the attempt, event type) -> stage`, with the same strictness."""


class Trouble(Struct, frozen=True, gc=False):
    """Why the last thing tried did not work; `kind` is the word of the event."""

    kind: str
    message: str
    retryable: bool = False
    retry_after_ms: int | None = None


class Attempt(Struct, frozen=True, gc=False):
    """One paid submission of a task.

    A `stray` was found to be accepted after a newer one had begun: it is paid, so its
    clip is fetched too. `saved` says that its files are on disk; `taken` that the
    service said yes, without telling which prediction it is.
    """

    number: int
    reserve: int
    stage: Stage = Stage.OPEN
    prediction: str = ""
    window: Window | None = None
    stray: bool = False
    saved: bool = False
    taken: bool = False


class TaskState(Struct, frozen=True, gc=False):
    """The fold of one task's events; `saved_by` is the attempt that made `files`."""

    status: Status = Status.PENDING
    planned: TaskPlanned | None = None
    attempts: tuple[Attempt, ...] = ()
    trouble: Trouble | None = None
    files: tuple[SavedFile, ...] = ()
    flagged: bool = False
    saved_by: int = 0

    @property
    def source(self) -> Attempt | None:
        """The newest attempt that made a clip."""
        made = (a for a in reversed(self.attempts) if a.stage is Stage.COMPLETED)
        return next(made, None)

    @property
    def strays(self) -> tuple[Attempt, ...]:
        """Paid attempts beside the newest whose clips are still to be had."""
        return tuple(
            attempt
            for attempt in self.attempts[:-1]
            if attempt.stray and attempt.stage in (Stage.ACCEPTED, Stage.COMPLETED)
        )

    @property
    def latest(self) -> Attempt | None:
        """The attempt that the status is about."""
        return self.attempts[-1] if self.attempts else None

    @property
    def prediction(self) -> str:
        """The remote object of the latest attempt; empty if it has none."""
        return self.attempts[-1].prediction if self.attempts else ""


def evolve(state: TaskState, event: TaskEvent) -> TaskState:
    """The state after an event.

    Raises:
        JournalError: the table does not have this move.
    """
    kind, attempts = type(event), state.attempts
    one: Any = event  # by its type alone: to ask for its classes is slow
    if kind in _OF_ANY_ATTEMPT and one.attempt < len(attempts):
        return _beside(state, one)
    status = _MOVES[kind].get(state.status)
    if status is None:
        raise JournalError(f"a {state.status} task cannot take {kind.__name__}")
    made = attempts if kind in _OF_NO_ATTEMPT else _attempts(attempts, one)
    return _AFTER[kind](state, status, made, event)


# The same table by the type of the event: a fold is made of look-ups.
_MOVES: dict[type[object], dict[Status, Status]] = {
    kind: {before: after for (before, one), after in TRANSITIONS.items() if one is kind}
    for kind in {kind for _, kind in TRANSITIONS}
}
_OF_ANY_ATTEMPT = frozenset(
    {
        AttemptAccepted,
        AttemptAbsent,
        PredictionCompleted,
        PredictionFailed,
        OutputsSaved,
    }
)
_OF_NO_ATTEMPT = frozenset({TaskPlanned, OutputsMoved, OutputsMissing, TaskAbandoned})
_Attempts = tuple[Attempt, ...]


# Each makes the new state in one call: a million of them are made at a start.
def _moved_only(old: TaskState, to: Status, made: _Attempts, _: TaskEvent) -> TaskState:
    return TaskState(
        to, old.planned, made, old.trouble, old.files, old.flagged, old.saved_by
    )


def _well(old: TaskState, to: Status, made: _Attempts, _: TaskEvent) -> TaskState:
    return TaskState(to, old.planned, made, None, old.files, old.flagged, old.saved_by)


def _planned(
    old: TaskState, to: Status, made: _Attempts, event: TaskPlanned
) -> TaskState:
    return TaskState(to, event, made, old.trouble, old.files, old.flagged, old.saved_by)


def _completed(
    old: TaskState, to: Status, made: _Attempts, event: PredictionCompleted
) -> TaskState:
    return TaskState(
        to, old.planned, made, old.trouble, old.files, event.flagged, old.saved_by
    )


def _saved(
    old: TaskState, to: Status, made: _Attempts, event: OutputsSaved
) -> TaskState:
    return TaskState(
        to, old.planned, made, None, event.files, old.flagged, event.attempt
    )


def _renamed(
    old: TaskState, to: Status, made: _Attempts, event: OutputsMoved
) -> TaskState:
    targets = {move.source: move.target for move in event.moves}
    files = tuple(
        replace(file, name=targets.get(file.name, file.name)) for file in old.files
    )
    return replace(old, status=to, attempts=made, files=files)


def _troubled(
    trouble: Callable[[Any], Trouble],
) -> Callable[[TaskState, Status, _Attempts, Any], TaskState]:
    return lambda old, to, made, event: replace(
        old, status=to, attempts=made, trouble=trouble(event)
    )


# What an event changes beside the status and the attempts.
_AFTER: dict[type[object], Callable[[TaskState, Status, _Attempts, Any], TaskState]] = {
    **dict.fromkeys(_MOVES, _moved_only),
    TaskPlanned: _planned,
    AttemptStarted: _well,
    AttemptAccepted: _well,
    AttemptAbsent: _well,
    AttemptRefused: _troubled(
        lambda event: Trouble(
            event.kind, event.message, event.retryable, event.retry_after_ms
        )
    ),
    AttemptNotSent: _troubled(
        lambda event: Trouble("not-sent", event.error, retryable=True)
    ),
    AttemptUncertain: _troubled(lambda event: Trouble("uncertain", _doubt(event))),
    PredictionFailed: _troubled(lambda event: Trouble(event.kind, event.message)),
    PredictionCompleted: _completed,
    OutputsSaved: _saved,
    OutputsMoved: _renamed,
    TaskAbandoned: _troubled(lambda event: Trouble(event.kind, event.message)),
}


REJECTED = frozenset({"moderation", "invalid"})
LOST = frozenset({"lost", "gone"})


def _doubt(event: AttemptUncertain) -> str:
    """Why nobody knows, in plain words; the journal keeps the transport's own."""
    match event.phase:
        case "no answer" if "Timeout" in event.error:
            return "no answer came in time while submitting"
        case "connecting" | "body incomplete" | "no answer" | "answer incomplete":
            return "the connection broke while submitting"
        case _:
            return event.error


_STATUS: Callable[[TaskState], Status] = attrgetter("status")
_SPELLED = {one: one.value for one in Status} | {Status.SUBMITTING: "rendering"}


def word(state: TaskState) -> str:
    """The status as people, JSON and `-s` spell it.

    A submission under way shows as rendering; `rejected` is a failure that the same
    request would meet again; `lost` is paid but no longer to be fetched.
    """
    trouble = state.trouble
    if trouble is not None and state.status is Status.FAILED:
        if trouble.kind in REJECTED:
            return "rejected"
        if trouble.kind in LOST:
            return "lost"
    return _SPELLED[state.status]


def words(states: Sequence[TaskState]) -> Counter[str]:
    """How many of these have each word."""
    found = Counter[str]()
    for status, count in Counter(map(_STATUS, states)).items():
        if status is Status.FAILED:  # of which there are several words
            found.update(word(one) for one in states if one.status is status)
        else:
            found[_SPELLED[status]] += count
    return found


def fold(events: Iterable[TaskEvent]) -> TaskState:
    """The state after all events of one task."""
    state = TaskState()
    for event in events:
        state = evolve(state, event)
    return state


def _beside(state: TaskState, event: OfAttempt) -> TaskState:
    """News of an older attempt settles that one alone.

    But for its clip: where the task has none, it becomes the task's.
    """
    after = replace(state, attempts=_attempts(state.attempts, event))
    if not isinstance(event, OutputsSaved) or not _lacks_a_clip(state, event.attempt):
        return after
    return replace(
        after,
        status=Status.DONE,
        files=event.files,
        saved_by=event.attempt,
        trouble=None,
    )


def _lacks_a_clip(state: TaskState, attempt: int) -> bool:
    if state.status is Status.DOWNLOADING:
        return state.source is not None and state.source.number == attempt
    return state.status in (Status.PENDING, Status.FAILED)


def _attempts(attempts: _Attempts, event: OfAttempt) -> _Attempts:
    """The attempts after an event, each moved by its own table."""
    kind, number = type(event), event.attempt
    if kind is AttemptStarted:
        return (*attempts, _begun(attempts, event))
    if not 1 <= number <= len(attempts):
        raise JournalError(f"attempt {number} was never started")
    if kind is CostSettled:
        return attempts
    old = attempts[number - 1]
    stage = ATTEMPT_MOVES.get((old.stage, kind))
    if stage is None:
        raise JournalError(f"a {old.stage} attempt cannot take {kind.__name__}")
    new = _moved_on(old, stage, event, stray=number < len(attempts))
    if len(attempts) == 1:
        return (new,)
    return (*attempts[: number - 1], new, *attempts[number:])


def _begun(attempts: _Attempts, event: Any) -> Attempt:
    if event.attempt != len(attempts) + 1:
        raise JournalError(f"attempt {event.attempt} is out of turn")
    return Attempt(event.attempt, event.reserve)


def _moved_on(old: Attempt, stage: Stage, event: Any, *, stray: bool) -> Attempt:
    kind = type(event)
    prediction, window, saved, taken = old.prediction, old.window, old.saved, old.taken
    if kind is AttemptAccepted:
        prediction = event.prediction
    else:
        stray = old.stray
    if kind is OutputsSaved:
        saved = True
    elif kind is AttemptUncertain:
        window, taken = event.window, event.taken
    return Attempt(
        old.number, old.reserve, stage, prediction, window, stray, saved, taken
    )
