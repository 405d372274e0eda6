"""What can happen. An event is a fact: frozen, without a clock, comparable with `==`.

Money is integer micro-dollars and is written as a JSON string, so that no reader can
turn it into a float. Times inside events are ISO 8601 UTC text.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
)


def _digits(value: object) -> object:
    """Money comes as an int from code and as text from the file, never as a float."""
    if isinstance(value, str) and value.removeprefix("-").isdigit():
        return int(value)
    if isinstance(value, float):
        raise ValueError("money is never a float")  # noqa: TRY004 - pydantic wants it
    return value


Money = Annotated[int, BeforeValidator(_digits), PlainSerializer(str, return_type=str)]
TaskId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
# The form that may be put into a URL or a file name (security.md, D4).
PredictionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


class _Fact(BaseModel):
    # Additive fields of a newer writer are ignored (money-and-crashes.md, section 13).
    # A plan of a new run reads no events: what is not used is not built.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class SavedFile(_Fact):
    """A verified file: `name` below the videos folder, `/` between folders."""

    name: str
    bytes: int
    sha256: str
    validator: str = ""


class Output(_Fact):
    """One output of a prediction: where it lay, or its JSON value."""

    kind: Literal["url", "json"]
    host: str = ""
    path: str = ""
    value: Any = None


class Move(_Fact):
    """A file that changed its name below the videos folder."""

    source: str
    target: str


class Window(_Fact):
    """When a submission left us at the earliest and the latest, by the service's clock.

    Our own clock may be set between one session and the next.
    """

    since: str
    until: str


class SessionOpened(_Fact):
    """A process took the run; every attempt that is still open is now uncertain."""

    t: Literal["SessionOpened"] = "SessionOpened"
    tool: str
    pid: int
    host: str
    boot: str = ""
    cap: Money | None
    concurrency: int
    manifest: str
    endpoint: str
    key: str = ""
    clock_offset_ms: int = 0
    # One calendar start may be several sessions: what crashed or was interrupted goes
    # on under the money and the deadline of the session it continues.
    continues: bool = False
    session_cap: Money | None = None
    session_spent: Money = 0
    deadline: str = ""  # the moment that `deadline_text` meant at this start
    deadline_text: str = ""
    day: str = ""  # what `{{ date }}` is in names of tasks first planned by this start


class SessionClosed(_Fact):
    """How a session ended; advisory, never trusted."""

    t: Literal["SessionClosed"] = "SessionClosed"
    exit: int
    reason: str
    spent: Money
    committed: Money


class TaskPlanned(_Fact):
    """What a task is; the last one wins."""

    t: Literal["TaskPlanned"] = "TaskPlanned"
    task: TaskId
    slug: str
    labels: Mapping[str, str]
    model: str
    input: Mapping[str, Any]
    take: int
    price: Money
    seconds: int
    output: str


class _Attempt(_Fact):
    task: TaskId
    attempt: Annotated[int, Field(ge=1)]


class AttemptStarted(_Attempt):
    """The intent to buy; durable before the first byte of the request."""

    t: Literal["AttemptStarted"] = "AttemptStarted"
    reserve: Money


class AttemptAccepted(_Attempt):
    """The service took the request; `via` says how we learned of it."""

    t: Literal["AttemptAccepted"] = "AttemptAccepted"
    prediction: PredictionId
    via: Literal["answer", "history", "person"] = "answer"
    http: int | None = None
    server_date: str = ""
    latency_ms: int | None = None
    note: str = ""
    by: str = ""


class AttemptRefused(_Attempt):
    """A definite no: nothing was charged."""

    t: Literal["AttemptRefused"] = "AttemptRefused"
    kind: Literal["invalid", "model", "key", "credit", "rate", "busy"]
    message: str
    http: int | None = None
    retryable: bool = False
    retry_after_ms: int | None = None
    evidence: str = ""


class AttemptNotSent(_Attempt):
    """The request provably never left this machine."""

    t: Literal["AttemptNotSent"] = "AttemptNotSent"
    phase: str
    error: str


class AttemptUncertain(_Attempt):
    """It left, and no usable answer came: it may be charged.

    `taken`: the service said yes, and only which prediction it is stays open. What a
    history does not show is then not absent.
    """

    t: Literal["AttemptUncertain"] = "AttemptUncertain"
    phase: str
    error: str
    window: Window
    evidence: str = ""
    taken: bool = False


class AttemptAbsent(_Attempt):
    """Judged never to have arrived; makes the task buyable again."""

    t: Literal["AttemptAbsent"] = "AttemptAbsent"
    scans: int
    window: Window
    by: str


class PredictionCompleted(_Attempt):
    """The clip exists at the service."""

    t: Literal["PredictionCompleted"] = "PredictionCompleted"
    outputs: tuple[Output, ...]
    inference_ms: int | None = None
    flagged: bool = False
    cost: Money | None = None


class PredictionFailed(_Attempt):
    """The service gave up on it."""

    t: Literal["PredictionFailed"] = "PredictionFailed"
    kind: Literal["provider", "moderation", "invalid", "cancelled", "gone"]
    message: str
    code: int | None = None


class CostSettled(_Attempt):
    """What the provider's billing shows for this attempt, refunds taken off."""

    t: Literal["CostSettled"] = "CostSettled"
    amount: Money


