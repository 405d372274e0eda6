"""The spreadsheets that a manifest names, checked even where the manifest is broken."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from batchgen import readers
from batchgen.errors import ManifestError
from batchgen.findings import Finding, Mistake
from batchgen.given import From
from batchgen.models import Model
from batchgen.patterns import pattern
from batchgen.readers.csv import Row, Table
from batchgen.readers.jsonl import Lines
from batchgen.readers.nodes import Document, Origin
from batchgen.readers.sheets import Sheet

if TYPE_CHECKING:
    from batchgen import keys
    from batchgen.keys import Written

_NAMED = pattern(
    r"""^(?P<key>prompts)?.*?\bfrom:\s*["']?(?P<file>[^\s"',}#]{1,200}\.[ct]sv)\b""",
    re.MULTILINE | re.IGNORECASE,
)
MOST_ROWS = 10_000


class Tables:
    """Rows of tasks and values of axes that stand in files of their own."""

    def __init__(self, path: Path, encoding: str | None) -> None:
        self.findings: list[Finding] = []
        self.prompts: Table | Lines | None = None
        self.axes: dict[str, tuple[Row, ...]] = {}
        self._folder = path.parent
        self._encoding = encoding

    def read(self, written: "Written", document: Document) -> None:
        """Open all that a sound manifest names."""
        prompts = written.prompts
        if prompts is not None and not isinstance(prompts, list):
            origin = Origin(document, ("prompts", "from"))
            self.prompts = self._rows(prompts.file, origin, lines=True)
        for name, axis in written.matrix.items():
            if not isinstance(axis, list):
                origin = Origin(document, ("matrix", name, "from"))
                self._axis(name, axis, origin)

    def salvage(self, document: Document, model: Model | None, *, live: bool) -> None:
        """Check what a manifest with mistakes names, as far as its keys can be read."""
        data = document.data
        if not isinstance(data, Mapping):
            return
        named = _from(data.get("prompts"))
        if named is not None:
            origin = Origin(document, ("prompts", "from"))
            found = self.prompts or self._rows(named.file, origin, lines=True)
            if isinstance(found, Table):
                self._tasks(found, model, live=live)
        matrix = data.get("matrix")
        for name, values in matrix.items() if isinstance(matrix, Mapping) else ():
            axis = _from(values)
            if axis is not None and name not in self.axes:
                self._axis(name, axis, Origin(document, ("matrix", name, "from")))

    def rummage(self, text: str, model: Model | None, *, live: bool) -> None:
        """Check what a text that is no YAML seems to name."""
        for found in _NAMED.finditer(text):
            path = self._folder / found["file"]
            before = text[: found.start()].rstrip().rsplit("\n", 1)[-1]
            if path.is_file():
                table = self._opened(path)
                tasks = found["key"] or before.startswith("prompts:")
                if isinstance(table, Table) and tasks:
                    self._tasks(table, model, live=live)

    def _tasks(self, table: Table, model: Model | None, *, live: bool) -> None:
        if model is not None:
            try:
                self.findings += checked(table, model, live=live)
            except ManifestError as error:
                self.findings += error.findings

    def _axis(self, name: str, axis: "From | keys.From", origin: Origin) -> None:
        table = self._rows(axis.file, origin, lines=False)
        if not isinstance(table, Table):
            return
        columns = [column.name for column in table.columns]
        key = (axis.id or "id").strip().lower().replace(" ", "_").replace("-", "_")
        if key not in columns:
            message = f"{axis.file} has no column `{key}` to name its rows"
            label = f"its columns are {', '.join(filter(None, columns))}"
            self.findings.append(origin.error("no-column", message, label))
            return
        try:
            self.axes[name] = tuple(table)
        except ManifestError as error:
            self.findings += error.findings
            return
        if not self.axes[name]:
            message = f"{axis.file} has no rows, so `{name}` has no values"
            self.findings.append(origin.error("empty-axis", message))

    def _rows(self, file: str, origin: Origin, *, lines: bool) -> Table | Lines | None:
        path = self._folder / file
        suffix = path.suffix.lower()
        if suffix not in readers.TABLES and not (lines and suffix in readers.LINES):
            message = f"{file} is no spreadsheet: .csv or .tsv"
            self.findings.append(origin.error("format", message))
            return None
        if not path.is_file():
            message = f"there is no file {file} next to the manifest"
            self.findings.append(origin.error("no-file", message))
            return None
        return self._opened(path)

    def _opened(self, path: Path) -> Table | Lines | None:
        try:
            found = opened(path, self._encoding)
        except ManifestError as error:
            self.findings += error.findings
            return None
        self.findings += found.findings if isinstance(found, Table) else []
        return found


def opened(path: Path, encoding: str | None) -> Table | Lines:
    """The rows of a file.

    Raises:
        ManifestError: it cannot be read.
    """
    kind = Table if path.suffix.lower() in readers.TABLES else Lines
    return kind(readers.opener(path), str(path), encoding)


def checked(table: Table, model: Model, *, live: bool) -> Iterator[Finding]:
    """What is wrong with each row taken alone."""
    sheet = Sheet(table, model)
    yield from sheet.findings
    for row in islice(table, MOST_ROWS):
        data, findings = sheet.task(row)
        yield from findings
        fields = {key: data[key] for key in data if key in model.fields}
        if not findings:
            mistakes = model.mistakes(fields, live=live, whole=False)
            yield from _placed(row, mistakes)


def _placed(row: Row, mistakes: Iterable[Mistake]) -> Iterator[Finding]:
    for mistake in mistakes:
        first, rest = mistake.path[:1], mistake.path[1:]
        yield Origin(row, first).finding(replace(mistake, path=rest))


def _from(value: Any) -> From | None:
    if not isinstance(value, Mapping) or not isinstance(value.get("from"), str):
        return None
    name = value.get("id")
    return From(value["from"], name if isinstance(name, str) else None)
