"""A task: one generation fully spelled out."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from batchgen.findings import Place
from batchgen.models import Catalog, Model, catalog
from batchgen.models.canonical import digest
from batchgen.money import Micros, plain
from batchgen.patterns import pattern

REF = pattern("sha256:[0-9a-f]{64}")
"""A reference: a picture by its content, or an element by what it is made of."""


class Task(Struct, frozen=True):
    """One clip to buy, or one element that clips show.

    Attributes:
        id: identity, 32 hex characters: a hash of model, input and take.
        slug: the name people see; unique inside a manifest.
        model: full id of the model.
        input: the request body; pictures of this disk and elements of this run stand
            in it as references, which are exchanged just before it is sent.
        take: 1 for the first; further takes of one input count up.
        price: upper bound of the charge, micro-dollars.
        seconds: length of the clip.
        labels: axis ids, label columns and `labels`.
        output: file name below the run's videos folder, with `/` between folders;
            empty for an element.
        place: where the author wrote it; None once it comes from a journal.
        files: reference of a picture -> its absolute path; empty once the task comes
            from a journal.
    """

    id: str
    slug: str
    model: str
    input: Mapping[str, Any]
    take: int
    price: Micros
    seconds: int
    labels: Mapping[str, str]
    output: str
    place: Place | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Literal["clip", "element"]:
        """What comes of it."""
        model = catalog().find(self.model)
        return "element" if model and model.kind == "elements" else "clip"

    @property
    def elements(self) -> tuple[str, ...]:
        """References of the elements that have to be made before it."""
        if "element_list" not in self.input:
            return ()
        return tuple(
            one["element_id"]
            for one in self.input.get("element_list") or ()
            if isinstance(one, Mapping) and is_ref(one.get("element_id"))
        )

    @property
    def ref(self) -> str:
        """How clips name this element; its first 32 hex characters are the id."""
        model = catalog().find(self.model)
        fields = model.canonical(self.input) if model else self.input
        return f"sha256:{digest(self.model, fields, self.take)}"


def is_ref(value: object) -> bool:
    """Whether a value stands for a picture or an element of this run."""
    return isinstance(value, str) and REF.fullmatch(value) is not None


class Days(Struct, frozen=True):
    """What `{{ date }}` is in the names of files: a day for each task, for good.

    Attributes:
        today: of a task that nobody has planned before, `2026-11-22`.
        planned: task id -> the day when it first was.
    """

    today: str
    planned: Mapping[str, str] = field(default_factory=dict)

    def of(self, task: str) -> str:
        """The day of a task, by its id."""
        return self.planned.get(task, self.today)


# Made once: `json.dumps` would make one for each task.
_LINE = json.JSONEncoder(ensure_ascii=False).encode


def to_line(task: Task) -> str:
    """The same as `to_json`, in the letters of a file, without its line feed."""
    return _LINE(to_json(task))


def to_json(task: Task, models: Catalog | None = None) -> dict[str, Any]:
    """A task as a line of JSONL that is itself a manifest of this one task."""
    model = (models or catalog()).find(task.model)
    fields = model.fields if model else task.input
    line: dict[str, Any] = {"id": task.slug, "model": task.model, "take": task.take}
    body = {key: _with_paths(value, task.files) for key, value in task.input.items()}
    line |= {key: value for key, value in body.items() if key in fields}
    extra = {key: value for key, value in body.items() if key not in fields}
    if extra:
        line["extra"] = extra
    if task.labels:
        line["labels"] = dict(task.labels)
    line["output"] = task.output
    if model is None or model.price.of(priced(model, task.input)) != task.price:
        line["price"] = float(plain(task.price))
    return line


def _with_paths(value: Any, files: Mapping[str, str]) -> Any:
    """Pictures by where they are instead of what they are."""
    if isinstance(value, str):
        return files.get(value, value)
    if isinstance(value, list):
        return [_with_paths(one, files) for one in value]
    return value


def priced(model: Model, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with the defaults that a price may depend on."""
    return {**model.identity_defaults, **fields}
