"""One thing wrong with what the user wrote: its place, its rule and its cure."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands: lines and columns count from 1, `end` is exclusive."""

    file: str
    line: int
    column: int
    end: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong inside a value, before anybody knows where the value stands.

    `path` leads from the value to the culprit: `("multi_prompt", 0, "duration")`.
    """

    path: tuple[str | int, ...]
    rule: str
    message: str
    label: str = ""
    fix: str = ""
    severity: Severity = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake with its place."""

    place: Place
    rule: str
    message: str
    label: str = ""
    fix: str = ""
    severity: Severity = "error"
    path: tuple[str | int, ...] = ()
