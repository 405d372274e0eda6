"""Pictures of a request: an address that the service opens, or a file of ours."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batchgen.findings import Mistake

FIELDS = frozenset({"image", "end_image", "images"})
KINDS = (".jpg", ".jpeg", ".png")
MOST_BYTES = 10 * 1024 * 1024


def faults(fields: Mapping[str, Any], folder: Path) -> Iterator[Mistake]:
    """Why the pictures of a request cannot be sent; files lie next to the manifest.

    A path that went out as it is would be dropped by the service, and charged.
    """
    for key in sorted(FIELDS):
        value = fields.get(key)
        if isinstance(value, str):
            yield from _fault(value, (key,), folder)
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, str):
                yield from _fault(item, (key, index), folder)


def _fault(value: str, path: tuple[str | int, ...], folder: Path) -> Iterator[Mistake]:
    if value.startswith("https://"):
        return
    if "://" in value:
        message = "a picture is a file, or an address that begins with https://"
        yield Mistake(path, "bad-url", message)
        return
    file = folder / value
    if file.suffix.lower() not in KINDS:
        yield Mistake(path, "format", f"a picture is one of {', '.join(KINDS)}")
    elif not file.is_file():
        yield Mistake(path, "no-file", f"there is no file {value} next to the manifest")
    elif file.stat().st_size > MOST_BYTES:
        yield Mistake(path, "too-large", f"{value} is larger than 10 MB")
    else:
        message = "uploading a picture is not built yet"
        yield Mistake(path, "not-yet", message, "give an https:// address for now")
