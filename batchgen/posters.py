"""What is inside the clips of a run: length, size, sound, and a picture for the report.

Needs the extra `media`; without it nothing is looked at, and the page draws its own
pictures. Nothing here touches money: it only reads files that are whole.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

from msgspec.structs import asdict

from batchgen import frames
from batchgen.events import SavedFile
from batchgen.frames import FOLDER, LEAF, available
from batchgen.report.media import Media

_INDEX = "index.json"

__all__ = ["available", "look", "remembered"]


def remembered(folder: Path) -> dict[str, Media]:
    """What earlier looks into a run's clips showed, by SHA-256."""
    found = _read(folder / FOLDER / _INDEX)
    for path in (folder / FOLDER).glob(LEAF.format("*")):
        found |= _read(path)
    return found


def _read(path: Path) -> dict[str, Media]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
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
    # Before they are read: one that comes meanwhile must not be thrown away.
    leaves = list((folder / FOLDER).glob(LEAF.format("*")))
    known = remembered(folder)
    here = (file for file in files if not file.store)
    unseen = {file.sha256: file for file in here if file.sha256 not in known}
    new = dict(islice(unseen.items(), most))
    for number, (sha256, file) in enumerate(new.items()):
        tell(len(new) - number)
        seen = frames.look(folder, folder / "videos" / file.name, sha256)
        if seen is not None:
            known[sha256] = Media(**seen)
    if (new or leaves) and _remember(folder, known):
        for leaf in leaves:
            leaf.unlink(missing_ok=True)
    return known


def _remember(folder: Path, known: Mapping[str, Media]) -> bool:
    text = json.dumps({key: asdict(media) for key, media in known.items()})
    fresh = folder / FOLDER / f".{_INDEX}.new"
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(folder / FOLDER / _INDEX)
    except OSError:
        return False  # a cache: the next report looks again
    return True
