"""From a file to values that remember their line and column."""

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from batchgen.errors import ManifestError
from batchgen.findings import Finding, Place
from batchgen.readers.nodes import Document
from batchgen.readers.text import decode

TABLES = (".csv", ".tsv")
LINES = (".jsonl", ".ndjson")
DOCUMENTS = (".yaml", ".yml", ".json")


def document(
    path: Path, environ: Mapping[str, str], encoding: str | None = None
) -> tuple[Document | None, list[Finding], str]:
    """A YAML or JSON document, what is wrong with it, and the digest of its bytes.

    Raises:
        ManifestError: there is no such file, or it is not text.
    """
    with opener(path)() as stream:
        raw = stream.read()
    text = decode(raw, str(path), encoding).removeprefix("\ufeff")
    if path.suffix.lower() == ".json":
        from batchgen.readers import jsonl  # noqa: PLC0415 - only what is needed

        found, findings = jsonl.read(text, str(path), environ)
    else:
        from batchgen.readers import yaml  # noqa: PLC0415 - only what is needed

        found, findings = yaml.read(text, str(path), environ)
    return found, findings, sha256(raw).hexdigest()


def text_of(path: Path, encoding: str | None = None) -> str:
    """The text of a file, without the mark at its start.

    Raises:
        ManifestError: there is no such file, or it is not text.
    """
    with opener(path)() as stream:
        return decode(stream.read(), str(path), encoding).removeprefix("\ufeff")


def opener(path: Path) -> Callable[[], BinaryIO]:
    """A function that opens the file from its start, as often as it is called.

    Raises:
        ManifestError: there is no such file.
    """
    if str(path) == "-":
        kept = sys.stdin.buffer.read()
        return lambda: io.BytesIO(kept)
    try:
        if not path.is_file():
            raise FileNotFoundError(path)
        path.open("rb").close()
    except OSError as error:
        reason = "there is no such file" if not path.exists() else "it cannot be read"
        place = Place(str(path), 0, 0, 0)
        finding = Finding(place, "no-file", f"{path}: {reason}")
        raise ManifestError([finding]) from error
    return lambda: path.open("rb")


def digest(opened: Callable[[], BinaryIO]) -> str:
    """SHA-256 of a file's bytes."""
    import hashlib  # noqa: PLC0415 - file_digest is not in every import above

    with opened() as stream:
        if isinstance(stream, io.BytesIO):
            return sha256(stream.getvalue()).hexdigest()
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]


def sources(findings: Iterable[Finding], encoding: str | None = None) -> dict[str, str]:
    """The texts of the files that findings are about, for drawing them."""
    return dict(_texts({finding.place.file for finding in findings}, encoding))


def _texts(files: Iterable[str], encoding: str | None) -> Iterator[tuple[str, str]]:
    for name in files:
        path = Path(name)
        if name and path.is_file():
            raw = path.read_bytes()
            try:
                yield name, decode(raw, name, encoding).removeprefix("\ufeff")
            except ManifestError:
                yield name, raw.decode("utf-8", "replace")
