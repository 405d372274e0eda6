"""A draft: a task with its templates not filled in yet, and what it is made of."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field

from batchgen.models import Model
from batchgen.readers.nodes import Origin
from batchgen.variables import Choice, is_template

OWN = ("id", "labels", "takes", "take", "model", "output", "price")


class Layer(Struct, frozen=True):
    """A field's value, where it was written, and the value it replaces."""

    value: Any
    origin: Origin
    template: bool
    below: "Layer | None" = None


class Value(Struct, frozen=True):
    """One value of an axis."""

    id: str
    choice: Choice
    origin: Origin
    fields: Mapping[str, Any] = field(default_factory=dict)
    sets: Mapping[str, tuple[Any, Origin]] = field(default_factory=dict)


class Axis(Struct, frozen=True):
    """One dimension of variants."""

    name: str
    values: tuple[Value, ...]
    origin: Origin


class Draft(Struct):
    """A task before its templates are filled in.

    `literal` holds the fields of a row of data where nothing else has a say in
    them; then there are no layers.
    """

    origin: Origin
    model: Model
    name: str = ""
    named_row: bool = False
    fields: dict[str, Layer] = field(default_factory=dict)
    choices: dict[str, Value] = field(default_factory=dict)
    joined: bool = True
    labels: dict[str, str] = field(default_factory=dict)
    takes: int = 1
    take: int | None = None
    output: str | None = None
    price: Any = None
    literal: Mapping[str, Any] | None = None


class Entry(NamedTuple):
    """A row: what it says, and where."""

    data: Mapping[str, Any]
    origin: Origin
    literal: bool
    listed: bool


def layer(
    value: Any, origin: Origin, below: Layer | None = None, *, literal: bool = False
) -> Layer:
    """A value on top of the one it replaces."""
    return Layer(value, origin, not literal and is_template(value), below)