class OutputsSaved(_Attempt):
    """The files are on disk, verified and synced."""

    t: Literal["OutputsSaved"] = "OutputsSaved"
    files: tuple[SavedFile, ...]


class OutputsMoved(_Fact):
    """Files changed their names below the videos folder."""

    t: Literal["OutputsMoved"] = "OutputsMoved"
    task: TaskId
    moves: tuple[Move, ...]


class OutputsMissing(_Fact):
    """A saved file is gone from disk."""

    t: Literal["OutputsMissing"] = "OutputsMissing"
    task: TaskId
    names: tuple[str, ...]


class TaskAbandoned(_Fact):
    """This session does no more for the task."""

    t: Literal["TaskAbandoned"] = "TaskAbandoned"
    task: TaskId
    kind: Literal[
        "provider",
        "moderation",
        "invalid",
        "cancelled",
        "gone",
        "lost",
        "refused",
        "element",
    ]
    message: str


class Repaired(_Fact):
    """A torn tail, never acknowledged, was cut off and kept as evidence."""

    t: Literal["Repaired"] = "Repaired"
    bytes: int
    kept: str


class ClockJumped(_Fact):
    """The time of day and the clock that nobody sets came apart by so much."""

    t: Literal["ClockJumped"] = "ClockJumped"
    ahead_ms: int


class Resealed(_Fact):
    """A person looked at what was wrong with the state file, and took it as it is.

    `what`: lines were edited, an older copy is gone on with, or the run belongs to
    another endpoint from now on.
    """

    t: Literal["Resealed"] = "Resealed"
    what: Literal["edited", "rollback", "endpoint"]
    by: str
    lines: tuple[int, ...] = ()
    lost: int = 0  # records that an older copy does not have
    endpoint: str = ""
    audited: bool = False


class Imported(_Fact):
    """Paid ids that an earlier session could not write down were taken in."""

    t: Literal["Imported"] = "Imported"
    source: str
    accepted: int
    by: str = ""


class MediaUploaded(_Fact):
    """A picture of this disk lies where the service can read it, for some time.

    It is queued before the intent that needs it, so it is durable with that: every
    address that was ever sent stands in the state file.
    """

    t: Literal["MediaUploaded"] = "MediaUploaded"
    ref: Reference
    url: str
    until: str  # by the service's clock; then it is uploaded anew


class ElementKnown(_Fact):
    """The account has this element already: an earlier run made it."""

    t: Literal["ElementKnown"] = "ElementKnown"
    ref: Reference
    element_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


TaskEvent = (
    TaskPlanned
    | AttemptStarted
    | AttemptAccepted
    | AttemptRefused
    | AttemptNotSent
    | AttemptUncertain
    | AttemptAbsent
    | PredictionCompleted
    | PredictionFailed
    | CostSettled
    | OutputsSaved
    | OutputsMoved
    | OutputsMissing
    | TaskAbandoned
)
"""Everything that happens to one task."""

RunEvent = (
    SessionOpened
    | SessionClosed
    | Repaired
    | Resealed
    | Imported
    | ClockJumped
    | MediaUploaded
    | ElementKnown
)
"""Everything that happens to the run as a whole."""

Event = TaskEvent | RunEvent

# The union and its discriminated alias are two names: `match` and annotations want
# the bare union, parsing wants one keyed look-up instead of seventeen trials.
_AnyEvent = TypeAdapter[Event](
    Annotated[Event, Field(discriminator="t")], config=ConfigDict(defer_build=True)
)


def _known() -> frozenset[str]:
    types = (*TaskEvent.__args__, *RunEvent.__args__)
    return frozenset(kind.model_fields["t"].default for kind in types)


KNOWN = _known()
"""The names of every event this version understands."""


def parse(value: Mapping[str, Any]) -> Event:
    """An event from its JSON object; ValueError if a field has the wrong form."""
    return _AnyEvent.validate_python(value)


def dump(event: Event) -> dict[str, Any]:
    """The JSON object of an event, `t` first."""
    return event.model_dump(mode="json")
