"""Values of a manifest that have a form of their own: money, rates, times, names."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from batchgen import deadline, given, locations, names
from batchgen.given import RATE, Rate
from batchgen.money import Micros

LENGTH = r"[0-9]{1,6}(\.[0-9]{1,3})?(s|m|h)"
_HOSTS_HERE = ("localhost", "127.0.0.1", "::1")


def _wrong(rule: str, message: str, **more: str) -> NoReturn:
    """What is said; `label` stands under the place, `paste` is the value to write."""
    raise PydanticCustomError(rule, "{message}", {"message": message, **more})


def _rate(value: Any) -> Rate:
    if isinstance(value, Rate):
        return value
    try:
        return given.rate(value)
    except ValueError:
        message = "a rate is a count and a unit of time"
        _wrong("bad-rate", message, label="write 5/s, 60/min or 600/h")


def _seconds(value: Any) -> float:
    try:
        return given.seconds(value)
    except ValueError:
        message = "a length of time needs its unit"
        _wrong("bad-duration", message, label="write 90s, 30m or 2h")


def _deadline(value: Any) -> deadline.Deadline:
    try:
        return given.until(value)
    except deadline.BadTime as error:
        _wrong("bad-time", str(error), label=error.label)


def _money(value: Any) -> Micros:
    try:
        return given.money(value)
    except ValueError:
        digits = re.search(r"[0-9]+(\.[0-9]{1,6})?", str(value))
        message = "{name} must be a number of US dollars"
        _wrong("bad-money", message, paste=digits.group() if digits else "")


def folder_name(value: Any) -> Any:
    """A name of a run's folder; what is no text is for pydantic to refuse."""
    try:
        return given.folder_name(value)
    except ValueError:
        message = "a name has lower-case letters, digits and hyphens"
        _wrong("bad-name", message, paste=names.folder(value))


def _scalar(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return value
    _wrong("wrong-type", "this is text, a number or true or false")


def _match(value: Any) -> Any:
    for item in value if isinstance(value, list) else [value]:
        _scalar(item)
    return value


def _label(value: Any) -> str:
    value = _scalar(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _element(value: Any) -> str:
    """An id of an element; a number as it was typed, unless it lost digits."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if type(value) is int and value > 0:
        return str(value)
    if type(value) is float:
        _wrong("wrong-type", "an id is no number with a point", label="quote it")
    _wrong("wrong-type", "this is the id of an element", label='write "829301"')


def _webhook(value: Any) -> str:
    """An address to post to; it is a secret, so no message repeats it."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        host = parts.hostname
    except ValueError:
        host = None
    if host and (parts.scheme == "https" or host in _HOSTS_HERE):
        return str(value)
    message = "a webhook is an address that begins with https://"
    _wrong("bad-url", message, label="plain http is for this machine only")


def _bucket(value: Any) -> str:
    try:
        return locations.bucket(value)
    except locations.BadLocation as error:
        _wrong("bad-store", str(error), label=error.label)


def _links(value: Any) -> str:
    try:
        return locations.links(value)
    except locations.BadLocation as error:
        _wrong("bad-links", str(error), label=error.label)


def shape(value: Any) -> str:
    """Which of the forms of a key it is: plain, a list or a map."""
    if isinstance(value, Mapping | BaseModel):
        return "<map>"
    return "<list>" if isinstance(value, list) else "<plain>"


def list_or_map(value: Any) -> str:
    """Which of two forms was meant."""
    return "<map>" if shape(value) == "<map>" else "<list>"


def plain_or_map(value: Any) -> str:
    """Which of two forms was meant."""
    return "<map>" if shape(value) == "<map>" else "<plain>"


_ANY = {"type": ["string", "number", "boolean"]}
_AMOUNT = {"type": "number", "exclusiveMinimum": 0}
_PACE = {"type": "string", "pattern": f"^{RATE}$", "examples": ["5/s", "60/min"]}
_TIME = {"type": "string", "pattern": f"^{LENGTH}$", "examples": ["90s", "30m", "2h"]}
_ADDRESS = {"type": "string", "pattern": r"^(https://|http://(localhost|127\.)|\$\{)"}
_BUCKET = {
    "type": "string",
    "pattern": rf"^({locations.BUCKET}$|.*\$\{{)",
    "examples": ["s3://bucket/prefix"],
}
_LINKS = {
    "type": "string",
    "pattern": rf"^({locations.LINKS}$|.*\$\{{)",
    "examples": ["7d", "https://clips.example.com"],
}
_UNTIL = {
    "type": "string",
    "examples": ["06:30 Europe/Berlin", "8h", "2026-11-23T06:30:00+01:00"],
}
_IDENTITY = {"type": ["string", "integer"], "examples": ["829301"]}

Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(_ANY)]
Match = Annotated[
    Any,
    BeforeValidator(_match),
    WithJsonSchema({"anyOf": [_ANY, {"type": "array", "items": _ANY}]}),
]
Label = Annotated[str, BeforeValidator(_label), WithJsonSchema(_ANY)]
Money = Annotated[int, BeforeValidator(_money), WithJsonSchema(_AMOUNT)]
RateText = Annotated[Any, BeforeValidator(_rate), WithJsonSchema(_PACE)]
Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_TIME)]
Until = Annotated[Any, BeforeValidator(_deadline), WithJsonSchema(_UNTIL)]
Webhook = Annotated[str, BeforeValidator(_webhook), WithJsonSchema(_ADDRESS)]
ElementId = Annotated[str, BeforeValidator(_element), WithJsonSchema(_IDENTITY)]
Bucket = Annotated[str, BeforeValidator(_bucket), WithJsonSchema(_BUCKET)]
Links = Annotated[str, BeforeValidator(_links), WithJsonSchema(_LINKS)]
