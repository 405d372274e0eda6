"""What may be asked of the API and what it costs: one data file per model."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from batchgen.errors import CatalogError
from batchgen.findings import Mistake
from batchgen.models import checks
from batchgen.models.canonical import digest, normal, same
from batchgen.money import Micros, times, usd

DEFAULT_MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"


@dataclass(frozen=True, slots=True)
class Price:
    """What one prediction costs: so much a second of video, or so much a task."""

    per_second: Micros | None = None
    per_task: Micros | None = None

    def of(self, fields: Mapping[str, Any]) -> Micros:
        """The upper bound for a request; `fields["duration"]` is in seconds."""
        if self.per_second is not None:
            duration = fields["duration"]
            if type(duration) is int:
                return self.per_second * duration
            return times(self.per_second, duration)
        if self.per_task is not None:
            return self.per_task
        raise CatalogError("this model has no price", rule="no-price")


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the catalog.

    `schema` is the JSON Schema of the input as the live service publishes it.
    `absent` holds fields that a documentation page lists and the live schema does
    not: field name -> its schema. `identity_defaults` are frozen for ever: a field
    that equals its default is left out of a task's identity. `send` names the
    defaults that are written into every request, so that a change of the service's
    own default cannot change what is bought.
    """

    id: str
    alias: str
    title: str
    kind: str
    snapshot: str
    source: str
    price: Price
    schema: Mapping[str, Any]
    absent: Mapping[str, Any]
    identity_defaults: Mapping[str, Any]
    send: tuple[str, ...]
    rules: tuple[str, ...]
    examples: tuple[Mapping[str, Any], ...]

    fields: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    _sound: Mapping[str, Callable[[Any], bool]] = field(
        init=False, repr=False, compare=False
    )
    _across: tuple[tuple[checks.Rule, str], ...] = field(
        init=False, repr=False, compare=False
    )
    _sent: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fields = {**self.schema["properties"], **self.absent}
        quick = {
            name: checks.sound(schema)
            for name, schema in self.schema["properties"].items()
        }
        sent = {name: self.identity_defaults[name] for name in self.send}
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "_sound", quick)
        object.__setattr__(self, "_sent", sent)
        across = tuple(
            (checks.RULES[name], checks.NEEDS.get(name, ""))
            for name in self.rules
            if name in checks.RULES
        )
        object.__setattr__(self, "_across", across)

    def canonical(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields in their one spelling, without those that equal their default.

        Also reads what a server echoes back, so two bodies ask for the same if
        their canonical forms are equal. Unknown fields are kept.
        """
        return self.lean(normal(fields, self.fields))

    def lean(self, spelled: Mapping[str, Any]) -> dict[str, Any]:
        """Fields in their one spelling, without those that equal their default."""
        defaults = self.identity_defaults
        return {
            key: value
            for key, value in spelled.items()
            if not (key in defaults and same(value, defaults[key]))
        }

    def identity(self, fields: Mapping[str, Any], take: int = 1) -> str:
        """The identity of a task: 32 hex characters."""
        return digest(self.id, self.canonical(fields), take)[:32]

    def request(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The body to send: the canonical fields and the defaults named in `send`."""
        return self.body(self.canonical(fields))

    def body(self, canonical: Mapping[str, Any]) -> dict[str, Any]:
        """The body to send, of fields that are canonical already."""
        return {**self._sent, **canonical}

    def mistakes(
        self, fields: Mapping[str, Any], *, live: bool, whole: bool = True
    ) -> Iterator[Mistake]:
        """What is wrong with these fields, each mistake with its path.

        Args:
            fields: a request, in any spelling.
            live: whether the request would be charged for real.
            whole: False for a part of a request: rules across fields wait.
        """
        yield from self.judge(fields, live=live, whole=whole)[1]

    def judge(
        self, fields: Mapping[str, Any], *, live: bool, whole: bool = True
    ) -> tuple[dict[str, Any], list[Mistake]]:
        """The fields in their one spelling, and what is wrong with them."""
        spelled = normal(fields, self.fields)
        mistakes: list[Mistake] = []
        for key, value in spelled.items():
            quick = self._sound.get(key)
            if quick is None or not quick(value):
                mistakes += self._of_field(key, value, fields, live=live)
        if "extra" in fields:
            mistakes += self._extra(fields)
        if whole:
            everything = {**self.identity_defaults, **spelled}
            for rule, needs in self._across:
                if not needs or needs in spelled:
                    mistakes += rule(everything)
        return spelled, mistakes

    def _of_field(
        self, key: str, value: Any, fields: Mapping[str, Any], *, live: bool
    ) -> Iterator[Mistake]:
        closed = not self.schema.get("additionalProperties", True)
        if key in self.absent and key not in self.schema["properties"]:
            yield self._absent(key, live=live)
        if key in self.fields:
            yield from checks.check(value, self.fields[key], (key,), self.title)
        elif closed and key in fields:
            yield checks.unknown(key, self.fields, (key,))

    def _absent(self, key: str, *, live: bool) -> Mistake:
        message = (
            f"{self.title} has no {key} in its live schema: "
            "the service would drop it and charge"
        )
        return Mistake(
            (key,), "absent-field", message, severity="error" if live else "warning"
        )

    def _extra(self, fields: Mapping[str, Any]) -> Iterator[Mistake]:
        extra = fields.get("extra")
        if extra is None:
            return
        if not isinstance(extra, Mapping):
            message = f"extra is a map, got {checks.shown(extra)}"
            yield Mistake(("extra",), "wrong-type", message)
            return
        for key in extra:
            if key in self.fields:
                message = f"`{key}` is a field of its own and may not hide in extra"
                yield Mistake(("extra", key), "extra-field", message)


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
    """The catalog that ships with batchgen."""
    files = resources.files(__package__)
    entries = sorted(
        (item for item in files.iterdir() if item.name.endswith(".json")),
        key=lambda item: item.name,
    )
    models = [read(item.read_text(encoding="utf-8"), item.name) for item in entries]
    return Catalog({model.id: model for model in models})


def read(text: str, name: str) -> Model:
    """Parse one data file.

    Raises:
        CatalogError: a key is missing or has the wrong form.
    """
    try:
        entry = json.loads(text)
        return Model(
            id=entry["id"],
            alias=entry["alias"],
            title=entry["title"],
            kind=entry["kind"],
            snapshot=entry["snapshot"],
            source=entry["source"],
            price=Price(**{unit: usd(text) for unit, text in entry["price"].items()}),
            schema=entry["schema"],
            absent=entry.get("absent", {}),
            identity_defaults=entry["identity_defaults"],
            send=tuple(entry["send"]),
            rules=tuple(entry["rules"]),
            examples=tuple(entry["examples"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CatalogError(f"{name}: {error!r}") from error
