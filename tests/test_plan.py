"""What to do next for one task, and what a run would do and cost."""

from collections.abc import Sequence

import pytest
from msgspec import convert
from msgspec.structs import replace

from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    OutputsSaved,
    PredictionCompleted,
    PredictionFailed,
    TaskAbandoned,
    TaskEvent,
    TaskPlanned,
    Window,
)
from batchgen.plan import (
    Abandon,
    Await,
    Download,
    Plan,
    Policy,
    Retry,
    Step,
    Submit,
    change_of,
    next_step,
)
from batchgen.state import TaskState, fold
from batchgen.tasks import Task

TASK = Task(
    id="a" * 32,
    slug="cat",
    model="acme/video",
    input={"prompt": "a cat"},
    take=1,
    price=420_000,
    seconds=5,
    labels={},
    output="cat.mp4",
)
WINDOW = Window(since="2026-10-01T12:00:00.000Z", until="2026-10-01T12:02:00.000Z")


def started(attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(task=TASK.id, attempt=attempt, reserve=TASK.price)


def accepted(attempt: int = 1) -> AttemptAccepted:
    return AttemptAccepted(task=TASK.id, attempt=attempt, prediction=f"p{attempt}")


def refused(
    kind: str, attempt: int = 1, *, after_ms: int | None = None
) -> AttemptRefused:
    return convert(
        {
            "task": TASK.id,
            "attempt": attempt,
            "kind": kind,
            "message": f"{kind}!",
            "retryable": kind in ("key", "credit", "rate"),
            "retry_after_ms": after_ms,
        },
        AttemptRefused,
    )


def not_sent(attempt: int = 1) -> AttemptNotSent:
    return AttemptNotSent(
        task=TASK.id, attempt=attempt, phase="connect_tcp", error="refused"
    )


def uncertain(attempt: int = 1) -> AttemptUncertain:
    return AttemptUncertain(
        task=TASK.id, attempt=attempt, phase="no answer", error="cut", window=WINDOW
    )


def absent(attempt: int = 1) -> AttemptAbsent:
    return AttemptAbsent(
        task=TASK.id, attempt=attempt, scans=2, window=WINDOW, by="retry absent"
    )


def completed(attempt: int = 1) -> PredictionCompleted:
    return PredictionCompleted(task=TASK.id, attempt=attempt, outputs=())


def failed(kind: str, attempt: int = 1) -> tuple[TaskEvent, ...]:
    no = {"task": TASK.id, "attempt": attempt, "kind": kind, "message": f"{kind}!"}
    return (
        started(attempt),
        accepted(attempt),
        convert(no, PredictionFailed),
    )


def abandoned(kind: str) -> TaskAbandoned:
    return convert(
        {"task": TASK.id, "kind": kind, "message": f"{kind}!"}, TaskAbandoned
    )


def submit(attempt: int, delay: float = 0.0) -> Submit:
    return Submit(TASK, attempt, delay)


def allowing(*retry: Retry, attempts: int = 1) -> Policy:
    return Policy(attempts=attempts, retry=frozenset(retry))


SAVED = OutputsSaved(task=TASK.id, attempt=1, files=())
ONCE = Policy()
THRICE = Policy(attempts=3)
EVERYTHING = allowing("rejected", "absent", "uncertain", attempts=20)


@pytest.mark.parametrize(
    ("events", "policy", "step"),
    [
        ((), ONCE, submit(1)),
        ((started(),), EVERYTHING, None),
        ((started(), accepted()), ONCE, Await(TASK, 1, "p1")),
        ((started(), accepted(), completed()), ONCE, Download(TASK, 1, "p1")),
        ((started(), accepted(), completed(), SAVED), EVERYTHING, None),
        # Free and worth repeating: as told, else after a doubling pause.
        ((started(), refused("rate")), ONCE, submit(2, 1.0)),
        ((started(), refused("rate", after_ms=7500)), ONCE, submit(2, 7.5)),
        ((started(), refused("credit")), ONCE, submit(2, 1.0)),
        ((started(), not_sent()), ONCE, submit(2, 1.0)),
        ((started(), not_sent(), started(2), not_sent(2)), ONCE, submit(3, 2.0)),
        # A definite no to this request.
        (
            (started(), refused("invalid")),
            EVERYTHING,
            Abandon(TASK, "invalid", "invalid!"),
        ),
        ((started(), refused("model")), THRICE, Abandon(TASK, "refused", "model!")),
        # Only the provider's own failures are bought again, so often as allowed.
        (failed("provider"), ONCE, Abandon(TASK, "provider", "provider!")),
        (failed("provider"), THRICE, submit(2, 5.0)),
        ((*failed("provider"), *failed("provider", 2)), THRICE, submit(3, 10.0)),
        (
            (*failed("provider"), *failed("provider", 2), *failed("provider", 3)),
            THRICE,
            Abandon(TASK, "provider", "provider!"),
        ),
        (
            (*failed("provider"), started(2), refused("rate", 2)),
            THRICE,
            submit(3, 2.0),
        ),
        (failed("cancelled"), THRICE, Abandon(TASK, "cancelled", "cancelled!")),
        (failed("moderation"), EVERYTHING, Abandon(TASK, "moderation", "moderation!")),
        (failed("invalid"), EVERYTHING, Abandon(TASK, "invalid", "invalid!")),
        (failed("gone"), EVERYTHING, Abandon(TASK, "gone", "gone!")),
        # In doubt: never again by itself, whatever was allowed for earlier doubts.
        ((started(), uncertain()), ONCE, None),
        ((started(), uncertain()), EVERYTHING, None),
        ((started(), uncertain(), absent()), ONCE, submit(2)),
        # Given up in this session.
        ((*failed("provider"), abandoned("provider")), EVERYTHING, None),
    ],
)
def test_within_a_session_every_state_has_one_next_step(
    events: Sequence[TaskEvent], policy: Policy, step: Step | None
) -> None:
    assert next_step(TASK, fold(events), policy) == step


@pytest.mark.parametrize(
    ("events", "policy", "step"),
    [
        ((*failed("provider"), abandoned("provider")), ONCE, submit(2)),
        ((*failed("cancelled"), abandoned("cancelled")), ONCE, submit(2)),
        ((started(), refused("model"), abandoned("refused")), ONCE, submit(2)),
        ((*failed("moderation"), abandoned("moderation")), ONCE, None),
        ((*failed("invalid"), abandoned("invalid")), ONCE, None),
        (
            (*failed("moderation"), abandoned("moderation")),
            allowing("rejected"),
            submit(2),
        ),
        ((*failed("moderation"), abandoned("moderation")), THRICE, None),
        ((*failed("gone"), abandoned("gone")), EVERYTHING, None),
        (
            (started(), accepted(), completed(), abandoned("lost")),
            EVERYTHING,
            None,
        ),
        ((started(), uncertain()), ONCE, None),
        ((started(), uncertain()), allowing("absent"), None),
        ((started(), uncertain()), allowing("rejected"), None),
        ((started(), uncertain()), allowing("uncertain"), submit(2)),
        ((started(), accepted(), completed(), SAVED), EVERYTHING, None),
        # The earlier session died between the failure and giving up.
        (failed("provider"), ONCE, submit(2)),
        (failed("moderation"), ONCE, Abandon(TASK, "moderation", "moderation!")),
        (failed("gone"), EVERYTHING, Abandon(TASK, "gone", "gone!")),
        ((started(), refused("rate", after_ms=7000)), ONCE, submit(2)),
    ],
)
def test_a_later_session_starts_its_count_afresh(
    events: Sequence[TaskEvent], policy: Policy, step: Step | None
) -> None:
    state = fold(events)
    assert next_step(TASK, state, policy, before=len(state.attempts)) == step


def test_a_person_pays_twice_for_a_doubt_only_once_a_session() -> None:
    policy = allowing("uncertain")
    again = fold((started(), uncertain(), started(2), uncertain(2)))
    assert next_step(TASK, again, policy, before=1) is None


def test_a_rejected_task_is_tried_once_a_session_at_most() -> None:
    policy = allowing("rejected", attempts=20)
    story = (*failed("moderation"), abandoned("moderation"), *failed("moderation", 2))
    step = Abandon(TASK, "moderation", "moderation!")
    assert next_step(TASK, fold(story), policy, before=1) == step


def test_failures_of_earlier_sessions_do_not_use_up_the_attempts() -> None:
    story = (*failed("provider"), abandoned("provider"), *failed("provider", 2))
    twice = Policy(attempts=2)
    assert next_step(TASK, fold(story), twice, before=1) == submit(3, 5.0)
    ended = Abandon(TASK, "provider", "provider!")
    assert next_step(TASK, fold(story), ONCE, before=1) == ended


def test_pauses_grow_to_their_ceilings() -> None:
    events: list[TaskEvent] = []
    delays = []
    for number in range(1, 12):
        events += [started(number), not_sent(number)]
        step = next_step(TASK, fold(events), ONCE)
        assert isinstance(step, Submit)
        delays.append(step.delay)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    policy = Policy(attempts=20, backoff=5, longest_backoff=30)
    events, delays = [], []
    for number in range(1, 7):
        events += failed("provider", number)
        step = next_step(TASK, fold(events), policy)
        assert isinstance(step, Submit)
        delays.append(step.delay)
    assert delays == [5, 10, 20, 30, 30, 30]


def test_a_pause_stays_finite_after_many_free_tries() -> None:
    events: list[TaskEvent] = []
    for number in range(1, 1102):
        events += [started(number), refused("rate", number)]
    state = fold(events)
    assert next_step(TASK, state, ONCE) == submit(1102, 60.0)


PLANNED = TaskPlanned(
    task=TASK.id,
    slug="cat",
    labels={},
    model=TASK.model,
    input=TASK.input,
    take=1,
    price=TASK.price,
    seconds=5,
    output="cat.mp4",
)
RENAMED = replace(PLANNED, slug="old-cat")


@pytest.mark.parametrize(
    ("events", "change"),
    [
        ((PLANNED, started(), accepted(), completed(), SAVED), "done"),
        ((RENAMED, started(), accepted(), completed(), SAVED), "renamed"),
        ((PLANNED, started(), accepted()), "open"),
        ((PLANNED, started(), uncertain()), "open"),
        ((PLANNED, started(), refused("rate")), "failed"),
        ((PLANNED, *failed("provider"), abandoned("provider")), "failed"),
        ((PLANNED, *failed("moderation"), abandoned("moderation")), "open"),
    ],
)
def test_a_plan_tells_what_becomes_of_a_known_task(
    events: Sequence[TaskEvent], change: str
) -> None:
    assert change_of(TASK, {TASK.id: fold(events)}, {"cat": TASK.id}, ONCE) == change


def test_a_plan_tells_new_from_changed() -> None:
    states: dict[str, TaskState] = {}
    assert change_of(TASK, states, {}, ONCE) == "new"
    assert change_of(TASK, states, {"cat": "b" * 32}, ONCE) == "changed"


def test_a_plan_adds_up_only_what_it_would_buy() -> None:
    plan = Plan()
    plan.add(TASK, "new", "cats")
    plan.add(TASK, "changed", "cats")
    plan.add(TASK, "failed", "dogs")
    plan.add(TASK, "done", "dogs")
    plan.add(TASK, "open", "dogs")
    assert (plan.total, plan.to_buy, plan.seconds, plan.cost) == (5, 3, 15, 1_260_000)
    assert plan.rows == {"cats": (2, 10, 840_000), "dogs": (1, 5, 420_000)}
    assert plan.counts == {"new": 1, "changed": 1, "failed": 1, "done": 1, "open": 1}
