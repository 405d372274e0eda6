"""The manifest: what the user wrote, read once and strictly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from msgspec import Struct, field
from msgspec.structs import replace

from batchgen import inspection, names, readers
from batchgen.deadline import Deadline
from batchgen.errors import ManifestError
from batchgen.findings import Finding, Gathered, Place
from batchgen.given import Output, Plain, Rate, Retry, plain
from batchgen.models import Catalog, Model, Price
from batchgen.money import Micros
from batchgen.outside import outside
from batchgen.readers.csv import Row, Table
from batchgen.readers.jsonl import Lines
from batchgen.readers.nodes import Document
from batchgen.tables import Tables, opened

if TYPE_CHECKING:
    from batchgen.keys import NoticeKeys, Written

__all__ = ["Manifest", "Rate", "Retry", "load"]


class Manifest(Struct, frozen=True):
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
        rehearsed: every clip is bought on one model, whatever its row says.
    """

    path: Path
    digest: str
    name: str
    written: "Written"
    document: Document | None = None
    rows: Table | Lines | None = None
    tables: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()
    rehearsed: bool = False

    @property
    def model(self) -> str:
        """Full id of the model."""
        return self.written.model

    @property
    def price(self) -> Price | None:
        """What replaces the catalog's price."""
        found = self.written.price
        return Price(found.per_second, found.per_task) if found else None

    def entry(self, catalog: Catalog) -> Model:
        """The model's entry, at this manifest's price; also of one outside it.

        Raises:
            CatalogError: it is not in the catalog and has no price.
        """
        found, price = catalog.find(self.model), self.price
        if price is None:
            return found or catalog[self.model]
        found = found or outside(self.model, price, catalog) or catalog[self.model]
        return found.priced(price)

    @property
    def budget(self) -> Micros | None:
        """The cap for the whole life of the run."""
        found = self.written.budget
        if found is None or isinstance(found, int):
            return found
        return found.total

    @property
    def session_budget(self) -> Micros | None:
        """The cap for one session."""
        found = self.written.budget
        if found is None or isinstance(found, int):
            return None
        return found.session

    @property
    def tier(self) -> str | None:
        """The account's level."""
        return self.written.tier

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
        if isinstance(found, int):
            return Retry(attempts=found)
        return Retry(found.attempts, found.backoff, found.max_backoff)

    @property
    def deadline(self) -> Deadline | None:
        """No new clips after it."""
        found = self.written.deadline
        return found if isinstance(found, Deadline) else None

    @property
    def task_timeout(self) -> float:
        """Seconds to wait for one clip."""
        return self.written.task_timeout

    @property
    def stop_after_failures(self) -> int:
        """Failed clips in a row that end the buying; 0 for never."""
        return self.written.stop_after_failures

    @property
    def notices(self) -> "Sequence[NoticeKeys]":
        """Whom to tell how a run ended."""
        return self.written.notify

    @property
    def uncertain(self) -> Literal["hold", "rebuy-absent"]:
        """What to do with an attempt of unknown fate."""
        return self.written.uncertain

    @property
    def output(self) -> Output:
        """Names of the files."""
        found = self.written.output
        if isinstance(found, str):
            return Output(found)
        return Output(
            found.name,
            found.ascii,
            found.flagged,
            found.sidecar,
            found.store,
            found.links,
        )


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    catalog: Catalog,
    live: bool,
    encoding: str | None = None,
    model: Model | None = None,
) -> Manifest:
    """Read a manifest, whatever its spelling.

    Args:
        path: the file; `-` reads JSONL from standard input.
        environ: variables for `${NAME}`.
        catalog: the models there are.
        live: whether tasks would be charged for real.
        encoding: of spreadsheets that are not UTF-8.
        model: buys every clip, whatever model and price the manifest says.

    Raises:
        ManifestError: with everything that is wrong with it.
    """
    suffix = path.suffix.lower()
    if suffix in readers.TABLES or suffix in readers.LINES or str(path) == "-":
        return _load_rows(path, encoding, model)
    if suffix not in readers.DOCUMENTS:
        known = ", ".join((*readers.DOCUMENTS, *readers.TABLES, ".jsonl"))
        message = f"{path}: a manifest ends in one of {known}"
        raise ManifestError([Finding(Place(str(path), 0, 0, 0), "format", message)])
    document, findings, digest = readers.document(path, environ, encoding)
    tables = Tables(path, encoding)
    if document is None:
        tables.rummage(readers.text_of(path, encoding), catalog.default, live=live)
        raise ManifestError(list(Gathered(_sorted([*findings, *tables.findings]))))
    if model is not None and isinstance(document.data, dict):
        document.data = {**document.data, "model": model.id, "price": None}
    written, more = _keys(document)
    findings += more
    findings += inspection.inspect(document, catalog, live=live)
    if written is not None:
        tables.read(written, document)
    if _stops(findings + tables.findings) or written is None:
        tables.salvage(document, inspection.model_of(document, catalog), live=live)
        raise ManifestError(list(Gathered(_sorted([*findings, *tables.findings]))))
    findings += tables.findings
    named = catalog.find(written.model)
    return Manifest(
        path,
        digest,
        written.name or names.folder(path.stem) or "run",
        _of(written, named) if named else written,
        document,
        tables.prompts,
        tables.axes,
        tuple(_sorted(findings)),
        rehearsed=model is not None,
    )


def _keys(document: Document) -> "tuple[Written | None, list[Finding]]":
    """The keys of a document, or everything that is wrong with them."""
    written = plain(document.data)
    if written is not None:
        return cast("Written", written), []
    from batchgen import wording  # noqa: PLC0415 - slow to import

    return wording.validate(document)


def _of(written: "Written", model: Model) -> "Written":
    """The same keys, with the full id of the model."""
    if isinstance(written, Plain):
        return cast("Written", replace(written, model=model.id))
    return written.model_copy(update={"model": model.id})


def _load_rows(path: Path, encoding: str | None, model: Model | None) -> Manifest:
    rows = opened(path, encoding)
    if isinstance(rows, Table) and rows.findings:
        raise ManifestError(rows.findings)
    name = "" if str(path) == "-" else names.folder(path.stem) or "run"
    written = Plain(model.id) if model else Plain()
    return Manifest(
        path,
        readers.digest(rows.opened),
        name,
        cast("Written", written),
        rows=rows,
        rehearsed=model is not None,
    )


def _stops(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _sorted(findings: list[Finding]) -> list[Finding]:
    """Each finding once, without those that only follow from another."""
    unset = {item.place.line for item in findings if item.rule == "unset-variable"}
    commas = {item.place for item in findings if item.rule == "flow-comma"}
    kept = dict.fromkeys(  # a set would tell mistakes of one place in any order
        item
        for item in findings
        if item.rule in ("unset-variable", "flow-comma")
        or not (item.place.line in unset or item.place in commas)
    )
    return sorted(kept, key=lambda finding: (finding.place, finding.rule))
