"""Where a whole run stands: the fold of all its events. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, NoReturn, assert_never, cast

from batchgen.errors import JournalError
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    ClockJumped,
    CostSettled,
    ElementKnown,
    Event,
    Imported,
    MediaUploaded,
    OfTask,
    PredictionCompleted,
    PredictionFailed,
    Repaired,
    Resealed,
    RunEvent,
    SessionClosed,
    SessionOpened,
    TaskEvent,
    TaskPlanned,
    Window,
    share,
)
from batchgen.ledger import Ledger
from batchgen.lives import Life, courses, grouped, lived
from batchgen.money import Micros
from batchgen.profile import MEDIA_CODES
from batchgen.records import Record
from batchgen.references import element_id, pictures, task_of
from batchgen.replay import Page, undisturbed
from batchgen.state import Stage, Status, TaskState, evolve, word, words

WORDS = (
    "pending",
    "rendering",
    "downloading",
    "done",
    "failed",
    "rejected",
    "lost",
    "uncertain",
)

_NEW = TaskState()
_PAID = frozenset({Status.RENDERING, Status.DOWNLOADING})
_OF_RUN = frozenset(RunEvent.__args__)


class Tally:
    """Every task's state, the money, and how many tasks stand where.

    Attributes:
        states: task id -> state, for every task the journal knows.
        ledger: the money of all attempts.
        session: how the present or last session began.
        endpoint: where the run's predictions are; empty before the first session.
        unaudited: a person went on with a state file that may lack purchases, and
            nobody has looked for them in the account's history.
        widened: attempts under way while our clock was set, and by how many ms; their
            windows are so much wider at both ends.
        dearer: model -> the worst charge seen above its bound, and that bound.
        wanted: tasks that this run is about; None until the run says so.
        element_tasks: those of them that make what clips show; they are no clips.
        uploads: reference of a picture -> its address at the service, and until when.
        refs: address of any upload there ever was -> reference of its picture.
        elements: task of an element -> the account's id of it.
        makers: the other way round.
    """

    def __init__(self) -> None:
        self.states: dict[str, TaskState] = {}
        self.ledger = Ledger()
        self.session: SessionOpened | None = None
        self.endpoint = ""
        self.unaudited = False
        self.closed: SessionClosed | None = None
        self.widened: dict[tuple[str, int], int] = {}
        self.dearer: dict[str, tuple[Micros, Micros]] = {}
        self.wanted: frozenset[str] | None = None
        self.uploads: dict[str, tuple[str, str]] = {}
        self.refs: dict[str, str] = {}
        self.elements: dict[str, str] = {}
        self.makers: dict[str, str] = {}
        self.element_tasks: frozenset[str] = frozenset()
        self._owned: set[str] | None = None  # once somebody has asked
        self._planned: TaskPlanned | None = None  # the last
        self._counts: Counter[str] | None = None  # once somebody has asked

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Tally":
        """The fold of a journal.

        Raises:
            JournalError: the records tell a story that cannot have happened.
        """
        tally = cls()
        with undisturbed():
            for record in records:
                try:
                    tally.apply(record.event)
                except JournalError as error:
                    raise JournalError(f"record {record.n}: {error}") from error
        return tally

    def hear(self, pages: Sequence[Page]) -> None:
        """Take in pages of a journal while it is read.

        Raises:
            JournalError: they tell a story that cannot have happened. What came after
                it may have been taken in, so this tally is worth nothing.
        """
        events = [event for page in pages for event in page.events]
        wrong: dict[int, JournalError] = {}  # by the identity of the event
        placed = False
        for are_lives, group in grouped(events):
            if not (are_lives or placed):  # it may come before its turn
                for one in events:
                    if isinstance(one, OfTask):
                        self.states.setdefault(one.task, _NEW)
                placed = True
            for event in self._live(group) if are_lives else group:
                try:
                    self.apply(event)
                except JournalError as error:
                    wrong[id(event)] = error
        if wrong:
            _refuse_first(wrong, pages)

    def _live(self, lives: Sequence[Life]) -> Iterator[TaskEvent]:
        """Take in usual lives, all that are alike at one step; the events left over."""
        for course, befores, alike in courses(self.states, lives):
            afters = lived(course, befores, alike)
            if afters is None:
                yield from chain.from_iterable(alike)
                continue
            tasks = [life[0].task for life in alike]
            self.states.update(zip(tasks, afters, strict=True))
            self.ledger.live(tasks, befores, afters)
            if TaskPlanned in course.kinds:
                self._share(afters)
            if AttemptStarted in course.kinds:
                self.unaudited = False  # nothing is bought before the audit
            if self._owned is not None:
                self._owned.update(_predictions(afters))
            if self._counts is not None:
                for task, before, after in zip(tasks, befores, afters, strict=True):
                    self._recount(self._counts, task, before, after)

    def _share(self, states: Iterable[TaskState]) -> None:
        """Keep once what tasks that were planned one after the other have alike."""
        planned = [one.planned for one in states if one.planned is not None]
        share([self._planned or planned[0], *planned])
        self._planned = planned[-1]

    def apply(self, event: Event) -> None:
        """Take one event in; a JournalError leaves everything as it was."""
        kind = type(event)
        if kind in _OF_RUN:
            self._apply_to_run(cast("RunEvent", event))
        else:
            self._apply(kind, cast("TaskEvent", event))
        self.ledger.apply(event)

    def _apply(self, kind: type[Event], event: TaskEvent) -> None:
        before = self.states.get(event.task, _NEW)
        self.states[event.task] = after = evolve(before, event)
        if kind in _ALSO:
            _ALSO[kind](self, after, event)
        if self._counts is not None:
            self._recount(self._counts, event.task, before, after)

    def _apply_to_run(self, event: RunEvent) -> None:
        match event:
            case SessionOpened():
                self.session, self.closed = event, None
                self.endpoint = event.endpoint
            case SessionClosed():
                self.closed = event
            case Repaired() | Imported():
                pass
            case ClockJumped():
                for key in self.open_attempts():
                    wide = self.widened.get(key, 0)
                    self.widened[key] = wide + abs(event.ahead_ms)
            case Resealed():
                self._reseal(event)
            case MediaUploaded():
                self.uploads[event.ref] = (event.url, event.until)
                self.refs[event.url] = event.ref
            case ElementKnown():
                task = task_of(event.ref)
                self._know(task, self.elements.get(task, event.element_id))
                self.makers[event.element_id] = task
            case _:
                assert_never(event)

    def _start(self, _: TaskState, __: AttemptStarted) -> None:
        self.unaudited = False  # nothing is bought before the audit

    def _own(self, _: TaskState, event: AttemptAccepted) -> None:
        if self._owned is not None:
            self._owned.add(event.prediction)

    def _complete(self, _: TaskState, event: PredictionCompleted) -> None:
        self._know(event.task, element_id(event.outputs))

    def _know(self, task: str, element: str) -> None:
        if element:  # the newest: it was asked for again for a reason
            self.elements[task] = element
            self.makers[element] = task

    def _mind_uploads(self, state: TaskState, event: PredictionFailed) -> None:
        """What the service could not fetch is brought to it anew."""
        if event.code in MEDIA_CODES and state.planned:
            for ref in pictures(state.planned.input):
                self.uploads.pop(ref, None)

    def urls(self, fields: Mapping[str, Any], now: str) -> dict[str, str]:
        """Where the pictures of a request lie that the service can still read."""
        known = {ref: self.uploads.get(ref, ("", "")) for ref in pictures(fields)}
        return {ref: url for ref, (url, until) in known.items() if now < until}

    def bound(self, model: str, price: Micros) -> Micros:
        """The most that a task of this price may cost, after what billing has shown."""
        amount, reserve = self.dearer.get(model, (1, 1))
        return max(price, -(-price * amount // reserve))

    def _mind_price(self, state: TaskState, event: CostSettled) -> None:
        reserve = state.attempts[event.attempt - 1].reserve
        if state.planned is None or not 0 < reserve < event.amount:
            return
        worst, bound = self.dearer.get(state.planned.model, (0, 1))
        # worst / bound < amount / reserve, without a division
        if worst * reserve < event.amount * bound:
            self.dearer[state.planned.model] = (event.amount, reserve)

    def _reseal(self, event: Resealed) -> None:
        if event.what == "endpoint":
            self.endpoint = event.endpoint
        else:
            self.unaudited = not event.audited

    def want(self, tasks: Iterable[str], elements: Iterable[str] = ()) -> None:
        """Say which tasks the counts are about, and which of them are no clips."""
        ids = list(dict.fromkeys(tasks))
        states = self.standing(ids)
        self.wanted, self.element_tasks = frozenset(ids), frozenset(elements)
        self._counts = words(states)

    def standing(self, tasks: Sequence[str]) -> list[TaskState]:
        """The states of some tasks, in order."""
        if tasks == list(self.states):  # as a rule it is all of them, as they stand
            return list(self.states.values())
        return list(map(self.states.get, tasks, repeat(_NEW)))

    def _word(self, task: str) -> str:
        return word(self.states.get(task, _NEW))

    @property
    def owned(self) -> set[str]:
        """Predictions that belong to an attempt."""
        if self._owned is None:
            self._owned = set(_predictions(self.states.values()))
        return self._owned

    @property
    def counts(self) -> dict[str, int]:
        """How many of the wanted clips stand where; they add up to the total."""
        made = Counter(map(self._word, self.element_tasks))
        return {name: count - made[name] for name, count in self.everything.items()}

    @property
    def everything(self) -> dict[str, int]:
        """The same with elements, which decide on how a run ends as well."""
        if self._counts is None:
            self._counts = words(list(self.states.values()))
        return {name: self._counts[name] for name in WORDS}

    @property
    def total(self) -> int:
        """How many clips the run is about."""
        wanted = self.states if self.wanted is None else self.wanted
        return len(wanted) - len(self.element_tasks)

    @property
    def left(self) -> int:
        """Clips that are neither finished nor given up nor in doubt."""
        counts = self.counts
        return sum(counts[name] for name in ("pending", "rendering", "downloading"))

    def doubtful(self) -> Iterator[tuple[str, int, Window | None]]:
        """Every attempt of unknown fate: task, attempt, window."""
        for task, state in self.states.items():
            for attempt in state.attempts:
                if attempt.stage in (Stage.OPEN, Stage.UNCERTAIN):
                    yield task, attempt.number, attempt.window

    def open_attempts(self) -> Iterator[tuple[str, int]]:
        """Attempts that a dead session left without an outcome."""
        for task, state in self.states.items():
            if state.status is Status.SUBMITTING:
                yield task, len(state.attempts)

    def in_flight(self) -> Iterator[str]:
        """Tasks with something paid and not yet collected, oldest first."""
        for task, state in self.states.items():
            if state.status in _PAID or (
                len(state.attempts) > 1
                and any(not stray.saved for stray in state.strays)
            ):
                yield task

    def _recount(
        self, counts: Counter[str], task: str, before: TaskState, after: TaskState
    ) -> None:
        if self.wanted is None or task in self.wanted:
            known = self.wanted is not None or before != _NEW
            counts[word(before)] -= known
            counts[word(after)] += 1


def _predictions(states: Iterable[TaskState]) -> Iterator[str]:
    for state in states:
        for attempt in state.attempts:
            if attempt.prediction:
                yield attempt.prediction


def _refuse_first(wrong: Mapping[int, JournalError], pages: Iterable[Page]) -> NoReturn:
    """Raise what was wrong first, whichever task was looked at first."""
    records = (one for page in pages for one in page.records)
    first = next(one for one in records if id(one.event) in wrong)
    error = wrong[id(first.event)]
    raise JournalError(f"record {first.n}: {error}") from error


# What the event of a task changes beside the task's state; most change nothing.
_ALSO: dict[type[object], Callable[[Tally, TaskState, Any], None]] = {
    AttemptStarted: Tally._start,  # noqa: SLF001 - the table of its own steps
    AttemptAccepted: Tally._own,  # noqa: SLF001
    CostSettled: Tally._mind_price,  # noqa: SLF001
    PredictionCompleted: Tally._complete,  # noqa: SLF001
    PredictionFailed: Tally._mind_uploads,  # noqa: SLF001
}
