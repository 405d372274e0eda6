"""Golden texts: a manifest and what is said about it, in one file.

Parts begin with `--- name` and end with the next; the first is the manifest that is
checked, others lie beside it, and the last, `--- says`, is what a person reads. A word
behind the name says how the file is written: an encoding, `sparse` for one that is too
large, `400x300` for a picture of that size, `sandbox` for a plan that costs nothing.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from batchgen import manifest, models, readers, tasks
from batchgen.errors import ManifestError
from batchgen.findings import Finding, render
from batchgen.readers.text import LARGEST

FOLDER = Path(__file__).with_name("golden")
_PART = re.compile(r"^--- (\S+) ?(\S*)\n(.*?)(?=^--- |\Z)", re.MULTILINE | re.DOTALL)
_SIZE = re.compile(r"[0-9]+x[0-9]+")


def found_in(path: Path, *, live: bool = True) -> tuple[list[Finding], int | None]:
    """Everything wrong with a manifest, and the rows that were read."""
    try:
        read = manifest.load(path, environ={}, catalog=models.catalog(), live=live)
        expansion = tasks.check(read, models.catalog(), live=live)
        for _ in expansion:
            pass
    except ManifestError as error:
        return list(error.findings), None
    return expansion.findings, expansion.rows


def drawn(path: Path, *, live: bool = True) -> str:
    """Everything wrong with a manifest, as `validate` prints it."""
    findings, rows = found_in(path, live=live)
    return render(findings, readers.sources(findings), rows=rows)


def drawn_in(folder: Path, golden: str) -> str:
    """What is said about the first file of a golden text."""
    written = [
        _write(folder, *part) for part in _PART.findall(golden) if part[0] != "says"
    ]
    path, how = written[0]
    with contextlib.chdir(folder):
        return drawn(path.relative_to(folder), live=how != "sandbox")


def expected(golden: str) -> str:
    """What ought to be said."""
    said = [text for name, _, text in _PART.findall(golden) if name == "says"]
    return str(said[0]).removesuffix("\n")


def _write(folder: Path, name: str, how: str, text: str) -> tuple[Path, str]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if how == "sparse":
        with path.open("wb") as stream:
            stream.truncate(LARGEST + 1)
    elif _SIZE.fullmatch(how):
        size = tuple(map(int, how.split("x")))
        Image.new("RGB", (size[0], size[1])).save(path)
    else:
        encoding = how if how not in ("", "sandbox") else "utf-8"
        path.write_bytes(text.encode(encoding))
    return path, how


def goldens(kind: str) -> Iterator[Path]:
    """The golden files of a folder."""
    yield from sorted((FOLDER / kind).glob("*.txt"))
