"""From a manifest to drafts: every combination, patched, but not yet filled in."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batchgen.axes import axes
from batchgen.drafts import OWN, Draft, Entry, Layer, Value, layer
from batchgen.errors import ManifestError
from batchgen.findings import Gathered
from batchgen.forms import Forms
from batchgen.inclusion import Inclusion
from batchgen.manifest import Manifest
from batchgen.matching import Rule
from batchgen.models import Catalog, Model
from batchgen.models.checks import shown
from batchgen.outside import Outside, unchecked
from batchgen.outside import unknown as unknown_model
from batchgen.readers.csv import Table
from batchgen.readers.jsonl import Lines
from batchgen.readers.nodes import Origin
from batchgen.readers.sheets import Sheet
from batchgen.rows import line_rows, model_of, sheet_rows, strangers
from batchgen.task import Task


class Variants:
    """Everything a manifest asks for, in order; counts are true after one walk."""

    def __init__(
        self, manifest: Manifest, catalog: Catalog, *, quick: bool = False
    ) -> None:
        """Prepare a walk; `quick`: rows of data that need no draft become tasks."""
        self._quick = quick
        self.forms: Forms | None = None
        self.manifest = manifest
        self.catalog = catalog
        self.model = manifest.entry(catalog)
        self.findings = Gathered()
        self.sheet: Sheet | None = None
        self._unchecked: set[str] = set()
        self.product = self.excluded = self.included = self.rows = 0
        self._root = Origin(manifest.document) if manifest.document else None
        self.axes, wrong = axes(manifest, self.model)
        self.findings += wrong
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
        # Nothing but the row has a say in what a row of data asks for.
        self._alone = not (self._base or self.axes or self._excludes or self._overrides)
        for rule in (*self._excludes, *self._overrides):
            self.findings += rule.findings

    def __iter__(self) -> Iterator[Draft | Task]:
        """Drafts, lazily: the product first, then what is included."""
        self.product = self.excluded = self.included = self.rows = 0
        try:
            for entry in self._entries():
                self.rows += 1
                if isinstance(entry, Task):
                    self.product += 1
                    yield entry
                else:
                    yield from self._drafts(entry)
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
        yield from self._inclusion()

    def _inclusion(self) -> Iterator[Draft]:
        inclusion = Inclusion(self.axes, self.model, self._base, shared=self._shared())
        for index, entry in enumerate(self.manifest.written.include):
            draft = inclusion.draft(entry, self._at("include", index))
            if draft is not None:
                draft.labels = self._labels(entry.get("labels"))
                draft.takes = self._takes(entry)
                self.included += 1
                yield draft
        self.findings += inclusion.findings

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
            name: layer(value, self._at("settings", name))
            for name, value in written.settings.items()
        }
        if written.prompt is not None:
            base["prompt"] = layer(written.prompt, self._at("prompt"))
        return base

    def _entries(self) -> Iterator[Entry | Task]:
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

    def _table(self, rows: Table | Lines) -> Iterator[Entry | Task]:
        if isinstance(rows, Table):
            self.sheet = Sheet(rows, self.model, self.catalog.fields)
            self.findings += self.sheet.findings
            if self._quick and self._alone and not self.sheet.findings:
                self.forms = Forms(self.manifest, self.sheet)
            found = sheet_rows(self.sheet, rows, self.forms)
        else:
            found = line_rows(rows)
        for entry in found:
            if isinstance(entry, list):
                self.findings += entry
            else:
                yield entry

    def _drafts(self, entry: Entry) -> Iterable[Draft]:
        data, origin = entry.data, entry.origin
        model = self._model(data.get("model"), data.get("price"), origin)
        if model is None:
            return ()
        name = data.get("id")
        if type(name) is not str:
            name = "" if name is None else shown(name)
        labels = self._labels(data.get("labels"))
        wrong = strangers(entry) if entry.literal else []
        self.findings += wrong
        if wrong:
            return ()
        if self._alone and entry.literal:
            self.product += 1
            return (self._literal(entry, model, name, labels),)
        return self._combinations(entry, model, name, labels)

    def _combinations(
        self, entry: Entry, model: Model, name: str, labels: dict[str, str]
    ) -> Iterator[Draft]:
        data, origin = entry.data, entry.origin
        for values in itertools.product(*(axis.values for axis in self.axes)):
            self.product += 1
            chosen = dict(zip((axis.name for axis in self.axes), values, strict=True))
            if self._is_excluded(chosen, name):
                self.excluded += 1
                continue
            fields = dict(self._base)
            for value in values:
                for key, (given, place) in value.sets.items():
                    fields[key] = layer(given, place, fields.get(key))
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

    def _literal(
        self, entry: Entry, model: Model, name: str, labels: dict[str, str]
    ) -> Draft:
        data = entry.data
        return Draft(
            entry.origin,
            model,
            name,
            named_row=True,
            labels=labels,
            takes=self._takes(data),
            take=data.get("take"),
            output=data.get("output"),
            price=data.get("price"),
            literal={key: data[key] for key in data if key not in OWN},
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
                fields[key] = layer(value, place, fields.get(key), literal=literal)

    def _is_excluded(self, chosen: Mapping[str, Value], name: str) -> bool:
        hits = [rule.matches(chosen, name) for rule in self._excludes]
        return any(hits)

    def _patch(
        self, fields: dict[str, Layer], chosen: Mapping[str, Value], name: str
    ) -> None:
        for rule, sets in zip(self._overrides, self._sets, strict=True):
            if rule.matches(chosen, name):
                for key, value, origin in sets:
                    fields[key] = layer(value, origin, fields.get(key))

    def _labels(self, own: Any) -> dict[str, str]:
        labels = dict(self.manifest.written.labels)
        if isinstance(own, dict):
            for key, value in own.items():
                labels[str(key)] = value if type(value) is str else shown(value)
        return labels

    def _takes(self, data: Mapping[str, Any]) -> int:
        takes = data.get("takes")
        return takes if isinstance(takes, int) else self.manifest.written.takes

    def _model(self, name: Any, price: Any, origin: Origin) -> Model | None:
        if name is None or name == self.model.id or self.manifest.rehearsed:
            return self.model
        found = model_of(name, price, self.catalog)
        if found is None:
            mistake = unknown_model(shown(name), self.catalog)
            self.findings.append((origin / "model").finding(mistake))
        elif (
            isinstance(found, Outside)
            and not found.checked
            and name not in self._unchecked
        ):
            self._unchecked.add(str(name))
            warning = unchecked(found.id, self.catalog)
            self.findings.append((origin / "model").finding(warning))
        return found
