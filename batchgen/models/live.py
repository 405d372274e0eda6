"""What the service itself says of its models now: `GET /models`.

The account's list is the service's own word on which fields it takes. It drops any
other field without notice and charges, so what it lacks is worth stopping for.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from batchgen.models.canonical import TWINS, same

_KEYS = ("type", "enum", "minimum", "maximum", "maxItems", "minItems", "default")
_DEEPEST = 6


class Live(Struct, frozen=True):
    """One model of the account's list; `schema` is that of its request."""

    id: str
    title: str
    kind: str
    schema: Mapping[str, Any]

    @property
    def fields(self) -> Mapping[str, Any]:
        """Name -> schema of each field."""
        found: Mapping[str, Any] = self.schema["properties"]
        return found


def listing(rows: object) -> dict[str, Live]:
    """The list by id; rows that cannot be read are left out.

    Raises:
        ValueError: it is no list, or none of its rows can be read.
    """
    if not isinstance(rows, list):
        raise ValueError("a list of models that is no list")  # noqa: TRY004 - data
    found = {one.id: one for row in rows if (one := _model(row)) is not None}
    if rows and not found:
        raise ValueError("a list of models that cannot be read")
    return found


def _model(row: Any) -> Live | None:
    try:
        schema = next(
            one["request_schema"]
            for one in row["api_schema"]["api_schemas"]
            if one.get("type") == "model_run"
        )
        fields = schema["properties"]
        known = isinstance(fields, dict) and all(
            isinstance(field, dict) for field in fields.values()
        )
        name = row["model_id"]
        if not (known and isinstance(name, str) and name):
            return None
        title, kind = str(row.get("name") or name), str(row.get("type") or "")
        return Live(name, title, kind, schema)
    except (KeyError, TypeError, AttributeError, StopIteration):
        return None


def used(
    body: Mapping[str, Any], defaults: Mapping[str, Any], schema: Mapping[str, Any]
) -> dict[str, Any]:
    """A body without the defaults that a live schema lacks: they change nothing.

    They are sent with every request, so nobody could leave them out.
    """
    known = schema["properties"]
    return {
        name: value
        for name, value in body.items()
        if name in known or not (name in defaults and same(value, defaults[name]))
    }


def faults(
    fields: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What a live schema has against a request: the field, and a sentence.

    Args:
        fields: name -> value; None for a value that does not matter here.
        schema: as the service publishes it.
    """
    known = schema["properties"]
    for name, value in fields.items():
        if name not in known:
            says = f"has no field {name}: the service would drop it and charge"
            yield name, says
        elif value is not None:
            choices = known[name].get("enum")
            meant = _spelled(value, known[name])
            if isinstance(choices, list) and not _among(meant, choices):
                yield name, f"has no {name} {value} (it has {_shown(choices)})"
            elif _beyond(value, known[name]):
                low, high = known[name].get("minimum"), known[name].get("maximum")
                yield name, f"takes no {name} {value} (it runs from {low} to {high})"
    for name in schema.get("required") or ():
        if name not in fields:
            yield name, f"needs the field {name}"


def _among(value: object, choices: list[Any]) -> bool:
    """Whether a value is a choice; `true` is not 1."""
    return any(
        value == one and isinstance(value, bool) is isinstance(one, bool)
        for one in choices
    )


def _beyond(value: object, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = schema.get("minimum"), schema.get("maximum")
    too_low = isinstance(low, int | float) and value < low
    return too_low or (isinstance(high, int | float) and value > high)


def respelled(body: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A request in the live schema's spelling of choices; nothing else changes."""
    known = schema["properties"]
    return {
        name: _spelled(value, known[name]) if name in known else value
        for name, value in body.items()
    }


def _spelled(value: Any, schema: Mapping[str, Any]) -> Any:
    choices = schema.get("enum")
    if isinstance(value, str) and isinstance(choices, list) and value not in choices:
        twin = TWINS.get(value)
        return twin if twin in choices else value
    return value


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What is different between two published schemas, a line for each field.

    Descriptions are left out, and so is the order.
    """
    old, new = before["properties"], after["properties"]
    for name in (*old, *(name for name in new if name not in old)):
        if name not in new:
            yield f"- {name} is gone: sent, it would be dropped and charged"
        elif name not in old:
            yield f"+ {name} ({_told(new[name])}) is new: write it under `extra`"
        else:
            for key, was, now in _different(old[name], new[name], ""):
                yield f"~ {name} {key}: {_shown(was)} -> {_shown(now)}"
    were, are = set(before.get("required") or ()), set(after.get("required") or ())
    yield from (f"~ {name} is needed now" for name in sorted(are - were))
    yield from (f"~ {name} is not needed any more" for name in sorted(were - are))


def _different(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str, depth: int = 0
) -> Iterator[tuple[str, Any, Any]]:
    for key in _KEYS:
        if old.get(key) != new.get(key):
            yield f"{path}{key}", old.get(key), new.get(key)
    if depth > _DEEPEST:
        return
    none: Mapping[str, Any] = {}
    if isinstance(old.get("items"), dict) or isinstance(new.get("items"), dict):
        inner = (old.get("items") or none, new.get("items") or none)
        yield from _different(*inner, f"{path}items ", depth + 1)
    before, after = old.get("properties") or none, new.get("properties") or none
    for name in dict.fromkeys((*before, *after)):
        fields = (before.get(name, none), after.get(name, none))
        yield from _different(*fields, f"{path}{name} ", depth + 1)


def _told(schema: Mapping[str, Any]) -> str:
    return " ".join(f"{key} {_shown(schema[key])}" for key in _KEYS if key in schema)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list) and len(value) > 4:  # noqa: PLR2004 - a long range
        return f"{value[0]} ... {value[-1]} ({len(value)})"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
