"""Many events of many tasks, taken in at one step. Pure.

Nearly all of a journal is one sort of life: planned, started, accepted, completed,
saved, in a first attempt. The tables of `state` are its law as of any other life, and
they are asked here as well, once for all lives that are alike; only the states in
between are not made.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    Event,
    OfTask,
    OutputsSaved,
    PredictionCompleted,
    TaskPlanned,
)
from batchgen.state import ATTEMPT_MOVES, TRANSITIONS, Attempt, Stage, Status, TaskState

USUAL = frozenset(
    {TaskPlanned, AttemptStarted, AttemptAccepted, PredictionCompleted, OutputsSaved}
)
"""Events that make a usual life; a prediction if it `is_plain`."""
_CERTAIN = USUAL - {PredictionCompleted}
_WELL = USUAL - {TaskPlanned, PredictionCompleted}  # after these no trouble is left
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
_NUMBER = attrgetter("attempt")
_NEW = TaskState()
_FRESH = Attempt(1, 0)

Life = Sequence[Any]
"""Events of one task, in order."""


def is_plain(event: PredictionCompleted) -> bool:
    """Whether a prediction made files alone, and costs what was reserved.

    What it made besides may be what the clips of other tasks show.
    """
    if event.cost is not None:
        return False
    made = event.outputs
    return not made or (len(made) == 1 and made[0].kind == "url")


def grouped(events: Sequence[Event]) -> Iterator[tuple[bool, Sequence[Any]]]:
    """The same events: usual lives of many tasks at once, or others one by one.

    An event of a task may change places with one of another: neither looks at the
    other's. So an unusual one needs before it only what its own task has. An event of
    the run may look at every task; nothing passes it.

    Yields:
        Whether these are lives; else they are events.
    """
    lives: defaultdict[str, list[Any]] = defaultdict(list)
    event: Any
    for kind, event in zip(map(type, events), events, strict=True):
        if kind in _CERTAIN or (kind is PredictionCompleted and is_plain(event)):
            lives[event.task].append(event)
        elif isinstance(event, OfTask):
            yield False, [*lives.pop(event.task, ()), event]
        else:
            yield True, list(lives.values())
            lives.clear()
            yield False, [event]
    yield True, list(lives.values())


class Course(NamedTuple):
    """Lives that begin alike and go on alike.

    Attributes:
        status: of every task before them.
        stage: of its first attempt; None before there is one.
        kinds: the types of the events, in order.
        simple: no task has more than a first attempt to which nothing unusual happened.
    """

    status: Status
    stage: Stage | None
    kinds: tuple[type[Any], ...]
    simple: bool = True


def courses(
    states: dict[str, TaskState], lives: Iterable[Life]
) -> Iterator[tuple[Course, Sequence[TaskState], Sequence[Life]]]:
    """Lives by their course, with the states that they begin with.

    New tasks get their places among the states, in the order of the lives.
    """
    found: defaultdict[tuple[Any, ...], tuple[list[TaskState], list[Life]]]
    found = defaultdict(lambda: ([], []))
    stage: Stage | None
    fresh: defaultdict[tuple[type[Any], ...], list[Life]] = defaultdict(list)
    for life in lives:
        state, kinds = states.setdefault(life[0].task, _NEW), tuple(map(type, life))
        if state is _NEW:
            fresh[kinds].append(life)
            continue
        stage, simple, attempts = None, True, state.attempts
        if attempts:
            one = attempts[0]
            stage, odd = one.stage, one.window or one.stray or one.taken
            simple = len(attempts) == 1 and not odd
        befores, alike = found[state.status, stage, kinds, simple]
        befores.append(state)
        alike.append(life)
    for kinds, begun in fresh.items():
        yield Course(_NEW.status, None, kinds), [_NEW] * len(begun), begun
    for key, (befores, alike) in found.items():
        yield Course(*key), befores, alike


def lived(
    course: Course, states: Sequence[TaskState], lives: Sequence[Life]
) -> list[TaskState] | None:
    """The states after lives of one course; None if each must be looked at alone.

    That is so where it is not all about first attempts, or not allowed.
    """
    end = _end(course)
    if end is None:
        return None
    status, stage = end
    # The events by their type; of what was planned twice the last one wins.
    told = dict(zip(course.kinds, zip(*lives, strict=True), strict=True))
    for kind in told.keys() - {TaskPlanned}:
        if set(map(_NUMBER, told[kind])) != {1}:
            return None  # one of another attempt, to which these tables do not apply
    return list(
        map(
            TaskState,
            repeat(status),
            told.get(TaskPlanned) or [one.planned for one in states],
            repeat(()) if stage is None else _attempts(stage, states, told),
            repeat(None) if told.keys() & _WELL else [one.trouble for one in states],
            [one.files for one in told.get(OutputsSaved, states)],
            [one.flagged for one in told.get(PredictionCompleted, states)],
            repeat(1) if OutputsSaved in told else [one.saved_by for one in states],
        )
    )


def _attempts(
    stage: Stage,
    states: Sequence[TaskState],
    told: Mapping[type[Any], Sequence[Any]],
) -> Iterator[tuple[Attempt]]:
    """The only attempts of tasks after usual events."""
    if AttemptStarted in told:
        olds = [_FRESH] * len(states)
    else:
        olds = [one.attempts[0] for one in states]
    made = map(
        Attempt,
        repeat(1),
        [one.reserve for one in told.get(AttemptStarted, olds)],
        repeat(stage),
        [one.prediction for one in told.get(AttemptAccepted, olds)],
        repeat(None),
        repeat(False),
        repeat(True) if OutputsSaved in told else [one.saved for one in olds],
    )
    return zip(made, strict=True)


@lru_cache(maxsize=1000)
def _end(course: Course) -> tuple[Status, Stage | None] | None:
    """Where a course leads a task and its first attempt; None: it must not be."""
    status, stage = course.status, course.stage
    for kind in course.kinds:
        if not course.simple or status not in _MOVES[kind]:
            return None
        status = _MOVES[kind][status]
        if kind is TaskPlanned:
            continue
        if stage not in _STAGES[kind]:
            return None
        stage = _STAGES[kind][stage]
    return status, stage
