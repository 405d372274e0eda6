"""References in a request, and what stands in their place on the wire. Pure.

A picture of this disk goes out as the address it was uploaded to, an element as the id
that the account knows it by. The state file holds references only.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batchgen.events import Output
from batchgen.patterns import pattern
from batchgen.task import is_ref

_ELEMENT = "element_id"
_ELEMENTS = (_ELEMENT, "element_list")  # the latter, where ids stand in it bare
_ID = pattern(r"[A-Za-z0-9_-]{1,64}")
_SOMETHING = "*"


def task_of(ref: str) -> str:
    """The id of the task that makes an element."""
    return ref[7:39]


def pictures(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """References of the pictures in a request, each once."""
    return tuple(
        dict.fromkeys(ref for key, ref in _refs(fields) if key not in _ELEMENTS)
    )


def elements(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """References of the elements in a request, each once."""
    return tuple(dict.fromkeys(ref for key, ref in _refs(fields) if key in _ELEMENTS))


def wire(
    fields: Mapping[str, Any], urls: Mapping[str, str], ids: Mapping[str, str]
) -> dict[str, Any]:
    """A request as it is sent: no reference is left in it.

    Args:
        fields: with references.
        urls: reference of a picture -> where it was uploaded to.
        ids: task of an element -> the account's id of it.

    Raises:
        KeyError: for one of the references there is nothing to send.
    """

    def sent(key: str, value: Any) -> Any:
        if not is_ref(value):
            return value
        return ids[task_of(value)] if key in _ELEMENTS else urls[value]

    return {key: _each(key, value, sent) for key, value in fields.items()}


def unwire(
    fields: Mapping[str, Any], refs: Mapping[str, str], tasks: Mapping[str, str]
) -> dict[str, Any]:
    """A request as it compares: addresses and ids that we made are ours again.

    Args:
        fields: as planned, or as the service shows them.
        refs: address of an upload -> reference of its picture.
        tasks: the account's id of an element -> the task that made it.
    """

    def ours(key: str, value: Any) -> Any:
        if key in _ELEMENTS:
            return task_of(value) if is_ref(value) else tasks.get(str(value), value)
        return refs.get(value, value) if isinstance(value, str) else value

    return {key: _each(key, value, ours) for key, value in fields.items()}


def blurred(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A request without regard to which pictures and elements it shows."""

    def blur(key: str, value: Any) -> Any:
        is_link = isinstance(value, str) and value.startswith(("https://", "http://"))
        is_link = is_link or is_ref(value)
        return _SOMETHING if is_link or key in _ELEMENTS else value

    return {key: _each(key, value, blur) for key, value in fields.items()}


def element_id(outputs: Iterable[Output]) -> str:
    """The id of the element that a prediction made, as text; empty if there is none."""
    for output in outputs:
        if output.kind == "json" and isinstance(output.value, Mapping):
            found = output.value.get(_ELEMENT)
            whole = isinstance(found, int) and not isinstance(found, bool)
            if (whole or isinstance(found, str)) and _ID.fullmatch(str(found)):
                return str(found)
    return ""


def _refs(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def note(key: str, value: Any) -> Any:
        if is_ref(value):
            found.append((key, value))
        return value

    for key, value in fields.items():
        _each(key, value, note)
    yield from found


def _each(key: str, value: Any, change: Any) -> Any:
    """The value with every leaf changed; a leaf of a list has the list's key."""
    match value:
        case Mapping():
            return {inner: _each(inner, what, change) for inner, what in value.items()}
        case list() | tuple():
            return [_each(key, what, change) for what in value]
        case _:
            return change(key, value)
