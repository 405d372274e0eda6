"""A look inside the clips: length, size, sound, and a picture for the report.

Needs the extra `media`; without it nothing is looked at, and the page draws its own
pictures. Nothing here touches money: it only reads files that are whole.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from batchgen.events import SavedFile
from batchgen.report.media import Media

FOLDER = "posters"
_INDEX = "index.json"
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


def remembered(folder: Path) -> dict[str, Media]:
    """What earlier looks into a run's clips showed, by SHA-256."""
    try:
        found = json.loads((folder / FOLDER / _INDEX).read_text(encoding="utf-8"))
        return {key: Media(**value) for key, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # a cache: whatever is wrong with it, it can be made again


def look(
    folder: Path,
    files: Iterable[SavedFile],
    tell: Callable[[int], None],
    most: int | None = None,
) -> dict[str, Media]:
    """Look into clips that were not looked into before; what is known by SHA-256.

    A clip that cannot be opened is left out. `tell` hears how many are still to do,
    and `most` ends it early: a tenth of a second a clip adds up.
    """
    known = remembered(folder)
    unseen = {file.sha256: file for file in files if file.sha256 not in known}
    new = dict(islice(unseen.items(), most))
    for number, (sha256, file) in enumerate(new.items()):
        tell(len(new) - number)
        media = _look(folder, file)
        if media is not None:
            known[sha256] = media
    if new:
        _remember(folder, known)
    return known


def _look(folder: Path, file: SavedFile) -> Media | None:
    import av  # noqa: PLC0415 - an extra, and heavy

    poster = f"{FOLDER}/{file.sha256[:16]}.jpg"
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
        with av.open(str(folder / "videos" / file.name)) as film:
            stream = film.streams.video[0]
            picture = _first(film, stream)
            if _is_dull(picture) and film.duration:
                film.seek(film.duration // 2)
                picture = _first(film, stream)
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), reducing_gap=2.0)
            picture.save(folder / poster, quality=_QUALITY, optimize=True)
            return Media(
                seconds=round((film.duration or 0) / 1_000_000, 2),
                width=stream.width,
                height=stream.height,
                audio=bool(film.streams.audio),
                poster=poster,
            )
    except (av.FFmpegError, OSError, StopIteration, IndexError, AttributeError):
        return None


def _first(film: Any, stream: Any) -> Any:
    """The next picture of a film as it is meant to be seen."""
    return next(film.decode(stream)).to_image()


def _is_dull(picture: Any) -> bool:
    import PIL.ImageStat  # noqa: PLC0415 - an extra

    small = picture.convert("L").resize((32, 32))
    return float(PIL.ImageStat.Stat(small).stddev[0]) < _DULL


def _remember(folder: Path, known: Mapping[str, Media]) -> None:
    text = json.dumps({key: asdict(media) for key, media in known.items()})
    fresh = folder / FOLDER / f".{_INDEX}.new"
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(folder / FOLDER / _INDEX)
    except OSError:
        pass  # a cache: the next report looks again
