"""A model's schema as the vendor publishes it.

The vendor lists whole numbers one by one, says nothing about the length of texts, and
leaves `required` away where nothing is (seen in `GET /models` of 2026-08-18).
"""

from collections.abc import Mapping
from typing import Any

_SILENT = frozenset({"minLength", "maxLength", "additionalProperties", "x-media"})


def published(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a model's request, as `GET /models` has it."""
    shown = _published(schema) | {"additionalProperties": False}
    if not schema.get("required"):
        shown.pop("required", None)
    return shown


def _published(schema: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in schema.items() if key not in _SILENT}
    if schema.get("type") == "integer" and {"minimum", "maximum"} <= schema.keys():
        low, high = shown.pop("minimum"), shown.pop("maximum")
        shown["enum"] = [*range(low, high + 1)]
    if "items" in schema:
        shown["items"] = _published(schema["items"])
    if "properties" in schema:
        fields = schema["properties"].items()
        shown["properties"] = {name: _published(inner) for name, inner in fields}
        shown["x-order-properties"] = [*schema["properties"]]
    return shown
