"""The request fields of a manifest, checked before anything is expanded."""

from collections.abc import Iterator, Mapping
from typing import Any

from batchgen import names
from batchgen.findings import Finding, Mistake
from batchgen.models import Catalog, Model, Price
from batchgen.models.checks import shown
from batchgen.outside import Outside, outside, unchecked
from batchgen.outside import unknown as unknown_model
from batchgen.readers.nodes import Document, Origin
from batchgen.readers.prose import prose
from batchgen.spelling import near
from batchgen.variables import is_template

OWN = ("id", "labels", "takes", "extra")
RESERVED = frozenset(
    {"id", "slug", "hash", "take", "takes", "run", "date", "inherited", "labels"}
    | {"extra", "model", "output", "price"}
)


def inspect(document: Document, catalog: Catalog, *, live: bool) -> list[Finding]:
    """Everything that can be said about fields without expanding anything."""
    data = document.data
    if not isinstance(data, dict):
        return []
    name = data.get("model")
    model = model_of(document, catalog)
    if isinstance(name, str) and model is None:
        return [Origin(document, ("model",)).finding(unknown_model(name, catalog))]
    if model is None:
        return []
    found = list(_Inspector(document, model, live=live).findings())
    if isinstance(model, Outside) and not model.checked:
        warning = unchecked(model.id, catalog)
        found.append(Origin(document, ("model",)).finding(warning))
    return found


def model_of(document: Document, catalog: Catalog) -> Model | None:
    """The model a manifest names, or the default one; with a price also another."""
    data = document.data if isinstance(document.data, dict) else {}
    name = data.get("model")
    if not isinstance(name, str):
        return catalog.default
    found = catalog.find(name)
    if found is None and data.get("price") is not None:
        return outside(name, Price(), catalog)
    return found


