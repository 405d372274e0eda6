"""Local images: known by their content, checked before anything is bought."""

import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import Struct

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF", "application/pdf"),
    (b"<svg", "image/svg+xml"),
)
_BOX = slice(4, 12)  # where a file of ISO boxes says what it is
_BOXES = {
    b"ftypheic": "image/heic",
    b"ftypheif": "image/heic",
    b"ftypavif": "image/avif",
}
_HEAD = 16
MOST_BYTES = 200_000_000  # the service takes no larger upload
_NAMES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


class BadImage(Exception):
    """A file that the model would not take; `label` says what to do about it."""

    def __init__(self, rule: str, message: str, label: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.label = label


class Image(Struct, frozen=True):
    """A picture on this disk.

    Attributes:
        path: where it is, absolute.
        ref: `sha256:` and 64 hex characters: its content, which is its identity.
        type: by its content, whatever its name says: `image/jpeg`.
        bytes: its length.
        width: in pixels, as stored.
        height: in pixels, as stored.
    """

    path: Path
    ref: str
    type: str
    bytes: int
    width: int
    height: int


class Album:
    """The images of one command; each file is read once.

    Attributes:
        files: reference -> where the picture is, of everything looked at.
    """

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self._seen: dict[Path, Image | BadImage] = {}

    def look(self, path: Path, limits: Mapping[str, Any]) -> Image:
        """A picture that keeps the limits of a field (`x-media` of its schema).

        Raises:
            BadImage: it is missing, of another type, too large, small or long.
        """
        found = self._seen.get(path)
        if found is None:
            try:
                found = look(path)
            except BadImage as error:
                found = error
            self._seen[path] = found
        if isinstance(found, BadImage):
            raise found
        check(found, limits)
        self.files[found.ref] = found.path
        return found


def look(path: Path) -> Image:
    """Read a picture's content, type and size.

    Raises:
        BadImage: there is no such file, or it is no picture.
    """
    import imagesize  # noqa: PLC0415 - only for manifests with local pictures

    try:
        entry = path.stat()
        if not stat.S_ISREG(entry.st_mode):
            raise BadImage("no-file", f"{path} is no file")
        if entry.st_size > MOST_BYTES:
            size = f"{entry.st_size / 1e6:,.0f} MB"
            raise BadImage("bad-image", f"{path.name} has {size}", "save it smaller")
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadImage("no-file", f"there is no image {path}") from None
    except OSError as error:
        raise BadImage("no-file", f"cannot read {path}: {error.strerror}") from error
    except ValueError:  # a character that no name of a file has
        raise BadImage("no-file", f"there is no image {str(path)!r}") from None
    kind = kind_of(data)
    try:
        width, height = imagesize.get(str(path))
    except (ValueError, OSError) as error:
        raise BadImage("bad-image", f"{path.name} is no whole image: {error}") from None
    if not kind or width <= 0 or height <= 0:
        message = f"{path.name} is {_article(kind)}, not an image that can be read"
        raise BadImage("bad-image", message, "save it as jpg or png")
    ref = f"sha256:{sha256(data).hexdigest()}"
    return Image(path.absolute(), ref, kind, len(data), int(width), int(height))


def kind_of(data: bytes) -> str:
    """The media type by the first bytes; empty if they are none we know."""
    head = data[:_HEAD]
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    box = _BOXES.get(head[_BOX])
    return box or next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def check(image: Image, limits: Mapping[str, Any]) -> None:
    """Hold a picture against a field's `x-media`.

    Raises:
        BadImage: with what is wrong, and what would be right.
    """
    name, types = image.path.name, limits.get("types", ())
    if types and image.type not in types:
        wanted = " or ".join(_NAMES.get(one, one) for one in types)
        message = f"{name} is {_article(image.type)}; this field takes {wanted}"
        raise BadImage("bad-image", message, f"save it as {wanted}")
    most = limits.get("max_bytes")
    if most and image.bytes > most:
        size = f"{image.bytes / 1e6:.1f} MB, more than {most / 1e6:.0f} MB"
        raise BadImage("bad-image", f"{name} has {size}", "save it smaller")
    sides = f"{image.width} x {image.height}"
    least = limits.get("min_side")
    if least and min(image.width, image.height) < least:
        message = f"{name} is {sides}; each side needs {least} pixels"
        raise BadImage("bad-image", message, "use a larger picture")
    longest = limits.get("max_ratio")
    if longest and max(image.width, image.height) > longest * min(
        image.width, image.height
    ):
        message = f"{name} is {sides}; one side may be {longest:g} times the other"
        raise BadImage("bad-image", message, "crop it")


def _article(kind: str) -> str:
    if not kind:
        return "something else"
    word = kind.partition("/")[2].removesuffix("+xml")
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
