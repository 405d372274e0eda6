"""The axes of a manifest: their values, written out or read from a spreadsheet."""

from collections.abc import Iterator, Mapping
from typing import Any

from batchgen import names
from batchgen.drafts import Axis, Value
from batchgen.findings import Finding
from batchgen.manifest import Manifest
from batchgen.models import Model
from batchgen.models.canonical import normal
from batchgen.models.checks import shown
from batchgen.readers.csv import Row
from batchgen.readers.nodes import Origin
from batchgen.variables import Choice


def axes(manifest: Manifest, model: Model) -> tuple[tuple[Axis, ...], list[Finding]]:
    """All axes in written order, and what is wrong with their values."""
    findings: list[Finding] = []
    found: list[Axis] = []
    for name, values in manifest.written.matrix.items():
        assert manifest.document is not None  # noqa: S101 - rows of data have no axes
        origin = Origin(manifest.document, ("matrix", name))
        table = manifest.tables.get(name)
        if table is not None:
            column = getattr(values, "id", None) or "id"
            key = column.strip().lower().replace(" ", "_").replace("-", "_")
            known = [_row_value(key, row) for row in table]
            findings += _nameless(key, known)
        else:
            given = values if isinstance(values, list) else ()
            known = [
                value_of(name, value, origin / index, model)
                for index, value in enumerate(given)
            ]
        findings += _twins(name, known)
        found.append(Axis(name, tuple(known), origin))
    return tuple(found), findings


def value_of(name: str, value: Any, origin: Origin, model: Model) -> Value:
    """One value of an axis, as a word or as a map."""
    if not isinstance(value, Mapping):
        text = _text(value, origin)
        sets: dict[str, tuple[Any, Origin]] = {}
        if name in model.fields:
            plain = normal({name: value}, model.fields).get(name, value)
            sets = {name: (value, origin)}
            text = plain if isinstance(plain, str) else text
        return Value(text, Choice(text, {}, value), origin, {}, sets)
    text = _text(value.get("id", ""), origin / "id")
    fields = {key: inner for key, inner in value.items() if key not in ("id", "set")}
    given = value.get("set") or {}
    sets = {key: (inner, origin / "set" / key) for key, inner in given.items()}
    if name in model.fields and name not in sets:
        own = name if name in value else "id"
        sets[name] = (value.get(own), origin / own)
    return Value(text, Choice(text, fields), origin, fields, sets)


def _row_value(key: str, row: Row) -> Value:
    fields = {
        column.name: row.cells[column.index]
        for column in row.table.columns
        if column.index < len(row.cells) and column.name
    }
    name = fields.get(key, "")
    return Value(name, Choice(name, fields), Origin(row, (key,)), fields)


def _nameless(key: str, values: list[Value]) -> Iterator[Finding]:
    for value in values:
        if not value.id:
            message = f"this row has no `{key}` to name it"
            yield value.origin.error("missing-key", message)
        elif fault := names.fault_of_id(value.id):
            yield value.origin.error("bad-id", fault)


def _twins(name: str, values: list[Value]) -> Iterator[Finding]:
    seen: dict[str, Value] = {}
    for value in values:
        if seen.setdefault(value.id, value) is not value:
            place = seen[value.id].origin
            first = place.source.place(place.path).line
            message = f"`{name}` has two values with the id `{value.id}`"
            label = f"the first one is on line {first}"
            yield value.origin.error("duplicate-id", message, label)


def _text(value: Any, origin: Origin) -> str:
    """A value as it was typed: `1.10` stays `1.10`."""
    node = getattr(origin.source, "node", None)
    found = node(origin.path) if node else None
    if found is not None and found.raw and not isinstance(value, str):
        return str(found.raw)
    return shown(value)
