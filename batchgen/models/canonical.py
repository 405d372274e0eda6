"""One spelling for each request, so that equal requests have equal identities."""

import json
import unicodedata
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
# The same encoder, built once instead of for every text; other Pythons have none.
_BUILD: Any = getattr(json.encoder, "c_make_encoder", None)
_QUICK: Any = _BUILD and _BUILD(
    None, None, json.encoder.encode_basestring, None, ":", ",", True, False, False
)
quoted: Callable[[str], str] = json.encoder.encode_basestring
"""A text as it stands in canonical JSON."""
TWINS = {"intelligence": "intelligent", "intelligent": "intelligence"}


def normal(fields: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in their one spelling, empty ones left out.

    Values of the wrong type stay as they are, so that they can be complained about.
    """
    extra = fields.get("extra")
    if "extra" in fields:
        fields = {key: value for key, value in fields.items() if key != "extra"}
        if isinstance(extra, Mapping):
            fields = {**extra, **fields}
    spelled: dict[str, Any] = {}
    for key, value in fields.items():
        kind = type(value)
        if kind is str:
            text = value if value.isascii() else unicodedata.normalize("NFC", value)
            text = text.strip()
            if text:
                spelled[key] = _chosen(text, known.get(key))
        elif kind is int or kind is bool:
            spelled[key] = value
        else:
            found = _field(key, plain(value), known.get(key, {}))
            if not empty(found):
                spelled[key] = found
    return spelled


def _chosen(text: str, schema: Mapping[str, Any] | None) -> str:
    if schema is None or "enum" not in schema or text in schema["enum"]:
        return text
    return _choice(text, schema["enum"])


def plain(value: Any) -> Any:
    """Text NFC and trimmed, whole floats as ints, all the way down."""
    if value is None or type(value) in (int, bool):
        return value
    match value:
        case str():
            text = value if value.isascii() else unicodedata.normalize("NFC", value)
            return text.strip()
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {key: plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case _:
            return value


def empty(value: Any) -> bool:
    """Whether a value says nothing: null, and empty text, lists and maps."""
    return value is None or value in ("", [], {})


def same(value: Any, default: Any) -> bool:
    """Equality that keeps `false` and `0` apart."""
    return bool(value == default) and isinstance(value, bool) is isinstance(
        default, bool
    )


def digest(model: str, fields: Mapping[str, Any], take: int) -> str:
    """SHA-256 of the canonical JSON of a task, 64 hex characters."""
    return fingerprint(encoded(model, fields, take))


def encoded(model: str, fields: Mapping[str, Any], take: int) -> str:
    """The canonical JSON of a task."""
    value = {"model": model, "input": fields, "take": take}
    return "".join(_QUICK(value, 0)) if _QUICK else _ENCODER.encode(value)


def fingerprint(text: str) -> str:
    """SHA-256 of a canonical JSON, 64 hex characters."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _field(name: str, value: Any, schema: Mapping[str, Any]) -> Any:
    if "enum" in schema and isinstance(value, str):
        return _choice(value, schema["enum"])
    if isinstance(value, list):
        if name == "multi_prompt":
            return [_scene(scene) for scene in value]
        if name == "element_list":
            return [_element(element) for element in value]
    return value


def _choice(value: str, choices: list[str]) -> str:
    if value in choices:
        return value
    for spelling in (
        value.lower(),
        value.lower().replace("x", ":"),
        TWINS.get(value.lower(), value),
    ):
        if spelling in choices:
            return spelling
    return value


def _scene(scene: Any) -> Any:
    if isinstance(scene, str):
        return {"prompt": scene}
    if isinstance(scene, dict):
        return {key: value for key, value in scene.items() if value is not None}
    return scene


def _element(element: Any) -> Any:
    if isinstance(element, dict) and "element_id" in element:
        return {**element, "element_id": _text(element["element_id"])}
    if isinstance(element, str | int) and not isinstance(element, bool):
        return {"element_id": _text(element)}
    return element


def _text(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole else value
