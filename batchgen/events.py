"""What can happen. An event is a fact: frozen, without a clock, comparable with `==`.

Money is integer micro-dollars and is written as a JSON string, so that no reader can
turn it into a float. Times inside events are ISO 8601 UTC text.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from msgspec import Meta, Struct, convert, defstruct, to_builtins
from msgspec.json import Decoder, encode
from msgspec.structs import force_setattr

if TYPE_CHECKING:
    Money = int
else:
    Money = int | str  # the latter in the file; `_settle` makes a number of it

TaskId = Annotated[str, Meta(min_length=32, max_length=32)]  # hexadecimal
Reference = str  # `sha256:` and 64 hex characters
PredictionId = str  # a form that may be put into a URL or a file name (security.md, D4)

_IS_TASK = re.compile(r"[0-9a-f]{32}").fullmatch
_IS_REF = re.compile(r"sha256:[0-9a-f]{64}").fullmatch
_IS_PREDICTION = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch
_IS_ELEMENT = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


# Nothing here can refer to itself, so the collector need not look at a million of it.
class _Part(Struct, frozen=True, gc=False):
    """Something inside a fact."""


class _Fact(Struct, frozen=True, gc=False, tag=True, tag_field="t"):
    # Additive fields of a newer writer are ignored (money-and-crashes.md, section 13).
    money: ClassVar[tuple[str, ...]] = ()  # names of the fields that hold some

    @property
    def t(self) -> str:
        """Its name in the file."""
        return type(self).__name__


def _settle(event: _Fact) -> None:
    """Money comes as an int from code and as text from the file, never as a float."""
    for name in event.money:
        amount = getattr(event, name)
        if type(amount) is not int and amount is not None:
            force_setattr(event, name, _whole(amount))


@lru_cache(maxsize=10_000)  # a million events have few amounts
def _whole(amount: object) -> int:
    if not isinstance(amount, str) or not amount.removeprefix("-").isdigit():
        raise ValueError("money is never a float")
    return int(amount)


def _formed(match: re.Match[str] | None, name: str) -> None:
    if match is None:
        raise ValueError(f"{name} has another form")


class OfTask(_Fact, frozen=True):
    """What happens to one task."""

    task: TaskId


class SavedFile(_Part, frozen=True):
    """A verified file: `name` below the videos folder, `/` between folders.

    With a `store` it is an object in a bucket, and `name` is below that address.
    """

    name: str
    bytes: int
    sha256: str
    validator: str = ""
    store: str = ""  # s3://bucket/prefix/run


class Output(_Part, frozen=True):
    """One output of a prediction: where it lay, or its JSON value."""

    kind: Literal["url", "json"]
    host: str = ""
    path: str = ""
    value: Any = None


class Move(_Part, frozen=True):
    """A file that changed its name below the videos folder."""

    source: str
    target: str


class Window(_Part, frozen=True):
    """When a submission left us at the earliest and the latest, by the service's clock.

    Our own clock may be set between one session and the next.
    """

    since: str
    until: str


class SessionOpened(_Fact, frozen=True, kw_only=True):
    """A process took the run; every attempt that is still open is now uncertain."""

    money = ("cap", "session_cap", "session_spent")
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
    links: str = ""  # how a report links to objects: for how long, or where they are
    day: str = ""  # what `{{ date }}` is in names of tasks first planned by this start

    def __post_init__(self) -> None:
        _settle(self)


class SessionClosed(_Fact, frozen=True):
    """How a session ended; advisory, never trusted."""

    money = ("spent", "committed")
    exit: int
    reason: str
    spent: Money
    committed: Money

    def __post_init__(self) -> None:
        _settle(self)


class TaskPlanned(OfTask, frozen=True):
    """What a task is; the last one wins."""

    money = ("price",)
    slug: str
    labels: Mapping[str, str]
    model: str
    input: Mapping[str, Any]
    take: int
    price: Money
    seconds: int
    output: str

    def __post_init__(self) -> None:
        if type(self.price) is not int:
            force_setattr(self, "price", _whole(self.price))


def share(events: Sequence[TaskPlanned]) -> None:
    """Let each have the parts of the one before it where they are equal."""
    model, labels = events[0].model, events[0].labels
    for event in events:
        if event.model == model:
            force_setattr(event, "model", model)
        else:
            model = event.model
        if event.labels == labels:
            force_setattr(event, "labels", labels)
        else:
            labels = event.labels


class OfAttempt(OfTask, frozen=True):
    """What happens to one attempt of a task."""

    attempt: Annotated[int, Meta(ge=1)]


class AttemptStarted(OfAttempt, frozen=True):
    """The intent to buy; durable before the first byte of the request."""

    money = ("reserve",)
    reserve: Money

    def __post_init__(self) -> None:
        if type(self.reserve) is not int:
            force_setattr(self, "reserve", _whole(self.reserve))


class AttemptAccepted(OfAttempt, frozen=True):
    """The service took the request; `via` says how we learned of it."""

    prediction: PredictionId
    via: Literal["answer", "history", "person"] = "answer"
    http: int | None = None
    server_date: str = ""
    latency_ms: int | None = None
    note: str = ""
    by: str = ""

    def __post_init__(self) -> None:
        if _IS_PREDICTION(self.prediction) is None:
            raise ValueError("prediction has another form")


class AttemptRefused(OfAttempt, frozen=True):
    """A definite no: nothing was charged."""

    kind: Literal["invalid", "model", "key", "credit", "rate", "busy"]
    message: str
    http: int | None = None
    retryable: bool = False
    retry_after_ms: int | None = None
    evidence: str = ""


class AttemptNotSent(OfAttempt, frozen=True):
    """The request provably never left this machine."""

    phase: str
    error: str


class AttemptUncertain(OfAttempt, frozen=True):
    """It left, and no usable answer came: it may be charged.

    `taken`: the service said yes, and only which prediction it is stays open. What a
    history does not show is then not absent.
    """

    phase: str
    error: str
    window: Window
    evidence: str = ""
    taken: bool = False


class AttemptAbsent(OfAttempt, frozen=True):
    """Judged never to have arrived; makes the task buyable again."""

    scans: int
    window: Window
    by: str


class PredictionCompleted(OfAttempt, frozen=True):
    """The clip exists at the service."""

    money = ("cost",)
    outputs: tuple[Output, ...]
    inference_ms: int | None = None
    flagged: bool = False
    cost: Money | None = None

    def __post_init__(self) -> None:
        if self.cost is not None:
            _settle(self)


class PredictionFailed(OfAttempt, frozen=True):
    """The service gave up on it."""

    kind: Literal["provider", "moderation", "invalid", "cancelled", "gone"]
    message: str
    code: int | None = None


class CostSettled(OfAttempt, frozen=True):
    """What the provider's billing shows for this attempt, refunds taken off."""

    money = ("amount",)
    amount: Money

    def __post_init__(self) -> None:
        _settle(self)


