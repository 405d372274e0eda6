"""A model: which fields it takes, what is wrong with a request, what it costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from batchgen.errors import CatalogError
from batchgen.findings import Mistake
from batchgen.models import checks
from batchgen.models.canonical import digest, normal, same
from batchgen.money import Micros, times


class Price(Struct, frozen=True):
    """What one prediction costs: so much a second of video, or so much a task."""

    per_second: Micros | None = None
    per_task: Micros | None = None
    per_second_with_sound: Micros | None = None

    def of(self, fields: Mapping[str, Any]) -> Micros:
        """The upper bound for a request; `fields["duration"]` is in seconds."""
        rate = self.per_second
        if self.per_second_with_sound is not None and fields.get("sound"):
            rate = self.per_second_with_sound
        if rate is not None:
            duration = fields["duration"]
            return rate * duration if type(duration) is int else times(rate, duration)
        if self.per_task is not None:
            return self.per_task
        raise CatalogError("this model has no price", rule="no-price")


class Edition(Struct, frozen=True):
    """What another dated description of a model says otherwise.

    `properties` holds only the fields that differ: name -> schema.
    """

    date: str
    source: str
    properties: Mapping[str, Any]
    required: Sequence[str] = ()


class Model(Struct, frozen=True, dict=True):
    """One entry of the catalog.

    Attributes:
        kind: what it makes of what, in the vendor's word.
        snapshot: the date of `schema`, the JSON Schema of the input as the live
            service publishes it.
        editions: where other descriptions differ; their fields are understood.
        identity_defaults: frozen for ever: a field that equals its default is left
            out of a task's identity.
        send: the defaults that are written into every request, so that a change of
            the service's own default cannot change what is bought.
        examples: requests with their price, which are tests.
        rehearsal: cheaper models of the same fields, the cheapest first.
        resolution: pixels of a clip's short side; 0 where no clip comes of it.
        elsewhere: fields that other models take.
    """

    id: str
    alias: str
    title: str
    kind: str
    snapshot: str
    source: str
    price: Price
    schema: Mapping[str, Any]
    editions: tuple[Edition, ...]
    identity_defaults: Mapping[str, Any]
    send: tuple[str, ...]
    rules: tuple[str, ...]
    examples: tuple[Mapping[str, Any], ...]
    resolution: int = 0
    rehearsal: tuple[str, ...] = ()
    note: str = ""
    elsewhere: frozenset[str] = frozenset()

    @cached_property
    def absent(self) -> Mapping[str, Any]:
        """Fields that an edition lists and `schema` does not.

        The service would drop them and charge.
        """
        return {
            name: schema
            for edition in self.editions
            for name, schema in edition.properties.items()
            if name not in self.schema["properties"]
        }

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """Every field of `schema` and `absent`."""
        return {**self.schema["properties"], **self.absent}

    @cached_property
    def media(self) -> Mapping[tuple[str, ...], Mapping[str, Any]]:
        """Where pictures stand, and their limits (`x-media`).

        The items of a list have the step `*`: `("image",)`, `("images", "*")`.
        """
        return dict(_media(self.fields))

    @cached_property
    def _sound(self) -> Mapping[str, Callable[[Any], bool]]:
        own = self.schema["properties"]
        return {name: checks.sound(schema) for name, schema in own.items()}

    @cached_property
    def _across(self) -> tuple[tuple[checks.Rule, str], ...]:
        return tuple(
            (checks.RULES[name], checks.NEEDS.get(name, ""))
            for name in self.rules
            if name in checks.RULES
        )

    @cached_property
    def _sent(self) -> Mapping[str, Any]:
        return {name: self.identity_defaults[name] for name in self.send}

    def priced(self, price: Price) -> Self:
        """The same model at another price."""
        return replace(self, price=price)

    def quick(self, name: str) -> Callable[[Any], bool]:
        """A quick yes for values of one field; where it says no, `judge` speaks."""
        return self._sound.get(name, lambda _: False)

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
            mistakes += self._missing(spelled)
            everything = {**self.identity_defaults, **spelled}
            for rule, needs in self._across:
                if not needs or needs in spelled:
                    mistakes += rule(everything)
        return spelled, mistakes

    def _of_field(
        self, key: str, value: Any, fields: Mapping[str, Any], *, live: bool
    ) -> Iterator[Mistake]:
        closed = not self.schema.get("additionalProperties", True)
        if key in self.absent:
            yield self._absent(key, live=live)
        if key in self.fields:
            yield from checks.check(value, self.fields[key], (key,), self.title)
        elif closed and key in fields:
            yield self.stranger(key, (key,), self.fields)

    def _missing(self, spelled: Mapping[str, Any]) -> Iterator[Mistake]:
        for name in self.schema.get("required", ()):
            if name not in spelled:
                message = f"{self.title} needs `{name}`"
                yield Mistake((name,), "missing-key", message)

    def stranger(
        self, key: str, path: checks.Path, known: Mapping[str, Any], noun: str = "field"
    ) -> Mistake:
        """A name that is not `known`, though perhaps to another model."""
        if key not in self.elsewhere or key in self.fields:
            return checks.unknown(key, known, path, noun)
        message = f"{self.title} takes no {key}"
        label = "the service would drop it and charge"
        return Mistake(path, "unknown-key", message, label)

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


def _media(
    fields: Mapping[str, Any],
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Paths of the fields that hold pictures."""
    for name, schema in fields.items():
        items = schema.get("items", {})
        if "x-media" in schema:
            yield (name,), schema["x-media"]
        if "x-media" in items:
            yield (name, "*"), items["x-media"]
