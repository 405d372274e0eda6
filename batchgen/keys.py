"""The keys of a manifest and their types."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from batchgen import names
from batchgen.models import DEFAULT_MODEL
from batchgen.money import Micros, usd

_RATE = re.compile(r"([1-9][0-9]{0,5}) ?/ ?(s|min|h)")
_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|m|h)")
_SECONDS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds."""

    count: int
    seconds: float


def rate(value: Any) -> Rate:
    """Read `5/min`.

    Raises:
        ValueError: another shape.
    """
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"not a rate: {value}")
    return Rate(int(found[1]), _SECONDS[found[2]])


def _rate(value: Any) -> Rate:
    if isinstance(value, Rate):
        return value
    try:
        return rate(value)
    except ValueError:
        message = "a rate is a count and a unit of time"
        label = "write 5/s, 60/min or 600/h"
        raise PydanticCustomError("bad-rate", message, {"label": label}) from None


def _seconds(value: Any) -> float:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        label = "write 90s, 30m or 2h"
        raise PydanticCustomError(
            "bad-duration", "a length of time needs its unit", {"label": label}
        )
    return float(found[1]) * _SECONDS[found[2]]


def _money(value: Any) -> Micros:
    try:
        amount = usd(str(value)) if type(value) in (int, float) else -1
    except ValueError:
        amount = -1
    if amount > 0:
        return amount
    digits = re.search(r"[0-9]+(\.[0-9]{1,6})?", str(value))
    raise PydanticCustomError(
        "bad-money",
        "{name} must be a number of US dollars",
        {"paste": digits.group() if digits else ""},
    )


def _name(value: Any) -> Any:
    if isinstance(value, str) and not names.FOLDER.fullmatch(value):
        message = "a name has lower-case letters, digits and hyphens"
        fix = names.folder(value)
        raise PydanticCustomError("bad-name", message, {"paste": fix})
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return value
    raise PydanticCustomError("wrong-type", "this is text, a number or true or false")


def _match(value: Any) -> Any:
    for item in value if isinstance(value, list) else [value]:
        _scalar(item)
    return value


def _label(value: Any) -> str:
    value = _scalar(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shape(value: Any) -> str:
    if isinstance(value, Mapping | BaseModel):
        return "<map>"
    return "<list>" if isinstance(value, list) else "<plain>"


def _list_or_map(value: Any) -> str:
    return "<map>" if isinstance(value, Mapping | BaseModel) else "<list>"


def _plain_or_map(value: Any) -> str:
    return "<map>" if isinstance(value, Mapping | BaseModel) else "<plain>"


_SCALAR = {"type": ["string", "number", "boolean"]}
Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(_SCALAR)]
Match = Annotated[
    Any,
    BeforeValidator(_match),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}),
]
Label = Annotated[str, BeforeValidator(_label), WithJsonSchema(_SCALAR)]
Money = Annotated[
    int,
    BeforeValidator(_money),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
RateText = Annotated[
    Any,
    BeforeValidator(_rate),
    WithJsonSchema({"type": "string", "examples": ["5/s", "60/min"]}),
]
Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "examples": ["10s", "5m"]}),
]
Fields = dict[str, Any]


class Keys(BaseModel):
    """Keys of a map: no others are allowed."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", populate_by_name=False
    )


class From(Keys):
    """Values that stand in another file."""

    file: str = Field(alias="from", description="A file next to the manifest.")
    id: str | None = Field(None, description="The column that names a row.")


class Override(Keys):
    """A patch for the tasks that match."""

    when: dict[str, Match] = Field(min_length=1, description="Which tasks.")
    set: Fields = Field(min_length=1, description="Request fields to replace.")


class BudgetKeys(Keys):
    """A budget with its parts."""

    total: Money = Field(description="US dollars for the whole life of the run.")


class PriceKeys(Keys):
    """A price that replaces the catalog's."""

    per_second: Money | None = Field(None, description="US dollars a second.")
    per_task: Money | None = Field(None, description="US dollars a task.")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a task the provider failed is bought again, and how long between."""

    attempts: int = 1
    backoff: float = 5.0
    max_backoff: float = 300.0


class RetryKeys(Keys):
    """Retries with their parts."""

    attempts: int = Field(1, ge=1, le=20, description="Paid attempts per task.")
    backoff: Seconds = Field(5.0, description="The first wait.")
    max_backoff: Seconds = Field(300.0, description="The longest wait.")


class OutputKeys(Keys):
    """Names of the files."""

    name: str = Field("{{ slug }}.mp4", description="Template of the file name.")
    ascii: bool = Field(False, description="Fold names to ASCII.")


Entry = Annotated[
    Annotated[str, Tag("<plain>")] | Annotated[Fields, Tag("<map>")],
    Discriminator(_plain_or_map),
]
Prompts = Annotated[
    Annotated[list[Entry], Field(min_length=1), Tag("<list>")]
    | Annotated[From, Tag("<map>")],
    Discriminator(_list_or_map),
]
Axis = Annotated[
    Annotated[list[Any], Field(min_length=1), Tag("<list>")]
    | Annotated[From, Tag("<map>")],
    Discriminator(_list_or_map),
]
Budget = Annotated[
    Annotated[Money, Tag("<plain>")] | Annotated[BudgetKeys, Tag("<map>")],
    Discriminator(_plain_or_map),
]
Retries = Annotated[
    Annotated[int, Field(ge=1, le=20), Tag("<plain>")]
    | Annotated[RetryKeys, Tag("<map>")],
    Discriminator(_plain_or_map),
]
Output = Annotated[
    Annotated[str, Tag("<plain>")] | Annotated[OutputKeys, Tag("<map>")],
    Discriminator(_plain_or_map),
]


class Written(Keys):
    """The keys of a manifest."""

    version: Literal[1] = Field(1, description="Version of this language.")
    name: Annotated[str | None, BeforeValidator(_name)] = Field(
        None, description="Folder under outputs/; default: the file's name."
    )
    description: str = Field("", description="For people.")
    model: str = Field(DEFAULT_MODEL, description="Id or alias from the catalog.")
    price: PriceKeys | None = Field(None, description="Replaces the catalog's price.")
    prompt: str | None = Field(None, description="The prompt all tasks share.")
    prompts: Prompts | None = Field(
        None, description="One task each: text, or request fields."
    )
    settings: Fields = Field({}, description="Request fields every task starts from.")
    vars: dict[str, Scalar] = Field({}, description="Constants for templates.")
    matrix: dict[str, Axis] = Field(
        {}, description="Axes of variants, the first one slowest."
    )
    exclude: list[dict[str, Match]] = Field([], description="Combinations to drop.")
    overrides: list[Override] = Field([], description="Patches; the later wins.")
    include: list[Fields] = Field([], description="Whole tasks to add.")
    takes: int = Field(1, ge=1, le=20, description="Clips per task.")
    labels: dict[str, Label] = Field({}, description="Labels of every task.")
    budget: Budget | None = Field(
        None, description="US dollars for the whole life of the run."
    )
    concurrency: int | None = Field(
        None, ge=1, le=5000, description="Clips in the making at once."
    )
    rate: RateText = Field(None, description="Starts per time.")
    reads: RateText = Field(None, description="Status reads per time.")
    retry: Retries = Field(
        1, description="Paid attempts per task, when the provider failed it."
    )
    uncertain: Literal["hold", "rebuy-absent"] = Field(
        "hold", description="What to do with an attempt of unknown fate."
    )
    output: Output = Field("{{ slug }}.mp4", description="Template of the file name.")
