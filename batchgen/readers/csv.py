"""Spreadsheets: rows that stream, and know the line and column of every cell."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from msgspec import Struct

from batchgen.errors import ManifestError
from batchgen.findings import Finding, Place
from batchgen.patterns import pattern
from batchgen.readers.nodes import Path
from batchgen.readers.text import encoding_of, undecodable

MOST_COLUMNS = 500
MOST_COUNTED = 5_000_000
DELIMITERS = ",;\t|"
BLANK = " \t\r\n\v\f\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200E))
)
BLANK += "\u2060\ufeff"
_SCENE = pattern(r"scene_([1-9][0-9]?)(_duration)?")


class Column(Struct, frozen=True):
    """A column: its name in our spelling, and as the header shows it."""

    name: str
    shown: str
    index: int


class Row:
    """One row: cells of trimmed text, and where they stand."""

    __slots__ = ("cells", "file", "line", "raw", "table")

    def __init__(self, table: "Table", line: int, cells: list[str], raw: str) -> None:
        self.table = table
        self.file = table.file
        self.line = line
        self.cells = cells
        self.raw = raw

    def place(self, path: Path, *, key: bool = False) -> Place:
        """The cell that a path of the task came from, or the whole row."""
        del key
        if not path:
            return self._whole()
        column = self.table.column(path)
        return self.cell(column.index if column else len(self.raw) + 1)

    def find(self, path: Path, text: str) -> Place:
        """The cell: what stands inside it is data."""
        del text
        return self.place(path)

    def note(self, path: Path) -> str:
        """The column's name and the row's id."""
        column = self.table.column(path)
        words = [f"column {column.shown}"] if column else []
        name = self.text("id")
        return ", ".join([*words, f"id {name}"] if name else words)

    def text(self, name: str) -> str:
        """The cell of a column, empty if there is none."""
        column = self.table.column((name,))
        if column is None or column.index >= len(self.cells):
            return ""
        return self.cells[column.index]

    def cell(self, index: int) -> Place:
        """The place of one cell, or of the whole row."""
        places = list(self.places()) if index <= len(self.raw) else []
        if index < len(places):
            return places[index]
        return self._whole()

    def _whole(self) -> Place:
        raw, end = self.raw, self.raw.find("\n")
        end = len(raw) if end < 0 else end
        end -= raw.endswith("\r", 0, end)
        return Place(self.file, self.line, 1, max(end, 1) + 1)

    def places(self) -> Iterator[Place]:
        """Every cell's place, from the row's own text."""
        line, column, start = self.line, 1, (self.line, 1)
        quoted, before = False, ""
        text = self.raw.rstrip("\r\n")
        for letter in text + self.table.delimiter:
            if letter == '"' and (quoted or (line, column) == start or before == '"'):
                quoted = not quoted
            if letter == self.table.delimiter and not quoted:
                end = column if start[0] == line else start[1] + 1
                yield Place(self.file, *start, max(end, start[1] + 1))
                start = (line, column + 1)
            column += 1
            before = letter
            if letter == "\n":
                line, column = line + 1, 1


class Table:
    """A CSV file that is read again each time it is gone through."""

    def __init__(
        self, opened: Callable[[], BinaryIO], file: str, encoding: str | None = None
    ) -> None:
        self.file = file
        self.opened = opened
        self._encoding = encoding
        self.delimiter = ","
        self.header_line = 1
        self.header = ""
        self.columns: tuple[Column, ...] = ()
        self.findings: list[Finding] = []
        self.rows = 0
        self._by_name: dict[str, Column] = {}
        self._read_header()

    def column(self, path: Path) -> Column | None:
        """The column that a path of a task comes from."""
        if not path:
            return None
        name, rest = path[0], path[1:]
        if name == "multi_prompt" and name not in self._by_name:
            number = rest[0] + 1 if rest and isinstance(rest[0], int) else 1
            ending = "_duration" if rest[1:] == ("duration",) else ""
            return self._by_name.get(f"scene_{number}{ending}")
        if name == "labels" and rest:
            name = rest[0]
        return self._by_name.get(str(name))

    def __iter__(self) -> Iterator[Row]:
        """The rows below the header, blank ones skipped.

        Raises:
            ManifestError: a quote that is never closed, or bytes that are not text.
        """
        self.rows = 0
        with self._text() as text:
            buffer: list[str] = []
            lines = self._kept(text, buffer)
            line = 1
            for _ in range(self.header_line):
                line += _lines_of(next(lines, ""))
            buffer.clear()
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error:
                    raise ManifestError(
                        [self._unclosed(line, "".join(buffer))]
                    ) from None
                raw = "".join(buffer)
                buffer.clear()
                cells = [cell.strip(BLANK) for cell in cells]
                if any(cells):
                    self.rows += 1
                    yield Row(self, line, cells, raw)
                line += _lines_of(raw)

    def count(self) -> int:
        """How many rows there are, without a look at any; up to five million."""
        with self._text() as text:
            lines = itertools.islice(text, self.header_line, None)
            rows = filter(any, csv.reader(lines, delimiter=self.delimiter))
            try:
                return sum(1 for _ in itertools.islice(rows, MOST_COUNTED))
            except (csv.Error, UnicodeDecodeError):
                return 0  # said in its place, row by row

    def _kept(self, text: io.TextIOWrapper, buffer: list[str]) -> Iterator[str]:
        """The lines, each also kept until its row is complete."""
        try:
            for line in text:
                buffer.append(line)
                yield line
        except UnicodeDecodeError:
            raise ManifestError([self._undecodable()]) from None

    def _text(self) -> io.TextIOWrapper:
        stream = self.opened()
        encoding = encoding_of(stream.read(4), self._encoding)
        stream.seek(0)
        try:
            return io.TextIOWrapper(stream, encoding, newline="")
        except LookupError:
            message = f"there is no encoding {encoding}"
            place = Place(self.file, 0, 0, 0)
            raise ManifestError([Finding(place, "encoding", message)]) from None

    def _read_header(self) -> None:
        with self._text() as text:
            try:
                number, line = self._header_line(text)
            except UnicodeDecodeError:
                raise ManifestError([self._undecodable()]) from None
        self.header_line, self.header = number, line
        if "\0" in line:
            raise ManifestError([self._undecodable()])
        if self.delimiter not in line:
            self.delimiter = max(DELIMITERS, key=lambda mark: _outside(line, mark))
        try:
            cells = next(csv.reader([line], delimiter=self.delimiter, strict=True), [])
        except csv.Error:
            raise ManifestError([self._unclosed(number, line)]) from None
        self._name_columns(cells, Row(self, number, cells, line))

    def _header_line(self, text: io.TextIOWrapper) -> tuple[int, str]:
        number = 0
        self.delimiter = "\0"
        for number, line in enumerate(text, 1):
            found = re.fullmatch(r"\ufeff?sep=(.)\s*", line)
            if found and number == 1:
                self.delimiter = found[1]
            elif line.strip(BLANK + DELIMITERS):
                return number, line
        place = Place(self.file, 0, 0, 0)
        message = f"{self.file} has no header line"
        raise ManifestError([Finding(place, "no-header", message)])

    def _name_columns(self, cells: list[str], row: Row) -> None:
        columns: list[Column] = []
        seen: set[str] = set()
        if len(cells) > MOST_COLUMNS:
            message = (
                f"the header has {len(cells):,} columns, "
                f"but {MOST_COLUMNS:,} is the limit"
            )
            here = Place(self.file, row.line, 1, 2)
            raise ManifestError([Finding(here, "too-large", message)])
        for index, cell in enumerate(cells):
            shown = cell.strip(BLANK)
            name = re.sub(r"[\s-]+", "_", shown.lower())
            if name in seen:
                message = f"two columns are called {shown}"
                self.findings.append(
                    Finding(row.cell(index), "duplicate-header", message)
                )
            if name:
                seen.add(name)
            columns.append(Column(name, shown, index))
        self.columns = tuple(columns)
        self._by_name = {entry.name: entry for entry in columns}

    def _unclosed(self, line: int, raw: str) -> Finding:
        row = Row(self, line, [], raw)
        place = max(row.places(), default=Place(self.file, line, 1, 2))
        number, column = line, 1
        opened = (place.line, place.column)
        quoted = False
        for letter in raw:
            if letter == '"':
                quoted = not quoted
                opened = (number, column) if quoted else opened
            column += 1
            if letter == "\n":
                number, column = number + 1, 1
        here = Place(self.file, *opened, opened[1] + 1)
        message = "the quote that opens here is never closed"
        if not quoted:
            message = "text follows the quote that closes this cell"
        fix = 'close it, and write quotes inside a cell twice: ""'
        return Finding(here, "open-quote", message, fix=fix)

    def _undecodable(self) -> Finding:
        with self.opened() as stream:
            return undecodable(stream.read(), self.file, self._encoding)


def scene_of(name: str) -> tuple[int, str] | None:
    """The number of a scene column, from 0, and which part of the scene it is."""
    found = _SCENE.fullmatch(name)
    return (int(found[1]) - 1, "duration" if found[2] else "prompt") if found else None


def _lines_of(raw: str) -> int:
    return raw.count("\n")


def _outside(line: str, mark: str) -> int:
    """How often a delimiter stands outside quotes."""
    return sum(part.count(mark) for part in line.split('"')[::2])
