"""Why YAML stopped reading, told to somebody who was writing prose."""

import re
from collections.abc import Sequence
from typing import Any

from batchgen.findings import Finding, Place
from batchgen.patterns import pattern

_LINE = pattern(r"^(?P<lead>\s*(?:- +)*(?:(?P<key>[\w.-]+): +)?)(?P<text>.*)$")
_FORBIDDEN = pattern(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff"
)
_STARTS = {
    "{{": "YAML reads `{{` at the start as a map",
    "{": "YAML reads `{` at the start as a map",
    "[": "YAML reads `[` at the start as a list",
    "*": "YAML reads `*` at the start as an alias",
    "&": "YAML reads `&` at the start as an anchor",
    "!": "YAML reads `!` at the start as a tag",
    "@": "YAML does not let text start with `@`",
    "%": "YAML does not let text start with `%`",
    "`": "YAML does not let text start with a backtick",
    '"': "YAML ends this text at its second quote",
    "'": "YAML ends this text at its second quote",
}


def diagnose(error: Any, lines: Sequence[str], file: str, text: str) -> Finding:
    """A parser's error, in words of our own."""
    problem = str(getattr(error, "problem", None) or "")
    context = str(getattr(error, "context", None) or "")
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return _control_character(text, file)
    opened = getattr(error, "context_mark", None) or mark
    number, column = min(mark.line, max(len(lines) - 1, 0)), mark.column
    line = lines[number] if lines else ""
    place = Place(file, number + 1, column + 1, column + 2)
    if "\t" in line[: len(line) - len(line.lstrip())]:
        tab = line.index("\t")
        message = "YAML indents with spaces, and this line has a tab"
        here = Place(file, number + 1, tab + 1, tab + 2)
        return Finding(here, "yaml-tab", message, "replace it by two spaces")
    start = Place(file, opened.line + 1, opened.column + 1, opened.column + 2)
    if "quoted scalar" in context:
        return Finding(start, "yaml-quote", "this quote is never closed")
    if problem.startswith("mapping values"):
        return _colon(place, line, column)
    return _start(place, line) or _rest(place, start, context)


def prose(place: Place, message: str, key: str, text: str) -> Finding:
    """Prose that YAML misreads, with the one cure."""
    fix = (
        "put prose under `>-`, where no character is special\n"
        f"  {key or '-'}{':' * bool(key)} >-\n    {text.strip()}"
    )
    return Finding(place, "yaml-prose", message, fix=fix)


def reads(text: str) -> str:
    """What YAML does with text that starts like this."""
    starts = (words for start, words in _STARTS.items() if text.startswith(start))
    return next(starts, "")


def _colon(place: Place, line: str, column: int) -> Finding:
    found = _LINE.match(line)
    if found and found["text"] and column >= found.start("text"):
        message = "YAML reads a colon followed by a space as a new key"
        return prose(place, message, found["key"] or "", found["text"])
    message = "this line is indented deeper than the one it belongs to"
    indent = len(line) - len(line.lstrip())
    here = Place(place.file, place.line, indent + 1, max(place.column, indent + 2))
    return Finding(here, "yaml-indent", message, "line it up with its neighbours")


def _start(place: Place, line: str) -> Finding | None:
    found = _LINE.match(line)
    text = found["text"] if found else ""
    message = reads(text)
    if found is None or not message or (text[0] in "[{" and not _goes_on(text)):
        return None
    column = found.start("text") + 1
    here = Place(
        place.file, place.line, column, column + (2 if "`{{`" in message else 1)
    )
    return prose(here, message, found["key"] or "", text)


def _goes_on(text: str) -> bool:
    """Whether words follow the bracket that closes the first one."""
    return bool(re.match(r"\{\{.*?\}\}\s*\S|\[[^\]]*\]\s*[^\s#]", text))


def _rest(place: Place, start: Place, context: str) -> Finding:
    if "flow" in context:
        message = "this bracket is never closed, or a comma is missing after it"
        return Finding(start, "yaml-bracket", message)
    if "simple key" in context:
        message = "this line is neither `key: value` nor an entry `- …`"
        return Finding(start, "yaml-syntax", message)
    if "block" in context:
        message = "this line does not fit the lines above it"
        return Finding(place, "yaml-indent", message, "check its indentation")
    return Finding(place, "yaml-syntax", "YAML cannot read on from here")


def _control_character(text: str, file: str) -> Finding:
    found = _FORBIDDEN.search(text)
    before = re.split(r"\r\n|\r|\n", text[: found.start()] if found else "")
    column = len(before[-1]) + 1
    place = Place(file, len(before), column, column + 1)
    message = "a control character stands here, which YAML does not allow"
    return Finding(place, "yaml-character", message, "delete it")
