"""One thing wrong with what the user wrote: its place, its rule and its cure."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

from msgspec import Struct
from msgspec.structs import replace

from batchgen.patterns import pattern

Severity = Literal["error", "warning", "note"]

IN_FULL = 20
_ROWS_SHOWN = 3
WIDEST = 160
_LINES = pattern(r"\r\n|\r|\n")
_UNSAFE = pattern("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class Place(NamedTuple):
    """Where something stands: lines and columns count from 1, `end` is exclusive."""

    file: str
    line: int
    column: int
    end: int


class Mistake(Struct, frozen=True):
    """What is wrong inside a value, before anybody knows where the value stands.

    `path` leads from the value to the culprit: `("multi_prompt", 0, "duration")`.
    """

    path: tuple[str | int, ...]
    rule: str
    message: str
    label: str = ""
    fix: str = ""
    severity: Severity = "error"
    advice: str = ""

    def at(self, place: Place, prefix: tuple[str | int, ...] = ()) -> "Finding":
        """The same mistake, now that its place is known."""
        return Finding(
            place,
            self.rule,
            self.message,
            self.label,
            self.fix,
            self.severity,
            (*prefix, *self.path),
            self.advice,
        )


class Finding(Struct, frozen=True):
    """A mistake with its place.

    `label` stands beside the caret, `advice` on lines of its own, `fix` is text to
    paste.
    """

    place: Place
    rule: str
    message: str
    label: str = ""
    fix: str = ""
    severity: Severity = "error"
    path: tuple[str | int, ...] = ()
    advice: str = ""


def render(
    findings: Iterable[Finding],
    sources: Mapping[str, str],
    *,
    rows: int | None = None,
) -> str:
    """Draw findings for people, sorted by place.

    Args:
        findings: what was found.
        sources: file name -> its text; a file that is missing gets no excerpt.
        rows: how many rows were read, for the footer of a spreadsheet.
    """
    ordered = sorted(findings, key=lambda finding: finding.place)
    notes = [finding for finding in ordered if finding.severity == "note"]
    loud = [finding for finding in ordered if finding.severity != "note"]
    lines = {name: _LINES.split(text) for name, text in sources.items()}
    blocks = [
        "\n".join(_block(finding, lines.get(finding.place.file, ())))
        for finding in loud[:IN_FULL]
    ]
    if len(loud) > IN_FULL:
        blocks.append(f"and {len(loud) - IN_FULL} more")
    last = [_safe(f"note: {note.message}") for note in notes]
    last += _footer(loud, rows)
    if last:
        blocks.append("\n".join(last))
    return "\n\n".join(blocks)


class Gathered:
    """Findings as they come; a table keeps one per column and rule.

    That one is the first, in full; of the others their number is kept and the lines
    of three, so that a million bad rows take no more room than four.
    """

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self._kept: list[Finding] = []
        self._seen: set[Finding] = set()
        self._groups: dict[tuple[str, str, str], int] = {}
        self._more: dict[int, list[int]] = {}
        self._count: Counter[int] = Counter()
        self._last: dict[int, int] = {}
        self += findings

    def __iadd__(self, findings: Iterable[Finding]) -> Self:
        """Take more in."""
        for finding in findings:
            self.append(finding)
        return self

    def append(self, finding: Finding) -> None:
        """Take one more in."""
        file, line, _, __ = finding.place
        if line and in_table(file):
            key = (file, finding.rule, str(finding.path[:1]))
            first = self._groups.setdefault(key, len(self._kept))
            if first < len(self._kept):
                self._another(first, line)
                return
        elif finding in self._seen:
            return
        else:
            self._seen.add(finding)
        self._kept.append(finding)

    def _another(self, first: int, line: int) -> None:
        if line == self._last.setdefault(first, self._kept[first].place.line):
            return  # one row may make many tasks
        self._last[first] = line
        self._count[first] += 1
        lines = self._more.setdefault(first, [])
        if len(lines) < _ROWS_SHOWN:
            lines.append(line)

    def __iter__(self) -> Iterator[Finding]:
        """What is kept, with the number of rows that each stands for."""
        for index, finding in enumerate(self._kept):
            lines, count = self._more.get(index), self._count[index]
            if not lines:
                yield finding
                continue
            rows = ", ".join(map(str, lines)) + (" …" if count > len(lines) else "")
            text = f"and {count:,} more row{'s' * (count > 1)}: {rows}"
            advice = "\n".join(filter(None, (finding.advice, text)))
            yield replace(finding, advice=advice)


def in_table(file: str) -> bool:
    """Whether a place in this file is one of many rows."""
    return file.endswith((".csv", ".tsv"))


def as_json(finding: Finding) -> dict[str, Any]:
    """The same finding as data."""
    place = finding.place
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "end_column": place.end,
        "message": finding.message,
        "label": finding.label,
        "fix": "\n".join(filter(None, (finding.advice, finding.fix))),
        "path": list(finding.path),
    }


def _block(finding: Finding, lines: Sequence[str]) -> Iterator[str]:
    place = finding.place
    where = f"{place.file}:{place.line}:{place.column}: " if place.line else ""
    yield _safe(f"{where}{finding.severity}: {finding.message} [{finding.rule}]")
    if 0 < place.line <= len(lines):
        yield from _excerpt(finding, lines)
    for line in finding.advice.splitlines():
        yield f"  {_safe(line)}"
    for number, line in enumerate(finding.fix.splitlines()):
        yield ("       " if number else "  fix: ") + _safe(line)


def _excerpt(finding: Finding, lines: Sequence[str]) -> Iterator[str]:
    place = finding.place
    if place.line > 1 and not place.file.endswith((".csv", ".tsv")):
        before = _safe(lines[place.line - 2])
        if before.strip() and f"on line {place.line - 1}:" not in finding.advice:
            yield f"{place.line - 1:>5} | {_cut(before, 0)[0]}".rstrip()
    text, left = _cut(_safe(lines[place.line - 1]), place.column - 1)
    start = place.column - 1 - left
    end = min(max(place.end - 1 - left, start + 1), max(len(text), start + 1))
    carets = "^" * max(1, _width(text[start:end]))
    caret = f"      | {' ' * _width(text[:start])}{carets} {_safe(finding.label)}"
    yield f"{place.line:>5} | {text}"
    yield caret.rstrip()


def _cut(line: str, column: int) -> tuple[str, int]:
    """A window of a long line around a column, and where the window begins."""
    if len(line) <= WIDEST:
        return line, 0
    left = max(0, min(column - WIDEST // 2, len(line) - WIDEST))
    return line[left : left + WIDEST], left


def _width(text: str) -> int:
    """Columns a terminal needs."""
    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )


def _safe(text: str) -> str:
    """Text without anything a terminal would obey; tabs become one space."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\t", " "))


def _footer(findings: Sequence[Finding], rows: int | None) -> Iterator[str]:
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    if not errors:
        return
    counts = f"{errors} error{'s' * (errors != 1)}"
    if warnings:
        counts += f", {warnings} warning{'s' * (warnings != 1)}"
    if rows is not None:
        counts += f" in {rows} row{'s' * (rows != 1)}"
    yield f"{counts}. Nothing was submitted, nothing was charged."
