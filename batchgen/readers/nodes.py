"""Values that remember where they were written."""

from typing import Any, NamedTuple, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from batchgen.findings import Finding, Mistake, Place

Path = tuple[str | int, ...]
SPEAKS_FOR_ITSELF = frozenset({"bad-json"})
OF_KEYS = frozenset({"unknown-key", "absent-field", "extra-field"})


class Source(Protocol):
    """Something that was read: its data, and the place of everything in it."""

    @property
    def file(self) -> str:
        """The file's name, as it is shown."""

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where the value at a path stands, or its key."""

    def find(self, path: Path, text: str) -> Place:
        """Where a piece of the text at a path stands."""

    def note(self, path: Path) -> str:
        """How to call the place in words, where a line and column are not enough."""


class Origin(NamedTuple):
    """A path inside a source."""

    source: Source
    path: Path = ()

    def __truediv__(self, part: str | int) -> "Origin":
        return Origin(self.source, (*self.path, part))

    def finding(self, mistake: Mistake, *, key: bool = False) -> Finding:
        """A mistake at or below this origin."""
        path = (*self.path, *mistake.path)
        key = key or mistake.rule in OF_KEYS
        if not mistake.label and mistake.rule not in SPEAKS_FOR_ITSELF:
            mistake = replace(mistake, label=self.source.note(path))
        return mistake.at(self.source.place(path, key=key), self.path)

    def error(
        self,
        rule: str,
        message: str,
        label: str = "",
        fix: str = "",
        *,
        advice: str = "",
        key: bool = False,
    ) -> Finding:
        """An error at this origin."""
        mistake = Mistake((), rule, message, label, fix, "error", advice)
        return self.finding(mistake, key=key)


class Span(Struct, frozen=True):
    """From a line and column to another, counted from 1; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end: int


class Node(Struct):
    """A value of a document: a scalar, or a list or map of nodes."""

    span: Span
    value: Any
    raw: str = ""
    keys: dict[str, Span] = field(default_factory=dict)
    size: int = 1

    @property
    def tall(self) -> bool:
        """Whether this is a list or map over several lines."""
        return isinstance(self.value, dict | list) and (
            self.span.end_line > self.span.line
        )

    def data(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: node.data() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.data() for node in self.value]
        return self.value


class Document:
    """A whole file, or one line of a file, as a tree of nodes."""

    def __init__(self, file: str, text: str, root: Node, *, first: int = 1) -> None:
        self.file = file
        self.root = root
        self.data = root.data()
        self._lines = text.splitlines()
        self._first = first

    def node(self, path: Path) -> Node | None:
        """The node at exactly this path."""
        node = self.root
        for part in path:
            child = _child(node, part)
            if child is None:
                return None
            node = child
        return node

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where the value at a path stands; parts that do not exist are skipped."""
        node, span = self.root, self.root.span
        for part in path:
            child = _child(node, part)
            if child is not None:
                named = key or child.tall
                span = node.keys.get(str(part), child.span) if named else child.span
                node = child
        return self._place(span)

    def find(self, path: Path, text: str) -> Place:
        """Where a piece of the text at a path stands."""
        node = self.node(path)
        if node is None:
            return self.place(path)
        span = node.span
        for number in range(span.line, span.end_line + 1):
            line = self._lines[number - self._first : number - self._first + 1]
            start = span.column - 1 if number == span.line else 0
            column = "".join(line).find(text, start)
            if column >= 0:
                return Place(self.file, number, column + 1, column + 1 + len(text))
        return self._place(span)

    def note(self, path: Path) -> str:
        """Nothing: a line and column are enough."""
        del path
        return ""

    def _place(self, span: Span) -> Place:
        end = span.end
        if span.end_line > span.line:
            line = self._lines[span.line - self._first : span.line - self._first + 1]
            end = len("".join(line)) + 1
        return Place(self.file, span.line, span.column, max(end, span.column + 1))


def _child(node: Node, part: str | int) -> Node | None:
    match node.value:
        case dict() as children:
            found = children.get(part)
        case list() as children if isinstance(part, int):
            found = children[part] if 0 <= part < len(children) else None
        case _:
            found = None
    return found if isinstance(found, Node) else None
