"""Bytes to text: UTF-8, or UTF-16 that says so; never a guess."""

from batchgen.errors import ManifestError
from batchgen.findings import Finding, Place

LARGEST = 64 * 1024 * 1024
_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def encoding_of(start: bytes, asked: str | None = None) -> str:
    """The encoding of a file, from its first bytes."""
    if asked:
        return asked
    return next(
        (name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8"
    )


def decode(raw: bytes, file: str, asked: str | None = None) -> str:
    """The whole text of a file.

    Raises:
        ManifestError: too large, or in another encoding.
    """
    if len(raw) > LARGEST:
        message = f"{file} is larger than {LARGEST >> 20} MiB"
        raise ManifestError([Finding(Place(file, 0, 0, 0), "too-large", message)])
    try:
        return raw.decode(encoding_of(raw, asked))
    except UnicodeDecodeError:
        raise ManifestError([undecodable(raw, file, asked)]) from None
    except LookupError:
        message = f"there is no encoding {asked}"
        raise ManifestError(
            [Finding(Place(file, 0, 0, 0), "encoding", message)]
        ) from None


def undecodable(raw: bytes, file: str, asked: str | None = None) -> Finding:
    """The first byte that does not fit its encoding."""
    encoding = encoding_of(raw, asked)
    try:
        raw.decode(encoding)
        position, byte = 0, 0
    except UnicodeDecodeError as error:
        position, byte = error.start, error.object[error.start]
    before = raw[:position].decode(encoding, "replace")
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    message = f"row {line}: byte 0x{byte:02x} at {column} is not {encoding.upper()}"
    return Finding(
        Place(file, line, column, column + 1),
        "encoding",
        message,
        fix="save the file as UTF-8, or name its encoding, "
        "which is likely: --encoding cp1252",
    )
