"""What a template may name, and what it says when a name is missing."""

from collections.abc import Mapping
from typing import Any

_MARKS = ("{{", "{%", "{#")


class Choice:
    """A value of an axis: prints its id, and has the fields the author gave it."""

    __slots__ = ("_fields", "_id", "_value")

    def __init__(self, name: str, fields: Mapping[str, Any], value: Any = None) -> None:
        self._id = name
        self._fields = fields
        self._value = name if value is None else value

    def __str__(self) -> str:
        return self._id

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._id)

    def __contains__(self, text: object) -> bool:
        return str(text) in self._id

    def __eq__(self, other: object) -> bool:
        return str(other) == self._id or (self._value == other)

    def __hash__(self) -> int:
        return hash(self._id)


class TemplateFault(Exception):
    """A template that cannot be rendered; `culprit` is the piece of it to blame."""

    def __init__(self, rule: str, message: str, culprit: str, label: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.culprit = culprit
        self.label = label


def is_template(value: Any) -> bool:
    """Whether a value has to be rendered, anywhere inside it."""
    match value:
        case str():
            return "{" in value and any(mark in value for mark in _MARKS)
        case Mapping():
            return any(is_template(inner) for inner in value.values())
        case list():
            return any(is_template(inner) for inner in value)
        case _:
            return False
