"""From a manifest to drafts: every combination, patched, but not yet filled in."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchgen.errors import ManifestError
from batchgen.findings import Finding
from batchgen.manifest import Manifest
from batchgen.matching import Rule
from batchgen.models import Catalog, Model
from batchgen.models.canonical import normal
from batchgen.models.checks import shown
from batchgen.money import usd
from batchgen.readers.csv import Row, Table
from batchgen.readers.jsonl import Lines
from batchgen.readers.nodes import Origin
from batchgen.readers.sheets import Sheet
from batchgen.spelling import listed, near
from batchgen.variables import Choice, is_template

OWN = ("id", "labels", "takes", "take", "model", "output", "price")


@dataclass(frozen=True, slots=True)
class Layer:
    """A field's value, where it was written, and the value it replaces."""

    value: Any
    origin: Origin
    template: bool
    below: "Layer | None" = None


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis."""

    id: str
    choice: Choice
    origin: Origin
    fields: Mapping[str, Any] = field(default_factory=dict)
    sets: Mapping[str, tuple[Any, Origin]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of variants."""

    name: str
    values: tuple[Value, ...]
    origin: Origin


@dataclass(slots=True)
class Draft:
    """A task before its templates are filled in."""

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


@dataclass(frozen=True, slots=True)
class Entry:
    """A row: what it says, and where."""

    data: Mapping[str, Any]
    origin: Origin
    literal: bool
    listed: bool


