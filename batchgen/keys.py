"""The keys of a manifest and their types."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from batchgen.given import (
    ATTEMPTS,
    CONCURRENCY,
    FAILURES,
    NAME,
    TAKES,
    Fields,
    Level,
    Range,
    Uncertain,
)
from batchgen.models import DEFAULT_MODEL
from batchgen.scalars import (
    Bucket,
    ElementId,
    Label,
    Links,
    Match,
    Money,
    RateText,
    Scalar,
    Seconds,
    Until,
    Webhook,
    folder_name,
    list_or_map,
    plain_or_map,
)

Happening = Literal["done", "failed", "stopped", "uncertain"]


class Keys(BaseModel):
    """Keys of a map: no others are allowed."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        populate_by_name=False,
        defer_build=True,  # only the whole is ever used: its parts need no validators
    )


def _in(numbers: Range) -> Any:
    """The bounds of a whole number."""
    return Field(ge=numbers.least, le=numbers.most)


def _one_of(noun: str, **choices: object) -> None:
    """Exactly one of them is given."""
    words = " or ".join(f"`{name}`" for name in choices)
    given = sum(value is not None for value in choices.values())
    if given == 1:
        return
    rule, more = ("not-together", ", not both") if given else ("missing-key", "")
    raise PydanticCustomError(
        rule,
        "{message}",
        {"message": f"{noun} has {words}{more}"},
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
    session: Money | None = Field(None, description="US dollars for one session.")


class PriceKeys(Keys):
    """A price that replaces the catalog's."""

    per_second: Money | None = Field(None, description="US dollars a second.")
    per_task: Money | None = Field(None, description="US dollars a task.")

    @model_validator(mode="after")
    def _one_unit(self) -> "PriceKeys":
        _one_of("a price", per_second=self.per_second, per_task=self.per_task)
        return self


class RetryKeys(Keys):
    """Retries with their parts."""

    attempts: Annotated[int, _in(ATTEMPTS)] = Field(
        1, description="Paid attempts per task."
    )
    backoff: Seconds = Field(5.0, description="The first wait.")
    max_backoff: Seconds = Field(300.0, description="The longest wait.")


class OutputKeys(Keys):
    """Names of the files."""

    name: str = Field(
        NAME,
        description="Template of the file name: slug, id, hash, take, run, duration, "
        "aspect_ratio, axes, labels, and date: the day (UTC) of the start that "
        "planned the clip first.",
    )
    ascii: bool = Field(False, description="Fold names to ASCII: Zürich, Zurich.")
    flagged: Literal["keep", "quarantine"] = Field(
        "keep", description="Where clips go that were flagged: videos/_flagged/."
    )
    sidecar: bool = Field(True, description="A file of facts beside each clip.")
    store: Bucket | None = Field(
        None,
        description="A bucket for the clips: s3://, gs:// or az://bucket/prefix. They "
        "go below the run's name; credentials come from the environment.",
    )
    links: Links | None = Field(
        None,
        description="How the report links to a bucket: signed for a time of at most "
        "7d, or the public https:// address of what `store` names.",
    )

    @model_validator(mode="after")
    def _links_of_a_bucket(self) -> "OutputKeys":
        if self.links and not self.store:
            message = "`links` are of a bucket, and there is no `store`"
            raise PydanticCustomError("missing-key", "{message}", {"message": message})
        return self


class ElementKeys(Keys):
    """An element that the run makes, once."""

    image: str = Field(min_length=1, description="The picture from the front.")
    references: list[str] = Field(
        [], max_length=3, description="Pictures from other sides."
    )
    description: str = Field(min_length=1, max_length=100, description="What it is.")
    tags: list[str] = Field([], description="Ids of the vendor's tags: o_102.")


class NoticeKeys(Keys):
    """Whom to tell how a run ended."""

    on: list[Happening] = Field(min_length=1, description="After which endings.")
    webhook: Webhook | None = Field(None, description="Gets the summary as JSON.")
    command: list[str] | None = Field(
        None, min_length=1, description="Reads the summary as JSON; no shell."
    )

    @model_validator(mode="after")
    def _one_way(self) -> "NoticeKeys":
        _one_of("a notice", webhook=self.webhook, command=self.command)
        return self


Entry = Annotated[
    Annotated[str, Tag("<plain>")] | Annotated[Fields, Tag("<map>")],
    Discriminator(plain_or_map),
]
Prompts = Annotated[
    Annotated[list[Entry], Field(min_length=1), Tag("<list>")]
    | Annotated[From, Tag("<map>")],
    Discriminator(list_or_map),
]
Axis = Annotated[
    Annotated[list[Any], Field(min_length=1), Tag("<list>")]
    | Annotated[From, Tag("<map>")],
    Discriminator(list_or_map),
]
Budget = Annotated[
    Annotated[Money, Tag("<plain>")] | Annotated[BudgetKeys, Tag("<map>")],
    Discriminator(plain_or_map),
]
Retries = Annotated[
    Annotated[int, _in(ATTEMPTS), Tag("<plain>")] | Annotated[RetryKeys, Tag("<map>")],
    Discriminator(plain_or_map),
]
Output = Annotated[
    Annotated[str, Tag("<plain>")] | Annotated[OutputKeys, Tag("<map>")],
    Discriminator(plain_or_map),
]


Element = Annotated[
    Annotated[ElementId, Tag("<plain>")] | Annotated[ElementKeys, Tag("<map>")],
    Discriminator(plain_or_map),
]
ElementName = Annotated[str, Field(min_length=1, max_length=20)]


class Written(Keys):
    """The keys of a manifest."""

    version: Literal[1] = Field(1, description="Version of this language.")
    name: Annotated[str | None, BeforeValidator(folder_name)] = Field(
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
    elements: dict[ElementName, Element] = Field(
        {}, description="Names for elements: their id, or how to make them."
    )
    vars: dict[str, Scalar] = Field({}, description="Constants for templates.")
    matrix: dict[str, Axis] = Field(
        {}, description="Axes of variants, the first one slowest."
    )
    exclude: list[dict[str, Match]] = Field([], description="Combinations to drop.")
    overrides: list[Override] = Field([], description="Patches; the later wins.")
    include: list[Fields] = Field([], description="Whole tasks to add.")
    takes: Annotated[int, _in(TAKES)] = Field(1, description="Clips per task.")
    labels: dict[str, Label] = Field({}, description="Labels of every task.")
    budget: Budget | None = Field(
        None, description="US dollars for the whole life of the run."
    )
    tier: Level | None = Field(
        None, description="The account's level: sets concurrency, rate and reads."
    )
    concurrency: Annotated[int, _in(CONCURRENCY)] | None = Field(
        None, description="Clips in the making at once."
    )
    rate: RateText = Field(None, description="Starts per time.")
    reads: RateText = Field(None, description="Status reads per time.")
    deadline: Until = Field(None, description="No new clips after this moment.")
    task_timeout: Seconds = Field(
        3600.0, description="Wait so long for one clip; it stays collectable."
    )
    stop_after_failures: Annotated[int, _in(FAILURES)] = Field(
        10, description="In a row; 0 for never."
    )
    retry: Retries = Field(
        1, description="Paid attempts per task, when the provider failed it."
    )
    uncertain: Uncertain = Field(
        "hold", description="What to do with an attempt of unknown fate."
    )
    output: Output = Field(NAME, description="Template of the file name.")
    notify: list[NoticeKeys] = Field([], description="Whom to tell how it ended.")
