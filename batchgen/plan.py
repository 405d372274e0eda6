"""What to do next for one task, and what a run would do and cost. Pure."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from batchgen.events import TaskPlanned
from batchgen.money import Micros
from batchgen.shapes import Lots, count
from batchgen.state import LOST, REJECTED, Attempt, Stage, Status, TaskState
from batchgen.tasks import Task

Retry = Literal["rejected", "absent", "uncertain"]

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


class Submit(Struct, frozen=True):
    """Buy one prediction, after `delay` seconds."""

    task: Task
    attempt: int
    delay: float = 0.0


class Await(Struct, frozen=True):
    """Look at a prediction until it ends."""

    task: Task
    attempt: int
    prediction: str


class Download(Struct, frozen=True):
    """Fetch what a prediction made; a `stray` is that of an older attempt."""

    task: Task
    attempt: int
    prediction: str
    stray: bool = False


class Abandon(Struct, frozen=True):
    """Do no more for this task in this session."""

    task: Task
    kind: str
    message: str


Step = Submit | Await | Download | Abandon


class Policy(Struct, frozen=True):
    """What the user allows; times in seconds.

    Attributes:
        attempts: paid ones of one session that the provider failed.
        backoff: the first wait before another.
        longest_backoff: the longest.
        retry: what is bought again although it was given up or is in doubt.
        again: finished and lost clips are bought a second time.
        task_timeout: of waiting for one clip, which stays collectable.
        stop_after_failures: failed clips in a row that end the buying; 0 for never.
        quarantine: flagged clips move to a folder of their own.
        sidecars: a file of facts stands beside each clip.
    """

    attempts: int = 1
    backoff: float = 5.0
    longest_backoff: float = 300.0
    retry: frozenset[Retry] = field(default_factory=frozenset)
    again: bool = False
    task_timeout: float = 3600.0
    stop_after_failures: int = 10
    quarantine: bool = False
    sidecars: bool = True


def next_step(  # noqa: PLR0911 - one row for each status
    task: Task, state: TaskState, policy: Policy, before: int = 0
) -> Step | None:
    """The one decision of the loop; None when nothing is to be done by this session.

    `before` is how many attempts the task had when the session opened: counted
    attempts start afresh with every session.
    """
    match state.status:
        case Status.PENDING | Status.FAILED if state.strays:
            # It is paid: nothing is bought while it may still give the clip.
            return _collect(task, state.strays[-1])
        case Status.PENDING:
            return _buy_or_give_up(task, state, policy, before)
        case Status.FAILED:
            fresh = len(state.attempts) == before
            return _submit(task, state) if fresh and _again(state, policy) else None
        case Status.UNCERTAIN:
            accepted_twice = "uncertain" in policy.retry
            old = len(state.attempts) == before
            return _submit(task, state) if accepted_twice and old else None
        case Status.RENDERING:
            return Await(task, len(state.attempts), state.prediction)
        case Status.DOWNLOADING:
            source = state.source
            assert source is not None  # noqa: S101 - the table has no other way there
            return Download(task, source.number, source.prediction)
        case Status.DONE if policy.again and len(state.attempts) == before:
            return _submit(task, state)
        case Status.DONE | Status.SUBMITTING:
            return None
        case _:
            assert_never(state.status)


def beside(task: Task, state: TaskState) -> Step | None:
    """The next thing to do for older attempts that are paid; None when there is none.

    Their clips are kept beside the task's own, under a name that tells them apart.
    """
    strays = [stray for stray in state.strays if not stray.saved]
    if not strays or state.status in (Status.PENDING, Status.FAILED):
        return None  # there it is the task's own clip, by `next_step`
    if task.output:  # of an element there is no file
        path = PurePosixPath(task.output)
        name = path.with_stem(f"{path.stem}~{strays[0].prediction[:8]}")
        task = replace(task, output=str(name))
    return _collect(task, strays[0])


def _collect(task: Task, stray: Attempt) -> Step:
    if stray.stage is Stage.ACCEPTED:
        return Await(task, stray.number, stray.prediction)
    return Download(task, stray.number, stray.prediction, stray=True)


def _again(state: TaskState, policy: Policy) -> bool:
    """Whether a task that an earlier session gave up is tried once more."""
    kind = state.trouble.kind if state.trouble else ""
    if kind in LOST:
        return policy.again
    return kind not in REJECTED or "rejected" in policy.retry


def _buy_or_give_up(
    task: Task, state: TaskState, policy: Policy, before: int
) -> Step | None:
    trouble = state.trouble
    if trouble is None:
        return _submit(task, state)
    old = len(state.attempts) == before
    if old and _again(state, policy):
        return _submit(task, state)
    if trouble.kind in ("provider", "cancelled"):
        failures = _failures(state, before)
        if trouble.kind == "provider" and failures < policy.attempts:
            pause = _doubling(policy.backoff, failures, policy.longest_backoff)
            return _submit(task, state, pause)
    elif trouble.retryable:
        return _submit(task, state, _pause(state, before))
    kind = "refused" if trouble.kind == "model" else trouble.kind
    return Abandon(task, kind, trouble.message)


def _failures(state: TaskState, before: int) -> int:
    recent = state.attempts[before:]
    return sum(attempt.stage is Stage.FAILED for attempt in recent)


def _pause(state: TaskState, before: int) -> float:
    """Before repeating what was free: as told, else doubling from a second."""
    if state.trouble and state.trouble.retry_after_ms is not None:
        return state.trouble.retry_after_ms / 1000
    return _doubling(_FIRST_PAUSE, len(state.attempts) - before, _LONGEST_PAUSE)


def _doubling(first: float, tries: int, longest: float) -> float:
    doublings = min(max(0, tries - 1), 32)
    return min(first * 2.0**doublings, longest)


def _submit(task: Task, state: TaskState, delay: float = 0.0) -> Submit:
    return Submit(task, len(state.attempts) + 1, delay)


def as_bought(planned: TaskPlanned) -> Task:
    """The task that a journal remembers."""
    return Task(
        id=planned.task,
        slug=planned.slug,
        model=planned.model,
        input=planned.input,
        take=planned.take,
        price=planned.price,
        seconds=planned.seconds,
        labels=planned.labels,
        output=planned.output,
    )


Change = Literal["new", "changed", "renamed", "done", "open", "failed"]


class Edit(Struct, frozen=True):
    """A task that is not done as it stands.

    `before` and `after` are what the run knows and what the manifest says; only of a
    changed or renamed task, so that a plan of a million new ones stays small.
    """

    change: Change
    slug: str
    cost: Micros
    before: TaskPlanned | None = None
    after: Task | None = None


class Plan(Struct):
    """What a run would do and cost, added up task by task.

    Counts are of clips; `cost` is of elements too. `rows` are the clips to buy,
    grouped by their first label: clips, seconds, cost. `elements` are what clips show,
    and `made` are those of them to buy: how many, and their cost. `edits` name the
    tasks that are new, changed, renamed or tried again. `lots` are the tasks to buy by
    what a price and a schema may depend on. In `brief` no new task is an edit: a plan
    of a million rows keeps nothing of each.
    """

    brief: bool = False
    total: int = 0
    to_buy: int = 0
    seconds: int = 0
    cost: Micros = 0
    counts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, tuple[int, int, Micros]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    edits: list[Edit] = field(default_factory=list)
    lots: Lots = field(default_factory=dict)
    elements: int = 0
    made: tuple[int, Micros] = (0, 0)

    @property
    def buys(self) -> bool:
        """Whether there is anything to buy."""
        return bool(self.to_buy or self.made[0])

    def add(
        self,
        task: Task,
        change: Change,
        group: str,
        before: TaskPlanned | None = None,
    ) -> None:
        """Count one task of the manifest; `before` is what the run knows of it."""
        if change in ("changed", "renamed"):
            cost = task.price if change == "changed" else 0
            self.edits.append(Edit(change, task.slug, cost, before, task))
        elif change == "failed" or (change == "new" and not self.brief):
            self.edits.append(Edit(change, task.slug, task.price))
        if task.kind == "element":
            self._add_element(task, change)
            return
        self.total += 1
        self.counts[change] = self.counts.get(change, 0) + 1
        if change in ("new", "changed", "failed"):
            self.to_buy += 1
            self.seconds += task.seconds
            self.cost += task.price
            count(self.lots, task)
            clips, seconds, cost = self.rows.get(group, (0, 0, 0))
            self.rows[group] = (
                clips + 1,
                seconds + task.seconds,
                cost + task.price,
            )

    def _add_element(self, task: Task, change: Change) -> None:
        self.elements += 1
        if change in ("new", "changed", "failed"):
            count(self.lots, task)
            self.made = (self.made[0] + 1, self.made[1] + task.price)
            self.cost += task.price


def before_of(
    task: Task,
    change: Change,
    states: Mapping[str, TaskState],
    slugs: Mapping[str, str],
) -> TaskPlanned | None:
    """What the run knows of a task that has another name or request now."""
    if change not in ("changed", "renamed"):
        return None
    known = states.get(task.id) or states.get(slugs.get(task.slug, ""))
    return known.planned if known else None


def change_of(
    task: Task,
    states: Mapping[str, TaskState],
    slugs: Mapping[str, str],
    policy: Policy,
) -> Change:
    """What this run makes of a task; `slugs` maps a known slug to its task id."""
    state = states.get(task.id)
    if state is None:
        return "changed" if slugs.get(task.slug, task.id) != task.id else "new"
    match next_step(task, state, policy, len(state.attempts)):
        case Submit():
            return "failed" if state.attempts else "new"
        case None if state.status is Status.DONE:
            planned = state.planned
            same = planned is None or planned.slug == task.slug
            return "done" if same else "renamed"
        case _:
            return "open"
