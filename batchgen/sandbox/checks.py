"""What the service refuses in an input, in the words the vendor uses."""

from collections.abc import Iterator, Mapping
from typing import Any

from batchgen.models import Model

_KINDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "array": "an array",
    "object": "an object",
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def complaint(
    model: Model, given: Mapping[str, Any], *, drifted: bool = False
) -> str | None:
    """The first thing wrong with an input; unknown keys are nobody's concern."""
    schema = drift(model.schema) if drifted else model.schema
    return next(_complaints(schema, given, ""), None) or _no_prompt(model, given)


def drift(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema as a later version spells it (seen: `intelligence`)."""
    properties = dict(schema["properties"])
    if "shot_type" in properties:
        words = ["customize", "intelligence"]
        properties["shot_type"] = {**properties["shot_type"], "enum": words}
    return {**schema, "properties": properties}


def _no_prompt(model: Model, given: Mapping[str, Any]) -> str | None:
    properties = model.schema["properties"]
    if "prompt" not in properties or "image" in properties:
        return None  # a start image can stand alone
    if str(given.get("prompt", "")).strip() or given.get("multi_prompt"):
        return None
    return _required("prompt")


def _required(name: str) -> str:
    return f'field "{name}" is required and must not be empty'


def _complaints(
    schema: Mapping[str, Any], given: Mapping[str, Any], prefix: str
) -> Iterator[str]:
    for name in schema.get("required", ()):
        if given.get(name) in (None, "", []):
            yield _required(prefix + name)
    for name, rules in schema["properties"].items():
        if name in given:
            yield from _wrong(prefix + name, rules, given[name])


def _wrong(name: str, rules: Mapping[str, Any], value: Any) -> Iterator[str]:
    if not _is(rules.get("type", ""), value):
        yield f'field "{name}" must be {_KINDS[rules["type"]]}'
    elif "enum" in rules and value not in rules["enum"]:
        allowed = ", ".join(str(choice) for choice in rules["enum"])
        yield f'field "{name}" must be one of [{allowed}]'
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _out_of_range(name, rules, value)
    elif isinstance(value, str) and len(value) > rules.get("maxLength", len(value)):
        yield f'field "{name}" must be at most {rules["maxLength"]} characters'
    elif isinstance(value, list):
        yield from _wrong_items(name, rules, value)


def _out_of_range(name: str, rules: Mapping[str, Any], value: float) -> Iterator[str]:
    low, high = rules.get("minimum", value), rules.get("maximum", value)
    if not low <= value <= high:
        between = f"one of [{low} … {high}]"
        if rules["type"] == "number":
            between = f"between {low} and {high}"
        yield f'field "{name}" must be {between}'


def _wrong_items(
    name: str, rules: Mapping[str, Any], value: list[Any]
) -> Iterator[str]:
    if len(value) > rules.get("maxItems", len(value)):
        yield f'field "{name}" must have at most {rules["maxItems"]} items'
    if len(value) < rules.get("minItems", 0):
        yield _required(name)
    items = rules.get("items", {})
    for number, item in enumerate(value):
        here = f"{name}[{number}]"
        yield from _wrong(here, items, item)
        if isinstance(item, dict) and "properties" in items:
            yield from _complaints(items, item, f"{here}.")


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):  # which Python counts among the integers
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, object))
