"""Which combinations a rule is about: globs, lists, fields of an axis."""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol

from batchgen.findings import Finding
from batchgen.models.checks import shown
from batchgen.readers.nodes import Origin
from batchgen.spelling import hint, listed


class Value(Protocol):
    """A value of an axis."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """What else is known of it."""


class Axis(Protocol):
    """An axis with its values."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def values(self) -> Iterable[Value]:
        """All of them."""


class Rule:
    """One match map: every key of it has to hold."""

    def __init__(
        self, match: Mapping[str, Any], origin: Origin, axes: Iterable[Axis]
    ) -> None:
        self.findings: list[Finding] = []
        self.used = False
        self._origin = origin
        self._axes = {axis.name: list(axis.values) for axis in axes}
        self._match = {key: _patterns(value) for key, value in match.items()}
        for key, patterns in self._match.items():
            self.findings += self._check(key, patterns)

    def matches(self, chosen: Mapping[str, Value], name: str) -> bool:
        """Whether a combination is meant; remembers that one was."""
        for key, patterns in self._match.items():
            if key == "id":
                text: str | None = name
            else:
                axis, _, part = key.partition(".")
                text = _text(chosen.get(axis), part)
            if text is None or not _any(text, patterns):
                return False
        self.used = True
        return True

    def unused(self) -> Iterator[Finding]:
        """A finding, if no combination was meant."""
        if self.used or self.findings:
            return
        wanted = " and ".join(
            f"{key} `{', '.join(patterns)}`" for key, patterns in self._match.items()
        )
        together = " together" if len(self._match) > 1 else ""
        message = f"no task has {wanted}{together}, so this rule does nothing"
        yield self._origin.error("matches-nothing", message)

    def _check(self, key: str, patterns: list[str]) -> Iterator[Finding]:
        axis, _, part = key.partition(".")
        if key == "id":
            return
        if axis not in self._axes:
            message = f"there is no axis `{axis}`"
            label = hint(axis, self._axes)
            yield (self._origin / key).error("unknown-axis", message, label, key=True)
            return
        values = self._axes[axis]
        texts = [_text(value, part) for value in values]
        known = [text for text in texts if text is not None]
        if part and not known:
            message = f"no {axis} has a field `{part}`"
            yield (self._origin / key).error("unknown-axis", message, key=True)
            return
        for index, pattern in enumerate(patterns):
            if not any(_any(text, [pattern]) for text in known):
                origin = self._origin / key
                place = origin / index if len(patterns) > 1 else origin
                message = f"no task has {key} `{pattern}`, so this rule does nothing"
                if len(patterns) > 1:
                    message = f"no task has {key} `{pattern}`"
                label = f"this matrix has {listed(dict.fromkeys(known))}"
                yield place.error("matches-nothing", message, label)


def _patterns(value: Any) -> list[str]:
    return [shown(item) for item in (value if isinstance(value, list) else [value])]


def _text(value: Value | None, part: str) -> str | None:
    if value is None:
        return None
    if not part:
        return value.id
    return shown(value.fields[part]) if part in value.fields else None


def _any(text: str, patterns: list[str]) -> bool:
    return any(
        text == pattern
        or fnmatchcase(text, pattern)
        or text == pattern.replace("x", ":")
        for pattern in patterns
    )
