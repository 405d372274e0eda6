"""The YAML dialect: text stays what was typed, and everything keeps its place."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from batchgen.findings import Finding, Place
from batchgen.patterns import pattern
from batchgen.readers.environment import expand
from batchgen.readers.nodes import Document, Node, Path, Span
from batchgen.readers.prose import diagnose, prose, reads

DEEPEST = 32
MOST_EXPANDED = 100_000
PROMPTS = frozenset({"prompt", "prompts", "negative_prompt", "multi_prompt"})

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = pattern(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = pattern(
    r"[-+]?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,20})?|\.[0-9]{1,20})"
    r"(?:[eE][-+]?[0-9]{1,2})?"
)
_WORDS: dict[str, Any] = {
    "true": True, "false": False, "null": None, "~": None, "": None
}  # fmt: skip


def read(
    text: str, file: str, environ: Mapping[str, str]
) -> tuple[Document | None, list[Finding]]:
    """One document and what is wrong with it; None where YAML had to stop."""
    composer = _Composer(text, file, environ)
    try:
        root = composer.document()
    except yaml.YAMLError as error:
        composer.findings.append(diagnose(error, composer.lines, file, text))
        return None, composer.findings
    except _Stopped as stop:
        return None, [*composer.findings, stop.finding]
    return Document(file, text, root), composer.findings


def scalar(text: str) -> Any:
    """What an unquoted word is: a number, a boolean, nothing, or text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


class _Stopped(Exception):
    def __init__(self, finding: Finding) -> None:
        self.finding = finding


