"""The catalog and its data files.

An entry may extend another one: it then has that one's keys, and its own instead of
them. A field's schema may be a `$ref` into `shared/`, as JSON Schema has it; what
stands beside a `$ref` wins over what is there.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import json

from batchgen.errors import CatalogError
from batchgen.models.model import Edition, Model, Price
from batchgen.money import usd

DEFAULT_MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"
ELEMENTS_MODEL = "kwaivgi/kling-elements"

Json = Mapping[str, Any]
_HERE = Path(__file__).parent


class Catalog:
    """Models by id or alias."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)
        self._aliases = {model.alias: model for model in models.values()}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    @property
    def default(self) -> Model | None:
        """The model of a manifest that names none."""
        return self.find(DEFAULT_MODEL)

    @property
    def fields(self) -> dict[str, Any]:
        """Every field that a model of clips takes, by its name."""
        films = [one for one in self if one.kind.endswith("-to-video")]
        return {name: one.fields[name] for one in films for name in one.fields}

    def find(self, name: str) -> Model | None:
        """The model with this id or alias."""
        return self._models.get(name) or self._aliases.get(name)

    def __getitem__(self, name: str) -> Model:
        model = self.find(name)
        if model is None:
            raise CatalogError(f"no model {name} in the catalog", rule="unknown-model")
        return model


@cache
def catalog() -> Catalog:
    """The catalog that ships with batchgen, in the order of the aliases."""
    names = [file.name for file in _HERE.iterdir() if file.suffix == ".json"]
    models = [read(_bytes(name), name) for name in names]
    models.sort(key=lambda model: model.alias)
    return Catalog({model.id: model for model in models})


def read(text: str | bytes, name: str) -> Model:
    """Parse one data file.

    Raises:
        CatalogError: a key is missing or has the wrong form.
    """
    try:
        entry = _whole(json.decode(text))
        return Model(
            id=entry["id"],
            alias=entry["alias"],
            title=entry["title"],
            kind=entry["kind"],
            snapshot=entry["snapshot"],
            source=entry["source"],
            price=Price(**{unit: usd(text) for unit, text in entry["price"].items()}),
            schema=entry["schema"],
            editions=tuple(Edition(**edition) for edition in entry.get("editions", ())),
            identity_defaults=entry["identity_defaults"],
            send=tuple(entry["send"]),
            rules=tuple(entry["rules"]),
            examples=tuple(entry["examples"]),
            resolution=entry.get("resolution", 0),
            rehearsal=tuple(entry.get("rehearsal", ())),
            note=entry.get("note", ""),
            elsewhere=frozenset(_shared("shared/fields.json")),
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise CatalogError(f"{name}: {error!r}") from error


def _whole(entry: Json) -> dict[str, Any]:
    """An entry with what it extends and refers to."""
    above = entry.get("extends")
    base = _base(above) if above else {}
    return {**base, **{key: _resolved(value) for key, value in entry.items()}}


@cache
def _base(name: str) -> dict[str, Any]:
    """An entry that others extend, read once for all of them."""
    return _whole(json.decode(_bytes(name)))


def _resolved(value: Any) -> Any:
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    own = {key: _resolved(inner) for key, inner in value.items() if key != "$ref"}
    if "$ref" not in value:
        return own
    file, _, pointer = value["$ref"].partition("#/")
    return {**_shared(file)[pointer], **own}


@cache
def _shared(name: str) -> dict[str, Any]:
    shared: dict[str, Any] = json.decode(_bytes(name))
    return shared


def _bytes(name: str) -> bytes:
    # `importlib.resources` would take as long as all the rest of the catalog.
    return _HERE.joinpath(name).read_bytes()
