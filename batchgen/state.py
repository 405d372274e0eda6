"""The law: which event may follow which status, and what a task is afterwards.

The table is the whole of it. A pair that is not in the table is a `JournalError`.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
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
    kind = type(event)
    if kind in _OF_ANY_ATTEMPT and _is_of_an_older_attempt(state, event):
        return _beside(state, event)
    status = TRANSITIONS.get((state.status, kind))
    if status is None:
        raise JournalError(f"a {state.status} task cannot take {kind.__name__}")
    news = _NEWS[kind](state, event) if kind in _NEWS else _NONE
    return replace(state, status=status, attempts=_attempts(state, event), **news)


_OF_ANY_ATTEMPT = frozenset(
    {
        AttemptAccepted,
        AttemptAbsent,
        PredictionCompleted,
        PredictionFailed,
        OutputsSaved,
    }
)
_NONE: dict[str, Any] = {}
_NO_TROUBLE: dict[str, Any] = {"trouble": None}


def _given_up(
    state: TaskState, event: PredictionFailed | TaskAbandoned
) -> dict[str, Any]:
    del state
    return {"trouble": Trouble(event.kind, event.message)}


def _refused(state: TaskState, event: AttemptRefused) -> dict[str, Any]:
    del state
    trouble = Trouble(event.kind, event.message, event.retryable, event.retry_after_ms)
    return {"trouble": trouble}


def _saved(state: TaskState, event: OutputsSaved) -> dict[str, Any]:
    del state
    return {"files": event.files, "saved_by": event.attempt, "trouble": None}


# What an event changes beside the status and the attempts; the others nothing.
_NEWS: dict[type[object], Callable[[TaskState, Any], dict[str, Any]]] = {
    TaskPlanned: lambda _, event: {"planned": event},
    AttemptStarted: lambda _, __: _NO_TROUBLE,
    AttemptAccepted: lambda _, __: _NO_TROUBLE,
    AttemptAbsent: lambda _, __: _NO_TROUBLE,
    AttemptRefused: _refused,
    AttemptNotSent: lambda _, event: {
        "trouble": Trouble("not-sent", event.error, retryable=True)
    },
    AttemptUncertain: lambda _, event: {"trouble": Trouble("uncertain", _doubt(event))},
    PredictionFailed: _given_up,
    PredictionCompleted: lambda _, event: {"flagged": event.flagged},
    OutputsSaved: _saved,
    OutputsMoved: lambda state, event: {"files": _moved(state.files, event)},
    TaskAbandoned: _given_up,
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


def word(state: TaskState) -> str:
    """The status as people, JSON and `-s` spell it.

    A submission under way shows as rendering; `rejected` is a failure that the same
    request would meet again; `lost` is paid but no longer to be fetched.
    """
    kind = state.trouble.kind if state.trouble else ""
    match state.status:
        case Status.SUBMITTING:
            return "rendering"
        case Status.FAILED if kind in REJECTED:
            return "rejected"
        case Status.FAILED if kind in LOST:
            return "lost"
        case _:
            return str(state.status)


def fold(events: Iterable[TaskEvent]) -> TaskState:
    """The state after all events of one task."""
    state = TaskState()
    for event in events:
        state = evolve(state, event)
    return state


def _is_of_an_older_attempt(state: TaskState, event: TaskEvent) -> bool:
    return getattr(event, "attempt", 0) < len(state.attempts)


def _beside(state: TaskState, event: TaskEvent) -> TaskState:
    """News of an older attempt settles that one alone.

    But for its clip: where the task has none, it becomes the task's.
    """
    after = replace(state, attempts=_attempts(state, event))
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


def _attempts(state: TaskState, event: TaskEvent) -> tuple[Attempt, ...]:
    """The attempts after an event, each moved by its own table."""
    kind, attempts = type(event), state.attempts
    if isinstance(event, AttemptStarted):
        if event.attempt != len(attempts) + 1:
            raise JournalError(f"attempt {event.attempt} is out of turn")
        return (*attempts, Attempt(event.attempt, event.reserve))
    if kind in _OF_NO_ATTEMPT:
        return attempts
    number: int = getattr(event, "attempt", 0)
    if not 1 <= number <= len(attempts):
        raise JournalError(f"attempt {number} was never started")
    if kind is CostSettled:
        return attempts
    old = attempts[number - 1]
    stage = ATTEMPT_MOVES.get((old.stage, kind))
    if stage is None:
        raise JournalError(f"a {old.stage} attempt cannot take {kind.__name__}")
    new = _moved_on(old, stage, event, stray=number < len(attempts))
    return (*attempts[: number - 1], new, *attempts[number:])


_OF_NO_ATTEMPT = frozenset({TaskPlanned, OutputsMoved, OutputsMissing, TaskAbandoned})


def _moved_on(old: Attempt, stage: Stage, event: TaskEvent, *, stray: bool) -> Attempt:
    if isinstance(event, AttemptAccepted):
        return replace(old, stage=stage, prediction=event.prediction, stray=stray)
    if isinstance(event, OutputsSaved):
        return replace(old, stage=stage, saved=True)
    if isinstance(event, AttemptUncertain):
        return replace(old, stage=stage, window=event.window, taken=event.taken)
    return replace(old, stage=stage)


def _moved(files: tuple[SavedFile, ...], event: OutputsMoved) -> tuple[SavedFile, ...]:
    targets = {move.source: move.target for move in event.moves}
    return tuple(
        replace(file, name=targets.get(file.name, file.name)) for file in files
    )
