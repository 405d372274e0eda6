"""Many events of one task, taken in at one step. Pure.

Nearly all of a journal is one sort of life: planned, started, accepted, completed,
saved, in a first attempt. The tables of `state` are its law as of any other life, and
they are asked here as well; only the states in between are not made.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    OutputsSaved,
    PredictionCompleted,
    TaskEvent,
    TaskPlanned,
)
from batchgen.state import ATTEMPT_MOVES, TRANSITIONS, Attempt, Stage, Status, TaskState

USUAL = frozenset(
    {TaskPlanned, AttemptStarted, AttemptAccepted, PredictionCompleted, OutputsSaved}
)
"""Events that tell of their own task alone; a prediction if it `is_plain`.

So one of them may change places with one of another task.
"""
_FILES: tuple[list[str], ...] = (["url"], [])
# The same tables by the type of the event.
_MOVES: dict[type[object], dict[Status, Status]] = {
    kind: {before: to for (before, one), to in TRANSITIONS.items() if one is kind}
    for kind in USUAL
}
_STAGES: dict[type[object], dict[Stage | None, Stage]] = {
    kind: {before: to for (before, one), to in ATTEMPT_MOVES.items() if one is kind}
    for kind in USUAL
}
_STAGES[AttemptStarted] = {None: Stage.OPEN}  # there is no attempt before it


def is_plain(event: PredictionCompleted) -> bool:
    """Whether a prediction made files alone, and costs what was reserved.

    What it made besides may be what the clips of other tasks show.
    """
    if event.cost is not None:
        return False
    return [one.kind for one in event.outputs] in _FILES


def lived(  # noqa: C901 - one loop, so that a life is one step
    state: TaskState, events: Sequence[TaskEvent]
) -> TaskState | None:
    """The state after usual events, in order; None if each must be looked at alone.

    That is so where it is not all about a first attempt, or not allowed.
    """
    reserve, stage, prediction, saved = 0, None, "", False
    if state.attempts:
        one, *more = state.attempts
        if more or one.window is not None or one.stray or one.taken:
            return None
        reserve, stage = one.reserve, one.stage
        prediction, saved = one.prediction, one.saved
    course = _course(state.status, stage, tuple(map(type, events)))
    if course is None:
        return None
    status, stage = course
    planned, trouble, files = state.planned, state.trouble, state.files
    flagged, saved_by = state.flagged, state.saved_by
    event: Any
    for event in events:
        kind: type[Any] = type(event)
        if kind is TaskPlanned:
            planned = event
            continue
        if event.attempt != 1:
            return None  # of another, to which these tables do not apply
        if kind is PredictionCompleted:
            flagged = event.flagged
            continue
        trouble = None
        if kind is AttemptStarted:
            reserve = event.reserve
        elif kind is AttemptAccepted:
            prediction = event.prediction
        else:
            files, saved, saved_by = event.files, True, 1
    if stage is None:
        return TaskState(status, planned, (), trouble, files, flagged, saved_by)
    made = (Attempt(1, reserve, stage, prediction, None, False, saved),)
    return TaskState(status, planned, made, trouble, files, flagged, saved_by)


@lru_cache(maxsize=1000)
def _course(
    status: Status, stage: Stage | None, kinds: tuple[type[object], ...]
) -> tuple[Status, Stage | None] | None:
    """Where events of these types lead a task and its first attempt; None: nowhere.

    A million lives have few courses, so the tables are asked once for each.
    """
    for kind in kinds:
        if status not in _MOVES[kind]:
            return None
        status = _MOVES[kind][status]
        if kind is TaskPlanned:
            continue
        if stage not in _STAGES[kind]:
            return None
        stage = _STAGES[kind][stage]
    return status, stage
