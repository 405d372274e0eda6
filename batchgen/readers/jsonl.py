"""JSON with places: one task a line, or one document a file."""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, BinaryIO

from batchgen.findings import Finding, Place
from batchgen.patterns import pattern
from batchgen.readers.environment import expand
from batchgen.readers.nodes import Document, Node, Path, Span
from batchgen.readers.text import LARGEST, decode

DEEPEST = 32
_SPACE = pattern(r"[ \t\r\n]*")
_LITERAL = pattern(
    r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,2})?|true|false|null"
)


class Line:
    """One task of a JSONL file; places are worked out only when asked for."""

    __slots__ = ("_document", "data", "file", "line", "raw")

    def __init__(self, file: str, line: int, raw: str, data: Mapping[str, Any]) -> None:
        self.file = file
        self.line = line
        self.raw = raw
        self.data = data
        self._document: Document | None = None

    @property
    def document(self) -> Document:
        """The line as a tree of nodes."""
        if self._document is None:
            found, _ = read(self.raw, self.file, {}, first=self.line)
            self._document = found or _nothing(self.file, self.raw, self.line)
        return self._document

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where the value at a path stands."""
        return self.document.place(path, key=key)

    def find(self, path: Path, text: str) -> Place:
        """Where a piece of the text at a path stands."""
        return self.document.find(path, text)

    def note(self, path: Path) -> str:
        """The task's id."""
        del path
        name = self.data.get("id")
        return f"id {name}" if isinstance(name, str) else ""


class Lines:
    """A JSONL file that is read again each time it is gone through."""

    def __init__(
        self, opened: Callable[[], BinaryIO], file: str, encoding: str | None = None
    ) -> None:
        self.file = file
        self.rows = 0
        self.opened = opened
        self._encoding = encoding

    def __iter__(self) -> Iterator[Line | Finding]:
        """Tasks, and findings where a line is not one; blank lines are skipped."""
        self.rows = 0
        with self.opened() as stream:
            for number, raw in enumerate(stream, 1):
                text = decode(raw, self.file, self._encoding)
                if text.strip():
                    self.rows += 1
                    yield self._line(text.rstrip("\r\n"), number)

    def _line(self, text: str, number: int) -> Line | Finding:
        try:
            data = json.loads(
                text,
                object_pairs_hook=_pairs,
                parse_constant=_no_constant,
                parse_float=_finite,
            )
            if text.count("[") + text.count("{") > DEEPEST:
                _, findings = read(text, self.file, {}, first=number)
                if findings:
                    return findings[0]
        except (ValueError, RecursionError):
            _, findings = read(text, self.file, {}, first=number)
            if findings:
                return findings[0]
            place = Place(self.file, number, 1, len(text) + 1)
            return Finding(place, "bad-json", "this line is not JSON")
        if not isinstance(data, dict):
            place = Place(self.file, number, 1, len(text) + 1)
            message = 'a line is one task in braces: {"prompt": …}'
            return Finding(place, "bad-json", message)
        return Line(self.file, number, text, data)


def read(
    text: str, file: str, environ: Mapping[str, str], *, first: int = 1
) -> tuple[Document | None, list[Finding]]:
    """One JSON value with its places, and what is wrong with it."""
    parser = _Parser(text, file, environ, first)
    try:
        root = parser.value(0, 0)
        end = parser.space(parser.end)
        if end < len(text):
            parser.fail(end, "something follows the end of the JSON value")
    except _Stopped as stop:
        return None, [*parser.findings, stop.finding]
    return Document(file, text, root, first=first), parser.findings


class _Stopped(Exception):
    def __init__(self, finding: Finding) -> None:
        self.finding = finding


