"""A task: one generation fully spelled out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchgen.findings import Place
from batchgen.models import Catalog, Model, catalog
from batchgen.money import Micros, plain


@dataclass(frozen=True, slots=True)
class Task:
    """One clip to buy.

    Attributes:
        id: identity, 32 hex characters: a hash of model, input and take.
        slug: the name people see; unique inside a manifest.
        model: full id of the model.
        input: the request body as it is sent.
        take: 1 for the first; further takes of one input count up.
        price: upper bound of the charge, micro-dollars.
        seconds: length of the clip.
        labels: axis ids, label columns and `labels`.
        output: file name below the run's videos folder, with `/` between folders.
        place: where the author wrote it; None once it comes from a journal.
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


def to_json(task: Task, models: Catalog | None = None) -> dict[str, Any]:
    """A task as a line of JSONL that is itself a manifest of this one task."""
    model = (models or catalog()).find(task.model)
    fields = model.fields if model else task.input
    line: dict[str, Any] = {"id": task.slug, "model": task.model, "take": task.take}
    line |= {key: value for key, value in task.input.items() if key in fields}
    extra = {key: value for key, value in task.input.items() if key not in fields}
    if extra:
        line["extra"] = extra
    if task.labels:
        line["labels"] = dict(task.labels)
    line["output"] = task.output
    if model is None or model.price.of(priced(model, task.input)) != task.price:
        line["price"] = float(plain(task.price))
    return line


def priced(model: Model, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with the defaults that a price may depend on."""
    return {**model.identity_defaults, **fields}