class Variants:
    """Everything a manifest asks for, in order; counts are true after one walk."""

    def __init__(self, manifest: Manifest, catalog: Catalog) -> None:
        self.manifest = manifest
        self.catalog = catalog
        self.model = catalog[manifest.model]
        self.findings: list[Finding] = []
        self.sheet: Sheet | None = None
        self.product = self.excluded = self.included = self.rows = 0
        self._root = Origin(manifest.document) if manifest.document else None
        self.axes = tuple(self._read_axes())
        written = manifest.written
        self._excludes = [
            Rule(match, self._at("exclude", index), self.axes)
            for index, match in enumerate(written.exclude)
        ]
        self._overrides = [
            Rule(rule.when, self._at("overrides", index, "when"), self.axes)
            for index, rule in enumerate(written.overrides)
        ]
        self._sets = [
            [
                (name, value, self._at("overrides", index, "set", name))
                for name, value in rule.set.items()
            ]
            for index, rule in enumerate(written.overrides)
        ]
        self._base = self._settings()
        for rule in (*self._excludes, *self._overrides):
            self.findings += rule.findings

    def __iter__(self) -> Iterator[Draft]:
        """Drafts, lazily: the product first, then what is included."""
        self.product = self.excluded = self.included = self.rows = 0
        try:
            for entry in self._entries():
                self.rows += 1
                yield from self._combinations(entry)
        except ManifestError as error:
            self.findings += error.findings
            return
        if self.product and self.excluded == self.product and not self._broken():
            message = "every combination is excluded, so nothing is left to make"
            self.findings.append(
                self._at("exclude").error("excludes-everything", message, key=True)
            )
        for rule in (*self._excludes, *self._overrides):
            self.findings += rule.unused()
        for index, whole in enumerate(self.manifest.written.include):
            draft = self._included(whole, self._at("include", index))
            if draft is not None:
                self.included += 1
                yield draft

    @property
    def combinations(self) -> int:
        """How many combinations the axes have."""
        return math.prod(len(axis.values) for axis in self.axes)

    def _broken(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)

    def _at(self, *path: str | int) -> Origin:
        if self._root is None:
            raise AssertionError("rows of data have no keys")
        return Origin(self._root.source, path)

    def _settings(self) -> dict[str, Layer]:
        written = self.manifest.written
        base = {
            name: self._layer(value, self._at("settings", name))
            for name, value in written.settings.items()
        }
        if written.prompt is not None:
            base["prompt"] = self._layer(written.prompt, self._at("prompt"))
        return base

    @staticmethod
    def _layer(
        value: Any, origin: Origin, below: Layer | None = None, *, literal: bool = False
    ) -> Layer:
        return Layer(value, origin, not literal and is_template(value), below)

    # axes

    def _read_axes(self) -> Iterator[Axis]:
        for name, values in self.manifest.written.matrix.items():
            origin = self._at("matrix", name)
            table = self.manifest.tables.get(name)
            found = (
                [self._row_value(name, row) for row in table]
                if table is not None
                else [
                    self._value(name, value, origin / index)
                    for index, value in enumerate(
                        values if isinstance(values, list) else ()
                    )
                ]
            )
            self._twins(name, found)
            yield Axis(name, tuple(found), origin)

    def _twins(self, name: str, values: list[Value]) -> None:
        seen: dict[str, Value] = {}
        for value in values:
            if seen.setdefault(value.id, value) is not value:
                place = seen[value.id].origin
                first = place.source.place(place.path).line
                message = f"`{name}` has two values with the id `{value.id}`"
                label = f"the first one is on line {first}"
                self.findings.append(value.origin.error("duplicate-id", message, label))

    def _row_value(self, name: str, row: Row) -> Value:
        source = self.manifest.written.matrix[name]
        column = getattr(source, "id", None) or "id"
        key = column.strip().lower().replace(" ", "_").replace("-", "_")
        fields = {
            column.name: row.cells[column.index]
            for column in row.table.columns
            if column.index < len(row.cells) and column.name
        }
        origin = Origin(row, (key,))
        value = Value(
            fields.get(key, ""), Choice(fields.get(key, ""), fields), origin, fields
        )
        if not value.id:
            message = f"this row has no `{key}` to name it"
            self.findings.append(origin.error("missing-key", message))
        return value

    def _value(self, name: str, value: Any, origin: Origin) -> Value:
        if not isinstance(value, Mapping):
            text = self._text(value, origin)
            sets: dict[str, tuple[Any, Origin]] = {}
            if name in self.model.fields:
                plain = normal({name: value}, self.model.fields).get(name, value)
                sets = {name: (value, origin)}
                text = plain if isinstance(plain, str) else text
            return Value(text, Choice(text, {}, value), origin, {}, sets)
        text = self._text(value.get("id", ""), origin / "id")
        fields = {
            key: inner for key, inner in value.items() if key not in ("id", "set")
        }
        given = value.get("set") or {}
        sets = {key: (inner, origin / "set" / key) for key, inner in given.items()}
        if name in self.model.fields and name not in sets:
            sets[name] = (value.get("id"), origin / "id")
        return Value(text, Choice(text, fields), origin, fields, sets)

    @staticmethod
    def _text(value: Any, origin: Origin) -> str:
        """A value as it was typed: `1.10` stays `1.10`."""
        node = getattr(origin.source, "node", None)
        found = node(origin.path) if node else None
        if found is not None and found.raw and not isinstance(value, str):
            return str(found.raw)
        return shown(value)

    # rows

    def _entries(self) -> Iterator[Entry]:
        manifest = self.manifest
        prompts = manifest.written.prompts
        if manifest.rows is not None:
            yield from self._table(manifest.rows)
        elif isinstance(prompts, list):
            for index, prompt in enumerate(prompts):
                data = {"prompt": prompt} if isinstance(prompt, str) else prompt
                origin = self._at("prompts", index)
                yield Entry(data, origin, literal=False, listed=True)
        elif self._shared():
            origin = self._at("prompt" if "prompt" in self._base else "settings")
            yield Entry({}, origin, literal=False, listed=False)

    def _shared(self) -> bool:
        """Whether the product has something to show without rows."""
        given = {*self._base, *(axis.name for axis in self.axes)}
        for axis in self.axes:
            given.update(*(value.sets for value in axis.values))
        return bool(given & {"prompt", "multi_prompt"})

    def _table(self, rows: Table | Lines) -> Iterator[Entry]:
        if isinstance(rows, Table):
            self.sheet = sheet = Sheet(rows, self.model)
            self.findings += sheet.findings
            for row in rows:
                data, findings = sheet.task(row)
                self.findings += findings
                if not findings:
                    yield Entry(data, Origin(row), literal=True, listed=True)
            return
        for line in rows:
            if isinstance(line, Finding):
                self.findings.append(line)
            else:
                yield Entry(line.data, Origin(line), literal=True, listed=True)

    # combinations

    def _combinations(self, entry: Entry) -> Iterator[Draft]:
        data, origin = entry.data, entry.origin
        model = self._model(data.get("model"), origin)
        if model is None:
            return
        name = shown(data["id"]) if data.get("id") is not None else ""
        labels = self._labels(data.get("labels"))
        unknown = self._strangers(entry)
        if unknown:
            self.findings += unknown
            return
        for values in itertools.product(*(axis.values for axis in self.axes)):
            self.product += 1
            chosen = dict(zip((axis.name for axis in self.axes), values, strict=True))
            if self._is_excluded(chosen, name):
                self.excluded += 1
                continue
            fields = dict(self._base)
            for value in values:
                for key, (given, place) in value.sets.items():
                    fields[key] = self._layer(given, place, fields.get(key))
            if entry.listed:
                self._own_fields(fields, data, origin, literal=entry.literal)
            self._patch(fields, chosen, name)
            yield Draft(
                origin,
                model,
                name,
                entry.listed,
                fields,
                chosen,
                labels=labels,
                takes=self._takes(data),
                take=data.get("take"),
                output=data.get("output"),
                price=data.get("price"),
            )

    def _own_fields(
        self,
        fields: dict[str, Layer],
        data: Mapping[str, Any],
        origin: Origin,
        *,
        literal: bool,
    ) -> None:
        node = getattr(origin.source, "node", None)
        found = node(origin.path) if node else None
        plain = found is not None and not isinstance(found.value, dict)
        for key, value in data.items():
            if key not in OWN:
                place = origin if plain else origin / key
                fields[key] = self._layer(
                    value, place, fields.get(key), literal=literal
                )

    def _is_excluded(self, chosen: Mapping[str, Value], name: str) -> bool:
        hits = [rule.matches(chosen, name) for rule in self._excludes]
        return any(hits)

    def _patch(
        self, fields: dict[str, Layer], chosen: Mapping[str, Value], name: str
    ) -> None:
        for rule, sets in zip(self._overrides, self._sets, strict=True):
            if rule.matches(chosen, name):
                for key, value, origin in sets:
                    fields[key] = self._layer(value, origin, fields.get(key))

    def _labels(self, own: Any) -> dict[str, str]:
        labels = dict(self.manifest.written.labels)
        if isinstance(own, Mapping):
            labels |= {str(key): shown(value) for key, value in own.items()}
        return labels

    def _takes(self, data: Mapping[str, Any]) -> int:
        takes = data.get("takes")
        return takes if isinstance(takes, int) else self.manifest.written.takes

    def _model(self, name: Any, origin: Origin) -> Model | None:
        if name is None or name == self.model.id:
            return self.model
        found = self.catalog.find(name) if isinstance(name, str) else None
        if found is None:
            known = [word for model in self.catalog for word in (model.alias, model.id)]
            meant = near(str(name), known, cutoff=0.5)
            label = f"did you mean `{meant}`?" if meant else ""
            error = (origin / "model").error(
                "unknown-model",
                f"unknown model `{shown(name)}`",
                label,
                advice=f"the catalog has {listed(known)}",
            )
            self.findings.append(error)
        return found

    @staticmethod
    def _strangers(entry: Entry) -> list[Finding]:
        """What only rows of data can get wrong; documents were inspected before."""
        if not entry.literal:
            return []
        findings = []
        for key, (low, high) in {"takes": (1, 20), "take": (1, 20)}.items():
            value = entry.data.get(key)
            if value is not None and (
                type(value) is not int or not low <= value <= high
            ):
                message = f"{key} is {shown(value)}, but it runs from {low} to {high}"
                findings.append((entry.origin / key).error("out-of-range", message))
        price = entry.data.get("price")
        if price is not None and not _is_price(price):
            message = f"price is an amount of US dollars, got {shown(price)}"
            findings.append((entry.origin / "price").error("bad-money", message))
        for key, kind in (("id", str), ("output", str), ("labels", Mapping)):
            value = entry.data.get(key)
            if value is not None and not isinstance(value, kind):
                what = "a map of texts" if kind is Mapping else "text"
                message = f"{key} is {what}, got {shown(value)}"
                findings.append((entry.origin / key).error("wrong-type", message))
        return findings

    # include

    def _included(self, entry: Mapping[str, Any], origin: Origin) -> Draft | None:
        alone = "prompt" in entry or "multi_prompt" in entry
        fields = dict(self._base)
        chosen: dict[str, Value] = {}
        if alone:
            fields.pop("prompt", None)
            if "prompt" in entry:
                fields.pop("multi_prompt", None)
        else:
            found = self._chosen(entry, origin)
            if found is None:
                return None
            chosen = found
            for value in chosen.values():
                for key, (given, place) in value.sets.items():
                    fields[key] = self._layer(given, place, fields.get(key))
        names = {axis.name for axis in self.axes}
        for key, value in entry.items():
            if key in OWN or (not alone and key in names):
                continue
            if key in self.model.fields or key == "extra":
                fields[key] = self._layer(value, origin / key, fields.get(key))
            elif key in names:
                message = f"a task with its own prompt takes no `{key}`"
                error = (origin / key).error(
                    "unknown-key", message, "use labels", key=True
                )
                self.findings.append(error)
        name = shown(entry["id"]) if entry.get("id") is not None else ""
        return Draft(
            origin,
            self.model,
            name,
            False,
            fields,
            chosen,
            joined=not alone,
            labels=self._labels(entry.get("labels")),
            takes=self._takes(entry),
        )

    def _chosen(
        self, entry: Mapping[str, Any], origin: Origin
    ) -> dict[str, Value] | None:
        if not self._shared():
            message = "this task has no prompt, and there is no shared one"
            self.findings.append(origin.error("no-prompt", message))
            return None
        chosen: dict[str, Value] = {}
        for axis in self.axes:
            if axis.name not in entry:
                message = (
                    f"this task names no `{axis.name}`, and has no prompt of its own"
                )
                label = f"choose {listed([value.id for value in axis.values], 'or')}"
                self.findings.append(origin.error("missing-axis", message, label))
                return None
            found = self._choose(axis, entry[axis.name], origin / axis.name)
            if found is None:
                return None
            chosen[axis.name] = found
        return chosen

    def _choose(self, axis: Axis, given: Any, origin: Origin) -> Value | None:
        if isinstance(given, Mapping):
            return self._value(axis.name, given, origin)
        value = self._value(axis.name, given, origin)
        for known in axis.values:
            if known.id == value.id:
                return known
        if axis.name in self.model.fields:
            return value
        known_ids = listed([known.id for known in axis.values], "or")
        error = origin.error(
            "unknown-value",
            f"there is no {axis.name} `{value.id}`",
            f"choose {known_ids}",
        )
        self.findings.append(error)
        return None


def _is_price(value: Any) -> bool:
    try:
        return type(value) in (int, float) and usd(str(value)) > 0
    except ValueError:
        return False
