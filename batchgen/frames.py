"""One clip looked into: length, size, sound, and a picture of it.

Needs the extra `media`; without it nothing is looked at.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from batchgen.patterns import pattern

FOLDER = "posters"
LEAF = "{}.leaf.json"
"""What was seen of one clip, until the next report binds it into the index."""
_OURS = pattern(r"[0-9a-f]{16}\.(jpg|leaf\.json)")
_LONGEST_SIDE = 640
_QUALITY = 82
_DULL = 6.0  # standard deviation of brightness: a fade from black has less


def available() -> bool:
    """Whether the extra `media` is installed."""
    try:
        import av  # noqa: F401, PLC0415 - an extra, and heavy
        import PIL.Image  # noqa: F401, PLC0415 - the same
    except ImportError:
        return False
    return True


def leave(folder: Path, path: Path, sha256: str) -> None:
    """Look into a clip that is about to leave this disk; runs in any thread."""
    seen = look(folder, path, sha256) if available() else None
    if seen is None:
        return
    leaf = folder / FOLDER / LEAF.format(sha256[:16])
    fresh = leaf.with_name(f".{leaf.name}.new")
    with suppress(OSError):
        fresh.write_text(json.dumps({sha256: seen}), encoding="utf-8")
        fresh.replace(leaf)


def packed(folder: Path, sha256: str) -> Iterator[tuple[str, bytes]]:
    """What was seen of a clip, taken out of the folder: names and contents."""
    for name in (f"{sha256[:16]}.jpg", LEAF.format(sha256[:16])):
        path = folder / FOLDER / name
        with suppress(OSError):
            yield name, path.read_bytes()
            path.unlink()


def unpack(folder: Path, pictures: Iterable[tuple[str, bytes]]) -> None:
    """Put into the folder what was seen of a clip elsewhere."""
    for name, content in pictures:
        if not _OURS.fullmatch(name):
            continue
        with suppress(OSError):
            (folder / FOLDER).mkdir(exist_ok=True)
            fresh = folder / FOLDER / f".{name}.new"
            fresh.write_bytes(content)
            fresh.replace(folder / FOLDER / name)


def look(folder: Path, path: Path, sha256: str) -> dict[str, Any] | None:
    """The fields of `report.media.Media`; None if it cannot be opened.

    The picture goes into the run's folder.
    """
    import av  # noqa: PLC0415 - an extra, and heavy

    poster = f"{FOLDER}/{sha256[:16]}.jpg"
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            picture = _first(film, stream)
            if _is_dull(picture) and film.duration:
                film.seek(film.duration // 2)
                picture = _first(film, stream)
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), reducing_gap=2.0)
            picture.save(folder / poster, quality=_QUALITY, optimize=True)
            return {
                "seconds": round((film.duration or 0) / 1_000_000, 2),
                "width": stream.width,
                "height": stream.height,
                "audio": bool(film.streams.audio),
                "poster": poster,
            }
    except (av.FFmpegError, OSError, StopIteration, IndexError, AttributeError):
        return None


def _first(film: Any, stream: Any) -> Any:
    """The next picture of a film as it is meant to be seen."""
    return next(film.decode(stream)).to_image()


def _is_dull(picture: Any) -> bool:
    import PIL.ImageStat  # noqa: PLC0415 - an extra

    small = picture.convert("L").resize((32, 32))
    return float(PIL.ImageStat.Stat(small).stddev[0]) < _DULL