class _Parser:
    def __init__(
        self, text: str, file: str, environ: Mapping[str, str], first: int
    ) -> None:
        self.end = 0
        self.findings: list[Finding] = []
        self._text = text
        self._file = file
        self._environ = environ
        self._first = first
        self._starts = [0, *(match.end() for match in re.finditer(r"\n", text))]

    def value(self, start: int, depth: int) -> Node:
        """The value that starts here; `self.end` moves behind it."""
        start = self.space(start)
        letter = self._text[start : start + 1]
        if depth > DEEPEST:
            self.fail(
                start, f"more than {DEEPEST} levels inside each other", "too-deep"
            )
        if letter == "{":
            return self._map(start, depth)
        if letter == "[":
            return self._list(start, depth)
        if letter == '"':
            return self._string(start)
        found = _LITERAL.match(self._text, start)
        if not found:
            self.fail(start, "this is not JSON")
            raise AssertionError
        self.end = found.end()
        return Node(self._span(start), json.loads(found.group()), found.group())

    def space(self, start: int) -> int:
        """The next position that is not blank."""
        found = _SPACE.match(self._text, start)
        return found.end() if found else start

    def fail(self, position: int, message: str, rule: str = "bad-json") -> None:
        """Stop here."""
        line, column = self._at(position)
        raise _Stopped(
            Finding(Place(self._file, line, column, column + 1), rule, message)
        )

    def _string(self, start: int) -> Node:
        text = self._quoted(start)
        node = Node(self._span(start), text, text)
        if "${" in text and self._environ is not None and self._first == 1:
            node.value, mistakes = expand(text, self._environ)
            for _, mistake in mistakes:
                self.findings.append(mistake.at(self._place(node.span)))
        return node

    def _quoted(self, start: int) -> str:
        text = ""
        try:
            text, self.end = scanstring(self._text, start + 1, True)
        except ValueError:
            self.fail(start, "this text is not closed, or has a bad escape")
        return str(text)

    def _list(self, start: int, depth: int) -> Node:
        children: list[Node] = []
        position = self.space(start + 1)
        while self._text[position : position + 1] != "]":
            children.append(self.value(position, depth + 1))
            position = self._next(self.end, "]")
        self.end = position + 1
        return Node(self._span(start), children)

    def _map(self, start: int, depth: int) -> Node:
        node = Node(self._span(start), {})
        position = self.space(start + 1)
        while self._text[position : position + 1] != "}":
            if self._text[position : position + 1] != '"':
                self.fail(position, "a key stands in double quotes")
            key = self._quoted(position)
            span = self._span(position)
            colon = self.space(self.end)
            if self._text[colon : colon + 1] != ":":
                self.fail(colon, "a key is followed by a colon")
            child = self.value(colon + 1, depth + 1)
            if key in node.keys:
                self._twice(key, span, node.keys[key])
            node.value[key], node.keys[key] = child, span
            position = self._next(self.end, "}")
        self.end = position + 1
        node.span = self._span(start)
        return node

    def _next(self, position: int, closing: str) -> int:
        position = self.space(position)
        letter = self._text[position : position + 1]
        if letter == ",":
            return self.space(position + 1)
        if letter != closing:
            self.fail(position, f"a comma or `{closing}` is missing here")
        return position

    def _twice(self, key: str, span: Span, first: Span) -> None:
        message = f"`{key}` appears twice in this map"
        label = f"first one is on line {first.line}"
        self.findings.append(
            Finding(self._place(span), "duplicate-key", message, label)
        )

    def _at(self, position: int) -> tuple[int, int]:
        line = bisect_right(self._starts, position) - 1
        return self._first + line, position - self._starts[line] + 1

    def _span(self, start: int) -> Span:
        return Span(*self._at(start), *self._at(max(self.end, start + 1)))

    def _place(self, span: Span) -> Place:
        return Place(self._file, span.line, span.column, max(span.end, span.column + 1))


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large")
    return value


def _nothing(file: str, raw: str, line: int) -> Document:
    return Document(file, raw, Node(Span(line, 1, line, len(raw) + 1), {}), first=line)


__all__ = ["LARGEST", "Line", "Lines", "read"]
