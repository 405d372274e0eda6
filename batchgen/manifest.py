"""The manifest: what the user wrote, read once and strictly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from batchgen import inspection, names, readers, wording
from batchgen.errors import ManifestError
from batchgen.findings import Finding, Place
from batchgen.keys import BudgetKeys, From, OutputKeys, Rate, Retry, RetryKeys, Written
from batchgen.models import Catalog
from batchgen.money import Micros
from batchgen.readers.csv import Row, Table
from batchgen.readers.jsonl import Lines
from batchgen.readers.nodes import Document, Origin

__all__ = ["Manifest", "Rate", "Retry", "load"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the user wrote, checked, and where it stands.

    Attributes:
        path: the file.
        digest: SHA-256 of its bytes, hex.
        name: the run's name.
        written: the keys.
        document: the file with its places; None for rows of data.
        rows: tasks as rows: the file itself, or the one `prompts` names.
        tables: axes that stand in files of their own.
        warnings: what was found, and does not stop anything.
    """

    path: Path
    digest: str
    name: str
    written: Written
    document: Document | None = None
    rows: Table | Lines | None = None
    tables: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()

    @property
    def model(self) -> str:
        """Full id of the model."""
        return self.written.model

    @property
    def budget(self) -> Micros | None:
        """The cap for the whole life of the run."""
        found = self.written.budget
        amount = found.total if isinstance(found, BudgetKeys) else found
        return amount if isinstance(amount, int) else None

    @property
    def concurrency(self) -> int | None:
        """Clips in the making at once."""
        return self.written.concurrency

    @property
    def rate(self) -> Rate | None:
        """Starts per time."""
        found = self.written.rate
        return found if isinstance(found, Rate) else None

    @property
    def reads(self) -> Rate | None:
        """Status reads per time."""
        found = self.written.reads
        return found if isinstance(found, Rate) else None

    @property
    def retry(self) -> Retry:
        """Paid attempts per task, and the waits between."""
        found = self.written.retry
        if isinstance(found, RetryKeys):
            return Retry(found.attempts, found.backoff, found.max_backoff)
        return Retry(attempts=found)

    @property
    def uncertain(self) -> Literal["hold", "rebuy-absent"]:
        """What to do with an attempt of unknown fate."""
        return self.written.uncertain

    @property
    def output(self) -> OutputKeys:
        """Names of the files."""
        found = self.written.output
        return found if isinstance(found, OutputKeys) else OutputKeys(name=found)


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    catalog: Catalog,
    live: bool,
    encoding: str | None = None,
) -> Manifest:
    """Read a manifest, whatever its spelling.

    Args:
        path: the file; `-` reads JSONL from standard input.
        environ: variables for `${NAME}`.
        catalog: the models there are.
        live: whether tasks would be charged for real.
        encoding: of spreadsheets that are not UTF-8.

    Raises:
        ManifestError: with everything that is wrong with it.
    """
    suffix = path.suffix.lower()
    if suffix in readers.TABLES or suffix in readers.LINES or str(path) == "-":
        return _load_rows(path, encoding)
    if suffix not in readers.DOCUMENTS:
        known = ", ".join((*readers.DOCUMENTS, *readers.TABLES, ".jsonl"))
        message = f"{path}: a manifest ends in one of {known}"
        raise ManifestError([Finding(Place(str(path), 0, 0, 0), "format", message)])
    document, findings, digest = readers.document(path, environ, encoding)
    if document is None:
        raise ManifestError(findings)
    written, more = wording.validate(document)
    findings += more
    findings += inspection.inspect(document, catalog, live=live)
    tables = _Tables(path, encoding)
    if written is not None:
        tables.read(written, document)
    findings += tables.findings
    if any(finding.severity == "error" for finding in findings) or written is None:
        raise ManifestError(_sorted(findings))
    model = catalog[written.model].id
    return Manifest(
        path,
        digest,
        written.name or names.folder(path.stem) or "run",
        written.model_copy(update={"model": model}),
        document,
        tables.prompts,
        tables.axes,
        tuple(_sorted(findings)),
    )


class _Tables:
    """The spreadsheets that a manifest names."""

    def __init__(self, path: Path, encoding: str | None) -> None:
        self.findings: list[Finding] = []
        self.prompts: Table | Lines | None = None
        self.axes: dict[str, tuple[Row, ...]] = {}
        self._folder = path.parent
        self._encoding = encoding

    def read(self, written: Written, document: Document) -> None:
        """Open all of them."""
        if isinstance(written.prompts, From):
            origin = Origin(document, ("prompts", "from"))
            self.prompts = self._rows(written.prompts, origin, lines=True)
        for name, axis in written.matrix.items():
            if isinstance(axis, From):
                self._axis(name, axis, Origin(document, ("matrix", name, "from")))

    def _axis(self, name: str, axis: From, origin: Origin) -> None:
        table = self._rows(axis, origin, lines=False)
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

    def _rows(
        self, source: From, origin: Origin, *, lines: bool
    ) -> Table | Lines | None:
        path = self._folder / source.file
        suffix = path.suffix.lower()
        if suffix not in readers.TABLES and not (lines and suffix in readers.LINES):
            message = f"{source.file} is no spreadsheet: .csv or .tsv"
            self.findings.append(origin.error("format", message))
            return None
        if not path.is_file():
            message = f"there is no file {source.file} next to the manifest"
            self.findings.append(origin.error("no-file", message))
            return None
        try:
            found = _rows(path, self._encoding)
        except ManifestError as error:
            self.findings += error.findings
            return None
        self.findings += found.findings if isinstance(found, Table) else []
        return found


def _rows(path: Path, encoding: str | None) -> Table | Lines:
    kind = Table if path.suffix.lower() in readers.TABLES else Lines
    return kind(readers.opener(path), str(path), encoding)


def _load_rows(path: Path, encoding: str | None) -> Manifest:
    opened = readers.opener(path)
    kind = Table if path.suffix.lower() in readers.TABLES else Lines
    rows = kind(opened, str(path), encoding)
    if isinstance(rows, Table) and rows.findings:
        raise ManifestError(rows.findings)
    name = "" if str(path) == "-" else names.folder(path.stem) or "run"
    return Manifest(path, readers.digest(opened), name, Written(), rows=rows)


def _sorted(findings: list[Finding]) -> list[Finding]:
    """Each finding once, without those that only follow from another."""
    unset = {item.place.line for item in findings if item.rule == "unset-variable"}
    commas = {item.place for item in findings if item.rule == "flow-comma"}
    kept = {
        item
        for item in findings
        if item.rule in ("unset-variable", "flow-comma")
        or not (item.place.line in unset or item.place in commas)
    }
    return sorted(kept, key=lambda finding: (finding.place, finding.rule))