class OutputsSaved(OfAttempt, frozen=True):
    """The files are on disk, verified and synced."""

    files: tuple[SavedFile, ...]


class OutputsMoved(OfTask, frozen=True):
    """Files changed their names below the videos folder."""

    moves: tuple[Move, ...]


class OutputsMissing(OfTask, frozen=True):
    """A saved file is gone from disk."""

    names: tuple[str, ...]


class TaskAbandoned(OfTask, frozen=True):
    """This session does no more for the task."""

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


class Repaired(_Fact, frozen=True):
    """A torn tail, never acknowledged, was cut off and kept as evidence."""

    bytes: int
    kept: str


class ClockJumped(_Fact, frozen=True):
    """The time of day and the clock that nobody sets came apart by so much."""

    ahead_ms: int


class Resealed(_Fact, frozen=True):
    """A person looked at what was wrong with the state file, and took it as it is.

    `what`: lines were edited, an older copy is gone on with, or the run belongs to
    another endpoint from now on.
    """

    what: Literal["edited", "rollback", "endpoint"]
    by: str
    lines: tuple[int, ...] = ()
    lost: int = 0  # records that an older copy does not have
    endpoint: str = ""
    audited: bool = False


class Imported(_Fact, frozen=True):
    """Paid ids that an earlier session could not write down were taken in."""

    source: str
    accepted: int
    by: str = ""


class MediaUploaded(_Fact, frozen=True):
    """A picture of this disk lies where the service can read it, for some time.

    It is queued before the intent that needs it, so it is durable with that: every
    address that was ever sent stands in the state file.
    """

    ref: Reference
    url: str
    until: str  # by the service's clock; then it is uploaded anew

    def __post_init__(self) -> None:
        _formed(_IS_REF(self.ref), "ref")


class ElementKnown(_Fact, frozen=True):
    """The account has this element already: an earlier run made it."""

    ref: Reference
    element_id: str

    def __post_init__(self) -> None:
        _formed(_IS_REF(self.ref), "ref")
        _formed(_IS_ELEMENT(self.element_id), "element_id")


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

_AnyEvent: Any = Event
_TASK_OF = attrgetter("task")
_LINES: Decoder[Event] = Decoder(_AnyEvent)
_ALL = frozenset({*TaskEvent.__args__, *RunEvent.__args__})

KNOWN = frozenset(kind.__name__ for kind in _ALL)
"""The names of every event this version understands."""


class _Other(Struct, frozen=True, gc=False):
    """An event that nobody asked for."""


@cache
def _decoder(kinds: frozenset[type[Event]]) -> Decoder[Event | _Other]:
    """Reads events of these kinds; of the others it does not keep a field."""
    others = [
        defstruct(kind.__name__, [], bases=(_Other,), tag=True, tag_field="t")
        for kind in _ALL - kinds
    ]
    union: Any = Union[(*kinds, *others)]
    return Decoder(union)


def read_lines(text: bytes) -> list[Event]:
    """The events of many lines; ValueError if one is none or has a wrong field."""
    found = _LINES.decode_lines(text)
    try:
        tasks = "".join(map(_TASK_OF, found))
    except AttributeError:  # one is of the run as a whole
        tasks = "".join([getattr(event, "task", "") for event in found])
    # Their length was looked at; this is the quickest look at their digits.
    if bytes.fromhex(tasks).hex() != tasks:
        raise ValueError("task has another form")
    return found


def pick_lines(text: bytes, kinds: frozenset[type[Event]]) -> list[Event | None]:
    """The events of lines that were read before: those of some kinds, and None."""
    found = _decoder(kinds).decode_lines(text)
    return [None if isinstance(event, _Other) else event for event in found]


def parse(value: Mapping[str, Any]) -> Event:
    """An event from its JSON object; ValueError if a field has the wrong form."""
    try:
        # Of a type that is known since the start: `convert` looks into it anew.
        found = _LINES.decode(encode(value))
    except (UnicodeEncodeError, OverflowError):
        # Half a pair of UTF-16, or a number beyond 64 bits.
        found = convert(value, _AnyEvent)
    task = getattr(found, "task", None)
    if task is not None:
        _formed(_IS_TASK(task), "task")
    return found


def dump(event: Event) -> dict[str, Any]:
    """The JSON object of an event, `t` first."""
    fields: dict[str, Any] = to_builtins(event)
    for name in event.money:
        if fields[name] is not None:
            fields[name] = str(fields[name])
    return fields
