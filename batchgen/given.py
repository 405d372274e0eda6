"""What a manifest says, in plain types, where it says it plainly. Pure.

Most manifests do, and a sheet of prompts has no keys at all. They need none of the
validators of `keys`, which take longer to load than a plan of ten prompts to make.
What both need, they take from here: bounds, choices and the reading of texts.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct, convert, field

from batchgen import deadline, names
from batchgen.deadline import Deadline
from batchgen.models import DEFAULT_MODEL
from batchgen.money import Micros, usd

RATE = r"([1-9][0-9]{0,5}) ?/ ?(s|min|h)"
NAME = "{{ slug }}.mp4"
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Range(NamedTuple):
    """From the least to the most a whole number may be."""

    least: int
    most: int

    @property
    def meta(self) -> Meta:
        """The same to msgspec."""
        return Meta(ge=self.least, le=self.most)


class Rate(Struct, frozen=True):
    """So many in so many seconds."""

    count: int
    seconds: float


def rate(value: Any) -> Rate:
    """Read `5/min`.

    Raises:
        ValueError: another shape.
    """
    found = re.fullmatch(RATE, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"not a rate: {value}")
    return Rate(int(found[1]), _SECONDS[found[2]])


def seconds(value: Any) -> float:
    """Read `90s`.

    Raises:
        ValueError: another shape, or no time at all.
    """
    found = deadline.seconds(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"not a length of time: {value}")
    return found


def until(value: Any) -> Deadline:
    """Read `06:30 Europe/Berlin`, a length of time or a moment.

    Raises:
        BadTime: another shape.
    """
    return deadline.read(value if isinstance(value, str) else str(value))


def money(value: Any) -> Micros:
    """Read a number of US dollars.

    Raises:
        ValueError: no number, none above zero, or finer than a micro-dollar.
    """
    amount = usd(str(value)) if type(value) in (int, float) else 0
    if amount <= 0:
        raise ValueError(f"not an amount of US dollars: {value}")
    return amount


def folder_name(value: Any) -> Any:
    """Refuse a text that is no name of a run's folder; what is no text, others do.

    Raises:
        ValueError: it has another letter.
    """
    if isinstance(value, str) and not names.FOLDER.fullmatch(value):
        raise ValueError(f"not a name of a folder: {value}")
    return value


class Retry(Struct, frozen=True):
    """How often a task the provider failed is bought again, and how long between."""

    attempts: int = 1
    backoff: float = 5.0
    max_backoff: float = 300.0


class Output(Struct, frozen=True):
    """Names of the files: a template, and what else is wished of them."""

    name: str = NAME
    ascii: bool = False
    flagged: Literal["keep", "quarantine"] = "keep"
    sidecar: bool = True
    store: str | None = None
    links: str | None = None


Level = Literal["bronze", "silver", "gold", "ultra"]
Uncertain = Literal["hold", "rebuy-absent"]
TAKES = Range(1, 20)
ATTEMPTS = Range(1, 20)
CONCURRENCY = Range(1, 5000)
FAILURES = Range(0, 10_000)

Fields = dict[str, Any]
Scalar = str | bool | int | float
_Match = Scalar | list[Scalar]
_List = Annotated[list[Any], Meta(min_length=1)]
_Entries = Annotated[list[str | Fields], Meta(min_length=1)]
_NoList = Annotated[list[Any], Meta(max_length=0)]
_NoMap = Annotated[Fields, Meta(max_length=0)]


class From(Struct, frozen=True, forbid_unknown_fields=True):
    """Values that stand in another file; `id` is the column that names a row."""

    file: str = field(name="from")
    id: str | None = None


class Override(Struct, frozen=True, forbid_unknown_fields=True):
    """A patch for the tasks that match."""

    when: Annotated[dict[str, _Match], Meta(min_length=1)]
    set: Annotated[Fields, Meta(min_length=1)]


class Plain(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a manifest, each in its plain form or not written.

    What else a key may say stands in `keys.Written` alone, and what is wrong with a key
    nobody says but that.
    """

    model: str = DEFAULT_MODEL
    version: Literal[1] = 1
    name: str | None = None
    description: str = ""
    price: None = None
    prompt: str | None = None
    prompts: _Entries | From | None = None
    settings: Fields = {}
    elements: _NoMap = {}
    vars: dict[str, Scalar] = {}
    matrix: dict[str, _List | From] = {}
    exclude: list[dict[str, _Match]] = []
    overrides: list[Override] = []
    include: list[Fields] = []
    takes: Annotated[int, TAKES.meta] = 1
    labels: dict[str, str] = {}
    budget: Micros | None = None
    tier: Level | None = None
    concurrency: Annotated[int, CONCURRENCY.meta] | None = None
    rate: Rate | None = None
    reads: Rate | None = None
    deadline: Deadline | None = None
    task_timeout: float = 3600.0
    stop_after_failures: Annotated[int, FAILURES.meta] = 10
    retry: Annotated[int, ATTEMPTS.meta] = 1
    uncertain: Uncertain = "hold"
    output: str = NAME
    notify: _NoList = []


_READERS: Mapping[str, Callable[[Any], object]] = {
    "name": folder_name,
    "budget": money,
    "rate": rate,
    "reads": rate,
    "deadline": until,
    "task_timeout": seconds,
}


def plain(document: Any) -> Plain | None:
    """The keys of a document that says nothing but what is plainly right.

    None for every other one, right or wrong: that is for `wording.validate`.
    """
    if not isinstance(document, dict):
        return None
    try:
        return convert(
            {
                key: _READERS[key](value) if key in _READERS else value
                for key, value in document.items()
                if not key.startswith("x-")
            },
            Plain,
        )
    except ValueError:
        return None