class _Inspector:
    def __init__(self, document: Document, model: Model, *, live: bool) -> None:
        self._root = Origin(document)
        self._data: Mapping[str, Any] = document.data
        self._model = model
        self._live = live
        matrix = document.data.get("matrix")
        self._axes = matrix if isinstance(matrix, dict) else {}

    def findings(self) -> Iterator[Finding]:
        """All of them, in no order."""
        data = self._data
        yield from self._sources()
        yield from self._map(data.get("settings"), self._root / "settings", "setting")
        for index, rule in _entries(data.get("overrides")):
            origin = self._root / "overrides" / index / "set"
            yield from self._map(_get(rule, "set"), origin, "field")
        for index, entry in _entries(data.get("prompts")):
            origin = self._root / "prompts" / index
            yield from self._map(entry, origin, "field", OWN)
        for index, entry in _entries(data.get("include")):
            axes = tuple(axis for axis in self._axes if axis not in self._model.fields)
            origin = self._root / "include" / index
            yield from self._map(entry, origin, "field", (*OWN, *axes))
        for name, values in self._axes.items():
            yield from self._axis(name, values)
        yield from self._vars()
        yield from self._setters()

    def _sources(self) -> Iterator[Finding]:
        data = self._data
        settings = data.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        given = [
            origin
            for origin, there in (
                (self._root / "prompt", "prompt" in data),
                (self._root / "prompts", "prompts" in data),
                (self._root / "settings" / "prompt", "prompt" in settings),
            )
            if there
        ]
        if len(given) > 1 and "prompt" in data:
            message = "the prompt is given twice"
            last = max(given, key=lambda origin: origin.source.place(origin.path))
            label = "keep one: `prompt` for all tasks, or `prompts` for one each"
            yield last.error("two-sources", message, label, key=True)
        fields = {*settings, *self._axes, *_set_by(self._axes)}
        if not given and not fields & {"prompt", "multi_prompt"}:
            if not data.get("include"):
                message = "there is no prompt, so there is nothing to make"
                yield self._root.error("no-prompts", message, "write `prompts:`")
            elif self._axes:
                message = "this matrix has no prompt, so it makes nothing"
                yield (self._root / "matrix").error("no-prompts", message, key=True)

    def _map(
        self, value: Any, origin: Origin, noun: str, own: tuple[str, ...] = ("extra",)
    ) -> Iterator[Finding]:
        if not isinstance(value, dict):
            return
        for key, inner in value.items():
            if key in self._model.fields or key == "extra":
                yield from self.field(key, inner, origin / key)
            elif key not in own and not isinstance(self._model, Outside):
                alone = len(value) == 1 and "labels" in own
                known = dict.fromkeys((*self._model.fields, *own))
                yield self._unknown(key, inner, origin / key, noun, known, alone=alone)
        if "extra" in value:
            yield from self.field("extra", value["extra"], origin / "extra")
        if "labels" in own:
            yield from self._own(value, origin)

    def _own(self, value: Mapping[str, Any], origin: Origin) -> Iterator[Finding]:
        name, labels, takes = (value.get(key) for key in ("id", "labels", "takes"))
        if name is not None and not isinstance(name, str | int):
            yield (origin / "id").error("wrong-type", "an id is text")
        elif name is not None:
            yield from _id(name, origin / "id")
        if labels is not None and not isinstance(labels, dict):
            yield (origin / "labels").error("wrong-type", "labels are a map of texts")
        if takes is not None and (type(takes) is not int or not 1 <= takes <= 20):  # noqa: PLR2004
            message = f"takes is {takes}, but it runs from 1 to 20"
            yield (origin / "takes").error("out-of-range", message)

    def _unknown(
        self,
        key: str,
        value: Any,
        origin: Origin,
        noun: str,
        known: Mapping[str, Any],
        *,
        alone: bool,
    ) -> Finding:
        if (
            alone
            and isinstance(value, str)
            and " " in key + value
            and not near(key, known, cutoff=0.8)
        ):
            place = origin.source.place(origin.path, key=True)
            message = "YAML reads a colon followed by a space as a new key"
            return prose(place, message, "", f"{key}: {value}")
        mistake = self._model.stranger(key, (), known, noun)
        return origin.finding(mistake, key=True)

    def field(self, name: str, value: Any, origin: Origin) -> Iterator[Finding]:
        """One field with a literal value; templates wait until they are filled in."""
        if is_template(value):
            return
        for mistake in self._model.mistakes(
            {name: value}, live=self._live, whole=False
        ):
            inner = Mistake(
                mistake.path[1:],
                mistake.rule,
                mistake.message,
                mistake.label,
                mistake.fix,
                mistake.severity,
                mistake.advice,
            )
            key = mistake.rule in ("unknown-key", "absent-field")
            yield origin.finding(inner, key=key)

    def _axis(self, name: str, values: Any) -> Iterator[Finding]:
        origin = self._root / "matrix" / name
        if name in RESERVED:
            message = (
                f"`{name}` means something else already, so no axis is called that"
            )
            yield origin.error("name-taken", message, key=True)
        for index, value in _entries(values):
            here = origin / index
            if isinstance(value, dict):
                if "id" not in value:
                    yield here.error("missing-key", f"this {name} has no `id`")
                elif not isinstance(value["id"], str | int | float):
                    yield (here / "id").error("wrong-type", "an id is text")
                else:
                    yield from _id(value["id"], here / "id")
                yield from self._map(value.get("set"), here / "set", "field")
            elif isinstance(value, list) or value is None:
                message = f"a value of `{name}` is a word, or a map with an id"
                yield here.error("wrong-type", message)
            else:
                if name in self._model.fields:
                    yield from self.field(name, value, here)
                yield from _id(value, here, name)

    def _vars(self) -> Iterator[Finding]:
        given = self._data.get("vars")
        for name in given if isinstance(given, dict) else ():
            if name in self._axes or name in RESERVED:
                message = f"`{name}` is already the name of something else"
                yield (self._root / "vars" / name).error(
                    "name-taken", message, key=True
                )

    def _setters(self) -> Iterator[Finding]:
        first: dict[str, str] = {}
        for axis, values in self._axes.items():
            fields = _set_by({axis: values})
            if axis in self._model.fields:
                fields.add(axis)
            for field in sorted(fields):
                if first.setdefault(field, axis) != axis:
                    message = f"`{first[field]}` and `{axis}` both set {field}"
                    origin = self._root / "matrix" / axis
                    yield origin.error("two-axes", message, key=True)


def _id(value: Any, origin: Origin, axis: str = "") -> Iterator[Finding]:
    fault = names.fault_of_id(shown(value) if isinstance(value, bool) else str(value))
    if fault:
        fix = f"- {{ id: short-name, {axis}: … }}" if axis else ""
        yield origin.error("bad-id", fault, fix=fix)


def _set_by(axes: Mapping[str, Any]) -> set[str]:
    return {
        field
        for values in axes.values()
        for _, value in _entries(values)
        for field in (_get(value, "set") or ())
    }


def _entries(value: Any) -> list[tuple[int, Any]]:
    return list(enumerate(value)) if isinstance(value, list) else []


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
