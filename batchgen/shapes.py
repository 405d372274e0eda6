"""Tasks to buy that differ in their texts only: asked for once, priced once. Pure."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from msgspec import Struct

from batchgen.models import Catalog, Model
from batchgen.money import Micros
from batchgen.task import Task, priced

_PLAIN = frozenset({bool, int, float})
_WORD = 16  # characters; a longer text is prose, which no price depends on


class Shape(NamedTuple):
    """What a schema and a price may depend on.

    `names` are those of the fields, in the order sent, and `values` theirs; that of a
    prose, a list or a map is None.
    """

    model: str
    price: Micros
    names: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def fields(self) -> dict[str, Any]:
        """The values by their names."""
        return dict(zip(self.names, self.values, strict=True))

    @property
    def known(self) -> dict[str, Any]:
        """The fields whose value is known."""
        return {k: value for k, value in self.fields.items() if value is not None}


class Lot(Struct):
    """How many tasks have a shape, and the first of them."""

    first: Task
    count: int = 0


Lots = dict[Shape, Lot]


def count(lots: Lots, task: Task) -> None:
    """Count a task among those of its shape."""
    values = [
        value
        if type(value) in _PLAIN
        or (type(value) is str and len(value) <= _WORD and name != "prompt")
        else None
        for name, value in task.input.items()
    ]
    # A shape is a tuple, and is found by any equal one.
    shape: Any = (task.model, task.price, (*task.input,), (*values,))
    lot = lots.get(shape)
    if lot is None:
        lot = lots[Shape(*shape)] = Lot(task)
    lot.count += 1


def distinct(lots: Lots, most: int) -> list[tuple[Shape, Lot]]:
    """The first lot of each model, length, sound and price; at most so many."""
    found: dict[tuple[object, ...], tuple[Shape, Lot]] = {}
    for shape, lot in lots.items():
        known = shape.known
        same = (shape.model, shape.price, known.get("duration"), known.get("sound"))
        found.setdefault(same, (shape, lot))
    return list(islice(found.values(), most))


class Rehearsal(Struct, frozen=True):
    """The same tasks on a cheaper model.

    Attributes:
        model: its alias.
        cost: of all of them there, micro-dollars.
    """

    model: str
    cost: Micros


def rehearsal(lots: Mapping[Shape, Lot], models: Catalog) -> Rehearsal | None:
    """The first cheaper sibling that takes every task; None without one."""
    cost = sum(shape.price * lot.count for shape, lot in lots.items())
    for sibling in _siblings(lots, models):
        there = [_price(shape, lot, sibling) for shape, lot in lots.items()]
        known = [price for price in there if price is not None]
        if len(known) == len(there) and sum(known) < cost:
            return Rehearsal(sibling.alias, sum(known))
    return None


def _siblings(lots: Mapping[Shape, Lot], models: Catalog) -> Iterator[Model]:
    names = dict.fromkeys(shape.model for shape in lots)
    found = (models.find(name) for name in names)
    siblings = dict.fromkeys(name for one in found if one for name in one.rehearsal)
    yield from (model for name in siblings if (model := models.find(name)))


def _price(shape: Shape, lot: Lot, sibling: Model) -> Micros | None:
    """What a lot costs on a sibling; None if that does not take it."""
    own = sibling.schema["properties"]
    names = set(shape.names)
    if lot.first.kind == "element":
        return shape.price * lot.count
    missing = set(sibling.schema.get("required", ())) - names
    if missing or not names <= own.keys():
        return None
    if any(sibling.mistakes(shape.known, live=True, whole=False)):
        return None
    return sibling.price.of(priced(sibling, shape.known)) * lot.count