class _Composer:
    """Builds nodes from the parser's events, and stops before they grow wild."""

    def __init__(self, text: str, file: str, environ: Mapping[str, str]) -> None:
        self.lines = text.splitlines()
        self.findings: list[Finding] = []
        self._file = file
        self._environ = environ
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self._anchors: dict[str, Node | None] = {}
        self._expanded = 0

    def document(self) -> Node:
        """The only document."""
        event = next(self._events)
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Node(Span(1, 1, 1, 2), {})
        root = self._node(event, ())
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                message = "a second document starts here; a manifest is one document"
                self._stop(event, "yaml-documents", message)
        return root

    def _node(self, event: Any, path: Path) -> Node:
        if len(path) > DEEPEST:
            message = f"more than {DEEPEST} levels inside each other"
            self._stop(event, "too-deep", message)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            self._stop_prose(event, "custom-tag", "tags such as `!name` are not read")
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, path)
        else:
            node = self._mapping(event, path)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            message = f"`*{event.anchor}` has no `&{event.anchor}` before it"
            self._stop_prose(event, "unknown-alias", message)
        node = self._anchors[event.anchor]
        if node is None:
            message = f"`*{event.anchor}` stands inside its own `&{event.anchor}`"
            self._stop(event, "cyclic-alias", message)
            raise AssertionError
        self._expanded += node.size
        if self._expanded > MOST_EXPANDED:
            message = f"aliases expand to more than {MOST_EXPANDED:,} values"
            self._stop(event, "alias-bomb", message)
        return node

    def _scalar(self, event: Any, path: Path) -> Node:
        node = Node(_span(event), event.value, event.value)
        text, mistakes = (
            expand(event.value, self._environ)
            if "${" in event.value
            else (event.value, [])
        )
        for piece, mistake in mistakes:
            place = Document(self._file, "\n".join(self.lines), node).find((), piece)
            self.findings.append(mistake.at(place))
        node.value = scalar(text) if event.style in (None, "") else text
        if event.style in (None, "") and _is_prose(path):
            self._cut_by_comment(event)
        return node

    def _sequence(self, event: Any, path: Path) -> Node:
        node = Node(_span(event), [])
        for inner in self._events:
            if isinstance(inner, yaml.SequenceEndEvent):
                node.span = _span(event, inner)
                break
            child = self._node(inner, (*path, len(node.value)))
            node.value.append(child)
            node.size += child.size
        return node

    def _mapping(self, event: Any, path: Path) -> Node:
        node = Node(_span(event), {})
        merged: list[Node] = []
        for key in self._events:
            if isinstance(key, yaml.MappingEndEvent):
                node.span = _span(event, key)
                break
            if not isinstance(key, yaml.ScalarEvent):
                message = "a key is a word, not a list or map"
                if event.flow_style:
                    self._stop_prose(event, "yaml-key", message)
                self._stop(key, "yaml-key", message)
            child = self._node(next(self._events), (*path, key.value))
            if key.value == "<<" and key.style in (None, ""):
                merged += self._merged(key, child)
                continue
            if event.flow_style and child.raw == "" and child.value is None:
                self._flow_comma(key, child)
            self._enter(node, key, child, path)
        _merge(node, merged)
        return node

    def _enter(self, node: Node, key: Any, child: Node, path: Path) -> None:
        span = _span(key)
        if key.value in node.keys:
            first = node.keys[key.value]
            noun = "rule" if path[:1] in (("overrides",), ("exclude",)) else "map"
            self.findings.append(
                Finding(
                    self._place(span),
                    "duplicate-key",
                    f"`{key.value}` appears twice in this {noun}",
                    f"first one is on line {first.line}; "
                    "plain YAML would quietly drop it",
                    self._both(node.value[key.value], child, key.value),
                )
            )
            return
        node.value[key.value] = child
        node.keys[key.value] = span
        node.size += child.size

    def _both(self, first: Node, second: Node, key: str) -> str:
        """One line that says what two flow maps said."""
        texts = [
            self.lines[node.span.line - 1][node.span.column - 1 : node.span.end - 1]
            for node in (first, second)
            if isinstance(node.value, dict) and node.span.line == node.span.end_line
        ]
        if len(texts) < 2 or not all(text.startswith("{") for text in texts):  # noqa: PLR2004
            return ""
        return f"{key}: {{ {', '.join(text.strip('{} ') for text in texts)} }}"

    def _merged(self, key: Any, child: Node) -> list[Node]:
        nodes = child.value if isinstance(child.value, list) else [child]
        if not all(isinstance(node.value, dict) for node in nodes):
            self._stop(key, "bad-merge", "`<<` merges maps, and this is not one")
        return list(nodes)

    def _flow_comma(self, key: Any, child: Node) -> None:
        if (
            child.span.line != child.span.end_line
            or child.span.column != child.span.end
        ):
            return
        place = self._place(_span(key))
        message = f"inside {{ }} a comma ends the text, so `{key.value}` became a key"
        fix = "quote the text before it, or write the map over several lines"
        if " " in key.value or len(key.value) > 2:  # noqa: PLR2004
            self.findings.append(Finding(place, "flow-comma", message, "", fix))

    def _cut_by_comment(self, event: Any) -> None:
        line = self.lines[event.end_mark.line : event.end_mark.line + 1]
        rest = "".join(line)[event.end_mark.column :]
        found = re.match(r"\s+(#.*?)\s*$", rest)
        if not found or not event.value:
            return
        column = event.end_mark.column + found.start(1) + 1
        place = Place(
            self._file, event.end_mark.line + 1, column, column + len(found[1])
        )
        last = event.value.split()[-1]
        self.findings.append(
            Finding(
                place,
                "cut-by-comment",
                f'YAML treats ` #` as a comment, so this prompt ends at "{last}"',
                "this half would never reach the model",
                "quote the line, or write the prompt under `>-`",
            )
        )

    def _place(self, span: Span) -> Place:
        return Place(self._file, span.line, span.column, max(span.end, span.column + 1))

    def _stop(self, event: Any, rule: str, message: str) -> None:
        raise _Stopped(Finding(self._place(_span(event)), rule, message))

    def _stop_prose(self, event: Any, rule: str, message: str) -> None:
        """Stop; if the line looks like prose, say so instead."""
        mark = event.start_mark
        line = self.lines[mark.line]
        text = line[mark.column :]
        prose_like = " " in text.strip() and not text.startswith("!!")
        if reads(text) and (prose_like or text.startswith("{{")):
            found = re.match(r"\s*(?:- +)*([\w.-]+): ", line)
            place = Place(self._file, mark.line + 1, mark.column + 1, mark.column + 2)
            key = found[1] if found else ""
            raise _Stopped(prose(place, reads(text), key, text))
        self._stop(event, rule, message)


def _merge(node: Node, merged: list[Node]) -> None:
    if not merged:
        return
    values: dict[str, Node] = {}
    keys: dict[str, Span] = {}
    for source in merged:
        for key, child in source.value.items():
            if key not in values:
                values[key], keys[key] = child, source.keys[key]
    node.value = {**values, **node.value}
    node.keys = {**keys, **node.keys}
    node.size = 1 + sum(child.size for child in node.value.values())


def _is_prose(path: Path) -> bool:
    words = [part for part in path if isinstance(part, str)]
    return bool(words) and words[-1] in PROMPTS


def _span(first: Any, last: Any = None) -> Span:
    start, end = first.start_mark, (last or first).end_mark
    end_line, end_column = end.line, end.column
    if last is not None and end_column == 0 and end_line > start.line:
        end_line -= 1
    return Span(start.line + 1, start.column + 1, end_line + 1, end_column + 1)
